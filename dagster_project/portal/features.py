"""Features: how much each is used, by how many, and which names hit the limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from . import trends
from .asking import Ask, NotHere, View
from .spans import SPANS, by_name, window

_ROWS = 300

# total_before: over as many days before as those that are shown.
_FEATURES = """
WITH shown AS (
    SELECT feature_id, module_id, product_id, CAST(sum(total) AS BIGINT) AS total, count(DISTINCT account_id) AS companies,
           count(DISTINCT user_id) AS users, max(last_at) AS last_at
    FROM marts.daily_feature_totals WHERE day BETWEEN $first AND $last GROUP BY ALL
), earlier AS (
    SELECT feature_id, module_id, product_id, CAST(sum(total) AS BIGINT) AS total_before
    FROM marts.daily_feature_totals WHERE day >= $earlier AND day < $first GROUP BY ALL
)
SELECT s.feature_id, s.module_id, s.product_id, s.total, coalesce(e.total_before, 0) AS total_before, s.companies, s.users,
       s.last_at, count(*) OVER () AS of
FROM shown AS s
LEFT JOIN earlier AS e ON e.feature_id = s.feature_id AND e.module_id = s.module_id AND e.product_id = s.product_id
ORDER BY s.companies DESC, s.total DESC, 1, 2, 3 LIMIT {rows}"""

# What each was used in each thirtieth of the time: as much as a line in a list can show.
_PARTS = """
SELECT feature_id, module_id, product_id, CAST(date_diff('day', $first::DATE, day) * 30 // $days AS INTEGER) AS part,
       CAST(sum(total) AS BIGINT) AS total
FROM marts.daily_feature_totals WHERE day BETWEEN $first AND $last GROUP BY ALL"""

_USING = """
SELECT count(DISTINCT account_id) AS companies, CAST(coalesce(sum(total), 0) AS BIGINT) AS total
FROM marts.daily_feature_totals WHERE day BETWEEN $first AND $last"""

_TRACKED = """
SELECT count(DISTINCT feature_id) AS features, count(DISTINCT nullif(module_id, '')) AS modules
FROM marts.daily_feature_totals"""

_DAILY = """
SELECT day, module_id AS name, CAST(sum(total) AS BIGINT) AS total
FROM marts.daily_feature_totals WHERE day BETWEEN $first AND $last GROUP BY ALL"""

# The names are in the rejected records' text; those that are cut off or no JSON name none.
_OVER = """
SELECT reason, CASE WHEN json_valid(raw) THEN left(raw ->> replace(reason, '_limit', '_id'), 64) END AS name,
       count(*) AS records
FROM ops.rejects WHERE reason IN ('feature_limit', 'module_limit')
GROUP BY 1, 2 ORDER BY records DESC, 1, 2 LIMIT 100"""

_ONE_DAILY = """
SELECT day, CASE WHEN module_id = '' THEN product_id ELSE module_id END AS name, CAST(sum(total) AS BIGINT) AS total
FROM marts.daily_feature_totals WHERE feature_id = $feature AND day BETWEEN $first AND $last GROUP BY ALL"""

_ONE_BY_COMPANY = """
SELECT f.account_id AS company_id, any_value(p.company_name) AS company_name, CAST(sum(f.total) AS BIGINT) AS total,
       count(DISTINCT f.user_id) AS users, max(f.last_at) AS last_at, count(*) OVER () AS of
FROM marts.daily_feature_totals AS f
LEFT JOIN marts.company_profiles AS p ON p.company_id = f.account_id
WHERE f.feature_id = $feature AND f.day BETWEEN $first AND $last
GROUP BY 1 ORDER BY total DESC, 1 LIMIT {rows}"""


# Companies that were there in this time (a call, an action, a feature) without using it.
_WITHOUT = """
WITH used AS (
    SELECT account_id, max(last_at) FILTER (WHERE day < $first) AS last_used_at,
           count(*) FILTER (WHERE day BETWEEN $first AND $last) AS uses
    FROM marts.daily_feature_totals WHERE feature_id = $feature AND day <= $last GROUP BY 1
)
SELECT p.company_id, p.company_name, p.calls_30d, p.features_used_30d, p.last_seen_at, u.last_used_at,
       count(*) OVER () AS of
FROM marts.company_profiles AS p LEFT JOIN used AS u ON u.account_id = p.company_id
WHERE coalesce(u.uses, 0) = 0 AND (u.last_used_at IS NOT NULL OR p.last_seen_at >= $first)
  AND (u.last_used_at IS NOT NULL) = $before
ORDER BY u.last_used_at DESC NULLS LAST, p.calls_30d DESC, p.company_id LIMIT {rows}"""
_EXPORTED = 100_000


def page(ask: Ask) -> View:
    ask.only("days")
    span, first, last = window(ask)
    days = {"first": first, "last": last}
    count = (last - first).days + 1
    features = ask.rows(
        _FEATURES.format(rows=_EXPORTED if ask.form == "csv" else _ROWS),
        **days,
        earlier=first - timedelta(days=count),
    )
    if ask.form != "csv":
        parts: dict[tuple[str, ...], list[int]] = {}
        for row in ask.rows(_PARTS, **days, days=count):
            parts.setdefault(_key(row), [0] * 30)[row["part"]] = row["total"]
        for row in features:
            row["by_part"] = parts[_key(row)]
    return View(
        "features.html",
        "Features",
        {
            "span": span,
            "spans": SPANS,
            "features": features,
            "changes": [trends.Change(row["total"], row["total_before"]) for row in features],
            "using": ask.rows.one(_USING, **days),
            "tracked": ask.rows.one(_TRACKED),
            "limits": ask.published.settings.features,
            "over": ask.rows(_OVER),
            "modules": by_name("Feature use by module", ask.rows(_DAILY, **days), first, last),
        },
        main="features",
    )


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["feature_id"], row["module_id"], row["product_id"]


def one(ask: Ask) -> View:
    ask.only("feature", "days", "who")
    feature = ask.get("feature")
    who = ask.choice("who", ("companies", "stopped", "never"), "companies")
    span, first, last = window(ask)
    if not ask.rows.value(
        "SELECT count(*) FROM (SELECT 1 FROM marts.daily_feature_totals WHERE feature_id = $feature LIMIT 1)",
        feature=feature,
    ):
        raise NotHere(f"Nobody has used a feature {feature!r}.")
    given = {"feature": feature, "first": first, "last": last}
    rows = _EXPORTED if ask.form == "csv" else _ROWS
    return View(
        "feature.html",
        feature,
        {
            "span": span,
            "spans": SPANS,
            "daily": by_name("Use by module", ask.rows(_ONE_DAILY, **given), first, last),
            "companies": ask.rows(_ONE_BY_COMPANY.format(rows=rows), **given),
            "stopped": ask.rows(_WITHOUT.format(rows=rows), **given, before=True),
            "never": ask.rows(_WITHOUT.format(rows=rows), **given, before=False),
        },
        main=who,
    )
