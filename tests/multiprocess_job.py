"""The nightly job for those who switched to Dagster's multiprocess executor: each step in a process of its own."""

from __future__ import annotations

import dagster as dg

import dagster_project


def nightly() -> dg.JobDefinition:
    from pathlib import Path

    found = dg.load_from_defs_folder(path_within_project=Path(dagster_project.__file__).parent)
    return dg.Definitions.merge(found, dg.Definitions(executor=dg.multiprocess_executor)).resolve_job_def(
        "nightly"
    )
