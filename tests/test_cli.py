"""Whole runs through the command line, in a process of their own, on a copy of the sample."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from command_line import DAY, CommandLine
from harness import Warehouse
from webhook import listening

from dagster_project.warehouse.database import open_warehouse


def flat(text: str) -> str:
    """Text without what a table's borders and wrapping put into it."""
    return re.sub(r"[\s│┃┆]+", " ", text)


def test_a_run_shows_what_was_loaded_and_who_is_who(first_run: tuple[Path, str]) -> None:
    data, said = first_run
    loaded = CommandLine(data).ask("SELECT sum(loaded) FROM ops.files WHERE source = 'events'")[0][0]
    assert f"{loaded:,}" in said
    for (company,) in CommandLine(data).ask("SELECT company_id FROM marts.company_profiles"):
        assert str(company) in said


def test_every_published_table_and_column_has_a_comment(first_run: tuple[Path, str]) -> None:
    line = CommandLine(first_run[0])
    among = "schema_name IN ('marts', 'ops', 'core') AND NOT internal"
    tables = f"SELECT schema_name, table_name FROM duckdb_tables() WHERE {among}"
    assert len(line.ask(tables)) > 30
    assert line.ask(f"{tables} AND coalesce(trim(comment), '') = ''") == []
    columns = f"SELECT schema_name, table_name, column_name FROM duckdb_columns() WHERE {among}"
    assert line.ask(f"{columns} AND coalesce(trim(comment), '') = ''") == []


def test_a_run_is_recorded_in_dagsters_storage(
    first_run: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dagster as dg

    home = first_run[0] / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs()
    assert [(run.job_name, run.status) for run in runs] == [("nightly", dg.DagsterRunStatus.SUCCESS)]


def test_a_second_run_loads_nothing_says_so_and_changes_nothing(line: CommandLine) -> None:
    query = "SELECT * EXCLUDE (updated_at) FROM marts.company_profiles ORDER BY company_id"
    profiles = line.ask(query)
    # copied, so each file is looked at again, and found to be known
    said = line.run("run", "--as-of", DAY)
    assert "Nothing new" in said
    assert "No table changed" in said
    assert line.ask(query) == profiles


def test_analysts_read_while_a_run_writes_and_get_the_new_file_after_it(line: CommandLine) -> None:
    new = line.raw / "events/new.jsonl"
    new.write_text('{"request": {"time": "2026-11-21T10:00:00Z"}, "company_id": "brand-new"}\n')
    query = "SELECT count(*) FROM marts.company_profiles WHERE company_id = 'brand-new'"
    reader = duckdb.connect(str(line.analytics), read_only=True)
    writer = line.start("run", "--as-of", DAY)
    seen, sizes = [], 0
    while writer.poll() is None:
        seen.append(line_count(line, query))
        sizes += reader.execute("SELECT count(*) FROM marts.company_profiles").fetchall()[0][0] > 0
        time.sleep(0.05)
    line.finish(writer)
    assert len(seen) > 5
    assert seen == sorted(seen), "the new file, then the old one"
    assert sizes == len(seen)
    assert reader.execute(query).fetchall() == [(0,)], "who has it open keeps the old one"
    reader.close()
    assert line.ask(query) == [(1,)]
    assert not list(line.data.glob("*.part"))


def line_count(line: CommandLine, query: str) -> int:
    """In a process of its own: what one process has open, DuckDB opens no second time."""
    code = f"import duckdb; print(duckdb.connect({str(line.analytics)!r}, read_only=True).sql({query!r}).fetchall()[0][0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_full_rebuild_with_a_file_missing_ends_with_1_names_it_and_touches_nothing(
    line: CommandLine,
) -> None:
    missing = sorted(line.raw.glob("events/*/*.gz"))[0]
    missing.unlink()
    before = {path: path.read_bytes() for path in line.data.glob("*.duckdb")}
    said = line.run("run", "--full", "--as-of", DAY, status=1)
    assert missing.relative_to(line.raw).as_posix() in flat(said).replace(" ", "") or missing.name in said
    assert {path: path.read_bytes() for path in before} == before


def test_a_raw_folder_that_is_gone_ends_a_run_with_1_tells_of_it_and_touches_nothing(tmp_path: Path) -> None:
    warehouse, line = Warehouse(tmp_path), CommandLine(tmp_path)
    warehouse.put("events/a.jsonl", [{"request": {"time": "2026-03-30"}, "company_id": "acme"}])
    warehouse.night(publishes=True)
    line.raw.rename(line.data / "unmounted")
    before = {path: path.read_bytes() for path in line.data.glob("*.duckdb")}
    with listening() as webhook:
        said = line.run("run", "--as-of", DAY, status=1, WAREHOUSE_ALERT_WEBHOOK=webhook.url)
    told = [flat(said), *map(flat, webhook.texts), flat(line.run("status"))]
    assert len(told) == 3
    assert all(re.search(r"is not there, but \d+ files were loaded from it", text) for text in told), told
    assert {path: path.read_bytes() for path in before} == before
    assert not line.raw.exists()


