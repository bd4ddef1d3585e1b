"""The start page: what is in the warehouse, how fresh it is, what wants attention."""

from __future__ import annotations

from datetime import timedelta

from dagster_project.rendering import charts

from . import trends
from .asking import Ask, View
from .columns import of_table
from .entities import COMPANY
from .spans import calls_by_end, last_day

_DAYS = 30

_FIGURES = """
SELECT (SELECT count(*) FROM marts.company_profiles) AS companies,
       (SELECT count(*) FROM marts.company_profiles WHERE calls_30d > 0) AS calling_companies,
       (SELECT count(*) FROM marts.user_profiles) AS users,
       (SELECT count(*) FROM marts.user_profiles WHERE calls_30d > 0) AS calling_users,
       (SELECT count(*) FROM ops.rejects) AS rejects"""

_CALLS = """
SELECT day, CAST(sum(calls) AS BIGINT) AS calls, CAST(sum(errors_4xx) AS BIGINT) AS errors_4xx,
       CAST(sum(errors_5xx) AS BIGINT) AS errors_5xx
FROM marts.company_usage_daily WHERE day BETWEEN $first AND $last GROUP BY day"""

_SOURCES = """
SELECT source, count(*) AS files, CAST(sum(records) AS BIGINT) AS records, CAST(sum(rejected) AS BIGINT) AS rejected,
       max(first_seen_at) AS newest
FROM ops.files GROUP BY source ORDER BY source"""

_CHECKS = """
SELECT model, name, warns, failures FROM core.check_results
WHERE failures > 0 AND model <> 'ops.warnings' ORDER BY model, name"""

# What a night has to tell of besides: no table's rows, but raw files and folders.
_WARNINGS = "SELECT message, help FROM ops.warnings ORDER BY kind, subject, message LIMIT 50"

_COHORTS = """
SELECT entity, cohort, count(*) AS members, max(entered_at) AS newest
FROM marts.cohort_members GROUP BY entity, cohort ORDER BY entity, members DESC, cohort"""

_BUSIEST = """
SELECT company_id, company_name, calls_30d, errors_4xx + errors_5xx AS errors FROM marts.company_profiles
WHERE calls_30d > 0 ORDER BY calls_30d DESC, company_id LIMIT 8"""


def page(ask: Ask) -> View:
    last = last_day(ask)
    first = last - timedelta(days=_DAYS - 1)
    calls = ask.rows(_CALLS, first=first, last=last)
    busiest = ask.rows(_BUSIEST)
    days = trends.by_day(ask, COMPANY, [row["company_id"] for row in busiest])
    for row in busiest:
        row[trends.BY_DAY.name] = days[row["company_id"]]
    return View(
        "overview.html",
        "Overview",
        {
            "figures": ask.rows.one(_FIGURES),
            "calls": charts.stacked("Calls of everybody", first, last, calls_by_end(calls)),
            "sources": ask.rows(_SOURCES),
            "checks": ask.rows(_CHECKS),
            "warnings": ask.rows(_WARNINGS) if of_table(ask, "ops.warnings") else [],
            "cohorts": ask.rows(_COHORTS),
            "busiest": busiest,
            "built_at": ask.rows.value("SELECT max(built_at) FROM core.builds"),
        },
    )
