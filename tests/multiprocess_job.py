"""The nightly job for those who switched to Dagster's multiprocess executor: each step in a process of its own."""

from __future__ import annotations

import dagster as dg

from dagster_project.definitions import defs


def nightly() -> dg.JobDefinition:
    switched = dg.Definitions(
        assets=defs.assets,
        asset_checks=defs.asset_checks,
        jobs=defs.jobs,
        resources=defs.resources,
        executor=dg.multiprocess_executor,
    )
    return switched.resolve_job_def("nightly")
