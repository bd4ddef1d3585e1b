"""The first sitting of docs/hubspot.md, command by command as it stands there; and refusals on purpose."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from command_line import CommandLine

from dagster_project.cli import main
from dagster_project.destinations.hubspot import files
from dagster_project.settings import project_root
from dagster_project.standins.hubspot import Emulator, Options, exports
from dagster_project.standins.hubspot.command import parser

PAGE = (project_root() / "docs/hubspot.md").read_text(encoding="utf-8")
SITTING = PAGE.partition("## One sitting without an account")[2].partition("\n## ")[0]
COMMANDS = [line.partition("#")[0].strip() for line in re.findall(r"^    (.*)$", SITTING, re.MULTILINE)]


@pytest.fixture
def hub(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The emulator as the page starts it, and the variables that it tells to set; the sample is loaded and published."""
    (started,) = (one for one in COMMANDS if "standins.hubspot" in one)
    given = parser().parse_args(shlex.split(started)[3:])
    with Emulator(0, options=Options(search_lag=3600)) as hub:
        exports.load(hub.store, project_root() / given.from_export)
        (export,) = (one for one in COMMANDS if one.startswith("export "))
        variables = dict(one.split("=", 1) for one in shlex.split(export)[1:])
        monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", variables["HUBSPOT_ACCESS_TOKEN"])
        assert variables["HUBSPOT_BASE_URL"] == f"http://127.0.0.1:{given.port}"
        monkeypatch.setenv("HUBSPOT_BASE_URL", hub.base_url)
        monkeypatch.setenv("WAREHOUSE_DATA", str(line.data))
        for name in (
            "HUBSPOT_CLIENT_ID",
            "HUBSPOT_CLIENT_SECRET",
            "HUBSPOT_REFRESH_TOKEN",
            "WAREHOUSE_CONFIG",
        ):
            monkeypatch.delenv(name, raising=False)
        yield hub


def run(*command: str) -> Result:
    result = CliRunner().invoke(main, command)
    assert not isinstance(result.exception, Exception), result.exception
    return result


def counts(result: Result) -> dict[str, list[str]]:
    """The rows of a push's table, by object."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.output.splitlines()]
    return {row[0]: row[1:] for row in rows if row and row[0] in ("companies", "contacts")}


def test_it_ends_well_and_then_refusals_are_told(
    hub: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, Result]] = []
    for command in COMMANDS:
        if command.startswith(".venv/bin/warehouse "):
            result = run(*shlex.split(command)[1:])
            assert result.exit_code == 0, f"{command}\n{result.output}"
            said.append((command, result))
    first, second = (result for command, result in said if "push --live" in command)
    companies, contacts = re.findall(r"(\d+) companies and (\d+) contacts acknowledged, 2 skipped", SITTING)[
        0
    ]
    assert counts(first)["companies"][1] == companies
    assert counts(first)["contacts"][1] == contacts
    assert sum(int(row[6]) for row in counts(first).values()) == 2
    assert "(0 writes)" in second.output
    skips = said[-1][1].output
    assert ("ambiguous" in skips, "duplicate_key" in skips) == (True, True)

    # What the page does on purpose, by editing a SELECT.
    root = tmp_path / "project"
    shutil.copytree(project_root() / "sql", root / "sql")
    monkeypatch.setattr(files, "project_root", lambda: root)
    select = root / "sql/outbound/hubspot_contacts.sql"
    text = select.read_text(encoding="utf-8")
    columns = ("'x' AS no_such_property", "calls_30d AS jobtitle", "'no such' AS lifecyclestage")
    assert [one for one in columns if one not in PAGE] == []
    select.write_text(
        text.replace("    email,\n", f"    email,\n    {', '.join(columns)},\n", 1), encoding="utf-8"
    )
    pushed = run("push", "--live")
    assert pushed.exit_code == 1, pushed.output
    assert ("no_such_property" in pushed.output, "jobtitle" in pushed.output) == (True, True)
    assert "INVALID_OPTION" in run("sql", "SELECT DISTINCT property, code FROM ops.hubspot_rejects").output
