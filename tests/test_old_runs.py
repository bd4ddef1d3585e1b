"""Dagster's record of runs does not grow for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import defs
from dagster_project.orchestration import dagster_home


@dg.asset
def some_table() -> None:
    pass


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / "settings.toml").write_text("[schedule]\nkeep_runs_days = 30\n")
    monkeypatch.setenv("WAREHOUSE_CONFIG", str(tmp_path / "settings.toml"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    dagster_home.make_ready(tmp_path)
    with dg.DagsterInstance.get() as instance:
        yield instance


def ran(instance: dg.DagsterInstance, days_ago: int) -> str:
    """A run that went well so many days ago: its record is made older."""
    run_id = dg.materialize([some_table], instance=instance).run_id
    at = datetime.now(UTC) - timedelta(days=days_ago)
    with closing(sqlite3.connect(Path(instance.root_directory) / "history/runs.db")) as runs, runs:
        made = runs.execute(
            "UPDATE runs SET create_timestamp = ? WHERE run_id = ?", [f"{at:%Y-%m-%d %H:%M:%S.%f}", run_id]
        )
        assert made.rowcount == 1
    return run_id


def tick(instance: dg.DagsterInstance) -> None:
    defs.resolve_sensor_def("orphans").evaluate_tick(dg.build_sensor_context(instance))


def test_old_runs_go_with_their_events_and_what_is_known_of_assets_stays(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    old, recent = ran(instance, 31), ran(instance, 29)
    tick(instance)
    assert [run.run_id for run in instance.get_runs()] == [recent]
    assert not instance.all_logs(old)
    assert instance.all_logs(recent)
    assert not [path for path in tmp_path.rglob("*") if old in path.name]
    assert instance.get_latest_materialization_event(some_table.key) is not None


def test_the_last_run_stays_however_old(
    instance: dg.DagsterInstance,
) -> None:
    last = ran(instance, 400)
    tick(instance)
    assert [run.run_id for run in instance.get_runs()] == [last]
    assert instance.get_latest_materialization_event(some_table.key) is not None


def test_of_a_table_that_has_not_changed_since_the_last_state_is_known(
    instance: dg.DagsterInstance,
) -> None:
    ran(instance, 400)
    instance.create_run_for_job(defs.resolve_job_def("nightly"), status=dg.DagsterRunStatus.STARTED)
    tick(instance)
    assert len(instance.get_runs()) == 1
    assert instance.get_latest_materialization_event(some_table.key) is not None
