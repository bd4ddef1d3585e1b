"""Runs whose process is gone without a word: killed, or the machine lost power.

Dagster would show them as going on, and let others wait for them, for hours. Each run's process holds a lock on a
file named like the run; the system lets go of it when the process ends, however it ends.
"""

import fcntl
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import dagster as dg

from dagster_project.settings import load_settings

from .old_runs import forget_old_runs

_GRACE = timedelta(minutes=2)  # with the multiprocess executor there is no process between two steps
_held: dict[str, TextIO] = {}


def _folder() -> Path:
    return load_settings().dagster_home / "alive"


def hold(run_id: str) -> None:
    """Show that this process works on a run, until it ends."""
    if run_id not in _held:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / run_id).open("w")
        _held[run_id] = file
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError:  # a network folder without locks: nobody can tell, so nobody shall
            release(run_id)


def release(run_id: str) -> None:
    """The run ended, and nobody needs to look for its process."""
    if file := _held.pop(run_id, None):
        Path(file.name).unlink(missing_ok=True)
        file.close()


def abandoned(instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    """Runs that are not finished, and that no process works on. Clears up after those that are."""
    for file in sorted(_folder().glob("*")):
        with file.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            run = instance.get_run_by_id(file.name)
            if run is not None and not run.is_finished:
                yield run
            else:
                file.unlink(missing_ok=True)


def give_up(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    instance.report_run_failed(
        run, "its process ended without a word: killed, or the machine stopped. Nothing is lost"
    )


@dg.sensor(
    name="orphans",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Marks runs as failed whose process was killed, so that no other run waits for them; forgets old runs.",
)
def orphans_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Give up runs that were without a process for some minutes."""
    now = datetime.now(UTC)
    before = json.loads(context.cursor) if context.cursor else {}
    since = {}
    for run in abandoned(context.instance):
        since[run.run_id] = before.get(run.run_id, now.isoformat())
        if now - datetime.fromisoformat(since[run.run_id]) >= _GRACE:
            give_up(context.instance, run)
    context.update_cursor(json.dumps(since))
    forget_old_runs(context.instance)
    return dg.SkipReason(f"{len(since)} runs without a process")


defs: dg.Definitions = dg.Definitions(sensors=[orphans_sensor])
