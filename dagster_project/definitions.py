"""The code location that Dagster loads: everything in defs/, run in one process."""

import warnings
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    tree = dg.ComponentTree.for_project(Path(__file__).parent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        # As `dg.load_from_defs_folder` does, without a description of every component that Dagster has.
        found = tree.build_defs_at_path(Path())
    # One process: a step costs milliseconds there and a second elsewhere, and DuckDB has one writer anyway.
    return dg.Definitions.merge(
        found,
        dg.Definitions(executor=dg.in_process_executor),
    )
