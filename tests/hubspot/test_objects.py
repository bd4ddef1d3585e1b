"""Deals and objects of the account's own: a SELECT each, matched by an own unique property that its header names."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from dagster_project.destinations.hubspot import HubspotError, Resend, init_properties, pending_query
from dagster_project.settings import project_root
from dagster_project.standins.hubspot import Emulator, Fault, Options
from dagster_project.warehouse.database import open_published, open_warehouse
from dagster_project.warehouse.publish import publish

from .desk import Desk
from .test_push import firm

DEALS = """-- Each subscription as a deal.
-- match: api_subscription_id
SELECT 'sub_' || i AS api_subscription_id, 'c' || i AS company_id, 'Plan ' || i AS dealname, 'default' AS pipeline,
       'contractsent' AS dealstage, {amount} + i AS amount, ['a', 'b'] AS api_modules
FROM range({number}) t(i)
"""


@pytest.fixture
def hub(make_hub: Callable[..., Emulator]) -> Emulator:
    return make_hub(options=Options(search_lag=3600, custom_objects=("plans",)))


def deals(desk: Desk, number: int = 3, amount: int = 10, header: str = "") -> None:
    desk.companies([firm("acme", None)], api_calls="BIGINT")
    desk.select("companies", "SELECT company_id, last_seen_at, domain FROM marts.companies_out WHERE false")
    desk.select("deals", header + DEALS.format(number=number, amount=amount))


def held(hub: Emulator, kind: str = "deals") -> dict[str, dict[str, str]]:
    return {one["api_subscription_id"]: one for one in hub.store.snapshot(kind).values()}


def test_deals_are_made_and_kept_up_to_date(desk: Desk, hub: Emulator) -> None:
    deals(desk, 3)
    made = init_properties(desk.settings, live=True)
    assert not made.failed
    assert {one.name: one.is_unique for one in made.properties} == {
        "api_subscription_id": True,
        "api_modules": False,
    }
    assert made.groups == ["deals"]
    known = hub.store.put("deals", {"api_subscription_id": "sub_1", "dealname": "Of a person"})
    plan = desk.plan()
    assert (plan.counts["deals"].creates, plan.counts["deals"].updates, plan.calls) == (2, 1, 2)
    hub.forget_calls()
    result = desk.push()
    assert (result.exit_status, result.objects["deals"].acknowledged, len(hub.writes)) == (0, 3, 2)
    assert held(hub)["sub_2"] == {
        "api_subscription_id": "sub_2",
        "dealname": "Plan 2",
        "pipeline": "default",
        "dealstage": "contractsent",
        "amount": "12",
        "api_modules": "a;b",
    }
    assert hub.store.snapshot("deals")[known]["dealname"] == "Plan 1"
    assert {(row["id"], row["key"]) for row in desk.table("ops.hubspot_ledger")} == {
        (f"c{i}", f"sub_{i}") for i in range(3)
    }
    hub.forget_calls()
    assert desk.push().total.unchanged == 3
    assert not hub.writes
    deals(desk, 3, amount=20)
    desk.push()
    changed = [(row["id"], row["old"], row["new"]) for row in desk.table("ops.hubspot_changes") if row["old"]]
    assert sorted(changed) == [(f"c{i}", str(10 + i), str(20 + i)) for i in range(3)]
    with open_published(desk.settings) as published:
        query, _ = pending_query(published, "deals")
        assert not published.execute(query).fetchall()


def test_what_is_refused_cut_resent_and_deleted_is_as_of_companies(desk: Desk, hub: Emulator) -> None:
    deals(desk, 2)
    init_properties(desk.settings, live=True)
    hub.faults.add(Fault("cut", operation="deals.batch_create", when="after"))
    assert desk.push().objects["deals"].acknowledged == 2
    assert len(hub.store.snapshot("deals")) == 2
    hub.forget_calls()
    desk.push(resend=Resend(("amount",)))
    assert [call.operation for call in hub.writes] == ["deals.batch_update"]
    with hub.store.lock:
        gone = next(i for i, one in hub.store.snapshot("deals").items() if one["dealname"] == "Plan 0")
        hub.store.archive(hub.store.type("deals"), gone)
    desk.select("deals", DEALS.format(number=2, amount=30).replace("'contractsent'", "'no such'"))
    result = desk.push()
    assert (result.exit_status, result.objects["deals"].rejected, len(hub.store.snapshot("deals"))) == (
        0,
        1,
        1,
    )
    assert {(row["key"], row["property"], row["code"]) for row in desk.table("ops.hubspot_rejects")} == {
        ("sub_0", None, "OBJECT_NOT_FOUND"),
        ("sub_0", "dealstage", "INVALID_OPTION"),
        ("sub_1", "dealstage", "INVALID_OPTION"),
    }


def test_an_object_of_the_accounts_own_is_named_in_the_header(desk: Desk, hub: Emulator) -> None:
    deals(desk, 1)
    desk.select("deals", "")
    (desk.root / "sql" / "outbound" / "hubspot_deals.sql").unlink()
    desk.select(
        "contracts",
        "-- match: api_subscription_id\n-- object: 2-1001\n-- mode: update\n"
        "SELECT 's' || i AS api_subscription_id, 'u' || i AS user_id, i AS api_seats FROM range(2) t(i)",
    )
    assert not init_properties(desk.settings, live=True).failed
    hub.store.put("plans", {"api_subscription_id": "s1"})
    result = desk.push()
    assert (result.objects["contracts"].acknowledged, result.objects["contracts"].skipped) == (1, 1)
    assert held(hub, "plans") == {"s1": {"api_subscription_id": "s1", "api_seats": "1"}}
    assert [row["reason"] for row in desk.table("ops.hubspot_skips")] == ["not_in_hubspot"]


def test_what_cannot_be_sent_is_said(desk: Desk, hub: Emulator) -> None:
    deals(desk, 1)
    hub.store.add_property("deals", "api_subscription_id")
    hub.store.add_property("deals", "api_modules")
    left_out = {one.column: one.reason for one in desk.push().left_out}
    assert "not unique in HubSpot" in left_out["api_subscription_id"]
    assert not hub.store.snapshot("deals")
    desk.select("deals", "SELECT 'a' AS company_id, 'b' AS dealname")
    with pytest.raises(HubspotError, match="-- match: <unique property>"):
        desk.plan()
    desk.select("deals", "-- match: dealname\nSELECT 'b' AS dealname")
    with pytest.raises(HubspotError, match="company_id or user_id"):
        desk.plan()
    (desk.root / "sql" / "outbound" / "hubspot_deals.sql").unlink()
    desk.select("no_such_object", "-- match: x\nSELECT 'a' AS company_id, 'b' AS x, 1 AS y")
    result = desk.push()
    assert (result.exit_status, "no_such_object" in str(result.stopped)) == (1, True)


def test_the_select_of_the_documentation_runs_as_it_stands(desk: Desk, hub: Emulator) -> None:
    page = (project_root() / "docs/hubspot.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```sql\n(-- match: api_subscription_id\n.*?)```", page, re.DOTALL)
    with open_warehouse(desk.settings) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS marts")
        connection.execute("""
            CREATE TABLE marts.subscriptions AS
            SELECT 's1' AS subscription_id, 'acme' AS company_id, 'active' AS status,
                   TIMESTAMP '2026-04-01' AS current_period_end""")
        publish(connection, desk.settings)
    desk.select("deals", query)
    assert not init_properties(desk.settings, live=True).failed
    assert desk.push().objects["deals"].acknowledged == 1
    assert held(hub)["s1"]["dealstage"] == "closedwon"
