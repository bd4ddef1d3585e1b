"""Contacts are associated with the company of their user, once, and nothing of others' is touched."""

from __future__ import annotations

import pytest

from dagster_project.standins.hubspot import Emulator, Fault
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.publish import publish

from .desk import Desk
from .test_push import firm, person


def belong(desk: Desk, **companies: str) -> None:
    """User to company."""
    with open_warehouse(desk.settings) as connection:
        connection.execute(
            "CREATE OR REPLACE TABLE marts.user_profiles (user_id VARCHAR, company_id VARCHAR)"
        )
        for user, company in companies.items():
            connection.execute("INSERT INTO marts.user_profiles VALUES (?, ?)", [user, company])
        publish(connection, desk.settings)


def associated(hub: Emulator) -> set[tuple[str, str]]:
    contacts, companies = hub.store.snapshot("contacts"), hub.store.snapshot("companies")
    return {(contacts[a]["email"], companies[b]["domain"]) for _, a, _, b in hub.store.associations}


def test_contacts_are_associated_with_their_company_once(desk: Desk, hub: Emulator) -> None:
    desk.with_settings(associate=True)
    desk.companies([firm("acme"), firm("beta"), firm("twin", domain="beta.example", last_seen_at=None)])
    desk.contacts([person(name) for name in ("a", "b", "c", "d")])
    belong(desk, a="acme", b="acme", c="twin", d="nobody")
    plan = desk.plan()
    assert (plan.associations, plan.calls) == (3, 3)
    hub.faults.add(Fault("empty", operation="associations.*", when="after"))
    assert desk.push().exit_status == 0
    wanted = {
        ("a@example.com", "acme.example"),
        ("b@example.com", "acme.example"),
        ("c@example.com", "beta.example"),
    }
    assert associated(hub) == wanted
    hub.forget_calls()
    assert desk.plan().calls == 0
    desk.push()
    assert not hub.writes
    belong(desk, a="beta", b="acme")
    desk.push()
    assert associated(hub) == wanted | {("a@example.com", "beta.example")}
    assert sum(call.inputs for call in hub.writes) == 1


def test_a_pair_that_hubspot_refuses_is_kept_with_its_words(desk: Desk, hub: Emulator) -> None:
    desk.with_settings(associate=True)
    desk.companies([firm("acme"), firm("beta")])
    desk.contacts([person("a"), person("b")])
    belong(desk, a="acme", b="beta")
    desk.with_settings(associate=False)
    desk.push()
    assert not hub.store.associations
    (beta,) = [i for i, one in hub.store.snapshot("companies").items() if one["domain"] == "beta.example"]
    hub.store.archive(hub.store.companies, beta)
    desk.with_settings(associate=True)
    assert desk.push().exit_status == 0
    assert associated(hub) == {("a@example.com", "acme.example")}
    said = {row["contact_key"]: row["error"] for row in desk.table("ops.hubspot_associations")}
    assert said == {"a@example.com": None, "b@example.com": "Some records do not exist."}
    hub.forget_calls()
    desk.push()
    assert not hub.writes


@pytest.mark.parametrize("status", [403, 404])
def test_an_account_that_does_not_take_associations(desk: Desk, hub: Emulator, status: int) -> None:
    desk.with_settings(associate=True)
    desk.companies([firm("acme")])
    desk.contacts([person("a")])
    belong(desk, a="acme")
    hub.faults.add(Fault("status", path="/crm/associations/", status=status, every=1))
    result = desk.push()
    assert (result.total.acknowledged, result.exit_status) == (2, int(status == 403))
    assert bool(hub.store.associations) == (status == 404)  # the other address knows them
