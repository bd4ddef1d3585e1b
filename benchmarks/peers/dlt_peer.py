"""The first load with dlt into DuckDB, then SQL on the tables that it makes: `python dlt_peer.py RAW OUT AS_OF`."""

from __future__ import annotations

import sys
from pathlib import Path

import dlt
import duckdb
from dlt.sources.filesystem import filesystem, read_jsonl

SOURCES = ("events", "companies", "users", "features")

# For which days each claim decides; days before the first claim go to the first claimant.
SPANS = """
    CREATE TEMP TABLE {view} AS
    WITH last_of_day AS (
        SELECT {key} AS key, CAST(modified_time AS DATE) AS day, max_by(company_id, modified_time) AS owner
        FROM raw.{source} WHERE {key} IS NOT NULL AND company_id IS NOT NULL GROUP BY 1, 2
    )
    SELECT key, owner,
           CASE WHEN row_number() OVER by_key = 1 THEN DATE '0001-01-01' ELSE day END AS from_day,
           coalesce(lead(day) OVER by_key - 1, DATE '9999-12-31') AS to_day
    FROM last_of_day WINDOW by_key AS (PARTITION BY key ORDER BY day)
"""
CALLS = """
    CREATE TEMP TABLE calls AS
    WITH keyed AS (
        SELECT *, coalesce(transaction_id, request__headers__x_moesif_transaction_id) AS key FROM raw.events
    ), calls AS (
        SELECT request__time AS moment, CAST(request__time AS DATE) AS day, session_token, company_id, user_id,
               CASE WHEN weight > 0 THEN weight ELSE 1 END AS calls, response__status AS status
        FROM keyed
        QUALIFY key IS NULL OR row_number() OVER (PARTITION BY key) = 1
    )
    SELECT c.day, c.moment, coalesce(c.company_id, t.owner, u.owner) AS company_id, c.user_id, c.calls, c.status
    FROM calls AS c
    LEFT JOIN token_spans AS t ON t.key = c.session_token AND c.day BETWEEN t.from_day AND t.to_day
    LEFT JOIN user_spans AS u ON u.key = c.user_id AND c.day BETWEEN u.from_day AND u.to_day
"""
RESULTS = {
    "company_usage_daily": """
        SELECT day, company_id, count(*) AS events, sum(calls) AS calls,
               coalesce(sum(calls) FILTER (status BETWEEN 400 AND 499), 0) AS errors_4xx,
               coalesce(sum(calls) FILTER (status BETWEEN 500 AND 599), 0) AS errors_5xx,
               count(DISTINCT user_id) AS users, min(moment) AS first_at, max(moment) AS last_at
        FROM calls GROUP BY day, company_id""",
    "daily_feature_totals": """
        SELECT CAST("timestamp" AS DATE) AS day, account_id, user_id, left(coalesce(product_id, ''), 64) AS product_id,
               left(coalesce(module_id, ''), 64) AS module_id,
               left(feature_id, 64) AS feature_id, sum(coalesce(total, 1)) AS total, count(*) AS events
        FROM raw.features GROUP BY ALL""",
    "company_profiles": """
        WITH usage AS (
            SELECT company_id, sum(events) AS events, sum(calls) AS calls,
                   coalesce(sum(calls) FILTER (day BETWEEN DATE '{as_of}' - 29 AND DATE '{as_of}'), 0) AS calls_30d,
                   sum(errors_4xx) AS errors_4xx, sum(errors_5xx) AS errors_5xx
            FROM company_usage_daily GROUP BY company_id
        ), users_of AS (
            SELECT company_id, count(DISTINCT user_id) AS users FROM calls GROUP BY company_id
        ), seen AS (
            SELECT company_id, min(first_at) AS first_seen_at, max(last_at) AS last_seen_at
            FROM (SELECT company_id, first_at, last_at FROM company_usage_daily
                  UNION ALL SELECT account_id, "timestamp", "timestamp" FROM raw.features)
            GROUP BY company_id
        ), everyone AS (
            SELECT company_id FROM raw.companies UNION SELECT company_id FROM seen
        )
        SELECT e.company_id, coalesce(u.events, 0) AS events, coalesce(u.calls, 0) AS calls,
               coalesce(u.calls_30d, 0) AS calls_30d, coalesce(u.errors_4xx, 0) AS errors_4xx,
               coalesce(u.errors_5xx, 0) AS errors_5xx, coalesce(o.users, 0) AS users, s.first_seen_at, s.last_seen_at
        FROM everyone AS e
        LEFT JOIN usage AS u ON u.company_id = e.company_id
        LEFT JOIN users_of AS o ON o.company_id = e.company_id
        LEFT JOIN seen AS s ON s.company_id = e.company_id
        WHERE e.company_id IS NOT NULL""",
}


def main(raw: Path, out: Path, as_of: str) -> None:
    database = out / "dlt.duckdb"
    pipeline = dlt.pipeline(
        "usage",
        destination=dlt.destinations.duckdb(str(database)),
        dataset_name="raw",
        pipelines_dir=str(out / "pipelines"),
    )
    pipeline.run(
        [
            (filesystem(str(raw / source), file_glob="**/*.jsonl") | read_jsonl()).with_name(source)
            for source in SOURCES
        ]
    )
    with duckdb.connect(str(database)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for view, source, key in (
            ("token_spans", "companies", "session_token"),
            ("user_spans", "users", "user_id"),
        ):
            connection.execute(SPANS.format(view=view, source=source, key=key))
        connection.execute(CALLS)
        for name, query in RESULTS.items():
            connection.execute(f"CREATE TEMP TABLE {name} AS {query.format(as_of=as_of)}")
            connection.execute(f"COPY {name} TO '{out / name}.parquet'")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
