"""Dagster's record of runs, which grows by a megabyte a night and is not cut short by itself."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from dagster_project.settings import load_settings

_AT_ONCE = 20  # removing one takes some milliseconds
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def forget_old_runs(instance: dg.DagsterInstance) -> int:
    """Remove finished runs that are older than the settings say, the oldest first; never the last one.

    Returns how many. What Dagster knows of an asset's newest state stays. SQLite uses their room again.
    """
    days = load_settings().schedule.keep_runs_days
    if not days:
        return 0
    before = datetime.now(UTC) - timedelta(days=days)
    old = instance.get_runs(
        dg.RunsFilter(statuses=_FINISHED, created_before=before), limit=_AT_ONCE, ascending=True
    )
    last = {run.run_id for run in instance.get_runs(limit=1)}
    gone = [run.run_id for run in old if run.run_id not in last]
    for run_id in gone:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    return len(gone)
