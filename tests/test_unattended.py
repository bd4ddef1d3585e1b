"""`warehouse run` where nobody watches: what it writes, and what it posts before it ends."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from harness import Warehouse
from webhook import Webhook, listening

from dagster_project.orchestration.launch import Outcome
from dagster_project.orchestration.log import JsonLog
from dagster_project.rendering.progress import Steps

SECRET = "pat-na1-very-secret"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with listening() as webhook:
        yield webhook


def command(data: Path, webhook: Webhook, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    secrets = {"WAREHOUSE_ALERT_WEBHOOK": webhook.url, "HUBSPOT_ACCESS_TOKEN": SECRET}
    process = CommandLine(data).start(*arguments, **secrets, **given)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_that_fails_posts_one_alert_and_status_tells_of_it(tmp_path: Path, webhook: Webhook) -> None:
    (tmp_path / SECRET / "warehouse.duckdb").mkdir(parents=True)
    done = command(tmp_path / SECRET, webhook, "run", "--log-format", "json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert SECRET not in done.stderr
    told = lines(done.stderr)
    assert told[0]["event"] == "run_started"
    assert [line["level"] for line in told if line["event"] == "run_failed"] == ["error"]
    (run_id,) = {line["run"] for line in told}
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in told)
    (text,) = webhook.texts
    for words in ("nightly run failed", "warehouse.duckdb", "warehouse run", run_id):
        assert words in text
    assert SECRET not in text
    status = command(tmp_path / SECRET, webhook, "status")
    assert f"failure, run {run_id}" in status.stdout
    assert "warehouse.duckdb" in status.stdout
    assert len(webhook.texts) == 1


def test_wrong_settings_are_told_of_too(tmp_path: Path, webhook: Webhook) -> None:
    (tmp_path / "wrong.toml").write_text("[warehouse]\nthreads = -1\n")
    webhook.answers = [404]
    done = command(
        tmp_path / "data",
        webhook,
        *("run", "--log-format", "json"),
        WAREHOUSE_CONFIG=str(tmp_path / "wrong.toml"),
    )
    assert done.returncode == 2
    assert [line["event"] for line in lines(done.stderr)] == ["alert_not_posted", "run_failed"]
    (text,) = webhook.texts
    assert "warehouse.threads = -1" in text
    assert not (tmp_path / "data").exists()
    # A person at the keyboard sees it anyhow.
    command(tmp_path / "data", webhook, "status", WAREHOUSE_CONFIG=str(tmp_path / "wrong.toml"))
    assert len(webhook.texts) == 1


def test_a_run_that_goes_well_is_told_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", SECRET)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging, "captureWarnings", lambda _: None)
    warehouse = Warehouse(tmp_path)
    warehouse.put("events/a.jsonl", [{"request": {"time": "2026-03-30"}, "company_id": "a"}, {}])
    warehouse.put(f"events/{SECRET}.json", "[{},\n")
    warehouse.put("events/notes.txt", "x")
    warehouse.night()
    log = JsonLog()
    with log.progress():
        steps = Steps("loading", 1000)
        for number in range(1000):
            steps.next(f"{number}.jsonl")
    log.show_run(warehouse.settings, Outcome("run", None, warehouse.loaded, warehouse.built))
    said = capsys.readouterr()
    assert said.out == ""
    assert SECRET not in said.err
    told = lines(said.err)
    assert len([line for line in told if line["event"] == "progress"]) <= 2
    (loaded,) = [line for line in told if line["event"] == "loaded"]
    assert (loaded["source"], loaded["records"], loaded["loaded"], loaded["rejected"]) == ("events", 2, 1, 1)
    (unreadable,) = [line for line in told if line["event"] == "unreadable"]
    assert "events/***.json" in unreadable["file"]
    assert [line["file"] for line in told if line["event"] == "left_alone"] == ["events/notes.txt"]
    assert "files_are_readable" in [line["check"] for line in told if line["event"] == "check_failed"]
    assert told[-1]["event"] == "run_ended"
    assert "marts.company_profiles" in told[-1]["tables_changed"]
    assert {line["run"] for line in told} == {log.run_id}
