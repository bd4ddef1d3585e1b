"""Features: how much each is used, by how many, and which names hit the limits."""

from __future__ import annotations

from .asking import Ask, NotHere, View
from .spans import SPANS, by_name, window

_ROWS = 300

_FEATURES = """
SELECT feature_id, module_id, product_id, CAST(sum(total) AS BIGINT) AS total, count(DISTINCT account_id) AS companies,
       count(DISTINCT user_id) AS users, max(last_at) AS last_at, count(*) OVER () AS of
FROM marts.daily_feature_totals WHERE day BETWEEN $first AND $last
GROUP BY 1, 2, 3 ORDER BY companies DESC, total DESC, 1, 2, 3 LIMIT {rows}"""

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


def page(ask: Ask) -> View:
    span, first, last = window(ask)
    days = {"first": first, "last": last}
    return View(
        "features.html",
        "Features",
        {
            "span": span,
            "spans": SPANS,
            "features": ask.rows(_FEATURES.format(rows=_ROWS), **days),
            "using": ask.rows.one(_USING, **days),
            "tracked": ask.rows.one(_TRACKED),
            "limits": ask.published.settings.features,
            "over": ask.rows(_OVER),
            "modules": by_name("Feature use by module", ask.rows(_DAILY, **days), first, last),
        },
    )


def one(ask: Ask) -> View:
    feature = ask.get("feature")
    span, first, last = window(ask)
    if not ask.rows.value(
        "SELECT count(*) FROM (SELECT 1 FROM marts.daily_feature_totals WHERE feature_id = $feature LIMIT 1)",
        feature=feature,
    ):
        raise NotHere(f"Nobody has used a feature {feature!r}.")
    given = {"feature": feature, "first": first, "last": last}
    return View(
        "feature.html",
        feature,
        {
            "span": span,
            "spans": SPANS,
            "daily": by_name("Use by module", ask.rows(_ONE_DAILY, **given), first, last),
            "companies": ask.rows(_ONE_BY_COMPANY.format(rows=_ROWS), **given),
        },
    )
