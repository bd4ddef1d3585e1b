"""The nightly job and its schedule. The schedule is off until it is switched on in Dagster's UI."""

import dagster as dg

from dagster_project.settings import load_settings

from .hubspot import GROUP

NIGHTLY = "nightly"

nightly_job = dg.define_asset_job(
    NIGHTLY,
    selection=dg.AssetSelection.all()
    if load_settings().hubspot.live
    else dg.AssetSelection.all() - dg.AssetSelection.groups(GROUP),
    description="Load what is new, build what follows from it, publish it; push it where the settings say so.",
)

nightly_schedule = dg.ScheduleDefinition(
    name="every_night",
    job=nightly_job,
    cron_schedule=load_settings().schedule.nightly,
    execution_timezone=load_settings().schedule.timezone,
    description="The nightly run; see [schedule] in warehouse.toml.",
)
