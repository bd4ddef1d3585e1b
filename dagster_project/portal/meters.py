"""What was used of each meter: of all companies, and of one, with its subscriptions and what moved after a period closed."""

from __future__ import annotations

from typing import Any

from .asking import Ask
from .listing import Listing

_ROWS = 24  # periods, two years of months, on a company's page; the rest is counted

# The cohorts near_quota and over_quota ask for the same shares (sql/cohorts/).
_STATE = """CASE WHEN quota IS NULL THEN 'no quota' WHEN quantity > quota THEN 'over' WHEN quantity >= 0.8 * quota THEN 'near'
            ELSE 'within' END"""

METERS = Listing(
    title="Meters",
    about="What each company used of each meter in sql/meters/, by the periods of its subscriptions, or by calendar month, "
    "and how much of its quota that is. Who used most of it comes first. Near is four fifths or more.",
    query=f"""SELECT company_id, meter, CASE WHEN is_closed THEN 'closed' ELSE 'goes on' END AS period, period_start, period_end,
                    quantity AS used, quota, share, {_STATE} AS state, subscription_id
             FROM marts.meter_usage""",
    looks={"meter": "words", "subscription_id": "code"},
    order="period DESC, share DESC NULLS LAST, used DESC, meter, company_id, period_start DESC, subscription_id",
    facets=("period", "state", "meter"),
    labels={"period_start": "from", "period_end": "to", "share": "share of it", "state": "against the quota"},
    choices={"period": ["goes on", "closed"], "state": ["over", "near", "within", "no quota"]},
    narrows=("company_id",),
)
ADJUSTMENTS = Listing(
    title="Closed periods that moved",
    about="What was used in a period that was over already is another figure now: files that came late, claims that came late, "
    "withdrawals (reason: usage), or the period was told anew (reason: period). Newest first.",
    query="""SELECT found_at, company_id, meter, period_start, period_end, quantity_before, quantity_after,
                    CAST(quantity_after AS HUGEINT) - quantity_before AS moved, reason, subscription_id, run
             FROM ops.meter_adjustments""",
    looks={"meter": "words", "subscription_id": "code"},
    order="found_at DESC, company_id, meter, period_start, subscription_id, run",
    facets=("meter", "reason"),
    labels={"period_start": "from", "period_end": "to", "quantity_before": "was", "quantity_after": "is"},
    narrows=("company_id",),
)

# What is shown here instead of as a table like any other (tables.py).
SHOWN = ("marts.meter_usage", "ops.meter_adjustments", "marts.subscriptions")

_PERIODS = f"""
SELECT meter, subscription_id, period_start, period_end, quantity, quota, share, is_closed, {_STATE} AS state,
       count(*) OVER () AS of
FROM marts.meter_usage WHERE company_id = $id
ORDER BY is_closed, period_start DESC, meter, subscription_id LIMIT {_ROWS}"""

_MOVED = f"""
SELECT found_at, meter, subscription_id, period_start, quantity_before, quantity_after, reason, count(*) OVER () AS of
FROM ops.meter_adjustments WHERE company_id = $id
ORDER BY found_at DESC, meter, period_start, subscription_id LIMIT {_ROWS}"""

_SUBSCRIPTIONS = f"""
SELECT subscription_id, status, current_period_start, current_period_end, metadata, count(*) OVER () AS of
FROM marts.subscriptions WHERE company_id = $id ORDER BY current_period_start DESC NULLS LAST, subscription_id LIMIT {_ROWS}"""


def of_company(ask: Ask, id_: str) -> dict[str, list[dict[str, Any]]]:
    return {
        "subscriptions": ask.rows(_SUBSCRIPTIONS, id=id_),
        "periods": ask.rows(_PERIODS, id=id_),
        "moved": ask.rows(_MOVED, id=id_),
    }
