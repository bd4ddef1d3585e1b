"""Cohorts as lists in HubSpot: who enters is added, who leaves is taken away, and what HubSpot has is kept."""

from __future__ import annotations

import pytest

from dagster_project.destinations.parts.errors import DestinationError
from dagster_project.standins.hubspot import Emulator, Fault
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.publish import publish

from .desk import Desk
from .test_push import person

NAME = "active (contacts)"


@pytest.fixture
def listing(desk: Desk) -> Desk:
    desk.with_settings(lists=True)
    desk.contacts([person(name) for name in ("ann", "bob", "cid")])
    return desk


def cohort(desk: Desk, *ids: str, entity: str = "user", name: str = "active") -> None:
    with open_warehouse(desk.settings) as connection:
        connection.execute("""
            CREATE OR REPLACE TABLE marts.cohort_members
                (cohort VARCHAR, entity VARCHAR, id VARCHAR, entered_at TIMESTAMP)""")
        for one in ids:
            connection.execute("INSERT INTO marts.cohort_members VALUES (?, ?, ?, NULL)", [name, entity, one])
        publish(connection, desk.settings)


def members(hub: Emulator, name: str = NAME) -> set[str]:
    """The emails of who is in a list."""
    (segment,) = [one for one in hub.store.lists.values() if one.name == name]
    contacts = hub.store.snapshot("contacts")
    return {contacts[str(one)]["email"].split("@")[0] for one in segment.members}


def test_who_enters_is_added_and_who_leaves_is_taken_away(listing: Desk, hub: Emulator) -> None:
    cohort(listing, "ann", "bob", "not pushed")
    plan = listing.plan()
    assert [(one.name, one.added, one.removed) for one in plan.lists] == [(NAME, 2, 0)]
    result = listing.push(digest=plan.digest)
    assert result.exit_status == 0
    assert members(hub) == {"ann", "bob"}
    assert len(hub.writes) == plan.calls == 3  # the records, the list, its members
    hub.forget_calls()
    assert listing.plan().lists == []
    listing.push()
    assert not hub.writes
    cohort(listing, "bob", "cid")
    plan = listing.plan()
    assert [(one.added, one.removed) for one in plan.lists] == [(1, 1)]
    listing.push()
    assert members(hub) == {"bob", "cid"}
    assert len(hub.writes) == plan.calls == 1
    held = {(row["key"], row["is_missing"]) for row in listing.table("ops.hubspot_list_members")}
    assert held == {("bob@example.com", False), ("cid@example.com", False)}


def test_what_others_did_with_the_list_stays(listing: Desk, hub: Emulator) -> None:
    other = hub.store.put("contacts", {"email": "other@example.com"})
    made = hub.store.create_list({"name": NAME, "objectTypeId": "0-1", "processingType": "MANUAL"})
    hub.store.change_members(str(made.id), [other], [])
    cohort(listing, "ann")
    listing.push()
    assert members(hub) == {"ann", "other"}
    cohort(listing)
    listing.push()
    assert members(hub) == {"other"}


def test_a_deleted_list_is_told_and_made_anew_by_the_next_push(listing: Desk, hub: Emulator) -> None:
    cohort(listing, "ann")
    listing.push()
    hub.store.lists.clear()
    cohort(listing, "ann", "bob")
    result = listing.push()
    assert result.exit_status == 1
    assert result.left_out[0].column == f"list {NAME}"
    assert listing.push().exit_status == 0
    assert members(hub) == {"ann", "bob"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_does_no_harm(listing: Desk, hub: Emulator, when: str) -> None:
    cohort(listing, "ann", "bob")
    hub.faults.add(
        Fault("cut", operation="lists.create", when=when),  # type: ignore[arg-type]
        Fault("cut", operation="lists.add_and_remove", when=when),  # type: ignore[arg-type]
    )
    for _ in range(3):
        if listing.push().exit_status == 0:
            break
    assert members(hub) == {"ann", "bob"}
    assert len(hub.store.lists) == 1


def test_a_list_that_fills_itself_and_a_missing_scope_are_told(listing: Desk, hub: Emulator) -> None:
    cohort(listing, "ann")
    hub.store.create_list({"name": NAME, "objectTypeId": "0-1", "processingType": "DYNAMIC"})
    result = listing.push()
    assert "fills itself" in result.left_out[0].reason
    assert result.total.acknowledged == 3
    hub.access.scopes = {
        f"crm.{what}.contacts.{way}" for what in ("objects", "schemas") for way in ("read", "write")
    }
    result = listing.push()
    assert "crm.lists" in result.left_out[0].reason
    with pytest.raises(DestinationError):
        listing.push(digest="0")


def test_without_the_setting_there_are_no_lists(desk: Desk, hub: Emulator) -> None:
    desk.contacts([person("ann")])
    cohort(desk, "ann")
    assert desk.plan().lists == []
    desk.push()
    assert not hub.store.lists
