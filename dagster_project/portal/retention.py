"""Retention: of the companies that began in one week, who came back, week by week."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from .asking import Ask, View

_WEEKS = 13  # a quarter: what a page has room for
_ROWS = """
SELECT first_week, weeks_since, companies, active_companies, share, is_over FROM marts.company_retention_weekly
WHERE first_week >= $since AND weeks_since < {weeks} ORDER BY first_week DESC, weeks_since"""


def page(ask: Ask) -> View:
    ask.only()
    since = (ask.as_of or date.max) - timedelta(days=7 * 2 * _WEEKS)
    rows = ask.rows(_ROWS.format(weeks=_WEEKS), since=since)
    weeks: dict[date, list[dict[str, Any]]] = {}
    for row in rows:
        weeks.setdefault(row["first_week"], []).append(row)
    longest = max((len(cells) for cells in weeks.values()), default=0)
    shows = {"weeks": weeks, "columns": range(longest), "rows": rows}
    return View("retention.html", "Retention", shows, main="rows")
