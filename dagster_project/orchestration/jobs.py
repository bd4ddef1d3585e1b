"""The nightly job, the sync beside it, and their schedules. Both are off until they are switched on in Dagster's UI."""

import dagster as dg

from dagster_project.settings import load_settings

from .customersuccessbox import GROUP as END_OF_DAY
from .hubspot import GROUP, STEP

NIGHTLY = "nightly"
SYNC = "sync"

_PUSHES = load_settings().hubspot.live
_EVERYTHING = dg.AssetSelection.all() - dg.AssetSelection.groups(
    *([END_OF_DAY] if _PUSHES else [END_OF_DAY, GROUP])
)
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

nightly_job = dg.define_asset_job(
    NIGHTLY,
    selection=_EVERYTHING,
    description="Load what is new, build what follows from it, publish it; push it where the settings say so.",
)

nightly_schedule = dg.ScheduleDefinition(
    name="every_night",
    job=nightly_job,
    cron_schedule=load_settings().schedule.nightly,
    execution_timezone=load_settings().schedule.timezone,
    description="The nightly run; see [schedule] in warehouse.toml.",
)

sync_job = dg.define_asset_job(
    SYNC,
    selection=_EVERYTHING,
    config={"ops": {STEP: {"config": {"only_if_changed": True}}}} if _PUSHES else None,
    description="What the nightly job does, during the day. Where nothing is new, it leaves HubSpot alone.",
)


@dg.schedule(
    name="during_the_day",
    job=sync_job,
    cron_schedule=load_settings().schedule.sync,
    execution_timezone=load_settings().schedule.timezone,
    description="The sync; see [schedule] in warehouse.toml.",
)
def sync_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Start a sync, unless the one before goes on still: they would only queue up behind each other."""
    if context.instance.get_runs(dg.RunsFilter(job_name=SYNC, statuses=UNFINISHED), limit=1):
        return dg.SkipReason("the sync before this one goes on still")
    return dg.RunRequest()


defs: dg.Definitions = dg.Definitions(
    jobs=[nightly_job, sync_job], schedules=[nightly_schedule, sync_schedule]
)
