"""Subscription updates: `raw/subscriptions/` to `raw.subscription_updates`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dagster_project.readers import json_records
from dagster_project.readers.values import id_in, no_time, time_of

from . import Owns, RawColumn, RawTable, Source
from .updates import COLUMNS, UpdateLoader

SUBSCRIPTION_UPDATES = RawTable(
    "subscription_updates",
    "Subscription updates as they came, dots in metadata keys replaced.",
    [
        *(replace(c, erases_row=c.name == "company_id") for c in COLUMNS),
        RawColumn("subscription_id", "VARCHAR", "the subscription", holds="subscription", erases_row=True),
        RawColumn("status", "VARCHAR", "as it was given; null: not given"),
        RawColumn("current_period_start", "TIMESTAMP", "UTC; null: not given, or no time"),
        RawColumn("current_period_end", "TIMESTAMP", "UTC; null: not given, or no time"),
    ],
)


class SubscriptionLoader(UpdateLoader):
    def more(self, value: dict[str, Any], repairs: list[tuple[str, str]]) -> Iterator[object]:
        yield id_in(value, "subscription_id", repairs)
        status = value.get("status")
        if status is not None and not isinstance(status, str):
            text = json.dumps(status, ensure_ascii=False, default=str)
            repairs.append(("status_not_text", text[:1000]))
        yield status if isinstance(status, str) and status.strip() else None
        for name in ("current_period_start", "current_period_end"):
            at = time_of(value.get(name))
            if at is None and value.get(name) is not None:
                repairs.append((f"{name}_bad", f"{no_time(name, value[name])}; it counts as not given"))
            yield at


SOURCE = Source(
    folder="subscriptions",
    formats=json_records.FORMATS,
    tables=[SUBSCRIPTION_UPDATES],
    loader=lambda context: SubscriptionLoader(context, SUBSCRIPTION_UPDATES, "subscription_id"),
    # Later updates of it need not name the company.
    owns=[Owns("company", "subscription", "subscription_id")],
)
