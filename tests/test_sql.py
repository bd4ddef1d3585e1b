"""`warehouse sql`: readable at any width, and as other programs want it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from command_line import CommandLine
from rich.cells import cell_len

WIDE = "FROM marts.company_profiles ORDER BY company_id"


@pytest.fixture(scope="module")
def published(first_run: tuple[Path, str]) -> CommandLine:
    return CommandLine(first_run[0])


@pytest.mark.parametrize("width", [40, 80, 120, 240])
@pytest.mark.parametrize("query", [WIDE, f"{WIDE} LIMIT 2", "SHOW TABLES", "DESCRIBE company_profiles"])
def test_a_table_fits_the_screen(published: CommandLine, query: str, width: int) -> None:
    said = published.run("sql", query, COLUMNS=str(width))
    assert max(map(cell_len, said.splitlines())) <= width
    assert "company" in said


def test_names_and_values_are_whole_and_what_is_left_out_is_named(published: CommandLine) -> None:
    said = published.run("sql", WIDE, COLUMNS="80")
    lines = said.splitlines()
    assert lines[0].split() == ["company_id", "company_domain", "company_name"]
    assert "more columns: " in said.replace("\n", " ")
    assert "first_call_seconds" in said
    upright = published.run("sql", f"{WIDE} LIMIT 1", COLUMNS="80")
    (name,) = published.ask(f"SELECT company_name FROM ({WIDE} LIMIT 1)")[0]
    assert re.search(rf"^company_name +{re.escape(name)}$", upright, re.M)
    assert "more columns" not in upright
    tables = published.run("sql", "SHOW TABLES", COLUMNS="80").splitlines()
    assert "company_profiles" in tables
    assert "(0 rows)" in published.run("sql", f"FROM ({WIDE}) WHERE false")


def test_other_programs_get_all_rows(published: CommandLine, tmp_path: Path) -> None:
    expected = published.ask(f"SELECT company_id, calls_30d FROM ({WIDE})")
    rows = list(csv.DictReader(published.run("sql", WIDE, "--format", "csv").splitlines()))
    assert [(row["company_id"], int(row["calls_30d"])) for row in rows] == expected
    told = json.loads(published.run("sql", WIDE, "--format", "json"))
    assert [(row["company_id"], row["calls_30d"]) for row in told] == expected
    assert isinstance(told[0]["metadata"], dict | None)
    assert isinstance(told[0]["cohorts"], list)
    shown = published.run("sql", "SELECT 'a|b' AS x, 1 AS y", "--format", "markdown")
    assert shown == "| x | y |\n| --- | --- |\n| a\\|b | 1 |\n"
    for name in ("out.csv", "out.json", "out.md"):
        assert published.run("sql", WIDE, "--output", str(tmp_path / name)) == ""
    assert json.loads((tmp_path / "out.json").read_text()) == told
    assert len((tmp_path / "out.md").read_text().splitlines()) == len(told) + 2
    assert json.loads(published.run("sql", f"{WIDE} LIMIT 0", "--format", "json")) == []
    assert published.run("sql", "SELECT 1 AS x LIMIT 0", "--format", "csv").strip() == "x"
    missing = str(tmp_path / "no/such/folder.csv")
    assert "cannot write" in published.run("sql", WIDE, "--output", missing, status=1)


@pytest.mark.parametrize("command", [("sql", "FROM range(200000)", "--format", "csv"), ("status",)], ids=str)
def test_a_reader_that_has_seen_enough_is_no_error(published: CommandLine, command: tuple[str, ...]) -> None:
    process = published.start(*command)
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 0


def test_text_from_records_moves_no_cursor(published: CommandLine) -> None:
    said = published.run("sql", "SELECT 'a' || chr(27) || '[31mb' || chr(10) || 'c' AS x")
    assert "a\N{REPLACEMENT CHARACTER}[31mb c" in said