def test_a_run_on_nothing_but_unreadable_and_unknown_files_ends_well_and_names_them(
    empty: CommandLine,
) -> None:
    folder = "events/dt=2026-11-21/from the [red] Node SDK, " + "ü" * 60
    (empty.raw / folder).mkdir(parents=True)
    (empty.raw / folder / "broken.json").write_text("[{},\n")
    (empty.raw / folder / "notes.txt").write_text("not ours")
    ran = empty.run("run", "--as-of", "2999-12-31")
    assert "--as-of 2999-12-31 is a day to come" in ran
    for said in (ran, empty.run("status")):
        assert f"{folder}/broken.json: a JSON array that does not end\n" in said, "neither cut nor wrapped"
        assert f"{folder}/notes.txt\n" in said
    assert empty.ask("SELECT path, error IS NULL FROM ops.files") == [(f"{folder}/broken.json", False)]
    assert empty.ask("SELECT count(*) FROM marts.company_profiles") == [(0,)]


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--as-of", "yesterday"],
        ["run", "--as-of", "2026-02-30"],
        ["run", "--as-of"],
        ["run", "--fll"],
        ["run", "everything"],
        ["rum"],
        ["sql"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_touches_nothing(empty: CommandLine, command: list[str]) -> None:
    assert "Error: " in empty.run(*command, status=2)
    assert not empty.data.exists()


def test_wrong_settings_end_with_2_and_touch_nothing(empty: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[warehouse]\nthreads = -1\n")
    said = empty.run("run", status=2, WAREHOUSE_CONFIG=str(tmp_path / "wrong.toml"))
    assert "warehouse.threads = -1" in said
    assert not empty.data.exists()


def test_what_needs_a_published_database_says_so(empty: CommandLine) -> None:
    for command in (["status"], ["sql", "SELECT 1"]):
        assert "warehouse run" in empty.run(*command, status=1)
    assert not empty.data.exists()


def test_sql_answers_and_explains_what_it_cannot_do(first_run: tuple[Path, str]) -> None:
    line = CommandLine(first_run[0])
    assert "42" in line.run("sql", "SELECT 6 * 7 AS answer")
    assert "nonsense" in line.run("sql", "FROM nonsense", status=1)
    assert line.run("sql", "DROP TABLE marts.company_profiles", status=1)


def files_with(line: CommandLine, text: str) -> list[str]:
    """The files in the data folder, Dagster's too, that hold a text; raw files aside."""
    files = [f for f in line.data.rglob("*") if f.is_file() and line.raw not in f.parents]
    return [f.name for f in files if text.encode() in f.read_bytes()]


def test_without_a_terminal_an_erase_only_shows_what_would_go(line: CommandLine) -> None:
    process = line.start("erase", "--user", "usr_gullspire_1")
    said, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "raw.user_updates" in said
    assert "--yes" in error
    assert line.ask("SELECT count(*) FROM marts.user_profiles WHERE user_id = 'usr_gullspire_1'") == [(1,)]


def test_an_erase_leaves_nothing_in_the_databases_and_in_dagsters_storage(line: CommandLine) -> None:
    user, email = "usr_gullspire_1", "lene.brandovar.1@gullspire.example"
    query = "SELECT day, company_id, calls FROM marts.company_usage_daily ORDER BY ALL"
    calls = line.ask(query)
    assert set(files_with(line, user)) == {"raw.duckdb", "warehouse.duckdb", "analytics.duckdb"}, (
        "not Dagster's"
    )
    # As an older release left it: with rows in what Dagster recorded.
    old = line.data / "dagster/history/runs/index.db"
    old.parent.mkdir(parents=True)
    old.write_text(f"| {user} | {email} |")
    shutil.copy(Path(__file__).parent / "releases/dagster.yaml", line.data / "dagster")
    said = flat(line.run("erase", "--user", user, "--yes"))
    assert files_with(line, user) == files_with(line, email) == []
    assert line.ask(query) == calls
    assert "contacts 110000000043" in said, "HubSpot's record is named"
    assert "users/" in said, "and the raw files"
    line.run("run", "--as-of", DAY)
    assert files_with(line, user) == files_with(line, email) == []


def test_a_run_waits_for_the_writer_and_then_gives_up_with_1(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "data")
    (tmp_path / "settings.toml").write_text("[warehouse]\nlock_wait_seconds = 0\n")
    with open_warehouse(warehouse.settings):
        line = CommandLine(tmp_path / "data")
        said = line.run("run", status=1, WAREHOUSE_CONFIG=str(tmp_path / "settings.toml"))
    assert "in use by another process" in flat(said)
    assert not line.analytics.exists()


def test_help_names_every_command_and_exits_with_0(empty: CommandLine) -> None:
    said = empty.run("--help")
    for command in ("run", "status", "sql"):
        assert re.search(rf"^\s+{command}\b", said, re.MULTILINE), command
