"""Runs whose process was killed: they are found, told of, and hold up nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import defs
from dagster_project.orchestration import orphans
from dagster_project.settings import project_root

HOLDING = """
import sys, time
from dagster_project.orchestration.orphans import hold
hold(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(orphans, "_GRACE", timedelta(0))
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def started(instance: dg.DagsterInstance) -> str:
    job = defs.resolve_job_def("nightly")
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> str | None:
    context = dg.build_sensor_context(instance, cursor=cursor)
    return defs.resolve_sensor_def("orphans").evaluate_tick(context).cursor


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_is_given_up_when_its_process_was_killed_and_not_before(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run_id, other = started(instance), started(instance)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, run_id], stdout=subprocess.PIPE, text=True, cwd=project_root()
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        tick(instance)
        assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    tick(instance)
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert status(instance, other) == dg.DagsterRunStatus.STARTED, "nothing is known of it"
    tick(instance)
    assert list((tmp_path / "dagster/alive").iterdir()) == []


def test_a_run_between_two_processes_is_not_given_up_at_once(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_GRACE", timedelta(seconds=0.2))
    run_id = started(instance)
    (tmp_path / "dagster/alive").mkdir(parents=True)
    (tmp_path / "dagster/alive" / run_id).touch()
    cursor = tick(instance)
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    orphans.hold(run_id)
    cursor = tick(instance, cursor)
    orphans._held.pop(run_id).close()
    time.sleep(0.3)
    cursor = tick(instance, cursor)
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED, "it had a process meanwhile"
    time.sleep(0.3)
    tick(instance, cursor)
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE


def test_a_run_that_ended_leaves_nothing_behind(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    orphans.hold("some-run")
    assert [file.name for file in (tmp_path / "dagster/alive").iterdir()] == ["some-run"]
    orphans.release("some-run")
    assert list((tmp_path / "dagster/alive").iterdir()) == []
