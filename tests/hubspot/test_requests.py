"""What a push asks HubSpot is what HubSpot's own documents allow: every path, query and body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from hubspot_emulator import contract

from dagster_project.destinations.hubspot import init_properties
from dagster_project.standins.hubspot import Emulator, Fault

from .desk import Desk
from .test_lists import cohort
from .test_push import person


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The kinds of requests so far; each is held against the documents, and what they require is required."""
    send = requests.Session.send
    kinds: set[str] = set()

    def checked(session: requests.Session, request: requests.PreparedRequest, **more: Any) -> Any:
        parts = urlsplit(str(request.url))
        matched = contract.operation(str(request.method), parts.path)
        matched.check_request(parts.query, request.body)
        kinds.add(f"{request.method} {matched.template}")
        return send(session, request, **more)

    monkeypatch.setattr(contract, "OPTIONAL", {})
    monkeypatch.setattr(requests.Session, "send", checked)
    return kinds


def test_every_request_is_one_that_the_documents_allow(
    desk: Desk, make_hub: Callable[..., Emulator], asked: set[str]
) -> None:
    hub = make_hub()
    desk.with_settings(lists=True)
    columns = {"api_calls": "BIGINT", "api_plan": "VARCHAR", "api_cohorts": "VARCHAR[]", "api_new": "BOOLEAN"}
    for i in range(150):
        hub.store.put("contacts", {"email": f"old{i}@example.com"})
    twice = [hub.store.put("companies", {"domain": "twice.example"}) for _ in range(2)]

    def rows(calls: int, *cohorts: str) -> list[dict[str, Any]]:
        more = {"api_plan": "free", "api_cohorts": list(cohorts), "api_new": True}
        names = ["ann", "old7"]
        return [person(name, calls, **more) for name in names]

    desk.contacts(rows(1, "active"), **columns)
    desk.companies(
        [
            {"company_id": name, "domain": f"{name}.example", "api_calls": 1}
            for name in ("acme", "twice", "gone")
        ]
    )
    cohort(desk, "ann")
    init_properties(desk.settings, live=True)
    hub.faults.add(Fault("cut", operation="contacts.batch_create", when="after"))
    assert desk.push().total.acknowledged == 4
    desk.contacts(rows(2, "active", "busy"), **columns)
    cohort(desk, "old7")
    init_properties(desk.settings, live=True)
    (gone,) = [i for i, held in hub.store.snapshot("companies").items() if held["domain"] == "gone.example"]
    with hub.store.lock:
        hub.store.archive(hub.store.companies, gone)
    hub.store.merge("companies", *twice)
    desk.companies(
        [
            {"company_id": name, "domain": f"{name}.example", "api_calls": 2}
            for name in ("acme", "twice", "gone")
        ]
    )
    assert desk.push().total.acknowledged == 4
    objects, properties, lists = (
        "/crm/objects/2026-09/{objectType}",
        "/crm/properties/2026-09/{objectType}",
        "/crm/lists/2026-09",
    )
    assert asked == {
        "GET /account-info/2026-03/details",
        f"GET {properties}",
        f"GET {properties}/groups",
        f"POST {properties}/groups",
        f"POST {properties}/batch/create",
        f"PATCH {properties}/{{propertyName}}",
        f"GET {objects}",
        f"POST {objects}/batch/read",
        f"POST {objects}/batch/create",
        f"POST {objects}/batch/update",
        f"GET {lists}/object-type-id/{{objectTypeId}}/name/{{listName}}",
        f"POST {lists}",
        f"PUT {lists}/{{listId}}/memberships/add-and-remove",
    }
