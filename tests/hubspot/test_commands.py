"""`warehouse plan` and `push` as people and scripts see them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dagster_project.cli import main, screen
from dagster_project.standins.hubspot import Emulator, Fault

from .desk import Desk
from .test_push import people, person

Command = Callable[..., Result]


@pytest.fixture
def command(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    desk.at_once = True
    config = tmp_path / "warehouse.toml"
    config.write_text("")
    monkeypatch.setenv("WAREHOUSE_CONFIG", str(config))
    monkeypatch.setenv("WAREHOUSE_DATA", str(desk.settings.data))
    return lambda *given: CliRunner().invoke(main, given)


def test_the_plan_shows_every_change_and_the_push_carries_it_out(
    desk: Desk, hub: Emulator, command: Command
) -> None:
    hub.store.put("contacts", {"email": "user7@example.com"})
    desk.contacts(people(300))
    shown = command("plan")
    assert shown.exit_code == 0, shown.output
    assert not hub.writes
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.output.splitlines()]
    assert ["contacts", "update", "user7@example.com", "api_calls", "", "12"] in lines
    assert sum(line[1:2] == ["create"] for line in lines) == 2 * 299  # the email, and the value
    assert "4 write calls" in shown.output  # 299 creates, 1 update
    digest = shown.output.split("digest ")[1].split()[0]
    refused = command("push", "--live", "--digest", "0" * 64)
    assert (refused.exit_code, hub.writes) == (1, [])
    assert "the plan has changed" in refused.output
    pushed = command("push", "--live", "--digest", digest)
    assert pushed.exit_code == 0, pushed.output
    assert digest in pushed.output
    assert len(hub.writes) == 4
    desk.contacts(people(300, more=6))
    changed = command("plan").output
    assert ["contacts", "update", "user7@example.com", "api_calls", "12", "13"] in [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in changed.splitlines()
    ]


def test_very_many_changes_go_to_a_file(
    desk: Desk, hub: Emulator, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "PIPED", 100)
    desk.contacts(people(300))
    file = tmp_path / "plan.csv"
    shown = command("plan", "--csv", str(file))
    assert "--csv FILE" in shown.output
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 600
    assert {(row["key"], row["new"]) for row in rows if row["property"] == "api_calls"} >= {
        ("user299@example.com", "304")
    }
    failed = command("plan", "--csv", str(tmp_path / "missing" / "plan.csv"))
    assert failed.exit_code == 1
    assert "cannot write" in failed.output


def test_what_hubspot_would_refuse_and_what_ended_a_push_are_told(
    desk: Desk, hub: Emulator, command: Command
) -> None:
    desk.contacts([person("a", 1), person("b", float("inf"))], api_calls="DOUBLE")
    shown = command("plan")
    assert "INVALID_NUMBER" in shown.output
    hub.faults.add(Fault("rate", operation="contacts.batch_create", policy="DAILY"))
    stopped = command("push", "--live")
    assert stopped.exit_code == 1
    assert "go on at" in stopped.output


def test_the_file_of_a_plan_holds_no_formulas(
    desk: Desk, hub: Emulator, command: Command, tmp_path: Path
) -> None:
    desk.contacts([{**person("a"), "user_id": "=cmd|'/c calc'!A1"}])
    file = tmp_path / "plan.csv"
    command("plan", "--csv", str(file))
    with file.open(encoding="utf-8", newline="") as stream:
        assert {row["id"] for row in csv.DictReader(stream)} == {"'=cmd|'/c calc'!A1"}


def test_on_a_narrow_screen_nothing_is_cut_off(
    desk: Desk, hub: Emulator, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "user" * 12
    desk.contacts([person(name, 7), person("b", 5)])
    monkeypatch.setattr(screen.console, "width", 80)
    lines = command("plan").output.splitlines()
    assert {"creates": "2", "unchanged": "0", "held back": "0", "calls": "1"}.items() <= counts(lines)
    place = lines.index(f"contacts: create {name}@example.com")
    assert "    api_calls: 7" in lines[place : place + 3]
    monkeypatch.setattr(screen, "SEEN", 2)
    assert any(line.startswith("... and more than these 2") for line in command("plan").output.splitlines())
    lines = command("push", "--live").output.splitlines()
    assert {"planned": "2", "acknowledged": "2", "created": "2", "rejected": "0"}.items() <= counts(lines)
    assert max(map(len, lines)) <= 80


def counts(lines: list[str]) -> set[tuple[str, str]]:
    """What a line each says of contacts."""
    return {(line.partition("  ")[0].strip(), line.split()[-1]) for line in lines if line.strip()}
