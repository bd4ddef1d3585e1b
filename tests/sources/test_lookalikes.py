"""Ids under another name, and ids of the other kind: what a night notices of clients that are set up wrong."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse

from dagster_project.pipeline import nightly
from dagster_project.sources import typed
from dagster_project.warehouse.database import open_warehouse

NOW = datetime(2026, 4, 1, 3)
CALL: dict[str, Any] = {"request": {"time": "2026-03-30T10:00:00Z"}, "response": {"status": 200}}


def counted(folder: Path, files: dict[str, str]) -> list[tuple[Any, ...]]:
    warehouse = Warehouse(folder)
    for path, text in files.items():
        warehouse.put(path, text)
    with open_warehouse(warehouse.settings) as connection:
        nightly.load_new_files(connection, warehouse.settings, now=NOW)
        return connection.execute(
            "SELECT source, field, key, CAST(sum(records) AS BIGINT) FROM raw.lookalikes GROUP BY ALL ORDER BY ALL"
        ).fetchall()


def lines(records: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("smallest", [0, 1 << 60], ids=["fast", "slow"])
def test_both_paths_count_keys_that_look_like_a_missing_id(
    tmp_path: Path, smallest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed, "SMALLEST_BYTES", smallest)
    plain = {**CALL, "company_id": "acme", "user_id": "u", "session_token": "t", "anonymous_id": "a"}
    wrong = {**{k: v for k, v in plain.items() if k != "company_id"}, "CompanyID": "acme"}
    found = counted(
        tmp_path,
        {
            # One among the first lines: all of them are counted, those of odd lines too; but not where the id is there.
            "events/a.jsonl": lines([plain] * 90 + [wrong] + [{**plain, "companyId": "x"}] * 60 + [wrong] * 7)
            + lines([{**wrong, "user_id": 1.0}]),
            # None there: looked at is every hundredth line, which is one of them here
            "events/b.jsonl": lines([plain] * 199 + [{**wrong, "userId": "", "user_id": None}] * 3),
            # and is none here.
            "events/c.jsonl": lines([plain] * 150 + [wrong] * 3),
            "actions/a.jsonl": lines([{**CALL, "action_name": "n", "sessionToken": "t"}] * 2),
        },
    )
    assert found == [
        ("actions", "session_token", "sessionToken", 2),
        ("events", "company_id", "CompanyID", 12),
    ]


def test_keys_of_updates_and_features_are_noticed_too(tmp_path: Path) -> None:
    files = {
        "companies/a.jsonl": lines([{"company-id": "acme"}, {"company_id": "acme"}]),
        "users/a.jsonl": lines([{"user_id": "u", "companyId": "acme"}]),
        "features/a.csv": "Account ID,user_id,feature_id,timestamp\nacme,u,f,2026-03-30\n",
        "features/a.jsonl": lines([{"accountId": "acme", "user_id": "u", "feature_id": "f"}]),
    }
    assert counted(tmp_path, files) == [
        ("companies", "company_id", "company-id", 1),
        ("features", "account_id", "accountId", 1),
        ("users", "company_id", "companyId", 1),
    ]
