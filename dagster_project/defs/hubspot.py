"""The HubSpot push as assets: the plan, and the push that carries it out.

They are part of the nightly job only where the settings say `[hubspot] live = true`; in the UI they can be
materialised at any time, and then write to HubSpot under the same condition.
"""

import dagster as dg

from dagster_project import progress
from dagster_project.settings import load_settings

from .raw import OWNERS, POOL
from .tables import PUBLISHED

GROUP = "hubspot"
_SHOWN = 50


@dg.asset(
    key=dg.AssetKey(["hubspot", "plan"]),
    deps=[PUBLISHED],
    group_name=GROUP,
    description="What a push would write: every create, and every field's old and new value. Writes nothing.",
    kinds={"hubspot"},
    owners=OWNERS,
    pool=POOL,
)
def plan(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the annotation
    """Make the plan, and show it."""
    from dagster_project.destinations import hubspot  # not needed on most nights

    try:
        made = hubspot.make_plan(load_settings(), tell=progress.tell)
    except hubspot.HubspotError as error:
        raise dg.Failure(str(error)) from error
    lines = ["| object | what | key | property | old | new |", "| --- | --- | --- | --- | --- | --- |"]
    for _, change in zip(range(_SHOWN), made.rows(), strict=False):
        cells = (change.object, change.action, change.key, change.property, change.old or "", change.new)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|")[:80] for cell in cells) + " |")
    return dg.MaterializeResult(
        metadata={
            "digest": made.digest,
            "calls": made.calls,
            "offline": made.offline,
            "changes": dg.MetadataValue.md("\n".join(lines)),
            "counts": dg.MetadataValue.json({name: vars(counts) for name, counts in made.counts.items()}),
            "left out": dg.MetadataValue.json([f"{c.object}.{c.column}: {c.reason}" for c in made.left_out]),
        }
    )


@dg.asset(
    key=dg.AssetKey(["hubspot", "push"]),
    deps=[plan],
    group_name=GROUP,
    description="What HubSpot acknowledged, refused and was not sent. Live only where the settings say so.",
    kinds={"hubspot"},
    owners=OWNERS,
    pool=POOL,
    check_specs=[
        dg.AssetCheckSpec(
            "every_column_was_sent",
            asset=dg.AssetKey(["hubspot", "push"]),
            description="Every column of the SELECTs is a property that HubSpot has and takes.",
        )
    ],
)
def push(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the annotation
    """Push, or rehearse it."""
    from dagster_project.destinations import hubspot  # not needed on most nights

    settings = load_settings()
    try:
        result = hubspot.push(settings, live=settings.hubspot.live, tell=progress.tell)
    except hubspot.HubspotError as error:
        raise dg.Failure(str(error)) from error
    progress.results["push"] = result
    if result.stopped:
        context.log.warning(result.stopped)
    return dg.MaterializeResult(
        metadata={
            "live": result.live,
            "calls": result.calls,
            "write calls": result.write_calls,
            "digest": result.digest,
            "records": dg.MetadataValue.json({name: vars(tally) for name, tally in result.objects.items()}),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="every_column_was_sent",
                passed=not result.left_out,
                metadata={
                    "left out": dg.MetadataValue.json(
                        [f"{c.object}.{c.column}: {c.reason}" for c in result.left_out]
                    )
                },
            )
        ],
    )
