"""The time that a page looks back over, and what it charts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from dagster_project.rendering import charts
from dagster_project.rendering.charts import Chart, Series

from .asking import Ask

SPANS = {"30": "30 days", "90": "90 days", "365": "a year"}
_COLOURS = 7


def last_day(ask: Ask) -> date:
    """The day at whose end all windows end."""
    return ask.as_of or datetime.now(UTC).date()


def window(ask: Ask) -> tuple[str, date, date]:
    """The time that an address asks for, and its first and last day."""
    span = ask.choice("days", tuple(SPANS), "30")
    last = last_day(ask)
    return span, last - timedelta(days=int(span) - 1), last


def calls_by_end(rows: list[dict[str, Any]]) -> list[Series]:
    """Daily calls, by how they ended."""
    return [
        Series(
            "without error", "c0", {r["day"]: r["calls"] - r["errors_4xx"] - r["errors_5xx"] for r in rows}
        ),
        Series("4xx", "warn", {r["day"]: r["errors_4xx"] for r in rows}),
        Series("5xx", "bad", {r["day"]: r["errors_5xx"] for r in rows}),
    ]


def by_name(
    title: str,
    rows: list[dict[str, Any]],
    first: date,
    last: date,
    together: Callable[[Iterable[int]], int] = sum,
) -> Chart:
    """Daily totals by name: those with most have a colour each, all others are together."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["name"]] = totals.get(row["name"], 0) + row["total"]
    names = sorted(totals, key=lambda name: (-totals[name], name))
    alone = names if len(names) <= _COLOURS else names[: _COLOURS - 1]
    labels = [name or "(none)" for name in alone] + [f"{len(names) - len(alone)} others"]
    place = {name: min(i, len(alone)) for i, name in enumerate(names)}
    values: list[dict[date, int]] = [{} for _ in range(min(len(names), len(alone) + 1))]
    for row in rows:
        days = values[place[row["name"]]]
        days[row["day"]] = days.get(row["day"], 0) + row["total"]
    series = [Series(labels[i], f"c{i}", days) for i, days in enumerate(values)]
    return charts.stacked(title, first, last, series, together)
