"""The nightly job and its schedule. The schedule is off until it is switched on in Dagster's UI."""

import dagster as dg

from dagster_project.settings import load_settings

NIGHTLY = "nightly"

nightly_job = dg.define_asset_job(
    NIGHTLY,
    selection=dg.AssetSelection.all(),
    description="Load what is new, build what follows from it, publish it.",
)

nightly_schedule = dg.ScheduleDefinition(
    name="every_night",
    job=nightly_job,
    cron_schedule=load_settings().schedule.nightly,
    execution_timezone=load_settings().schedule.timezone,
    description="The nightly run; see [schedule] in warehouse.toml.",
)
