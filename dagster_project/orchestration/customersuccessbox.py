"""The push to CustomerSuccessBox as an asset, the job that loads, builds and then sends, and its schedule (off until it is
switched on). It is part of no other job: a day's totals go once, at its end.

It sends only where the settings say `[customersuccessbox] live = true`; else it is a rehearsal.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.settings import load_settings

from .hubspot import GROUP as HUBSPOT
from .raw import OWNERS, POOL
from .results import RESULTS, results_of
from .steps import explained, failed, without_values
from .tables import PUBLISHED

GROUP = "customersuccessbox"
PUSH = dg.AssetKey([GROUP, "push"])
END_OF_DAY = "end_of_day"
_ALL_SENT = "every_total_was_sent"


@dg.multi_asset(
    name="push_to_customersuccessbox",
    specs=[
        dg.AssetSpec(
            PUSH,
            deps=[PUBLISHED],
            description="The day's totals of features, told to CustomerSuccessBox. Live where the settings say so.",
            group_name=GROUP,
            kinds={"customersuccessbox"},
            owners=OWNERS,
        )
    ],
    check_specs=[
        dg.AssetCheckSpec(
            _ALL_SENT,
            asset=PUSH,
            description="The push came to its end while the day lasted, and of every total it is known whether it arrived.",
        )
    ],
    pool=POOL,
    required_resource_keys={RESULTS},
)
def push_to_customersuccessbox(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    from dagster_project.destinations import customersuccessbox
    from dagster_project.destinations.parts.errors import DestinationError

    settings, results = load_settings(), results_of(context)
    with explained(context, results):
        try:
            result = customersuccessbox.push(settings, live=settings.customersuccessbox.live)
        except DestinationError as error:
            raise failed(context, results, str(error), without_values(str(error))) from None
    if not result.live:
        context.log.info("a rehearsal, as [customersuccessbox] live is false: nothing was sent")
    names = ("planned", "sent", "unknown", "refused", "day_over", "not_reached", "calls")
    metadata: dict[str, Any] = {
        "live": result.live,
        "digest": result.digest,
        **{name.replace("_", " "): getattr(result, name) for name in names},
    }
    if result.stopped:
        metadata["stopped"] = without_values(result.stopped)
    yield dg.MaterializeResult(
        PUSH,
        metadata=metadata,
        check_results=[dg.AssetCheckResult(check_name=_ALL_SENT, passed=not result.exit_status)],
    )


end_of_day_job = dg.define_asset_job(
    END_OF_DAY,
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups(HUBSPOT),
    description="Load what is new, build and publish, and tell CustomerSuccessBox the day's totals while the day lasts.",
)

end_of_day_schedule = dg.ScheduleDefinition(
    name="at_the_end_of_the_day",
    job=end_of_day_job,
    cron_schedule=load_settings().customersuccessbox.end_of_day,
    execution_timezone="UTC",
    description="CustomerSuccessBox's day is a GMT day; see [customersuccessbox] in warehouse.toml.",
)

defs: dg.Definitions = dg.Definitions(
    assets=[push_to_customersuccessbox], jobs=[end_of_day_job], schedules=[end_of_day_schedule]
)
