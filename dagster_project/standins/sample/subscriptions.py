"""Subscription updates: what billing knew on the first day, and what changed since.

Their quota is the one that the company's own metadata has where the subscription's does not say another; so both places
are used. Two companies have no subscription: what they use is metered by calendar months.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from .companies import (
    BLOCKED,
    BROKEN_ENDPOINT,
    CRM_TWIN,
    DAY_BILLED,
    DAY_IDLE_SIGNUP,
    DAY_NEW,
    DAY_QUIET,
    GONE_QUIET,
    INTEGER_ID,
    LATE_COMPANY_CLAIM,
    LATE_USER_CLAIM,
    MOVED_USER_TO,
    NEVER_CALLED,
    NEW_COMPANY,
    QUOTA_NEAR,
    QUOTA_OVER,
    SAMPLED,
    SHARED_TOKEN_FIRST,
    Plan,
    Record,
)
from .records import moment_of, node_json, node_time

_MONTH = timedelta(days=30)
_OUTGROWN = 200  # calls a month: fewer than it makes


def _update(
    plan: Plan, told: date, company_id: str, status: str | None, since: date, days: int, /, **metadata: Any
) -> Record:
    """One update, told on a day, of a period of so many days."""
    slug = "4217" if company_id == INTEGER_ID else company_id.removeprefix("cmp_")
    return {
        "subscription_id": f"sub_{slug}",
        "company_id": plan.company(company_id).json_id,
        "status": status,
        "current_period_start": node_time(moment_of(since, 0)),
        "current_period_end": node_time(moment_of(since + timedelta(days=days), 0)),
        "modified_time": node_time(moment_of(told, 300)),
        "metadata": metadata,
    }


def subscriptions_on_the_first_day(plan: Plan) -> list[Record]:
    """Periods of all lengths; those of the late claims and of the late file end within the fortnight."""
    first = plan.days[0]
    billed = plan.days[plan.at(DAY_BILLED)]  # the first day of the next period of many

    def update(company_id: str, status: str, since: date, days: int, /, **metadata: Any) -> Record:
        return _update(plan, first, company_id, status, since, days, **metadata)

    near = round(plan.total_calls(QUOTA_NEAR) / 0.93)
    month = first - timedelta(days=7)
    return [
        update(QUOTA_NEAR, "active", month, 30, plan="Growth", quota_calls=near, renews=True),
        update(QUOTA_OVER, "active", month, 30, plan="Growth", renews=True),
        update(GONE_QUIET, "active", month, 30, plan="Growth", renews=True),
        update(BLOCKED, "past_due", month, 30, plan="Growth", quota_calls=20_000, renews=True),
        update(MOVED_USER_TO, "active", month, 30, plan="Free", quota_calls=_OUTGROWN, renews=True),
        update(BROKEN_ENDPOINT, "active", month, 30, plan="Scale", quota_feature_total=600, renews=True),
        update(SAMPLED, "active", first - timedelta(days=250), 365, plan="Scale", quota_calls=250_000),
        update(SHARED_TOKEN_FIRST, "active", first - timedelta(days=100), 365, plan="Scale", renews=True),
        *(
            update(company_id, "active", billed - _MONTH, 30, plan=plan_name, quota_calls=quota, renews=True)
            for company_id, plan_name, quota in (
                (CRM_TWIN, "Growth", 20_000),
                (LATE_COMPANY_CLAIM, "Scale", 250_000),
                (LATE_USER_CLAIM, "Growth", 20_000),
                (INTEGER_ID, "Growth", 20_000),
            )
        ),
    ]


def subscription_updates_of_day(plan: Plan, index: int) -> list[bytes]:
    """Renewals, two trials (one becomes a customer), one who takes a larger plan, and one who leaves."""
    day = plan.days[index]
    updates: list[Record] = []

    def tell(company_id: str, status: str, since: date, days: int, /, **metadata: Any) -> None:
        updates.append(_update(plan, day, company_id, status, since, days, **metadata))

    if index == plan.at(DAY_BILLED):
        for company_id in (CRM_TWIN, LATE_COMPANY_CLAIM, LATE_USER_CLAIM, INTEGER_ID):
            tell(company_id, "active", day, 30)
    trial = plan.days[plan.at(DAY_NEW)]
    if index == plan.at(DAY_NEW):
        tell(NEW_COMPANY, "trialing", day, 7, plan="Free", quota_calls=1_000, renews=False)
    if index == plan.at(DAY_NEW) + 7:
        tell(
            NEW_COMPANY,
            "active",
            trial + timedelta(days=7),
            30,
            plan="Growth",
            quota_calls=20_000,
            renews=True,
        )
    if index == plan.at(DAY_IDLE_SIGNUP):
        tell(NEVER_CALLED, "trialing", day, 14, plan="Free", quota_calls=1_000, renews=False)
    if index == len(plan.days) - 1:
        # It has used more than its quota for days, and takes the next plan: an alert that closes.
        tell(MOVED_USER_TO, "active", plan.days[0] - timedelta(days=7), 30, plan="Growth", quota_calls=20_000)
    if index == plan.at(DAY_QUIET) + 3:
        # It need not say again what it said before.
        updates.append(
            {
                "subscription_id": f"sub_{GONE_QUIET.removeprefix('cmp_')}",
                "status": "canceled",
                "modified_time": node_time(moment_of(day, 32_000)),
                "metadata": {"renews": False, "canceled.reason": "project ended"},
            }
        )
    return [node_json(update) for update in updates]
