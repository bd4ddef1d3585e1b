"""A sensor that starts a sync when files arrived. Off until it is switched on in Dagster's UI.

It compares sizes and times, as the registry does first, and opens neither a file nor a database.
"""

import json

import dagster as dg

from dagster_project.pipeline.nightly import raw_storage
from dagster_project.settings import load_settings
from dagster_project.sources import all_sources
from dagster_project.warehouse import discovery

from .jobs import NIGHTLY, SYNC, UNFINISHED, sync_job


@dg.sensor(
    name="new_files",
    job=sync_job,
    minimum_interval_seconds=load_settings().schedule.new_files_seconds,
    description="Starts a sync when files below raw/ came, changed or went; see [schedule] in warehouse.toml.",
)
def new_files_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Start a sync for what lies there now, once it has not changed between two looks and no run is to come."""
    folders = [source.as_folder for source in all_sources()]
    now = discovery.fingerprint(raw_storage(load_settings()), folders)
    before = json.loads(context.cursor) if context.cursor else {}
    if now == before.get("started"):
        return dg.SkipReason("nothing new")
    if now != before.get("seen"):
        context.update_cursor(json.dumps({**before, "seen": now}))
        return dg.SkipReason("files came or are being written; started when they keep still")
    for job in (NIGHTLY, SYNC):
        waiting = dg.RunsFilter(job_name=job, statuses=UNFINISHED)
        if context.instance.get_runs(waiting, limit=1):
            return dg.SkipReason("a run goes on; what came meanwhile is looked at after it")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=now)], cursor=json.dumps({"seen": now, "started": now})
    )


defs: dg.Definitions = dg.Definitions(sensors=[new_files_sensor])
