"""Whatever HubSpot does: the same state in the end, and every record accounted for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dagster_project.standins.hubspot import Emulator, Fault, Limits

from .desk import Desk
from .test_push import by_key, firms, people, person

EXPECTED_CONTACTS = {f"user{i}@example.com": str(5 + i) for i in range(250)}


def state(hub: Emulator) -> dict[str, str]:
    return {r["email"]: r["api_calls"] for r in hub.store.snapshot("contacts").values()}


def domains(hub: Emulator) -> list[str]:
    return sorted(r["domain"] for r in hub.store.snapshot("companies").values())


WRITES = r"/batch/(create|update)$"
FAULTS = {
    "503": Fault("status", path=WRITES, nth=2, status=503, html=True),
    "500 after": Fault("status", path=WRITES, nth=1, status=500, when="after"),
    "500 before": Fault("status", path=WRITES, nth=2, times=2, status=500),
    "cut before": Fault("cut", path=WRITES, nth=2),
    "cut after": Fault("cut", path=WRITES, nth=2, when="after"),
    "cut in the middle": Fault("cut", path=WRITES, nth=1, when="mid"),
    "reset after": Fault("cut", path=WRITES, nth=3, when="after", reset=True),
    "empty before": Fault("empty", path=WRITES, nth=2),
    "empty after": Fault("empty", path=WRITES, nth=2, when="after"),
    "409": Fault("conflict", operation="contacts.batch_create", nth=1),
    "423": Fault("status", path=WRITES, nth=1, status=423),
    "477": Fault("status", path=WRITES, nth=2, status=477),
    "second-long 429": Fault("rate", path=WRITES, nth=2, policy="SECONDLY"),
    "429 with Retry-After": Fault("rate", nth=2, retry_after=1, policy="SECONDLY"),
    "reads fail": Fault(
        "status", path="(batch/read|objects/2026-09/companies$|properties)", every=2, times=4, status=502
    ),
    "reads are cut": Fault("cut", path="batch/read|/companies$", every=2, times=4),
    "reads are empty": Fault("empty", path="(batch/read|/companies|/contacts)$", every=2, times=4),
    "merged meanwhile": Fault("merge", operation="contacts.batch_update", nth=1),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_state_is_the_same_after(desk: Desk, hub: Emulator, fault: Fault) -> None:
    for i in range(0, 250, 3):
        hub.store.put("contacts", {"email": f"user{i}@example.com"})
    hub.store.put("companies", {"domain": "firm3.example"})
    desk.contacts(people(250))
    desk.companies(firms(150))
    hub.faults.add(fault)
    result = desk.push()
    assert (result.exit_status, result.total.rejected, result.total.skipped) == (0, 0, 0)
    assert result.write_calls == len(hub.writes), "what HubSpot refused for its limits counts, too"
    assert result.total.acknowledged == 400
    got = state(hub)
    assert {
        key: got[key] for key in got if key in EXPECTED_CONTACTS
    } == EXPECTED_CONTACTS or fault.do == "merge"
    assert domains(hub) == sorted(f"firm{i}.example" for i in range(150))
    assert not desk.table("ops.hubspot_outbox")
    hub.forget_calls()
    assert desk.push().total.planned == 0
    assert not hub.writes


def test_hangs_are_given_up_and_looked_up(desk: Desk, hub: Emulator) -> None:
    desk.with_settings(timeout_seconds=1)
    desk.contacts(people(150))
    desk.companies(firms(20))
    hub.faults.add(
        Fault("hang", path=WRITES, nth=1, seconds=3), Fault("hang", path="batch/read", nth=1, seconds=2)
    )
    result = desk.push()
    assert result.total.acknowledged == 170
    assert len(hub.store.snapshot("contacts")) == 150


@pytest.mark.parametrize("do", ["cut", "status", "empty"])
def test_nothing_at_all_ends_with_every_record_accounted_for(
    desk: Desk, hub: Emulator, do: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _do_not_wait(monkeypatch)
    desk.contacts(people(220))
    hub.faults.add(Fault(do, path=WRITES, every=1))  # type: ignore[arg-type]
    result = desk.push()
    assert result.exit_status == 1
    assert result.total.acknowledged == 0
    assert result.total.planned == 220
    assert not hub.store.snapshot("contacts")
    hub.faults.clear()
    assert desk.push().total.acknowledged == 220
    assert len(hub.store.snapshot("contacts")) == 220
    assert not desk.table("ops.hubspot_rejects")


def test_what_stays_unknown_is_looked_up_by_the_next_push(
    desk: Desk, hub: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _do_not_wait(monkeypatch)
    desk.contacts(people(50))
    desk.companies(firms(30))
    hub.faults.add(
        Fault("cut", path="batch/create", when="after", times=2, every=1),
        Fault("status", path="batch/read|/companies$", status=502, every=1),
    )
    hub.faults.clear()
    hub.faults.add(Fault("cut", path="batch/create", when="after", times=2, every=1))
    original = hub.faults.add

    def tell(message: str) -> None:
        if message.startswith("looking up what"):
            original(Fault("status", path="batch/read|/companies$", status=502, every=1))

    result = desk.push(tell=tell)
    # Contacts were not made: whether the companies were is not known.
    assert (result.exit_status, result.unknown, result.total.rejected, result.total.skipped) == (
        1,
        30,
        30,
        50,
    )
    hub.faults.clear()
    hub.forget_calls()
    result = desk.push()
    assert {call.operation for call in hub.writes} == {"contacts.batch_create"}
    assert result.exit_status == 0
    assert len(hub.store.snapshot("contacts")) == 50
    assert len(hub.store.snapshot("companies")) == 30
    assert not desk.table("ops.hubspot_rejects")


def test_the_daily_limit_stops_the_push_and_says_when_to_go_on(
    desk: Desk, make_hub: Callable[..., Emulator]
) -> None:
    hub = make_hub(limits=Limits(rolling=100_000, daily=7, time_zone="America/New_York"))
    hub.store.add_property("contacts", "api_calls", "number")
    desk.contacts(people(900))
    result = desk.push()
    assert result.exit_status == 1
    assert result.daily_limit_resumes_at is not None
    now = datetime.now(UTC).replace(tzinfo=None)
    assert now < result.daily_limit_resumes_at <= now + timedelta(days=1)
    assert result.daily_limit_resumes_at.hour in (4, 5)
    assert 0 < result.total.acknowledged < 900
    assert {row["reason"] for row in desk.table("ops.hubspot_skips")} == {"daily_limit"}
    sent = result.total.acknowledged
    again = desk.push()
    assert again.daily_limit_resumes_at is not None
    hub.limiter.used_today = -1000
    assert desk.push().total.acknowledged == 900 - sent
    assert len(hub.store.snapshot("contacts")) == 900


def test_a_429_of_the_day_in_the_middle(desk: Desk, hub: Emulator) -> None:
    desk.contacts(people(900))
    hub.faults.add(Fault("rate", path=WRITES, nth=3, policy="DAILY", every=1))
    result = desk.push()
    assert result.daily_limit_resumes_at is not None
    assert hub.limiter.max_refused_in_10s <= 4
    assert result.total.acknowledged + result.total.skipped == 900
    hub.faults.clear()
    desk.push()
    assert state(hub) == {f"user{i}@example.com": str(5 + i) for i in range(900)}


def test_the_rate_limit_is_obeyed_without_a_refusal(desk: Desk, make_hub: Callable[..., Emulator]) -> None:
    hub = make_hub(limits=Limits(rolling=20, daily=None, window=1.0))
    hub.store.add_property("contacts", "api_calls", "number")
    desk.contacts(people(8000))
    result = desk.push()
    assert result.total.acknowledged == 8000
    assert hub.limiter.refused == 0
    assert len(hub.writes) == 80


def test_no_more_than_four_refusals_in_ten_seconds_while_somebody_else_uses_up_the_limit(
    desk: Desk, hub: Emulator
) -> None:
    desk.contacts(people(1500))
    hub.faults.add(Fault("rate", path=WRITES, every=1, times=3, policy="SECONDLY"))
    result = desk.push()
    assert result.total.acknowledged == 1500
    assert hub.limiter.max_refused_in_10s <= 4


def test_409_of_a_contact_that_appeared_meanwhile(desk: Desk, hub: Emulator) -> None:
    desk.contacts(people(150))

    def tell(message: str) -> None:
        if message.startswith("sending") and not by_key(hub, "contacts", "user149@example.com"):
            hub.store.put(
                "contacts", {"email": "user149@example.com", "hs_additional_emails": "user148@example.com"}
            )

    result = desk.push(tell=tell)
    assert result.total.planned == 150
    assert by_key(hub, "contacts", "user149@example.com")
    hub.forget_calls()
    desk.push()
    assert len(hub.store.snapshot("contacts")) in (149, 150)
    desk.push()
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def test_poison_is_isolated(desk: Desk, hub: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invalid keys that only HubSpot knows of, and a conflict that names the record."""
    hub.store.put("contacts", {"email": "main@example.com"})
    desk.contacts([person(f"p{i}") for i in range(100)] + [person("bad", email=f"{'b' * 70}@example.com")])
    result = desk.push()
    assert (result.total.acknowledged, result.total.rejected) == (100, 1)
    (reject,) = desk.table("ops.hubspot_rejects")
    assert (reject["id"], reject["code"]) == ("bad", "INVALID_EMAIL")
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def _do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
