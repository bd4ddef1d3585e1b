"""The first load with PySpark in local mode: `python pyspark_peer.py RAW OUT AS_OF`."""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.sql import SparkSession

SOURCES = {
    "events": """transaction_id STRING, request STRUCT<time: TIMESTAMP, headers: STRUCT<`x-moesif-transaction-id`: STRING>>,
        response STRUCT<status: INT>, session_token STRING, company_id STRING, user_id STRING, weight BIGINT""",
    "companies": "company_id STRING, session_token STRING, modified_time TIMESTAMP",
    "users": "user_id STRING, company_id STRING, modified_time TIMESTAMP",
    "features": """account_id STRING, user_id STRING, product_id STRING, module_id STRING, feature_id STRING,
        total BIGINT, timestamp TIMESTAMP""",
}

# For which days each claim decides; days before the first claim go to the first claimant.
SPANS = """
    WITH claims AS (
        SELECT {key} AS key, company_id, modified_time, CAST(modified_time AS DATE) AS day
        FROM {source} WHERE {key} IS NOT NULL AND company_id IS NOT NULL
    ), last_of_day AS (
        SELECT key, day, max_by(company_id, modified_time) AS owner FROM claims GROUP BY key, day
    )
    SELECT key, owner,
           CASE WHEN row_number() OVER by_key = 1 THEN DATE '0001-01-01' ELSE day END AS from_day,
           coalesce(date_sub(lead(day) OVER by_key, 1), DATE '9999-12-31') AS to_day
    FROM last_of_day WINDOW by_key AS (PARTITION BY key ORDER BY day)
"""
CALLS = """
    WITH calls AS (
        SELECT request.time AS at, CAST(request.time AS DATE) AS day, session_token, company_id, user_id,
               CASE WHEN weight > 0 THEN weight ELSE 1 END AS calls, response.status AS status
        FROM deduplicated
    )
    SELECT c.day, c.at, coalesce(c.company_id, t.owner, u.owner) AS company_id, c.user_id, c.calls, c.status
    FROM calls AS c
    LEFT JOIN token_spans AS t ON t.key = c.session_token AND c.day BETWEEN t.from_day AND t.to_day
    LEFT JOIN user_spans AS u ON u.key = c.user_id AND c.day BETWEEN u.from_day AND u.to_day
"""
RESULTS = {
    "company_usage_daily": """
        SELECT day, company_id, count(*) AS events, sum(calls) AS calls,
               sum(CASE WHEN status BETWEEN 400 AND 499 THEN calls ELSE 0 END) AS errors_4xx,
               sum(CASE WHEN status BETWEEN 500 AND 599 THEN calls ELSE 0 END) AS errors_5xx,
               count(DISTINCT user_id) AS users, min(at) AS first_at, max(at) AS last_at
        FROM calls GROUP BY day, company_id""",
    "daily_feature_totals": """
        SELECT CAST(timestamp AS DATE) AS day, account_id, user_id, left(coalesce(product_id, ''), 64) AS product_id,
               left(coalesce(module_id, ''), 64) AS module_id,
               left(feature_id, 64) AS feature_id, sum(coalesce(total, 1)) AS total, count(*) AS events
        FROM features GROUP BY 1, 2, 3, 4, 5, 6""",
    "company_profiles": """
        WITH usage AS (
            SELECT company_id, sum(events) AS events, sum(calls) AS calls,
                   sum(CASE WHEN day BETWEEN date_sub(DATE '{as_of}', 29) AND DATE '{as_of}' THEN calls ELSE 0 END)
                       AS calls_30d,
                   sum(errors_4xx) AS errors_4xx, sum(errors_5xx) AS errors_5xx
            FROM company_usage_daily GROUP BY company_id
        ), users_of AS (
            SELECT company_id, count(DISTINCT user_id) AS users FROM calls GROUP BY company_id
        ), seen AS (
            SELECT company_id, min(first_at) AS first_seen_at, max(last_at) AS last_seen_at
            FROM (SELECT company_id, first_at, last_at FROM company_usage_daily
                  UNION ALL SELECT account_id, timestamp, timestamp FROM features)
            GROUP BY company_id
        ), everyone AS (
            SELECT company_id FROM companies UNION SELECT company_id FROM seen
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
    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "8")  # 200 are for a cluster
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    for source, schema in SOURCES.items():
        read = spark.read.schema(schema).option("recursiveFileLookup", "true")
        read.json(str(raw / source)).createOrReplaceTempView(source)
    keyed = spark.sql(
        "SELECT *, coalesce(transaction_id, request.headers.`x-moesif-transaction-id`) AS key FROM events"
    )
    without = keyed.where("key IS NULL")
    keyed.where("key IS NOT NULL").dropDuplicates(["key"]).union(without).createOrReplaceTempView(
        "deduplicated"
    )
    for view, source, key in (
        ("token_spans", "companies", "session_token"),
        ("user_spans", "users", "user_id"),
    ):
        spark.sql(SPANS.format(source=source, key=key)).createOrReplaceTempView(view)
    spark.sql(CALLS).cache().createOrReplaceTempView("calls")
    for name, query in RESULTS.items():
        result = spark.sql(query.format(as_of=as_of)).cache()
        result.createOrReplaceTempView(name)
        result.coalesce(1).write.parquet(str(out / f"{name}.parquet"))
    # What the Java process used counts only if it is waited for.
    java = spark.sparkContext._gateway.proc
    spark.stop()
    java.stdin.close()
    java.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
