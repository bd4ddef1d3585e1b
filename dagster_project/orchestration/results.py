"""What the steps of a run hand to whoever executes the job in this process: `warehouse run` shows it to people.

A resource, so that it is passed by hand. A run of the daemon gets one of its own, which nobody looks at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.pipeline.nightly import LoadResult
from dagster_project.warehouse.build import Built

if TYPE_CHECKING:  # not needed on most nights
    from dagster_project.destinations.hubspot import PushResult

RESULTS = "results"  # the resource's key


@dataclass
class Results:
    """failure: why a step failed, in full; Dagster's storage has it without what may be of a record."""

    loaded: LoadResult = field(default_factory=LoadResult)
    built: dict[str, Built] = field(default_factory=dict)
    pushed: PushResult | None = None
    failure: str | None = None


def results_of(context: dg.AssetExecutionContext) -> Results:
    results = context.resources.results
    assert isinstance(results, Results)
    return results


defs: dg.Definitions = dg.Definitions(
    resources={
        RESULTS: dg.ResourceDefinition(lambda _: Results(), description="What the steps of a run did.")
    }
)
