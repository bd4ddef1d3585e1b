"""How a company's health was, day by day, and what made it so."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from .asking import Ask

SHOWN = ("marts.company_health_daily",)  # shown here instead of as a table like any other (tables.py)
_DAYS = 90

_HEALTH = f"""
SELECT day, health_score, health, components FROM marts.company_health_daily
WHERE company_id = $id AND day > $since -- the table lies by day
ORDER BY day DESC LIMIT {_DAYS}"""


def of_company(ask: Ask, id_: str) -> dict[str, Any] | None:
    """The newest score with its components, and those of the days before. None: it had none of late."""
    as_of = ask.as_of
    if as_of is None:
        return None
    days = ask.rows(_HEALTH, id=id_, since=as_of - timedelta(days=_DAYS))
    if not days:
        return None
    components = json.loads(days[0]["components"] or "{}")
    return {
        **days[0],
        "components": components,
        "days": [{name: row[name] for name in ("day", "health_score", "health")} for row in days],
        # In hundredths, oldest first, as sparks are drawn.
        "by_day": [round(100 * (row["health_score"] or 0)) for row in reversed(days)],
    }
