"""Properties, groups, lists, search, account and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from dagster_project.standins.hubspot import Options

from .conftest import Clock, Hub
from .contract import Client

PROPERTIES = "/crm/properties/2026-09/contacts"
LISTS = "/crm/lists/2026-09"


def prop(name: str, **more: Any) -> dict[str, Any]:
    return {
        "groupName": "api_analytics",
        "name": name,
        "label": name,
        "type": "number",
        "fieldType": "number",
        **more,
    }


@pytest.fixture
def grouped(hub: Hub) -> Hub:
    body = {"name": "api_analytics", "label": "API Analytics"}
    assert hub.client.post(f"{PROPERTIES}/groups", json=body).status_code == 201
    return hub


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("root", ["/crm/v3/properties", "/crm/properties/2026-09"])
def test_the_properties_that_hubspot_brings(hub: Hub, root: str, kind: str) -> None:
    found = {one["name"]: one for one in hub.client.get(f"{root}/{kind}").json()["results"]}
    key = "email" if kind == "contacts" else "domain"
    assert found[key]["hasUniqueValue"] is (kind == "contacts")
    assert {"hs_object_id", "createdate", "lifecyclestage", "phone", f"hs_additional_{key}s"} <= set(found)
    assert found["hs_object_id"]["modificationMetadata"]["readOnlyValue"] is True
    assert found["lifecyclestage"]["options"][0] == {
        "label": "Subscriber",
        "value": "subscriber",
        "description": "",
        "displayOrder": 0,
        "hidden": False,
    }
    assert found["hubspot_owner_id"]["externalOptions"] is True
    assert any(one["calculated"] for one in found.values())
    assert {"object_coordinates", "json"} <= {one["type"] for one in found.values()}


def test_sensitive_properties_are_listed_one_kind_at_a_time(grouped: Hub) -> None:
    grouped.client.post(PROPERTIES, json=prop("secret", dataSensitivity="sensitive"))

    def names(**params: str) -> set[str]:
        return {one["name"] for one in grouped.client.get(PROPERTIES, params=params).json()["results"]}

    assert "secret" not in names()
    assert names(dataSensitivity="sensitive") == {"secret"}
    assert names(dataSensitivity="highly_sensitive") == set()


def test_a_property_from_its_making_to_its_end(grouped: Hub) -> None:
    client = grouped.client
    made = client.post(PROPERTIES, json=prop("api_calls_30d"))
    assert made.status_code == 201
    again = client.post(PROPERTIES, json=prop("api_calls_30d"))
    assert (again.status_code, again.json()["subCategory"]) == (409, "Properties.PROPERTY_WITH_NAME_EXISTS")
    record = grouped.store.put("contacts", {"api_calls_30d": "17"})
    assert client.patch(f"{PROPERTIES}/api_calls_30d", json={"label": "Calls"}).json()["label"] == "Calls"
    assert client.delete(f"{PROPERTIES}/groups/api_analytics").status_code == 400
    assert client.delete(f"{PROPERTIES}/api_calls_30d").status_code == 204
    assert client.get(f"{PROPERTIES}/api_calls_30d").status_code == 404
    assert client.get(f"{PROPERTIES}/api_calls_30d", params={"archived": "true"}).json()["archived"] is True
    refused = grouped.batch("update", [{"id": record, "properties": {"api_calls_30d": "1"}}])
    assert refused.json()["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"
    back = client.post(PROPERTIES, json=prop("api_calls_30d"))
    assert back.status_code == 201
    assert back.json()["createdAt"] > made.json()["createdAt"]  # another one, without the values of the first


@pytest.mark.parametrize(
    "bad",
    [
        {"groupName": "nowhere"},
        {"fieldType": "text"},
        {"type": "bool", "fieldType": "booleancheckbox"},
        {
            "type": "bool",
            "fieldType": "booleancheckbox",
            "options": [{"label": "Ja", "value": "ja"}, {"label": "Nein", "value": "nein"}],
        },
        {"type": "enumeration", "fieldType": "select"},
        {"type": "enumeration", "fieldType": "select", "options": [{"label": "A", "value": "a"}] * 2},
        {"name": "Upper Case"},
        {"label": ""},
        {"hasUniqueValue": True, "type": "date", "fieldType": "date"},
    ],
)
def test_definitions_that_are_refused(grouped: Hub, bad: dict[str, Any]) -> None:
    assert grouped.client.post(PROPERTIES, json=prop("p") | bad).status_code == 400
    assert "p" not in grouped.store.contacts.schema.properties


def test_batch_create_of_properties_is_201_or_207(grouped: Hub) -> None:
    url = f"{PROPERTIES}/batch/create"
    assert grouped.client.post(url, json={"inputs": [prop("a"), prop("b")]}).status_code == 201
    partly = grouped.client.post(url, json={"inputs": [prop("b"), prop("c"), prop("d", groupName="no")]})
    assert partly.status_code == 207
    assert [one["name"] for one in partly.json()["results"]] == ["c"]
    assert [one["category"] for one in partly.json()["errors"]] == [
        "OBJECT_ALREADY_EXISTS",
        "VALIDATION_ERROR",
    ]
    assert grouped.client.post(url, json={"inputs": [prop(f"p{i}") for i in range(101)]}).status_code == 400
    wanted = {
        "inputs": [{"name": "a"}, {"name": "zzz"}],
        "archived": False,
        "dataSensitivity": "non_sensitive",
    }
    assert grouped.client.post(f"{PROPERTIES}/batch/read", json=wanted).status_code == 207
    gone = grouped.client.post(f"{PROPERTIES}/batch/archive", json={"inputs": [{"name": "a"}, {"name": "b"}]})
    assert gone.status_code == 204
    assert "a" not in grouped.store.contacts.schema.properties


def test_a_patch_of_options_replaces_the_whole_list(grouped: Hub) -> None:
    options = [{"label": name, "value": name, "displayOrder": 0, "hidden": False} for name in ("a", "b")]
    grouped.client.post(
        PROPERTIES, json=prop("size", type="enumeration", fieldType="select", options=options)
    )
    changed = grouped.client.patch(f"{PROPERTIES}/size", json={"options": options[:1]}).json()
    assert [one["value"] for one in changed["options"]] == ["a"]
    answer = grouped.client.post("/crm/objects/2026-09/contacts", json={"properties": {"size": "b"}})
    assert answer.json()["errors"][0]["code"] == "INVALID_OPTION"


def test_the_number_of_custom_properties_is_limited(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(options=Options(max_custom_properties=2))
    for name in ("a", "b"):
        hub.store.add_property("contacts", name)
    assert hub.client.post(PROPERTIES, json=prop("c")).status_code == 400


def test_groups(grouped: Hub) -> None:
    client, root = grouped.client, f"{PROPERTIES}/groups"
    assert client.post(root, json={"name": "api_analytics", "label": "x"}).status_code == 409
    assert client.get(f"{root}/api_analytics").json()["label"] == "API Analytics"
    assert client.patch(f"{root}/api_analytics", json={"label": "Calls"}).json()["label"] == "Calls"
    assert {one["name"] for one in client.get(root).json()["results"]} >= {
        "contactinformation",
        "api_analytics",
    }
    assert client.delete(f"{root}/api_analytics").status_code == 204
    assert client.get(f"{root}/api_analytics").status_code == 404


@pytest.mark.parametrize("root", ["/crm/v3/lists", LISTS])
def test_a_manual_list_and_its_members(hub: Hub, root: str) -> None:
    body = {"name": "Power users", "objectTypeId": "0-1", "processingType": "MANUAL"}
    made = hub.client.post(root, json=body)
    list_id = made.json()["list"]["listId"]
    again = hub.client.post(root, json=body)
    assert (again.status_code, again.json()["subCategory"]) == (400, "ILS.DUPLICATE_LIST_NAMES")
    first, second = hub.store.put("contacts", {}), hub.store.put("contacts", {})
    url = f"{root}/{list_id}/memberships"
    change = {"recordIdsToAdd": [first, second, "77"], "recordIdsToRemove": []}
    answer = hub.client.put(f"{url}/add-and-remove", json=change).json()
    assert answer == {"recordsIdsAdded": [first, second], "recordIdsRemoved": [], "recordIdsMissing": ["77"]}
    assert hub.client.put(f"{url}/remove", json=[second]).json()["recordIdsRemoved"] == [second]
    assert hub.client.put(f"{url}/add", json=[first]).json()["recordsIdsAdded"] == []
    members = hub.client.get(url, params={"limit": "1"}).json()
    assert [one["recordId"] for one in members["results"]] == [first]
    assert hub.client.get(f"{root}/{list_id}").json()["list"]["name"] == "Power users"
    assert hub.client.get(f"{root}/object-type-id/0-1/name/Power users").json()["list"]["listId"] == list_id
    assert hub.client.delete(f"{root}/{list_id}").status_code == 204
    assert hub.client.put(f"{url}/add-and-remove", json=change).status_code == 404


def test_members_of_a_dynamic_list_are_not_for_the_taking(hub: Hub) -> None:
    body = {"name": "All", "objectTypeId": "0-2", "processingType": "DYNAMIC"}
    list_id = hub.client.post(LISTS, json=body).json()["list"]["listId"]
    assert hub.client.put(f"{LISTS}/{list_id}/memberships/add", json=["1"]).status_code == 400


def test_search_by_domain_in_lower_case_with_additional_domains(hub: Hub) -> None:
    first = hub.store.put("companies", {"domain": "acme.com", "hs_additional_domains": "acme.de; acme.fr"})
    second = hub.store.put("companies", {"domain": "acme.de"})

    def found(*values: str) -> list[str]:
        wanted = {"propertyName": "domain", "operator": "IN", "values": list(values)}
        return [
            one["id"] for one in hub.search(wanted, kind="companies", properties=["domain"]).json()["results"]
        ]

    assert found("acme.com", "nothing.com") == [first]
    assert found("acme.de") == [first, second]
    assert found("Acme.com") == []
    too_many = {"propertyName": "domain", "operator": "IN", "values": [f"{i}.com" for i in range(101)]}
    assert hub.search(too_many, kind="companies").status_code == 400


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"operator": "EQ", "value": "5"}, {"5"}),
        ({"operator": "EQ", "value": "5.0"}, {"5"}),
        ({"operator": "NEQ", "value": "5"}, {"9", "10", None}),
        ({"operator": "GT", "value": "5"}, {"9", "10"}),
        ({"operator": "LTE", "value": "9"}, {"5", "9"}),
        ({"operator": "BETWEEN", "value": "6", "highValue": "10"}, {"9", "10"}),
        ({"operator": "HAS_PROPERTY"}, {"5", "9", "10"}),
        ({"operator": "NOT_HAS_PROPERTY"}, {None}),
    ],
)
def test_search_operators(hub: Hub, condition: dict[str, str], expected: set[str | None]) -> None:
    for value in ("5", "9", "10"):
        hub.store.put("companies", {"numberofemployees": value})
    hub.store.put("companies", {})
    answer = hub.search(
        {"propertyName": "numberofemployees", **condition}, kind="companies", properties=["numberofemployees"]
    )
    assert {one["properties"]["numberofemployees"] for one in answer.json()["results"]} == expected


def test_search_pages_sorts_and_stops_at_ten_thousand(hub: Hub) -> None:
    for number in range(5):
        hub.store.put("contacts", {"firstname": f"n{number}"})
    has = {"propertyName": "firstname", "operator": "HAS_PROPERTY"}
    page = hub.search(has, limit=2, after="2", sorts=["-firstname"], properties=["firstname"]).json()
    assert [one["properties"]["firstname"] for one in page["results"]] == ["n2", "n1"]
    assert (page["total"], page["paging"]["next"]["after"]) == (5, "4")
    assert hub.search(has, limit=201).status_code == 400
    assert hub.search(has, limit=200, after="9801").status_code == 400
    assert hub.search({"propertyName": "nonsense", "operator": "HAS_PROPERTY"}).status_code == 400


def test_search_lags_behind_writes(make_hub: Callable[..., Hub], clock: Clock) -> None:
    hub = make_hub(options=Options(search_lag=5), clock=clock)
    old = hub.store.put("contacts", {"email": "old@x.com"})
    wanted = {"propertyName": "email", "operator": "IN", "values": ["old@x.com", "new@x.com", "fresh@x.com"]}

    def found() -> list[str]:
        return [
            one["properties"]["email"] for one in hub.search(wanted, properties=["email"]).json()["results"]
        ]

    assert found() == ["old@x.com"]
    hub.batch("update", [{"id": old, "properties": {"email": "new@x.com"}}])
    hub.batch("create", [{"properties": {"email": "fresh@x.com"}}])
    assert found() == ["old@x.com"]
    assert len(hub.batch("read", [{"id": "fresh@x.com"}], idProperty="email").json()["results"]) == 1
    clock.now += 5.1
    assert found() == ["new@x.com", "fresh@x.com"]
    hub.batch("archive", [{"id": old}])
    assert len(found()) == 2
    hub.store.settle()
    assert found() == ["fresh@x.com"]


def test_account_details_in_both_dialects(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(account_type="SANDBOX", portal_id=77)
    for path in ("/account-info/2026-03/details", "/account-info/v3/details"):
        body = hub.client.get(path).json()
        assert (body["portalId"], body["accountType"], body["timeZone"]) == (77, "SANDBOX", "UTC")


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_no_call_without_a_known_token(hub: Hub, token: str | None) -> None:
    answer = Client(hub.base_url, token).get("/crm/objects/2026-09/contacts")
    assert answer.status_code == 401
    assert answer.json()["category"] == "INVALID_AUTHENTICATION"
    assert "X-HubSpot-RateLimit-Remaining" not in answer.headers


def test_a_scope_that_is_missing_is_a_403_that_names_it(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(scopes={"crm.objects.contacts.read", "crm.schemas.contacts.read"})
    client = hub.client
    assert client.get("/crm/objects/2026-09/contacts").ok
    assert client.get(PROPERTIES).ok
    refused = [
        client.get("/crm/objects/2026-09/companies"),
        hub.batch("create", [{"properties": {}}]),
        client.post(PROPERTIES, json=prop("x")),
        client.get(f"{LISTS}/1"),
    ]
    named = [one.json()["errors"][0]["context"]["requiredGranularScopes"][0] for one in refused]
    assert {one.status_code for one in refused} == {403}
    assert named == [
        "crm.objects.companies.read",
        "crm.objects.contacts.write",
        "crm.schemas.contacts.write",
        "crm.lists.read",
    ]


@pytest.mark.parametrize("path", ["/oauth/2026-03/token", "/oauth/v1/token"])
def test_an_oauth_token_lives_half_an_hour(make_hub: Callable[..., Hub], clock: Clock, path: str) -> None:
    hub = make_hub(clock=clock)
    form = {
        "grant_type": "refresh_token",
        "client_id": "client-id",
        "client_secret": "client-secret",
        "refresh_token": "refresh-token",
    }
    answer = requests.post(hub.base_url + path, data=form, timeout=5)
    assert answer.json()["expires_in"] == 1800
    client = Client(hub.base_url, answer.json()["access_token"])
    assert client.get(PROPERTIES).ok
    clock.now += 1801
    expired = client.get(PROPERTIES)
    assert (expired.status_code, expired.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
    assert (
        requests.post(hub.base_url + path, data=form | {"refresh_token": "no"}, timeout=5).status_code == 400
    )
    assert requests.post(hub.base_url + path, json=form, timeout=5).status_code == 415
