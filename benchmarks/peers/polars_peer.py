"""The first load with Polars, lazy and streaming: `python polars_peer.py RAW OUT AS_OF`."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl

EVENTS = {
    "transaction_id": pl.String,
    "request": pl.Struct({"time": pl.String, "headers": pl.Struct({"x-moesif-transaction-id": pl.String})}),
    "response": pl.Struct({"status": pl.Int64}),
    "session_token": pl.String,
    "company_id": pl.String,
    "user_id": pl.String,
    "weight": pl.Int64,
}
CLAIMS = {"company_id": pl.String, "modified_time": pl.String}
FEATURE = ["account_id", "user_id", "product_id", "module_id", "feature_id"]


def main(raw: Path, out: Path, as_of: date) -> None:
    updates = read(raw, "companies", CLAIMS | {"session_token": pl.String})
    calls = attributed(
        calls_of(raw),
        claims_of(updates, "session_token"),
        claims_of(read(raw, "users", CLAIMS | {"user_id": pl.String}), "user_id"),
    ).collect(engine="streaming")
    daily = calls.group_by("day", "company_id").agg(
        pl.len().alias("events"),
        pl.col("calls", "errors_4xx", "errors_5xx").sum(),
        pl.col("user_id").drop_nulls().n_unique().alias("users"),
        pl.col("at").min().alias("first_at"),
        pl.col("at").max().alias("last_at"),
    )
    features = (
        read(raw, "features", {"timestamp": pl.String, "total": pl.Int64} | dict.fromkeys(FEATURE, pl.String))
        .with_columns(time_of("timestamp").alias("at"))
        .with_columns(
            pl.col("at").dt.date().alias("day"),
            pl.col("total").fill_null(1),
            pl.col("product_id", "module_id", "feature_id").fill_null("").str.slice(0, 64),
        )
        .collect(engine="streaming")
    )
    totals = features.group_by("day", *FEATURE).agg(pl.col("total").sum(), pl.len().alias("events"))
    recent = pl.col("day").is_between(as_of - timedelta(days=29), as_of)
    figures = daily.group_by("company_id").agg(
        pl.col("events", "calls").sum(),
        pl.col("calls").filter(recent).sum().alias("calls_30d"),
        pl.col("errors_4xx", "errors_5xx").sum(),
    )
    seen = (
        pl.concat(
            [
                daily.select("company_id", "first_at", "last_at"),
                features.select(
                    pl.col("account_id").alias("company_id"),
                    pl.col("at").alias("first_at"),
                    pl.col("at").alias("last_at"),
                ),
            ]
        )
        .group_by("company_id")
        .agg(pl.col("first_at").min().alias("first_seen_at"), pl.col("last_at").max().alias("last_seen_at"))
    )
    users = calls.group_by("company_id").agg(pl.col("user_id").drop_nulls().n_unique().alias("users"))
    everyone = pl.concat([updates.select("company_id").collect(), seen.select("company_id")])
    profiles = (
        everyone.drop_nulls()
        .unique()
        .join(figures.join(users, on="company_id"), on="company_id", how="left")
        .with_columns(
            pl.col("events", "calls", "calls_30d", "errors_4xx", "errors_5xx", "users").fill_null(0)
        )
        .join(seen, on="company_id", how="left")
    )
    daily.write_parquet(out / "company_usage_daily.parquet")
    totals.write_parquet(out / "daily_feature_totals.parquet")
    profiles.write_parquet(out / "company_profiles.parquet")


def read(raw: Path, source: str, schema: dict[str, object]) -> pl.LazyFrame:
    return pl.scan_ndjson(sorted((raw / source).rglob("*.jsonl")), schema=schema)


def time_of(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_suffix("Z")
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us")


def calls_of(raw: Path) -> pl.LazyFrame:
    """The API calls, each once."""
    headers = pl.col("request").struct.field("headers")
    weight, status = pl.col("weight"), pl.col("status")
    calls = pl.when(weight > 0).then(weight).otherwise(1)
    return (
        read(raw, "events", EVENTS)
        .select(
            pl.coalesce("transaction_id", headers.struct.field("x-moesif-transaction-id")).alias("key"),
            pl.col("request").struct.field("time"),
            pl.col("response").struct.field("status"),
            "session_token",
            "company_id",
            "user_id",
            "weight",
        )
        .filter(pl.col("key").is_null() | pl.col("key").is_first_distinct())
        .select(
            time_of("time").alias("at"),
            "session_token",
            "company_id",
            "user_id",
            calls.alias("calls"),
            pl.when(status.is_between(400, 499)).then(calls).otherwise(0).alias("errors_4xx"),
            pl.when(status.is_between(500, 599)).then(calls).otherwise(0).alias("errors_5xx"),
        )
        .with_columns(pl.col("at").dt.date().alias("day"))
    )


def claims_of(updates: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """The day, the key and the company of each claim; the last one of a day."""
    return (
        updates.drop_nulls([key, "company_id"])
        .sort("modified_time")
        .select(time_of("modified_time").dt.date().alias("day"), key, pl.col("company_id").alias("owner"))
        .unique([key, "day"], keep="last", maintain_order=True)
    )


def attributed(calls: pl.LazyFrame, tokens: pl.LazyFrame, users: pl.LazyFrame) -> pl.LazyFrame:
    """An event's own company, else the one by its token, else by its user: by the last claim up to its day, else the first."""
    calls = calls.sort("day")
    for key, claims in (("session_token", tokens), ("user_id", users)):
        first = claims.unique(key, keep="first", maintain_order=True).select(key, first="owner")
        calls = (
            calls.join_asof(claims, on="day", by=key, check_sortedness=False)
            .join(first, on=key, how="left", maintain_order="left")
            .with_columns(pl.coalesce("company_id", "owner", "first").alias("company_id"))
            .drop("owner", "first")
        )
    return calls


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), date.fromisoformat(sys.argv[3]))
