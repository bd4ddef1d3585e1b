"""The sensor that looks for new files: when it starts a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from harness import Warehouse

from dagster_project.definitions import defs

EVENT = {"request": {"time": "2026-03-30"}, "company_id": "a"}


class Sensor:
    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.warehouse, self.instance = Warehouse(folder, new=True), instance
        self.definition = defs.resolve_sensor_def("new_files")
        self.cursor: str | None = None

    def starts(self) -> list[str | None]:
        """The run keys of the runs that a tick starts."""
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, repository_def=defs.get_repository_def()
        )
        tick = self.definition.evaluate_tick(context)
        self.cursor = tick.cursor or self.cursor
        return [request.run_key for request in tick.run_requests or []]


@pytest.fixture
def sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sensor]:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sensor(tmp_path, instance)


def test_it_is_off_and_starts_the_sync(sensor: Sensor) -> None:
    assert sensor.definition.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.definition.job_name == "sync"
    assert sensor.definition.minimum_interval_seconds == 60


def test_a_file_starts_one_run_once_it_keeps_still(sensor: Sensor) -> None:
    sensor.starts(), sensor.starts()
    sensor.warehouse.put("events/a.jsonl", [EVENT])
    assert sensor.starts() == []
    file = sensor.warehouse.put("events/a.jsonl", [EVENT, EVENT])
    assert sensor.starts() == [], "it was still being written"
    (key,) = sensor.starts()
    assert sensor.starts() == []
    # New bytes of the same size at the same path, then a file that went.
    sensor.warehouse.put("events/a.jsonl", [EVENT, {**EVENT, "company_id": "b"}])
    os.utime(file, ns=(0, 0))
    assert sensor.starts() == []
    (other,) = sensor.starts()
    assert other != key
    file.unlink()
    assert [sensor.starts(), len(sensor.starts()), sensor.starts()] == [[], 1, []]


@pytest.mark.parametrize("job", ["nightly", "sync"])
def test_runs_do_not_queue_up_behind_one_that_goes_on(sensor: Sensor, job: str) -> None:
    sensor.warehouse.put("events/a.jsonl", [EVENT])
    run = sensor.instance.create_run_for_job(defs.resolve_job_def(job), status=dg.DagsterRunStatus.STARTED)
    assert [sensor.starts() for _ in range(3)] == [[], [], []]
    sensor.instance.report_run_failed(run)
    assert len(sensor.starts()) == 1, "what came meanwhile is not forgotten"


def test_files_that_no_source_reads_start_nothing(sensor: Sensor) -> None:
    sensor.starts(), sensor.starts()
    sensor.warehouse.put("notes/a.txt", "x")
    sensor.warehouse.put("events/a.part", "x")
    assert [sensor.starts() for _ in range(3)] == [[], [], []]


def test_it_opens_no_database_and_no_file(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    file = sensor.warehouse.put("events/a.jsonl", [EVENT])
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda: connect())  # in memory only
    file.chmod(0)
    sensor.starts()
    assert len(sensor.starts()) == 1
    assert not sensor.warehouse.settings.warehouse_file.exists()


def test_a_raw_folder_that_is_not_there_is_an_empty_one(sensor: Sensor) -> None:
    sensor.warehouse.raw.rmdir()
    assert [len(sensor.starts()) for _ in range(3)] == [0, 1, 0]
