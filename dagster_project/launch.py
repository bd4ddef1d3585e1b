"""Launches the nightly job from the command line, so that it is recorded like any other run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from dagster_project import progress
from dagster_project.nightly import LoadResult, Tell
from dagster_project.settings import Settings, project_root
from dagster_project.warehouse.build import Built

_INSTANCE = """\
# Made by `warehouse run`; yours to change. Dagster's own storage lies in this folder.
telemetry:
  enabled: false
concurrency:
  pools:
    granularity: run
    default_limit: 1        # DuckDB has one writer
run_monitoring:
  enabled: true
  max_runtime_seconds: 21600
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days: {skipped: 7, failure: 30, success: 90}
"""


@dataclass
class Outcome:
    """What a run came to. failure: why it failed, for people; None: it went well."""

    run_id: str
    failure: str | None = None
    loaded: LoadResult = field(default_factory=LoadResult)
    built: dict[str, Built] = field(default_factory=dict)


def prepare_dagster_home(settings: Settings) -> None:
    """Dagster's storage lies in <data>/dagster unless DAGSTER_HOME says otherwise."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").write_text(_INSTANCE, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)


def nightly(settings: Settings, *, as_of: date | None, full: bool, tell: Tell) -> Outcome:
    """Run the nightly job in this process and wait for it."""
    tell("starting Dagster")
    prepare_dagster_home(settings)
    import dagster as dg

    from dagster_project.definitions import defs

    config: dict[str, Any] = {
        "ops": {
            "load_raw_files": {"config": {"full": full}},
            "build_tables": {"config": {"as_of": as_of.isoformat() if as_of else None}},
        },
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    progress.listener = tell
    progress.results.clear()
    try:
        with dg.DagsterInstance.get() as instance:
            job = defs().resolve_job_def("nightly")
            result = job.execute_in_process(
                run_config=config,
                instance=instance,
                raise_on_error=False,
                tags={"launched_by": "warehouse run"},
            )
    finally:
        progress.listener = None
    outcome = Outcome(
        result.run_id,
        loaded=progress.results.get("load", LoadResult()),
        built=progress.results.get("build", {}),
    )
    if not result.success:
        outcome.failure = (
            _reason(result) + f"\nRun {result.run_id} in Dagster's UI (`make ui`) has the whole log."
        )
    return outcome


def user_interface(settings: Settings, options: Sequence[str]) -> int:
    """Dagster's UI and daemon until they are stopped. Returns the exit status."""
    prepare_dagster_home(settings)
    return subprocess.call([str(Path(sys.executable).with_name("dg")), "dev", *options], cwd=project_root())


def _reason(result: Any) -> str:
    """Why the first step failed, in the words of its error."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return str(data.user_failure_data.description)
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            return str(error.message).strip() if error is not None else "a step failed"
    return "the run did not start"
