"""HubSpot accounts as they really are: what they refuse, keep, make by themselves, and do not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagster_project.destinations.hubspot import HubspotError, init_properties
from dagster_project.standins.hubspot import Emulator, Fault, Options

from .desk import Desk
from .test_push import SEEN, by_key, firm, firms, people, person

LIMIT = {
    "status": "error",
    "category": "VALIDATION_ERROR",
    "message": "You have reached the limit of 1,000,000 records for this object.",
}
PAYMENT = {"status": "error", "category": "PAYMENT_REQUIRED", "message": "The account is past due."}
SCOPE = {
    "status": "error",
    "category": "MISSING_SCOPES",
    "message": "This app hasn't been granted all required scopes to make this call.",
    "errors": [{"message": "", "context": {"requiredGranularScopes": ["crm.objects.companies.write"]}}],
}


def rejects(desk: Desk) -> set[tuple[str, str | None, str]]:
    return {(row["key"], row["property"], row["code"]) for row in desk.table("ops.hubspot_rejects")}


def pushes(desk: Desk) -> list[dict[str, Any]]:
    found = desk.table("ops.hubspot_pushes ORDER BY push")
    for row in found:
        assert row["ended_at"] is not None, row
        assert row["planned"] == row["acknowledged"] + row["rejected"] + row["skipped"], row
    return found


def test_hundreds_of_properties_are_looked_up_by_addresses_that_hubspot_takes(
    desk: Desk, hub: Emulator
) -> None:
    names = [f"api_a_rather_long_name_of_a_property_{i}" for i in range(320)]
    for name in names:
        hub.store.add_property("companies", name, "number")
    desk.companies(
        [firm("acme", **dict.fromkeys(names, 1))], api_calls="BIGINT", **dict.fromkeys(names, "BIGINT")
    )
    hub.faults.add(Fault("empty", operation="companies.batch_create", when="after"))
    assert (desk.push().exit_status, len(by_key(hub, "companies", "acme.example"))) == (0, 1)
    assert desk.push().total.planned == 0
    pushes(desk)


def test_an_email_that_a_read_refuses_is_rejected_by_name_and_the_others_go_on(
    desk: Desk, make_hub: Callable[..., Emulator]
) -> None:
    hub = make_hub(options=Options(search_lag=3600, unreadable=frozenset({"user3@example.com"})))
    hub.store.add_property("contacts", "api_calls", "number")
    for i in range(40):  # more than are asked for: they are read, not listed
        hub.store.put("contacts", {"email": f"other{i}@example.com"})
    hub.store.put("contacts", {"email": "main@example.com", "hs_additional_emails": "user5@example.com"})
    for i in range(70):
        hub.store.put("contacts", {"email": f"more{i}@example.com"})
    desk.contacts(people(10))
    result = desk.push()
    assert (result.total.acknowledged, result.total.rejected, result.exit_status) == (9, 1, 0)
    assert rejects(desk) == {("user3@example.com", None, "NOT_READABLE")}
    assert [row["message"] for row in desk.table("ops.hubspot_rejects")] == [
        "HubSpot refuses to show the record: Invalid input: user3@example.com cannot be read"
    ]
    desk.push()
    pushes(desk)


def test_a_lost_answer_that_cannot_be_looked_up_blocks_nothing(
    desk: Desk, make_hub: Callable[..., Emulator]
) -> None:
    hub = make_hub()
    hub.store.add_property("contacts", "api_calls", "number")
    desk.contacts(people(5))
    desk.push()
    hub.faults.add(Fault("empty", operation="contacts.batch_update", when="after"))
    for status in (400, 403, 414):
        hub.faults.add(Fault("status", operation="contacts.batch_read", status=status, every=1, times=30))
        desk.contacts(people(5, more=100 + status))
        result = desk.push()
        # 403 is an answer to the account: records that it may not look at wait until it may.
        assert (result.total.planned, bool(result.stopped)) == (5, status == 403)
        hub.faults.clear()
        hub.faults.add(Fault("empty", operation="contacts.batch_update", when="after"))
    hub.faults.clear()
    assert desk.push().exit_status == 0
    assert by_key(hub, "contacts", "user2@example.com")[0]["api_calls"] == "516"
    pushes(desk)


def test_contacts_wait_for_companies_where_the_account_makes_these_by_itself(
    desk: Desk, make_hub: Callable[..., Emulator]
) -> None:
    hub = make_hub(options=Options(search_lag=3600, companies_from_contacts=True, latency=0.02))
    for kind in ("companies", "contacts"):
        hub.store.add_property(kind, "api_calls", "number")
    desk.companies(firms(12))
    desk.contacts([person(f"p{i}", email=f"p@firm{i}.example") for i in range(12)])
    hub.faults.add(Fault("empty", operation="companies.batch_create", when="after"))
    assert desk.push().exit_status == 0
    held = sorted(record["domain"] for record in hub.store.snapshot("companies").values())
    assert held == sorted(f"firm{i}.example" for i in range(12))


def test_a_value_that_hubspot_kept_is_no_success(desk: Desk, hub: Emulator) -> None:
    hub.store.put("contacts", {"email": "a@example.com", "lifecyclestage": "customer"})
    columns = {"api_calls": "BIGINT", "lifecyclestage": "VARCHAR"}
    desk.contacts([person("a", 3, lifecyclestage="lead"), person("b", 4, lifecyclestage="lead")], **columns)
    result = desk.push()
    assert (result.total.acknowledged, result.total.rejected) == (2, 0)
    assert rejects(desk) == {("a@example.com", "lifecyclestage", "NOT_TAKEN")}
    assert ("a@example.com", "lifecyclestage") not in desk.ledger()
    assert desk.ledger()["b@example.com", "lifecyclestage"] == "lead"
    hub.forget_calls()
    assert desk.push().total.planned == 0
    desk.contacts(
        [person("a", 3, lifecyclestage="subscriber"), person("b", 4, lifecyclestage="lead")], **columns
    )
    result = desk.push()
    assert (result.total.planned, result.total.rejected) == (1, 1)
    pushes(desk)


@pytest.mark.parametrize("answer", [LIMIT, PAYMENT, SCOPE, {**LIMIT, "message": "No more of these, sorry."}])
def test_what_is_refused_to_the_account_is_no_fault_of_the_records(
    desk: Desk, hub: Emulator, answer: dict[str, Any]
) -> None:
    known = hub.store.put("companies", {"domain": "firm0.example"})
    desk.companies(firms(250))
    desk.contacts(people(5))
    status = {"PAYMENT_REQUIRED": 402, "MISSING_SCOPES": 403}.get(answer["category"], 400)
    fault = Fault("status", operation="companies.batch_create", status=status, body=answer, every=1)
    hub.faults.add(fault)
    result = desk.push()
    assert result.exit_status == 1
    assert answer["message"] in str(result.stopped)
    took_known = status == 400 or any(row["hubspot_id"] == known for row in desk.table("ops.hubspot_ledger"))
    assert (result.total.acknowledged, result.total.rejected) == (6 if took_known else 5, 0)
    assert len([call for call in hub.writes if call.operation == "companies.batch_create"]) <= 20
    assert len(hub.store.snapshot("contacts")) == 5
    hub.faults.clear()
    assert desk.push().exit_status == 0
    assert len(hub.store.snapshot("companies")) == 250
    pushes(desk)


def test_a_missing_token_a_scope_a_payment_and_a_limit_read_differently(desk: Desk, hub: Emulator) -> None:
    said = []
    for status, body in ((403, SCOPE), (402, PAYMENT), (400, LIMIT)):
        desk.companies(firms(3))
        hub.faults.add(Fault("status", operation="companies.batch_create", status=status, body=body, every=1))
        said.append(str(desk.push().stopped))
        hub.faults.clear()
    assert "lacks a scope" in said[0]
    assert "crm.objects.companies.write" in said[0]
    assert "payment" in said[1]
    assert "limit" in said[2]


def test_a_company_whose_unique_value_stands_elsewhere_is_updated_through_that(
    desk: Desk, hub: Emulator
) -> None:
    hub.store.add_property("companies", "api_company_id", hasUniqueValue=True)
    there = hub.store.put("companies", {"domain": "old.example", "api_company_id": "acme"})
    columns = {"api_calls": "BIGINT", "api_company_id": "VARCHAR"}
    desk.companies(
        [firm("acme", 4, api_company_id="acme"), firm("beta", 5, api_company_id="beta")], **columns
    )
    result = desk.push()
    assert (result.total.acknowledged, result.total.rejected) == (2, 0)
    assert hub.store.snapshot("companies")[there]["api_calls"] == "4"
    assert len(hub.store.snapshot("companies")) == 2
    assert desk.push().total.planned == 0


def test_an_account_that_does_not_tell_its_id_must_be_named(desk: Desk, hub: Emulator) -> None:
    hub.faults.add(Fault("status", path="account-info", status=403, every=1))
    desk.contacts(people(2))
    with pytest.raises(HubspotError, match=r"\[hubspot\] portal_id"):
        desk.push()
    assert not hub.writes
    desk.with_settings(portal_id=77)
    assert desk.push().total.created == 2
    assert {row["portal_id"] for row in desk.table("ops.hubspot_ledger")} == {77}


def test_properties_that_were_made_are_made_though_the_list_lags(
    desk: Desk, make_hub: Callable[..., Emulator]
) -> None:
    make_hub(options=Options(property_lag=3600))
    desk.companies(
        [{"company_id": "a", "last_seen_at": SEEN, "domain": "a.example", "api_x": 1}], api_x="BIGINT"
    )
    for _ in range(2):  # the second time, the list still lacks it, and HubSpot says that it exists
        assert init_properties(desk.settings, live=True).exit_status == 0


@pytest.mark.parametrize("path", ["/crm/objects/2026-09/companies$", "/crm/properties/2026-09/companies$"])
def test_an_object_that_hubspot_does_not_show_waits_and_the_other_goes_on(
    desk: Desk, hub: Emulator, path: str
) -> None:
    desk.companies(firms(3))
    desk.contacts(people(2))
    hub.faults.add(Fault("status", path=path, status=403, body=SCOPE, every=1))
    assert desk.plan().unreadable
    result = desk.push()
    assert (result.exit_status, result.objects["contacts"].created) == (1, 2)
    assert "crm.objects.companies.write" in str(result.stopped)
    hub.faults.clear()
    assert desk.push().total.created == 3
    pushes(desk)
