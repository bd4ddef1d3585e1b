"""The outside half of an erase: contacts deleted in HubSpot, for good, and only theirs."""

from __future__ import annotations

from dagster_project.destinations.hubspot import privacy
from dagster_project.standins.hubspot import Emulator, Fault

from .desk import Desk


def test_only_contacts_under_their_emails_are_deleted_for_good(desk: Desk, hub: Emulator) -> None:
    main = hub.store.put("contacts", {"email": "main@example.com", "hs_additional_emails": "a@example.com"})
    other = hub.store.put("contacts", {"email": "somebody@else.example"})
    found = privacy.contacts_of(desk.settings, {"a@example.com", "nobody@example.com"}, {other, main, "999"})
    assert found == [(main, "a@example.com")]
    assert not hub.writes
    hub.faults.add(Fault("cut", operation="contacts.gdpr_delete", when="after"))
    privacy.delete_contacts(desk.settings, [main])
    assert list(hub.store.snapshot("contacts")) == [other]
    assert not hub.store.contacts.archived
    privacy.delete_contacts(desk.settings, [main])
