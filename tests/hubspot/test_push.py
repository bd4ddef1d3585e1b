"""Pushing: what is sent, to whom, in how many calls, and what is said of it afterwards."""

from __future__ import annotations

from dagster_project.hubspot_emulator import Emulator

from .desk import Desk


def people(number: int, calls: int = 5) -> str:
    return f"""SELECT 'u' || i AS user_id, TIMESTAMP '2026-03-01' AS last_seen_at, 'user' || i || '@example.com' AS email,
               {calls} + i AS api_calls FROM range({number}) t(i)"""


def firms(number: int) -> str:
    return f"""SELECT 'c' || i AS company_id, TIMESTAMP '2026-03-01' AS last_seen_at, 'firm' || i || '.example' AS domain,
               i AS api_calls FROM range({number}) t(i)"""


def ready(hub: Emulator) -> None:
    for kind in ("contacts", "companies"):
        hub.store.add_property(kind, "api_calls", "number")


def test_first_push_creates_and_updates_in_the_calls_that_the_plan_said(desk: Desk, hub: Emulator) -> None:
    ready(hub)
    for i in range(120):
        hub.store.put("contacts", {"email": f"user{i}@example.com"})
    hub.store.put("companies", {"domain": "firm3.example"})
    desk.contacts(people(350))
    desk.companies(firms(150))
    plan = desk.plan()
    assert (plan.counts["contacts"].creates, plan.counts["contacts"].updates) == (230, 120)
    assert (plan.counts["companies"].creates, plan.counts["companies"].updates) == (149, 1)
    assert plan.calls == 3 + 2 + 2 + 1
    hub.forget_calls()
    result = desk.push()
    assert len(hub.writes) == plan.calls == result.write_calls
    assert result.digest == plan.digest
    assert result.exit_status == 0
    assert result.objects["contacts"].created == 230
    assert result.objects["contacts"].updated == 120
    assert len(hub.store.snapshot("contacts")) == 350
    assert {r["email"]: r["api_calls"] for r in hub.store.snapshot("contacts").values()} == {
        f"user{i}@example.com": str(5 + i) for i in range(350)}
    assert len(hub.store.snapshot("companies")) == 150
    assert desk.ledger()["user7@example.com", "api_calls"] == "12"
    hub.forget_calls()
    again = desk.push()
    assert not hub.writes
    assert again.total.planned == 0
    assert again.objects["contacts"].unchanged == 350
    assert not [c for c in hub.calls if c.operation not in ("account.details", "properties.list")]
