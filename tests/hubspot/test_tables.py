"""What a push keeps stays through builds, and the outbound SELECTs of the project run on what a night publishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pytest
from harness import Warehouse

from dagster_project.destinations.hubspot import init_properties, make_plan, push
from dagster_project.destinations.parts import tables
from dagster_project.pipeline import nightly
from dagster_project.standins.hubspot import Emulator
from dagster_project.warehouse.database import open_warehouse

from .conftest import TOKEN

AT = "2026-03-30T10:00:00Z"


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", TOKEN)
    made = Warehouse(tmp_path)
    made.put(
        "companies/c.jsonl",
        [
            {
                "company_id": "acme",
                "company_domain": "https://www.Acme.example/x",
                "modified_time": AT,
                "metadata": {"name": "Acme", "plan_quota_calls_30d": 2},
            },
            {"company_id": "nodomain", "modified_time": AT},
        ],
    )
    made.put(
        "users/u.jsonl",
        [
            {
                "user_id": "ann",
                "company_id": "acme",
                "modified_time": AT,
                "metadata": {"email": "Ann@Acme.example"},
            },
            {
                "user_id": "new",
                "company_id": "acme",
                "modified_time": AT,
                "metadata": {"email": "new@acme.example"},
            },
        ],
    )
    made.put(
        "events/e.jsonl",
        [
            {
                "request": {"time": AT, "uri": "https://api/x", "verb": "GET"},
                "response": {"status": 200, "time": AT},
                "company_id": "acme",
                "user_id": "ann",
            }
        ]
        * 2,
    )
    return made.night(date(2026, 3, 31), publishes=True)


def test_the_projects_own_mapping_from_raw_files_to_hubspot(
    warehouse: Warehouse, make_hub: Callable[..., Emulator]
) -> None:
    hub = make_hub()
    init_properties(warehouse.settings, live=True)
    result = push(warehouse.settings, live=True)
    assert (result.exit_status, result.total.acknowledged, result.total.skipped) == (0, 3, 1)
    (company,) = hub.store.snapshot("companies").values()
    assert company == {
        "domain": "acme.example",
        "api_company_id": "acme",
        "api_calls": "2",
        "api_calls_30d": "2",
        "api_calls_7d": "2",
        "api_calls_24h": "0",
        "api_errors_4xx": "0",
        "api_errors_5xx": "0",
        "api_blocked_calls": "0",
        "api_users": "1",
        "api_latency_p90_ms_7d": "0",
        "api_health_score": "0.9833",
        "api_health": "good",
        "api_active_days_30d": "1",
        "api_feature_total_30d": "0",
        "api_features_used_30d": "0",
        "api_first_seen_date": "2026-03-30",
        "api_last_seen_at": "2026-03-30T10:00:00.000Z",
        "api_signed_up_at": "2026-03-30T10:00:00.000Z",
        "api_near_quota": "true",
        "api_cohorts": "first_call;near_quota",
    }
    contacts = {c["email"]: c for c in hub.store.snapshot("contacts").values()}
    assert contacts["new@acme.example"]["api_never_called"] == "true"
    assert contacts["ann@acme.example"]["api_never_called"] == "false"
    assert make_plan(warehouse.settings).calls == 0


def test_who_leaves_a_cohort_leaves_it_in_hubspot(
    warehouse: Warehouse, make_hub: Callable[..., Emulator]
) -> None:
    """As a checkbox of its own, and among the options of a selection."""
    hub = make_hub()
    init_properties(warehouse.settings, live=True)
    push(warehouse.settings, live=True)
    warehouse.night(date(2026, 5, 31), publishes=True)
    assert push(warehouse.settings, live=True).exit_status == 0
    (company,) = hub.store.snapshot("companies").values()
    assert company["api_near_quota"] == "false"
    assert "near_quota" not in company.get("api_cohorts", "").split(";")


def test_what_hubspot_acknowledged_is_kept_through_builds(
    warehouse: Warehouse, make_hub: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = make_hub()
    init_properties(warehouse.settings, live=True)
    push(warehouse.settings, live=True)
    before = warehouse.table("ops.hubspot_ledger")
    assert before
    warehouse.night(date(2026, 3, 31), full=True, publishes=True)
    others = {name: replace(model, code="another") for name, model in nightly.models().items()}
    monkeypatch.setattr(nightly, "models", lambda: others)
    warehouse.night(date(2026, 3, 31), publishes=True)
    assert warehouse.table("ops.hubspot_ledger") == before
    hub.forget_calls()
    push(warehouse.settings, live=True)
    assert not hub.writes


def test_tables_of_an_older_build_are_made_and_completed(warehouse: Warehouse) -> None:
    with open_warehouse(warehouse.settings) as connection:
        connection.execute("DROP TABLE ops.hubspot_ledger")
        connection.execute("ALTER TABLE ops.hubspot_pushes DROP COLUMN digest")
        tables.prepare(connection, "hubspot")
        tables.prepare(connection, "hubspot")
        assert connection.execute("SELECT digest FROM ops.hubspot_pushes").fetchall() == []
    with duckdb.connect(str(warehouse.settings.warehouse_file), read_only=True) as connection:
        bare = connection.execute("""
            SELECT table_name, column_name FROM duckdb_columns()
            WHERE table_name LIKE 'hubspot%' AND comment IS NULL""").fetchall()
    assert bare == []


def test_every_table_of_the_push_is_a_model(warehouse: Warehouse) -> None:
    names = {name for name, model in nightly.models().items() if name.startswith("ops.hubspot_")}
    assert {
        f"ops.hubspot_{name}"
        for name in (
            *("ledger", "pushes", "rejects", "skips", "properties", "outbox", "records"),
            *("lists", "list_members", "kept", "associations", "changes", "events"),
        )
    } == names
