"""Feature-usage events of a day, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from .actions import is_absent
from .companies import LONG_FEATURE, Plan, Record, is_weekend
from .records import moment_of, node_time, random_id

# product, module, feature
FEATURES = (
    ("Console", "Parcels", "Parcel Created"), ("Console", "Parcels", "Parcel Searched"),
    ("Console", "Parcels", "Label Printed"), ("Console", "Parcels", "Bulk Upload"),
    ("Console", "Billing", "Invoice Opened"), ("Console", "Billing", "Card Changed"),
    ("Console", "Billing", LONG_FEATURE), ("Console", "Team", "Member Invited"),
    ("Console", "Team", "Role Changed"), ("Console", "Reports", "Report Built"),
    ("Console", "Reports", "Report Shared"), ("Tracking", "Map", "Map Opened"),
    ("Tracking", "Map", "Ruta guardada — última"), ("Tracking", "Alerts", "Alert Created"),
    ("Tracking", "Alerts", "Alert Snoozed"), ("Tracking", None, "App Opened"),
)  # fmt: skip
FEATURE_COLUMNS = (
    "account_id", "user_id", "product_id", "module_id", "feature_id", "total", "timestamp", "event_id"
)  # fmt: skip
_ABSENT = object()
_TOTALS = (1, 1, 1, 1, 2, 3, 5, 10, 12, _ABSENT, None, 0, "7", 5.0)


def features_of_day(plan: Plan, index: int) -> list[Record]:
    """Feature events as csb-node sends them, with the odd totals that callers give."""
    rng = plan.rng("features", index)
    day = plan.days[index]
    events = []
    for company in plan.companies:
        if is_absent(plan, company, index):
            continue
        for _ in range(1 if is_weekend(day) else rng.randrange(2, 6)):
            product, module, feature = rng.choice(FEATURES)
            event: Record = {"account_id": company.id, "user_id": rng.choice(company.users).id}
            event["product_id"] = product
            if module is not None:
                event["module_id"] = module
            event["feature_id"] = feature
            total = rng.choice(_TOTALS)
            if total is not _ABSENT:
                event["total"] = total
            event["type"] = "feature"
            event["timestamp"] = node_time(moment_of(day, rng.uniform(0, 86_399)))
            if rng.random() < 0.2:
                event["event_id"] = random_id(rng)
            events.append(event)
    return events


def csv_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[bytes]:
    """A header and rows as CSV, a line each (a quoted cell may hold a line break of its own)."""
    lines = []
    for row in (header, *rows):
        cell = io.StringIO()
        csv.writer(cell, lineterminator="").writerow(row)
        lines.append(cell.getvalue().encode())
    return lines


def feature_rows(events: Sequence[Record]) -> list[list[str]]:
    rows = []
    for n, event in enumerate(events):
        row = []
        for name in FEATURE_COLUMNS:
            value = event.get(name)
            # An export knows whole numbers only.
            row.append("" if value is None else str(int(value)) if name == "total" else str(value))
        if n % 3 == 0:  # some exports write a blank in place of the T
            row[6] = row[6].replace("T", " ")
        rows.append(row)
    return rows
