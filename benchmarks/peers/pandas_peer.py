"""The first load with pandas: `python pandas_peer.py RAW OUT AS_OF`."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd


def main(raw: Path, out: Path, as_of: pd.Timestamp) -> None:
    claims = claims_of(raw)
    calls = calls_of(raw)
    by_token = owners(calls, "session_token", claims["session_token"])
    by_user = owners(calls, "user_id", claims["user_id"])
    calls["company_id"] = calls["company_id"].fillna(by_token).fillna(by_user)
    daily = calls.groupby(["day", "company_id"], dropna=False, as_index=False).agg(
        events=("calls", "size"),
        calls=("calls", "sum"),
        errors_4xx=("errors_4xx", "sum"),
        errors_5xx=("errors_5xx", "sum"),
        users=("user_id", "nunique"),
        first_at=("at", "min"),
        last_at=("at", "max"),
    )
    features = read(raw, "features", ["timestamp", "total", *FEATURE])
    features["at"] = time_of(features["timestamp"])
    features["day"] = features["at"].dt.floor("D")
    features["total"] = features["total"].fillna(1).astype("int64")
    for name in ("product_id", "module_id", "feature_id"):
        features[name] = features[name].fillna("").str.slice(stop=64)
    totals = features.groupby(["day", *FEATURE], as_index=False).agg(
        total=("total", "sum"), events=("total", "size")
    )
    profiles = profiles_of(raw, calls, daily, features, as_of)
    for name, table in (("company_usage_daily", daily), ("daily_feature_totals", totals)):
        table.assign(day=table["day"].dt.date).to_parquet(out / f"{name}.parquet")
    profiles.to_parquet(out / "company_profiles.parquet")


IDS = {"company_id": "str", "user_id": "str", "session_token": "str"}
FEATURE = ["account_id", "user_id", "product_id", "module_id", "feature_id"]


def read(raw: Path, source: str, columns: list[str]) -> pd.DataFrame:
    files = sorted((raw / source).rglob("*.jsonl"))
    parts = (pd.read_json(file, lines=True, dtype=False, convert_dates=False) for file in files)
    return pd.concat([part.reindex(columns=columns) for part in parts], ignore_index=True)


def time_of(text: pd.Series) -> pd.Series:
    return pd.to_datetime(text, format="ISO8601", utc=True)


def calls_of(raw: Path) -> pd.DataFrame:
    """The API calls, each once. Bodies and headers are dropped file by file: all of them fill the memory."""
    parts = []
    for file in sorted((raw / "events").rglob("*.jsonl")):
        rows = pd.read_json(file, lines=True, dtype=False, convert_dates=False)
        ids = rows.reindex(columns=["transaction_id", "company_id", "user_id", "session_token", "weight"])
        in_header = rows["request"].str.get("headers").str.get("x-moesif-transaction-id")
        parts.append(
            ids.assign(
                key=ids["transaction_id"].fillna(in_header),
                at=time_of(rows["request"].str.get("time")),
                status=rows["response"].str.get("status"),
            ).drop(columns="transaction_id")
        )
    calls = pd.concat(parts, ignore_index=True)
    calls = calls[calls["key"].isna() | ~calls["key"].duplicated()].drop(columns="key").astype(IDS)
    weight = pd.to_numeric(calls.pop("weight"))
    status = pd.to_numeric(calls.pop("status"))
    calls["calls"] = weight.where(weight > 0, 1).astype("int64")
    calls["errors_4xx"] = calls["calls"].where(status.between(400, 499), 0)
    calls["errors_5xx"] = calls["calls"].where(status.between(500, 599), 0)
    calls["day"] = calls["at"].dt.floor("D")
    return calls


def claims_of(raw: Path) -> dict[str, pd.DataFrame]:
    """By the kind of key: the day, the key and the company of each claim; the last one of a day."""
    found = {}
    for source, key in (("companies", "session_token"), ("users", "user_id")):
        claims = read(raw, source, ["modified_time", key, "company_id"]).dropna().astype("str")
        claims["day"] = time_of(claims["modified_time"]).dt.floor("D")
        found[key] = claims.sort_values("modified_time").drop_duplicates([key, "day"], keep="last")
    return found


def owners(calls: pd.DataFrame, key: str, claims: pd.DataFrame) -> pd.Series:
    """The company of each call by the last claim up to its day, else by the first claim there is."""
    asked = calls[["day", key]].dropna().reset_index().sort_values("day")
    claims = claims[["day", key, "company_id"]].sort_values("day")
    found = pd.merge_asof(asked, claims, on="day", by=key).set_index("index")["company_id"]
    first = claims.drop_duplicates(key).set_index(key)["company_id"]
    return found.fillna(calls[key].map(first)).reindex(calls.index)


def profiles_of(
    raw: Path, calls: pd.DataFrame, daily: pd.DataFrame, features: pd.DataFrame, as_of: pd.Timestamp
) -> pd.DataFrame:
    recent = daily["day"].between(as_of - pd.Timedelta(days=29), as_of)
    profiles = (
        daily.assign(calls_30d=daily["calls"].where(recent, 0))
        .groupby("company_id")
        .agg(
            events=("events", "sum"),
            calls=("calls", "sum"),
            calls_30d=("calls_30d", "sum"),
            errors_4xx=("errors_4xx", "sum"),
            errors_5xx=("errors_5xx", "sum"),
        )
    )
    signs = pd.concat(
        [
            daily[["company_id", "first_at", "last_at"]],
            features.rename(columns={"account_id": "company_id"}).assign(
                first_at=features["at"], last_at=features["at"]
            )[["company_id", "first_at", "last_at"]],
        ]
    )
    seen = signs.groupby("company_id").agg(first_seen_at=("first_at", "min"), last_seen_at=("last_at", "max"))
    named = read(raw, "companies", ["company_id"])["company_id"].unique()
    everyone = pd.Index(named).union(profiles.index).union(seen.index)
    users = calls.groupby("company_id")["user_id"].nunique().rename("users")
    figures = profiles.join(users).reindex(everyone, fill_value=0)
    return figures.join(seen).rename_axis("company_id").reset_index()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), pd.Timestamp(sys.argv[3], tz="UTC"))
