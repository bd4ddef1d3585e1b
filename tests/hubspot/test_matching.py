"""Which record is meant, and which of its fields are written: keys, modes, what is cleared, filled and sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from dagster_project.destinations.hubspot import HubspotError, Resend
from dagster_project.standins.hubspot import Emulator, Fault

from .desk import Desk
from .test_push import by_key, firm, firms, person, reasons


def test_ids_of_an_export_are_not_believed(desk: Desk, hub: Emulator) -> None:
    renamed = hub.store.put("companies", {"domain": "renamed.example"})
    other = hub.store.put("contacts", {"email": "somebody@else.example"})
    gone = hub.store.put("contacts", {"email": "b@example.com"})
    hub.store.archive(hub.store.contacts, gone)
    kept = hub.store.put("contacts", {"email": "c@example.com"})
    lost = hub.store.put("contacts", {"email": "d@example.com"})
    hub.store.merge("contacts", kept, lost)
    desk.companies([firm("acme", 4)])
    desk.contacts([person("a", 1), person("b", 2), person("d", 4)])
    desk.export("companies", (renamed, "acme.example", "{}"))
    desk.export(
        "contacts",
        (other, "a@example.com", "{}"),
        (gone, "b@example.com", "{}"),
        (lost, "d@example.com", "{}"),
    )
    assert desk.push().exit_status == 0
    assert "api_calls" not in hub.store.snapshot("companies")[renamed]
    assert "api_calls" not in hub.store.snapshot("contacts")[other]
    for email, calls in (("a@example.com", "1"), ("b@example.com", "2")):
        assert [one["api_calls"] for one in by_key(hub, "contacts", email)] == [calls]
    assert hub.store.snapshot("contacts")[kept]["api_calls"] == "4"
    assert len(by_key(hub, "companies", "acme.example")) == 1


def test_free_mail_domains_and_keys_that_are_none_make_no_company(desk: Desk, hub: Emulator) -> None:
    desk.with_settings(free_mail_domains=["mail.own.example", "-hey.com"])
    names = {"a": "gmail.com", "b": "Mail.Own.example", "c": "hey.com", "d": "acme.example"}
    desk.companies([firm(name, domain=domain) for name, domain in names.items()])
    result = desk.push()
    assert reasons(desk) == {"a": "free_mail_domain", "b": "free_mail_domain"}
    assert {one["domain"] for one in hub.store.snapshot("companies").values()} == {"hey.com", "acme.example"}
    assert (result.total.planned, result.total.skipped, result.exit_status) == (4, 2, 0)


def test_records_are_found_by_an_own_unique_property(desk: Desk, hub: Emulator) -> None:
    for kind in ("companies", "contacts"):
        hub.store.add_property(kind, "api_key", hasUniqueValue=True)
    known = hub.store.put("companies", {"domain": "old.example", "api_key": "C-1"})
    contact = hub.store.put("contacts", {"email": "old@example.com", "api_key": "U-1"})
    for i in range(3):
        hub.store.put("companies", {"domain": f"other{i}.example"})
    desk.with_settings(companies={"match": "api_key"}, contacts={"match": "api_key"})
    columns = {"api_calls": "BIGINT", "api_key": "VARCHAR"}
    desk.companies(
        [firm("new", 4, api_key="C-1"), firm("beta", 5, api_key="C-2"), firm("nokey", 6, api_key=None)],
        **columns,
    )
    desk.contacts([person("new", 7, api_key="U-1"), person("fresh", 8, api_key="U-2")], **columns)
    desk.select("companies", "SELECT * FROM marts.companies_out")
    assert desk.push().exit_status == 0
    assert hub.store.snapshot("companies")[known] == {
        "domain": "new.example",
        "api_key": "C-1",
        "api_calls": "4",
    }
    assert hub.store.snapshot("contacts")[contact]["email"] == "new@example.com"
    assert by_key(hub, "companies", "beta.example")[0]["api_key"] == "C-2"
    assert by_key(hub, "contacts", "fresh@example.com")[0]["api_key"] == "U-2"
    assert reasons(desk) == {"nokey": "no_key"}
    assert "companies.list" not in {call.operation for call in hub.calls}
    hub.forget_calls()
    assert desk.push().total.acknowledged == 0
    assert not hub.writes


def test_a_property_without_unique_values_finds_nobody(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("companies", "api_key")
    desk.with_settings(companies={"match": "api_key"})
    desk.companies([firm("a", api_key="x")], api_calls="BIGINT", api_key="VARCHAR")
    result = desk.push()
    assert (result.exit_status, result.total.planned) == (1, 0)
    assert "unique" in result.left_out[0].reason


@pytest.mark.parametrize(
    ("mode", "made", "skipped"), [("update", 0, "not_in_hubspot"), ("create", 1, "in_hubspot_already")]
)
def test_records_are_only_updated_or_only_made(
    desk: Desk, hub: Emulator, mode: str, made: int, skipped: str
) -> None:
    hub.store.put("companies", {"domain": "there.example"})
    hub.store.put("contacts", {"email": "there@example.com"})
    desk.with_settings(companies={"mode": mode}, contacts={"mode": mode})
    desk.companies([firm("there"), firm("new")])
    desk.contacts([person("there"), person("new")])
    result = desk.push()
    assert (result.total.created, result.total.updated) == (2 * made, 2 - 2 * made)
    assert (result.total.skipped, set(reasons(desk).values()), result.exit_status) == (2, {skipped}, 0)
    assert len(by_key(hub, "companies", "new.example")) == made
    assert ("api_calls" in by_key(hub, "contacts", "there@example.com")[0]) == (mode == "update")
    desk.contacts([person("there", 9), person("new", 9)])
    hub.forget_calls()
    desk.push()
    assert len(hub.writes) == (mode == "update"), (
        "what a push has made is not updated either, where it only makes"
    )


def test_nulls_of_named_columns_clear_what_was_ours_and_only_that(desk: Desk, hub: Emulator) -> None:
    kinds = {
        "api_text": ("string", "VARCHAR", "gold"),
        "api_number": ("number", "BIGINT", 5),
        "api_day": ("date", "DATE", "2026-03-01"),
        "api_at": ("datetime", "TIMESTAMP", "2026-03-01 10:00:00"),
        "api_flag": ("bool", "BOOLEAN", True),
        "api_kept": ("string", "VARCHAR", "stays"),
    }
    for name, (kind, _, _) in kinds.items():
        hub.store.add_property("contacts", name, kind)
    columns = {name: duckdb_type for name, (_, duckdb_type, _) in kinds.items()}
    full = {name: value for name, (_, _, value) in kinds.items()}
    desk.contacts([person("a", **full), person("b", **full)], api_calls="BIGINT", **columns)
    desk.with_settings(clear=[name for name in kinds if name != "api_kept"])
    desk.push()
    (theirs,) = [
        key for key, one in hub.store.snapshot("contacts").items() if one["email"] == "b@example.com"
    ]
    for name, value in (("api_text", "platinum"), ("api_number", "77")):
        prop = hub.store.contacts.schema.properties[name]
        hub.store.contacts.records[int(theirs)].set(prop.slot, value)
    none = dict.fromkeys(kinds)
    desk.contacts(
        [
            person("a", **none),
            person(
                "b",
                **none,
            ),
            person("c", **none),
        ],
        api_calls="BIGINT",
        **columns,
    )
    result = desk.push()
    assert result.exit_status == 0
    assert by_key(hub, "contacts", "a@example.com")[0] == {
        "email": "a@example.com",
        "api_calls": "1",
        "api_kept": "stays",
    }
    held = by_key(hub, "contacts", "b@example.com")[0]
    assert (held["api_text"], held["api_number"]) == ("platinum", "77")
    assert "api_day" not in held
    assert by_key(hub, "contacts", "c@example.com")[0] == {"email": "c@example.com", "api_calls": "1"}
    hub.forget_calls()
    assert desk.push().total.planned == 0
    assert "contacts.batch_read" not in {call.operation for call in hub.calls}


def test_blank_text_is_null(desk: Desk, hub: Emulator) -> None:
    hub.store.put("contacts", {"email": "a@example.com", "jobtitle": "CTO"})
    desk.contacts([person("a", jobtitle=" \t")], api_calls="BIGINT", jobtitle="VARCHAR")
    desk.push()
    assert by_key(hub, "contacts", "a@example.com")[0]["jobtitle"] == "CTO"


def test_a_marked_column_fills_only_what_is_empty(desk: Desk, hub: Emulator) -> None:
    hub.store.put("contacts", {"email": "a@example.com", "jobtitle": "CTO"})
    hub.store.put("contacts", {"email": "b@example.com"})
    columns = {"api_calls": "BIGINT", "jobtitle": "VARCHAR"}
    # (The second push looks once at the record that the first one made.)
    for calls, title in ((1, "guessed"), (2, "guessed anew"), (3, "guessed anew")):
        desk.contacts([person(name, calls, jobtitle=title) for name in "abc"], **columns)
        desk.select(
            "contacts", "-- Who they are.\n-- fill if empty: jobtitle\nSELECT * FROM marts.contacts_out"
        )
        hub.forget_calls()
        desk.push()
        held = {one["email"][0]: one["jobtitle"] for one in hub.store.snapshot("contacts").values()}
        assert held == {"a": "CTO", "b": "guessed", "c": "guessed"}
    assert "contacts.batch_read" not in {call.operation for call in hub.calls}


def test_labels_and_check_boxes_made_by_hand(desk: Desk, hub: Emulator) -> None:
    plans = [{"label": "Gold plan", "value": "plan_1"}, {"label": "Free plan", "value": "plan_2"}]
    yes_no = [{"label": "Yes", "value": "1"}, {"label": "No", "value": "0"}]
    odd = [{"label": "Blue", "value": "x"}, {"label": "Red", "value": "y"}]
    hub.store.add_property("contacts", "api_plan", "enumeration", options=plans)
    hub.store.add_property("contacts", "api_plans", "enumeration", fieldType="checkbox", options=plans)
    hub.store.add_property("contacts", "api_box", "enumeration", fieldType="booleancheckbox", options=yes_no)
    hub.store.add_property("contacts", "api_odd", "enumeration", options=odd)
    columns = {"api_plan": "VARCHAR", "api_plans": "VARCHAR[]", "api_box": "BOOLEAN", "api_odd": "BOOLEAN"}
    desk.contacts(
        [
            person("a", api_plan="gold PLAN", api_plans=["Free plan", "plan_1"], api_box=True, api_odd=True),
            person("b", api_plan="no such", api_plans=None, api_box=False, api_odd=False),
        ],
        api_calls="BIGINT",
        **columns,
    )
    result = desk.push()
    held = by_key(hub, "contacts", "a@example.com")[0]
    assert (held["api_plan"], set(held["api_plans"].split(";")), held["api_box"]) == (
        "plan_1",
        {"plan_1", "plan_2"},
        "1",
    )
    assert by_key(hub, "contacts", "b@example.com")[0]["api_box"] == "0"
    assert [(one.column, "x, y" in one.reason) for one in result.left_out] == [("api_odd", True)]
    (refused,) = desk.table("ops.hubspot_rejects")
    assert (refused["code"], "plan_1, plan_2" in refused["message"]) == ("INVALID_OPTION", True)
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def test_a_property_that_was_made_anew_is_filled_again(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_plan")
    desk.contacts([person("a", api_plan="gold")], api_calls="BIGINT", api_plan="VARCHAR")
    desk.push()
    for missing_meanwhile in (False, True):
        hub.store.contacts.schema.archive("api_plan", hub.store.now())
        if missing_meanwhile:
            assert desk.push().exit_status == 1
        hub.store.add_property("contacts", "api_plan")
        assert "api_plan" not in by_key(hub, "contacts", "a@example.com")[0]
        assert desk.push().total.acknowledged == 1
        assert by_key(hub, "contacts", "a@example.com")[0]["api_plan"] == "gold"
        assert desk.push().total.planned == 0


def test_what_was_acknowledged_is_sent_again_on_demand(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_plan")
    hub.store.add_property("companies", "api_plan")
    columns = {"api_calls": "BIGINT", "api_plan": "VARCHAR"}
    desk.contacts([person(name, api_plan="gold") for name in "ab"], **columns)
    desk.companies([firm(name, api_plan="gold") for name in "ab"], **columns)
    desk.push()

    def sent(resend: Resend) -> set[tuple[str, str]]:
        plan = desk.plan(resend=resend)
        rows = {(row.key, row.property) for row in plan.rows()}
        assert desk.plan().counts["contacts"].updates == 0  # a plan forgets nothing
        assert (
            desk.push(resend=resend).total.acknowledged
            == plan.counts["contacts"].updates + plan.counts["companies"].updates
        )
        assert desk.push().total.planned == 0
        return rows

    keys = ("a@example.com", "b@example.com", "a.example", "b.example")
    assert sent(Resend()) == {(key, name) for key in keys for name in columns}
    assert sent(Resend(("api_plan",))) == {(key, "api_plan") for key in keys}
    assert sent(Resend((), ("a",))) == {("a.example", name) for name in columns}
    assert sent(Resend(("api_calls",), (), ("b",))) == {("b@example.com", "api_calls")}
    with pytest.raises(HubspotError, match="nobody"):
        desk.push(resend=Resend((), (), ("nobody",)))


def test_what_an_earlier_refusal_holds_back_is_counted_and_shown(desk: Desk, hub: Emulator) -> None:
    body = {"status": "error", "category": "VALIDATION_ERROR", "message": "u1 is not welcome"}
    desk.contacts([person("u1"), person("u2", calls=None)])
    hub.store.add_property("contacts", "api_plan", "enumeration", options=[{"label": "A", "value": "a"}])
    hub.faults.add(
        Fault("status", operation="contacts.batch_create", status=400, body=body, times=2, every=1)
    )
    result = desk.push()
    assert result.total.rejected == 1
    again = desk.push()
    assert (again.total.planned, again.total.held_back, again.exit_status) == (0, 1, 0)
    assert [(one.object, one.message, one.records) for one in again.held_back] == [
        ("contacts", "u1 is not welcome", 1)
    ]
    plan = desk.plan()
    assert (plan.counts["contacts"].held_back, plan.held_back) == (1, again.held_back)
    assert desk.table("ops.hubspot_pushes ORDER BY push")[-1]["held_back"] == 1


def test_companies_that_hubspot_refused_to_make_do_not_list_the_account_again(
    desk: Desk, make_hub: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = make_hub()
    hub.store.add_property("companies", "api_calls", "number")
    hub.store.seed(companies=150)
    body: dict[str, Any] = {
        "status": "error",
        "category": "VALIDATION_ERROR",
        "message": "firm0 is not welcome",
    }
    desk.companies(firms(1))
    hub.faults.add(Fault("status", operation="companies.batch_create", status=400, body=body, every=1))
    assert desk.push().total.rejected == 1
    hub.forget_calls()
    assert desk.push().total.held_back == 1
    assert {call.operation for call in hub.calls} == {"account.details", "properties.list"}
    # Changed values: the account is asked, but a large one not every time.
    desk.companies([firm("firm0", 7)])
    assert desk.push().total.rejected == 1
    assert "companies.list" in {call.operation for call in hub.calls}
    monkeypatch.setattr("dagster_project.destinations.hubspot.matching.MANY", 100)
    hub.forget_calls()
    desk.companies([firm("firm0", 8)])
    assert desk.push().total.held_back == 1
    assert {call.operation for call in hub.calls} == {"account.details", "properties.list"}


def test_what_was_sent_is_kept_as_history(desk: Desk, hub: Emulator) -> None:
    hub.store.put("contacts", {"email": "b@example.com", "lifecyclestage": "customer"})
    columns = {"api_calls": "BIGINT", "lifecyclestage": "VARCHAR"}
    for calls in (1, 2):
        desk.contacts([person("a", calls), person("b", 5, lifecyclestage="lead")], **columns)
        desk.push()
    told = {
        (row["push"], row["id"], row["property"], row["old"], row["new"], row["state"])
        for row in desk.table("ops.hubspot_changes")
    }
    assert told == {
        (1, "a", "email", None, "a@example.com", "acknowledged"),
        (1, "a", "api_calls", None, "1", "acknowledged"),
        (2, "a", "api_calls", "1", "2", "acknowledged"),
        (1, "b", "api_calls", None, "5", "acknowledged"),
        (1, "b", "lifecyclestage", None, "lead", "rejected"),
    }


def test_a_remembered_id_is_looked_at_before_it_is_used(desk: Desk, hub: Emulator) -> None:
    """Somebody gave the records that the first push made to others: their keys are matched anew."""
    desk.companies([firm("acme", 1), firm("kept", 1)])
    desk.contacts([person("a", 1), person("b", 1)])
    desk.push()
    made = {one: by_id(hub, one) for one in ("contacts", "companies")}
    for kind, old, new in (
        ("companies", "acme.example", "renamed.example"),
        ("contacts", "a@example.com", "other@example.com"),
    ):
        requests.patch(
            f"{hub.base_url}/crm/objects/2026-09/{kind}/{made[kind][old]}",
            json={"properties": {"email" if kind == "contacts" else "domain": new}},
            headers=hub.auth,
            timeout=10,
        ).raise_for_status()
    hub.forget_calls()
    desk.push()
    assert not hub.writes
    assert hub.totals["operation.contacts.batch_read"] == 0, "nothing is written, so nothing is looked at"
    desk.companies([firm("acme", 2), firm("kept", 2)])
    desk.contacts([person("a", 2), person("b", 2)])
    assert desk.push().exit_status == 0
    for kind, key in (("companies", "acme.example"), ("contacts", "a@example.com")):
        assert by_id(hub, kind)[key] != made[kind][key]
        assert [one["api_calls"] for one in by_key(hub, kind, key)] == ["2"]
    for kind, key in (("companies", "renamed.example"), ("contacts", "other@example.com")):
        assert [one["api_calls"] for one in by_key(hub, kind, key)] == ["1"]
    assert by_id(hub, "companies")["kept.example"] == made["companies"]["kept.example"]
    hub.forget_calls()
    desk.contacts([person("a", 2), person("b", 3)])
    desk.push()
    assert hub.totals["operation.contacts.batch_read"] == 0, "it was looked at lately"


def test_a_remembered_id_that_cannot_be_looked_at_waits(desk: Desk, hub: Emulator) -> None:
    desk.contacts([person("a", 1), person("b", 1)])
    desk.companies([firm("acme", 1)])
    desk.push()
    desk.contacts([person("a", 2), person("b", 2)])
    desk.companies([firm("acme", 2)])
    refusal = {"status": "error", "message": "You may not read this."}
    hub.faults.add(
        Fault("status", operation="contacts.batch_read", status=403, body=refusal, every=1),
    )
    result = desk.push()
    assert (result.exit_status, "You may not read this" in str(result.stopped)) == (1, True)
    assert reasons(desk) == {"a": "not_readable", "b": "not_readable"}
    assert by_key(hub, "companies", "acme.example")[0]["api_calls"] == "2"
    hub.faults.clear()
    assert desk.push().exit_status == 0
    assert by_key(hub, "contacts", "a@example.com")[0]["api_calls"] == "2"


def by_id(hub: Emulator, kind: str) -> dict[str, str]:
    """Record ids by email or domain."""
    name = "email" if kind == "contacts" else "domain"
    return {held[name]: record for record, held in hub.store.snapshot(kind).items()}
