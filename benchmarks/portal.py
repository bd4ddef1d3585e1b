"""How long the portal's pages take on a large published database, by default 100,000 companies and 10 million days.

The database is made by SQL in the warehouse's own tables, the same for the same arguments, in the order in which a
build leaves them: by day. Each page is asked for over HTTP from `warehouse portal`, a process of its own, once cold
(the first time) and then several times; the table shows the first and the median of the others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

from dagster_project.pipeline import nightly
from dagster_project.settings import Settings
from dagster_project.warehouse.database import Connection, open_warehouse
from dagster_project.warehouse.publish import publish

_END = date(2026, 11, 21)
_DAYS = 100
_USERS = 3  # a company
_A_PAGE = 50  # rows of a list of companies

# Figures follow the row's own numbers by dice(sides, number, throw), so they are the same each time.
# {first}: the first day; {days}, {companies}.
_FILL = {
    "marts.company_usage_daily": """
        SELECT day, company_id, calls AS events, calls, calls // 20 AS errors_4xx, calls // 90 AS errors_5xx,
               0 AS blocked_calls, 3 AS users, 1 AS session_tokens, day + INTERVAL 1 HOUR AS first_at,
               day + INTERVAL 20 HOUR AS last_at, day + INTERVAL 1 HOUR AS first_success_at
        FROM (SELECT DATE '{first}' + CAST(d AS INTEGER) AS day, 'cmp_' || c AS company_id,
                     CAST(dice(400, c, d) AS BIGINT) AS calls, hash(d, c) AS place
              FROM range({days}) AS t(d), range({companies}) AS s(c))
        ORDER BY day, place""",
    "marts.user_usage_daily": """
        SELECT day, user_id, calls AS events, calls, calls // 20 AS errors_4xx, calls // 90 AS errors_5xx,
               0 AS blocked_calls, 1 AS session_tokens, day + INTERVAL 1 HOUR AS first_at,
               day + INTERVAL 20 HOUR AS last_at, day + INTERVAL 1 HOUR AS first_success_at
        FROM (SELECT DATE '{first}' + CAST(d AS INTEGER) AS day, 'usr_' || u AS user_id,
                     CAST(dice(130, u, d) AS BIGINT) AS calls, hash(d, u) AS place
              FROM range({days}) AS t(d), range({companies} * {users}) AS s(u) WHERE dice(3, u * 1000 + d, 1) = 0)
        ORDER BY day, place""",
    "marts.daily_feature_totals": """
        SELECT DATE '{first}' + CAST(d AS INTEGER) AS day, 'cmp_' || c AS account_id,
               'usr_' || (c * {users} + dice({users}, c, d)) AS user_id, 'Console' AS product_id,
               'Module ' || f % 8 AS module_id, 'Feature ' || f AS feature_id,
               1 + dice(9, c * 1000 + d, 2) AS total, 1 AS events,
               DATE '{first}' + CAST(d AS INTEGER) + INTERVAL 9 HOUR AS first_at,
               DATE '{first}' + CAST(d AS INTEGER) + INTERVAL 9 HOUR AS last_at
        FROM (SELECT d, c, dice(120, c * 1000 + d, 3) AS f FROM range({days}) AS t(d), range({companies}) AS s(c)
              WHERE dice(5, c * 1000 + d, 4) = 0)
        ORDER BY ALL""",
    "marts.error_usage_daily": """
        SELECT DATE '{first}' + CAST(d AS INTEGER) AS day, 'cmp_' || c AS company_id, 'usr_' || c * {users} AS user_id,
               'GET' AS verb, '/v1/route' || dice(40, c, d) AS route, CAST(400 + dice(120, d, c) AS INTEGER) AS status,
               1 + dice(5, c * 1000 + d, 5) AS calls
        FROM range({days}) AS t(d), range({companies}) AS s(c) WHERE dice(8, c * 1000 + d, 6) = 0 ORDER BY ALL""",
    "marts.company_metadata": """
        SELECT 'cmp_' || c AS company_id, path, type, value, TRY_CAST(value AS DOUBLE) AS value_number,
               TIMESTAMP '{first} 00:00:00' AS updated_at
        FROM (SELECT c, unnest([
                ('name', 'string', 'Company ' || c), ('plan_name', 'string', ['Free', 'Growth', 'Scale'][1 + dice(3, c, 0)]),
                ('mrr', 'number', CAST(dice(5000, c, 7) AS VARCHAR)),
                ('trial', 'boolean', CAST(dice(2, c, 8) = 0 AS VARCHAR)),
                ('tags', 'array', '["eu","t' || dice(50, c, 9) || '"]'),
                ('address.city', 'string', 'City ' || dice(500, c, 1)),
                ('address.country', 'string', 'Land ' || dice(40, c, 2)),
                ('seats', 'number', CAST(dice(300, c, 3) AS VARCHAR))]) AS leaf
              FROM range({companies}) AS s(c)), LATERAL (SELECT leaf[1] AS path, leaf[2] AS type, leaf[3] AS value)""",
    "marts.user_metadata": """
        SELECT 'usr_' || u AS user_id, 'title' AS path, 'string' AS type, 'Title ' || dice(90, u, 0) AS value,
               CAST(NULL AS DOUBLE) AS value_number, TIMESTAMP '{first} 00:00:00' AS updated_at
        FROM range({companies} * {users}) AS s(u)""",
    "marts.company_aliases": """
        SELECT 'token-' || hash(c) AS session_token, 'cmp_' || c AS company_id, TIMESTAMP '{first} 00:00:00' AS claimed_at,
               1 AS claims, TIMESTAMP '{first} 00:00:00' AS first_seen_at, TIMESTAMP '{last} 00:00:00' AS last_seen_at,
               9000 AS events, 9000 AS calls
        FROM range({companies}) AS s(c)""",
    "marts.cohort_members": """
        SELECT ['gone_quiet', 'near_quota', 'rate_limited'][1 + dice(3, c, 11)] AS cohort, 'company' AS entity,
               'cmp_' || c AS id, TIMESTAMP '{last} 02:00:00' AS entered_at
        FROM range({companies}) AS s(c) WHERE dice(10, c, 10) = 0""",
    "marts.cohort_changes": """
        SELECT cohort, entity, id, entered_at AS changed_at, 'entered' AS change FROM marts.cohort_members""",
    "marts.company_latency_daily": """
        SELECT day, company_id, calls, 0 AS untimed_calls, 80.0 AS p50_ms, 100.0 + calls AS p90_ms, 900.0 AS p99_ms
        FROM marts.company_usage_daily ORDER BY rowid""",
    "marts.company_health_daily": """
        SELECT day, company_id, calls / 400 AS health_score, 'good' AS health,
               CAST('{{"recency":1.0,"trend":null}}' AS JSON) AS components
        FROM marts.company_usage_daily ORDER BY rowid""",
    "marts.subscriptions": """
        SELECT 'sub_' || c AS subscription_id, 'cmp_' || c AS company_id, 'active' AS status,
               TIMESTAMP '{last} 00:00:00' - INTERVAL 9 DAY AS current_period_start,
               TIMESTAMP '{last} 00:00:00' + INTERVAL 21 DAY AS current_period_end,
               CAST('{{"plan":"Growth"}}' AS JSON) AS metadata, TIMESTAMP '{last} 02:00:00' AS updated_at
        FROM range({companies}) AS s(c)""",
    "marts.meter_usage": """
        SELECT *, quantity / quota AS share FROM (
            SELECT ['calls', 'feature_total'][1 + CAST(m AS INTEGER)] AS meter, 'cmp_' || c AS company_id,
                   'sub_' || c AS subscription_id, DATE '{last}' - CAST(9 + 30 * p AS INTEGER) AS period_start,
                   DATE '{last}' + CAST(20 - 30 * p AS INTEGER) AS period_end, dice(9000, c, p) AS quantity,
                   10000.0 AS quota, p > 0 AS is_closed
            FROM range({companies}) AS s(c), range(2) AS t(m), range(4) AS u(p))
        ORDER BY meter, company_id, period_start""",
    "marts.alerts": """
        SELECT 'gone_silent' AS rule, 'company' AS entity, 'cmp_' || c AS id, TIMESTAMP '{last} 02:00:00' AS opened_at,
               CASE WHEN dice(2, c, 21) = 0 THEN TIMESTAMP '{last} 03:00:00' END AS closed_at, 'last seen 3 days ago' AS detail
        FROM range({companies}) AS s(c) WHERE dice(20, c, 20) = 0""",
    "ops.hubspot_ledger": """
        SELECT 77 AS portal_id, 'companies' AS object, 'c' || c || '.example' AS key,
               CAST(500000 + c AS VARCHAR) AS hubspot_id,
               'api_' || p AS property, CAST(dice(1000, c, p) AS VARCHAR) AS value,
               TIMESTAMP '{last} 03:00:00' AS acknowledged_at
        FROM range({companies}) AS s(c), range(15) AS t(p)""",
    "ops.rejects": """
        SELECT 'events' AS source, 1 AS file_seq, n AS line, 1 AS element, ['bad_time', 'bad_json'][1 + n % 2] AS reason,
               'no usable request.time' AS detail, '{{"request": {{"time": "' || n || '"}}}}' AS raw
        FROM range({companies}) AS s(n)""",
    "marts.company_profiles": """
        SELECT 'cmp_' || c AS company_id, 'c' || c || '.example' AS company_domain, 'Company ' || c AS company_name,
               TIMESTAMP '{first} 00:00:00' AS created_at, TIMESTAMP '{first} 00:00:00' AS first_seen_at,
               TIMESTAMP '{last} 00:00:00' - to_hours(CAST(dice(900, c, 12) AS INTEGER)) AS last_seen_at, 20000 AS events,
               20000 AS calls, dice(400, c, 0) AS calls_24h, dice(3000, c, 13) AS calls_7d, dice(12000, c, 14) AS calls_30d,
               dice(900, c, 15) AS errors_4xx, dice(200, c, 16) AS errors_5xx, 0 AS blocked_calls, 1 AS session_tokens,
               {users} AS users, dice(31, c, 17) AS active_days_30d, dice(90, c, 18) AS feature_total_30d,
               dice(20, c, 19) AS features_used_30d, 3600 AS first_call_seconds,
               to_json({{'name': 'Company ' || c, 'plan_name': ['Free', 'Growth', 'Scale'][1 + dice(3, c, 0)],
                         'address': {{'city': 'City ' || dice(500, c, 1)}}}}) AS metadata,
               CAST(NULL AS JSON) AS campaign, CAST(NULL AS JSON) AS crm, CAST(NULL AS VARCHAR) AS hubspot_id,
               CASE WHEN m.cohort IS NULL THEN [] ELSE [m.cohort] END AS cohorts, TIMESTAMP '{last} 02:00:00' AS updated_at
        FROM range({companies}) AS s(c) LEFT JOIN marts.cohort_members AS m ON m.id = 'cmp_' || c""",
    "marts.user_profiles": """
        SELECT 'usr_' || u AS user_id, 'u' || u || '@c' || u // {users} || '.example' AS email, 'User ' || u AS name,
               'cmp_' || u // {users} AS company_id, TIMESTAMP '{first} 00:00:00' AS created_at,
               TIMESTAMP '{last} 00:00:00' AS last_seen_at, 2000 AS events, 2000 AS calls, dice(100, u, 0) AS calls_24h,
               dice(700, u, 1) AS calls_7d, dice(3000, u, 2) AS calls_30d, dice(90, u, 3) AS errors_4xx, 0 AS errors_5xx,
               0 AS blocked_calls, 1 AS session_tokens, 9 AS active_days_30d, 9 AS feature_total_30d, 3 AS features_used_30d,
               to_json({{'title': 'Title ' || dice(90, u, 0)}}) AS metadata, [] AS cohorts,
               TIMESTAMP '{last} 02:00:00' AS updated_at
        FROM range({companies} * {users}) AS s(u)""",
}
_PAGES = {
    "overview": "/",
    "companies": "/companies",
    "companies, the last page": "/companies?page={last_page}",
    "companies, search": "/companies?q=Company+4711",
    "companies, email of a user": "/companies?q=u4711%40",
    "companies, metadata key": "/companies?field=metadata.plan_name&op=is&value=Growth&sort=company_name",
    "companies, three filters": "/companies?cohort=gone_quiet&field=metadata.mrr&op=ge&value=900&field=metadata.tags&op=has"
    "&value=t7&field=calls_30d&op=ge&value=1000",
    "one company": "/company?id=cmp_4711",
    "one company, a year": "/company?id=cmp_4711&days=365",
    "users": "/users",
    "users, search": "/users?q=u4711%40",
    "one user": "/user?id=usr_4711",
    "cohorts": "/cohorts",
    "cohort changes": "/cohorts/changes?cohort=gone_quiet",
    "alerts": "/alerts?state=open",
    "meters": "/meters",
    "meters, near their quota": "/meters?state=near&period=goes+on",
    "features": "/features",
    "features, a year": "/features?days=365",
    "one feature": "/feature?feature=Feature+7",
    "data quality": "/quality",
    "rejected records": "/quality/rejects?reason=bad_time",
    "HubSpot": "/hubspot",
    "HubSpot, not acknowledged": "/hubspot/pending",
    "companies as CSV": "/companies.csv",
}


def fill(connection: Connection, companies: int, days: int) -> None:
    names = {
        "first": _END - timedelta(days=days - 1),
        "last": _END,
        "days": days,
        "companies": companies,
        "users": _USERS,
    }
    connection.execute(
        "CREATE TEMP MACRO dice(sides, number, throw) AS CAST(hash(number, throw) % sides AS BIGINT)"
    )
    for table, query in _FILL.items():
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} BY NAME {query.format(**names)}")


def _ask(address: str) -> float:
    started = time.perf_counter()
    with urlopen(address, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--companies", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=_DAYS)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--data", type=Path, help="keep the database here, and use it again")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or Path(scratch)
        settings = Settings(data=data.absolute(), raw=data.absolute() / "raw")
        if not settings.analytics_file.exists():
            settings.raw.mkdir(parents=True, exist_ok=True)
            with open_warehouse(settings) as connection:
                nightly.load_new_files(connection, settings)
                nightly.build_tables(connection, settings, as_of=_END)
                fill(connection, given.companies, given.days)
                publish(connection, settings)
        size = settings.analytics_file.stat().st_size / 1e6
        print(f"{given.companies:,} companies, {given.companies * given.days:,} company days, {size:,.0f} MB")
        _measure(settings, given.times, given.companies)


def _measure(settings: Settings, times: int, companies: int) -> None:
    portal = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.cli", "portal", "--port", "0"],
        env={**os.environ, "WAREHOUSE_DATA": str(settings.data), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert portal.stdout is not None
        base = portal.stdout.readline().partition("Portal: ")[2].partition("/  ")[0]
        table = Table("page", "first ms", "then ms", "greatest ms")
        for name, path in _PAGES.items():
            address = base + path.format(last_page=max(companies // _A_PAGE, 1))
            first, *others = [1000 * _ask(address) for _ in range(times + 1)]
            table.add_row(name, *(f"{n:,.0f}" for n in (first, statistics.median(others), max(others))))
        Console(width=100).print(table)
    finally:
        portal.terminate()
        portal.wait(10)


if __name__ == "__main__":
    main()
