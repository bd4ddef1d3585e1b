"""Custom events: what happened is told once each, whatever HubSpot answers."""

from __future__ import annotations

import pytest

from dagster_project.destinations.hubspot import HubspotError, init_properties
from dagster_project.settings import project_root
from dagster_project.standins.hubspot import Emulator, Fault
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.publish import publish

from .desk import Desk
from .test_push import firm, person


def happened(
    desk: Desk, *ids: str, event: str = "api_first_call", more: str = "'first' AS api_route"
) -> None:
    desk.select(
        "events",
        f"SELECT '{event}' AS event, u AS event_id, NULL AS company_id, u AS user_id,\n"
        f"TIMESTAMP '2026-03-01 10:00:00.5' AS occurred_at, {more} FROM unnest({list(ids)}) t(u)",
    )


def told(hub: Emulator) -> list[tuple[str, str]]:
    """Event and record of what HubSpot was told, once each."""
    return sorted((event, one["objectId"]) for (event, _), one in hub.events.occurrences.items())


@pytest.fixture
def sending(desk: Desk, hub: Emulator) -> Desk:
    """Two contacts, of whom the first call is to be told."""
    desk.with_settings(events=True)
    desk.contacts([person("a"), person("b")])
    happened(desk, "a", "b")
    made = init_properties(desk.settings, live=True)
    assert [one.name for one in made.events] == ["api_first_call"]
    assert not made.failed
    hub.forget_calls()
    return desk


def test_each_event_is_told_once_with_its_record(sending: Desk, hub: Emulator) -> None:
    plan = sending.plan()
    assert plan.events == {"api_first_call": 2}
    assert plan.calls == 2
    assert not hub.writes
    result = sending.push()
    assert (result.exit_status, result.write_calls, result.digest) == (0, 2, plan.digest)
    ids = {one["email"]: record for record, one in hub.store.snapshot("contacts").items()}
    name = f"pe{hub.events.portal_id}_api_first_call"
    assert told(hub) == sorted((name, record) for record in ids.values())
    (one,) = (one for one in hub.events.occurrences.values() if one["objectId"] == ids["a@example.com"])
    assert (one["occurredAt"], one["properties"]) == ("2026-03-01T10:00:00.500Z", {"api_route": "first"})
    hub.forget_calls()
    assert sending.push().exit_status == 0
    assert not hub.writes
    happened(sending, "a", "b", "c")  # of c HubSpot has no record
    assert sending.plan().events == {}
    sending.contacts([person("a"), person("b"), person("c")])
    happened(sending, "a", "b", "c")
    sending.push()
    assert len(told(hub)) == 3
    assert {row["state"] for row in sending.table("ops.hubspot_events")} == {"acknowledged"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_is_lost_makes_no_second_event(sending: Desk, hub: Emulator, when: str) -> None:
    hub.faults.add(Fault("cut", operation="events.send_batch", when=when, times=2))
    assert sending.push().exit_status == 0
    assert len(told(hub)) == 2


def test_what_hubspot_never_answers_is_told_by_the_next_push(sending: Desk, hub: Emulator) -> None:
    hub.faults.add(Fault("cut", operation="events.send_batch", when="after", times=4))
    assert sending.push().exit_status == 1
    assert {row["state"] for row in sending.table("ops.hubspot_events")} == {"sent"}
    assert sending.push().exit_status == 0
    assert len(told(hub)) == 2
    assert {row["state"] for row in sending.table("ops.hubspot_events")} == {"acknowledged"}


def test_one_refused_event_holds_no_other_up(sending: Desk, hub: Emulator) -> None:
    desk = sending
    full = f"pe{hub.events.portal_id}_api_first_call"
    hub.events.definitions[full]["properties"] = [{"name": "api_route"}]
    happened(
        desk, "a", "b", more="CASE u WHEN 'a' THEN 'x' END AS api_route, CASE u WHEN 'b' THEN 1 END AS n"
    )
    left_out = desk.push().left_out
    assert [one.column for one in left_out] == ["api_first_call"]
    assert "no property n in HubSpot" in left_out[0].reason
    assert not told(hub)
    del hub.events.definitions[full]
    left_out = desk.push().left_out
    assert "hubspot-init" in left_out[0].reason
    init_properties(desk.settings, live=True)
    hub.faults.add(
        Fault(
            "status",
            operation="events.send_batch",
            status=400,
            times=2,
            body={"status": "error", "message": "No."},
        )
    )
    desk.push()
    states = {row["id"]: (row["state"], row["message"]) for row in desk.table("ops.hubspot_events")}
    assert sorted(states.values(), key=str) == [("acknowledged", None), ("rejected", "No.")]
    hub.forget_calls()
    desk.push()
    assert not hub.writes, "what was refused is not sent again as it is"


def test_a_missing_scope_and_an_event_of_both_are_said(sending: Desk, hub: Emulator) -> None:
    objects = [f"crm.objects.{one}.{way}" for one in ("contacts", "companies") for way in ("read", "write")]
    schemas = [one.replace("objects", "schemas") for one in objects]
    hub.access.scopes = {*objects, *schemas, "behavioral_events.event_definitions.read_write"}
    result = sending.push()
    assert result.exit_status == 1
    assert "analytics.behavioral_events.send" in result.left_out[0].reason
    assert result.objects["contacts"].acknowledged == 2
    sending.select(
        "events",
        "SELECT 'x' AS event, i AS event_id, CASE i WHEN 1 THEN 'c' END AS company_id, CASE i WHEN 2 THEN 'u' END AS user_id,"
        " TIMESTAMP '2026-03-01' AS occurred_at FROM range(1, 3) t(i)",
    )
    with pytest.raises(HubspotError, match="of companies and of contacts"):
        sending.plan()


def test_the_select_that_comes_with_the_release(desk: Desk, hub: Emulator) -> None:
    desk.with_settings(events=True)
    desk.contacts([person("a")])
    desk.companies([firm("acme")])
    with open_warehouse(desk.settings) as connection:
        for entity, id_ in (("company", "acme"), ("user", "a")):
            connection.execute(f"""
                CREATE TABLE marts.{entity}_profiles AS
                SELECT '{id_}' AS {entity}_id, TIMESTAMP '2026-03-01' AS created_at, 60 AS first_call_seconds""")
        connection.execute("""
            CREATE TABLE marts.cohort_changes AS
            SELECT 'near_quota' AS cohort, 'company' AS entity, 'acme' AS id, TIMESTAMP '2026-03-02' AS changed_at,
                   'entered' AS change""")
        publish(connection, desk.settings)
    desk.select("events", (project_root() / "sql/outbound/hubspot_events.sql").read_text(encoding="utf-8"))
    assert len(init_properties(desk.settings, live=True).events) == 3
    assert desk.push().exit_status == 0
    said = {event.partition("_")[2]: one["properties"] for (event, _), one in hub.events.occurrences.items()}
    assert said == {
        "api_first_call": {"api_seconds_since_signup": "60"},
        "api_company_first_call": {"api_seconds_since_signup": "60"},
        "api_company_entered_cohort": {"api_cohort": "near_quota"},
    }
