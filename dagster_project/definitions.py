"""The code location that Dagster loads: what the modules of orchestration/ define, each as its `defs`, run in one process."""

from importlib import import_module
from pkgutil import iter_modules

import dagster as dg

from dagster_project import orchestration

_modules = [
    import_module(f"{orchestration.__name__}.{found.name}") for found in iter_modules(orchestration.__path__)
]

defs: dg.Definitions = dg.Definitions.merge(
    *(module.defs for module in _modules if hasattr(module, "defs")),
    # One process: a step costs milliseconds there and a second elsewhere, and DuckDB has one writer anyway.
    dg.Definitions(executor=dg.in_process_executor),
)
