"""CustomerSuccessBox: the day's totals of features, one call each, while the day lasts. Totals add up there.

plan = make_plan(settings)        what a push would send; asks nobody
push(settings, live=True)         send it, at most once each, and keep account of every total in ops.csb_*
"""

from __future__ import annotations

from dagster_project.destinations import Destination

from .api import MissingKey
from .planner import Plan
from .push import PushResult, make_plan, push, rehearsal

DESTINATION = Destination(
    "CustomerSuccessBox",
    """SELECT DISTINCT 'account', account_id FROM ops.csb_ledger
       WHERE state IN ('sent', 'unknown') AND account_id IN (SELECT id FROM forgotten WHERE kind = 'company')
       UNION
       SELECT DISTINCT 'user', user_id FROM ops.csb_ledger
       WHERE state IN ('sent', 'unknown') AND user_id IN (SELECT id FROM forgotten WHERE kind = 'user')""",
)

__all__ = ["DESTINATION", "MissingKey", "Plan", "PushResult", "make_plan", "push", "rehearsal"]
