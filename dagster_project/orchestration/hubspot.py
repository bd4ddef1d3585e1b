"""The HubSpot push as assets: the account's properties, the plan, and the push that carries it out.

They are part of the jobs only where the settings say `[hubspot] live = true`; in the UI they can be materialised at
any time, and a push then writes to HubSpot under the same condition.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.settings import Settings, load_settings
from dagster_project.warehouse.database import open_published

from .markdown import markdown_table
from .raw import OWNERS, POOL
from .results import RESULTS, Results, results_of
from .steps import explained, failed, without_values
from .tables import PUBLISHED

if TYPE_CHECKING:  # not needed on most nights
    from dagster_project.destinations import hubspot

GROUP = "hubspot"
STEP = "push_to_hubspot"
PROPERTIES, PLAN, PUSH = (dg.AssetKey([GROUP, name]) for name in ("properties", "plan", "push"))
_SHOWN, _LONGEST = 50, 200  # rows of a table, characters of a cell
_ALL_SENT, _FINISHED = "every_column_was_sent", "nothing_was_left_open"
_FEW_REFUSED = "few_records_were_refused"

Result = dg.MaterializeResult[Any]


class PushConfig(dg.Config):
    """only_if_changed: leave HubSpot alone where nothing changed since the last push, and that one ended well."""

    only_if_changed: bool = False


def _specs() -> list[dg.AssetSpec]:
    # Made here: Dagster would take a spec that lies about in a module for another asset.
    def spec(key: dg.AssetKey, after: dg.AssetKey, description: str) -> dg.AssetSpec:
        return dg.AssetSpec(
            key,
            deps=[after],
            description=description,
            group_name=GROUP,
            kinds={"hubspot"},
            owners=OWNERS,
            skippable=True,
        )

    return [
        spec(PROPERTIES, PUBLISHED, "The properties of the HubSpot account, as `ops.hubspot_properties`."),
        spec(
            PLAN,
            PROPERTIES,
            "What a push would write, in numbers. `warehouse plan` shows every field's old and new value.",
        ),
        spec(
            PUSH, PLAN, "What HubSpot acknowledged, refused and was not sent. Live where the settings say so."
        ),
    ]


@dg.multi_asset(
    name=STEP,
    specs=_specs(),
    check_specs=[
        dg.AssetCheckSpec(
            _ALL_SENT,
            asset=PUSH,
            description="Every column of the SELECTs is a property that HubSpot has and takes.",
        ),
        dg.AssetCheckSpec(
            _FINISHED,
            asset=PUSH,
            description="The push came to its end (no daily limit, no outage), and HubSpot said of every record what "
            "became of it.",
        ),
        dg.AssetCheckSpec(
            _FEW_REFUSED,
            asset=PUSH,
            description="HubSpot refuses no more than the share of the records that the settings allow "
            "([hubspot] refused_share), with those that an earlier refusal holds back.",
        ),
    ],
    can_subset=True,
    pool=POOL,
    required_resource_keys={RESULTS},
)
def hubspot_push(
    context: dg.AssetExecutionContext, config: PushConfig
) -> Iterator[dg.MaterializeResult[Any]]:
    """Load the properties, make the plan, carry it out. In one step: HubSpot is asked once for all three."""
    from dagster_project.destinations import hubspot
    from dagster_project.destinations.parts.errors import DestinationError

    settings, wanted, results = load_settings(), context.selected_asset_keys, results_of(context)
    with explained(context, results):
        if config.only_if_changed and hubspot.is_up_to_date(settings):
            context.log.info("nothing changed since the last push; HubSpot was not asked")
            return
        try:
            if PUSH in wanted and settings.hubspot.live:
                yield from _pushed(context, settings, results)
            else:
                yield from _looked_at(context, settings)
        except DestinationError as error:
            raise failed(context, results, str(error), without_values(str(error))) from None


def _pushed(context: dg.AssetExecutionContext, settings: Settings, results: Results) -> Iterator[Result]:
    from dagster_project.destinations import hubspot

    plans: list[Result] = []
    result = hubspot.push(settings, live=True, show=lambda plan: plans.append(_plan_result(plan)))
    results.pushed = result
    if PROPERTIES in context.selected_asset_keys:
        yield _properties_result(settings)
    if PLAN in context.selected_asset_keys:
        yield from plans
    yield _push_result(settings, result)


def _looked_at(context: dg.AssetExecutionContext, settings: Settings) -> Iterator[Result]:
    """All but a live push; without a token, as far as that goes."""
    from dagster_project.destinations import hubspot

    wanted = context.selected_asset_keys
    if PROPERTIES in wanted:
        try:
            hubspot.load_fields(settings)
            yield _properties_result(settings)
        except hubspot.MissingToken as error:
            if len(wanted) == 1:
                raise
            context.log.warning(str(error))
    if wanted & {PLAN, PUSH}:
        plan = hubspot.make_plan(settings)
        if plan.offline:
            context.log.warning(f"this is the offline part of the plan only: {hubspot.MissingToken()}")
        if PLAN in wanted:
            yield _plan_result(plan)
        if PUSH in wanted:
            context.log.info("a rehearsal, as [hubspot] live is false: nothing was written to HubSpot")
            yield _push_result(settings, hubspot.rehearsal(plan))


def _properties_result(settings: Settings) -> Result:
    """How many there are, and those that the SELECTs may write to."""
    with open_published(settings) as connection:
        counts = connection.execute(
            "SELECT object, count(*) FROM ops.hubspot_properties GROUP BY 1 ORDER BY 1"
        ).fetchall()
        ours = connection.execute(
            f"""
            SELECT object, name, label, type, field_type, is_writable FROM ops.hubspot_properties
            ORDER BY group_name <> 'api_analytics', object, name LIMIT {_SHOWN}"""
        ).fetchall()
    shown = markdown_table(("object", "property", "label", "type", "field type", "writable"), ours)
    return dg.MaterializeResult(
        PROPERTIES,
        metadata={
            "dagster/row_count": sum(number for _, number in counts),
            **{f"properties of {name}": number for name, number in counts},
            "properties": dg.MetadataValue.md(shown),
        },
    )


def _plan_result(plan: "hubspot.Plan") -> Result:
    counts = ("creates", "updates", "unchanged", "held_back", "skipped", "rejected", "calls")
    return dg.MaterializeResult(
        PLAN,
        metadata={
            "digest": plan.digest,
            "write calls": plan.calls,
            "offline": plan.offline,
            "records": dg.MetadataValue.md(
                markdown_table(
                    ("object", *counts),
                    ((o, *(getattr(c, name) for name in counts)) for o, c in plan.counts.items()),
                )
            ),
            **_counted(
                "changes",
                ("object", "what", "property"),
                ((c.object, c.action, c.property) for c in plan.rows()),
            ),
            **_counted("skipped", ("object", "reason"), ((s.object, s.reason) for s in plan.skips)),
            **_counted("refused", ("object", "property", "code"), ((r[0], r[3], r[5]) for r in plan.refused)),
            **_some(
                "lists",
                ("object", "list", "added", "removed"),
                ((one.object, one.name, one.added, one.removed) for one in plan.lists),
            ),
            **_left_out(plan.left_out),
        },
    )


def _push_result(settings: Settings, result: "hubspot.PushResult") -> Result:
    counts = (
        "planned",
        "acknowledged",
        "created",
        "updated",
        "unchanged",
        "held_back",
        "skipped",
        "rejected",
    )
    metadata: dict[str, Any] = {
        "live": result.live,
        "digest": result.digest,
        "calls": result.calls,
        "write calls": result.write_calls,
        **{name: getattr(result.total, name) for name in counts},
        "unknown": result.unknown,
        "records": dg.MetadataValue.md(
            markdown_table(
                ("object", *counts),
                ((o, *(getattr(t, name) for name in counts)) for o, t in result.objects.items()),
            )
        ),
        **_left_out(result.left_out),
    }
    if result.stopped:
        metadata["stopped"] = without_values(result.stopped)
    if result.live:
        with open_published(settings) as connection:
            for table, title, columns in (
                ("hubspot_rejects", "rejected values", ("object", "property", "code")),
                ("hubspot_skips", "skipped records", ("object", "reason")),
            ):
                rows = connection.execute(
                    f"SELECT {', '.join(columns)}, count(*) FROM ops.{table} GROUP BY ALL ORDER BY ALL LIMIT {_SHOWN}"
                ).fetchall()
                metadata |= _some(title, (*columns, "number"), rows)
    return dg.MaterializeResult(
        PUSH,
        metadata=metadata,
        check_results=[
            dg.AssetCheckResult(
                check_name=_ALL_SENT, passed=not result.left_out, metadata=_left_out(result.left_out)
            ),
            dg.AssetCheckResult(
                check_name=_FINISHED,
                passed=not (result.stopped or result.unknown),
                metadata={
                    **({"stopped": without_values(result.stopped)} if result.stopped else {}),
                    **({"records of unknown outcome": result.unknown} if result.unknown else {}),
                },
            ),
            _few_refused(settings, result),
        ],
    )


def _few_refused(settings: Settings, result: "hubspot.PushResult") -> dg.AssetCheckResult:
    total = result.total
    refused, all_ = total.rejected + total.held_back, total.planned + total.held_back
    return dg.AssetCheckResult(
        check_name=_FEW_REFUSED,
        passed=refused <= settings.hubspot.refused_share * all_,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "refused": total.rejected,
            "held back": total.held_back,
            "records": all_,
        },
    )


def _some(title: str, columns: tuple[str, ...], rows: Any) -> dict[str, Any]:
    """The first rows as a table; nothing where there are none."""
    shown = [row for _, row in zip(range(_SHOWN), rows, strict=False)]
    if not shown:
        return {}
    name = title if len(shown) < _SHOWN else f"{title} (the first {_SHOWN})"
    return {name: dg.MetadataValue.md(markdown_table(columns, shown, _LONGEST))}


def _counted(title: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """How many of each kind there are: whose they are is not for Dagster's storage."""
    counts = sorted(Counter(rows).items(), key=str)
    return _some(title, (*columns, "number"), ((*kind, number) for kind, number in counts))


def _left_out(columns: "list[hubspot.LeftOut]") -> dict[str, Any]:
    return _some(
        "left out",
        ("object", "column", "reason"),
        ((c.object, c.column, without_values(c.reason)) for c in columns),
    )


defs: dg.Definitions = dg.Definitions(assets=[hubspot_push])
