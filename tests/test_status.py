"""What `warehouse status` leads with: what needs a person, most urgent first, with what helps."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from harness import Warehouse

from dagster_project.cli import main, status
from dagster_project.orchestration.launch import LastRun
from dagster_project.pipeline.nightly import utc_now

CALL = {"request": {"time": "2026-03-30T10:00:00Z"}, "company_id": "acme"}
GOOD = LastRun("nightly", "1-2-3", "success", utc_now(), utc_now(), None, (), utc_now())


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(status, "last_run", lambda _: GOOD)
    made = Warehouse(tmp_path)
    made.put("events/a.jsonl", [CALL])
    return made


def said(*options: str, exit_code: int = 0) -> str:
    done = CliRunner().invoke(main, ["status", *options])
    assert done.exit_code == exit_code, done.output
    return done.output


def test_where_all_is_well_it_says_so_first(warehouse: Warehouse) -> None:
    warehouse.night(publishes=True)
    assert said("--check").startswith("All is well.")
    told = json.loads(said("--json"))
    assert (told["ok"], told["findings"]) == (True, [])
    assert [(source["source"], source["records"]) for source in told["sources"]] == [("events", 1)]
    assert {"table": "marts.company_profiles", "rows": 1} in [
        {key: table[key] for key in ("table", "rows")} for table in told["tables"]
    ]


def test_what_needs_a_person_comes_first_in_order_and_the_check_fails(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.put("events/broken.json", "[{},\n")
    warehouse.put("events/notes.txt", "not ours")
    warehouse.night(publishes=True)
    days_ago = utc_now() - timedelta(days=3)
    failed = replace(GOOD, status="failure", failure="disk full: see to it", last_good_at=days_ago)
    monkeypatch.setattr(status, "last_run", lambda _: failed)
    text = said("--check", exit_code=1)
    assert said() == text, "without --check it is the same, and ends with 0"
    assert text.startswith("3 to set right, 1 to look at:\n")
    marks = [line for line in text.splitlines() if line.startswith(("✗", "!"))]
    for mark, words in zip(
        marks, ("failed", "more than 26 hours ago", "1 files could not", "left alone"), strict=True
    ):
        assert words in mark
    for help_ in ("disk full: see to it", "events/broken.json: a JSON array", "then: warehouse run"):
        assert help_ in text
    assert text.index("events/notes.txt") < text.index("Last run:") < text.index("Loaded files")
    kinds = [finding["kind"] for finding in json.loads(said("--json", "--check", exit_code=1))["findings"]]
    assert kinds == ["run_failed", "stale", "files_unreadable", "left_alone"]


def test_a_warning_alone_wakes_nobody(warehouse: Warehouse) -> None:
    warehouse.put("elsewhere/a.jsonl", [CALL])
    warehouse.night(publishes=True)
    assert said("--check").startswith("1 to look at:")


def test_what_is_published_cannot_be_read(warehouse: Warehouse) -> None:
    (warehouse.folder / "analytics.duckdb").write_bytes(b"no database")
    text = said(exit_code=1)
    assert text.startswith("1 to set right:\n✗ Nothing that can be read is published\n")
    assert "warehouse run" in text
    assert json.loads(said("--json", exit_code=1))["ok"] is False
