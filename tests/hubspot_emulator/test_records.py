"""Single records, reading, and the rules of the batch calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from dagster_project.standins.hubspot import Options

from .conftest import Hub

OBJECTS = ("/crm/v3/objects", "/crm/objects/2026-09", "/crm/objects/2026-03")


def row(trace: str, **properties: str) -> dict[str, Any]:
    return {"objectWriteTraceId": trace, "properties": properties}


@pytest.mark.parametrize("root", OBJECTS)
def test_one_record_lives_through_its_whole_life_in_each_dialect(hub: Hub, root: str) -> None:
    made = hub.client.post(f"{root}/contacts", json={"properties": {"email": " Ada@Example.COM "}})
    assert made.status_code == 201
    assert made.json()["properties"]["email"] == "ada@example.com"
    record = made.json()["id"]
    changed = hub.client.patch(f"{root}/contacts/{record}", json={"properties": {"firstname": "Ada"}})
    assert changed.json()["properties"]["firstname"] == "Ada"
    by_email = hub.client.get(
        f"{root}/contacts/ada@example.com", params={"idProperty": "email", "properties": "firstname,nonsense"}
    )
    assert by_email.json()["id"] == record
    assert set(by_email.json()["properties"]) == {
        "firstname",
        "createdate",
        "hs_object_id",
        "lastmodifieddate",
    }
    assert hub.client.delete(f"{root}/contacts/{record}").status_code == 204
    assert hub.client.get(f"{root}/contacts/{record}").status_code == 404
    assert hub.client.get(f"{root}/contacts/{record}", params={"archived": "true"}).json()["archived"] is True


def test_object_types_go_by_name_and_by_number_and_nothing_else(hub: Hub) -> None:
    for kind in ("companies", "company", "0-2"):
        assert hub.client.get(f"/crm/objects/2026-09/{kind}").status_code == 200
    assert hub.client.get("/crm/objects/2026-09/tickets").status_code == 400
    for path in ("/crm/objects/2031-09/contacts", "/crm/v2/objects/contacts", "/nonsense"):
        assert requests.get(hub.base_url + path, headers=hub.auth, timeout=5).status_code == 404
    assert requests.put(f"{hub.base_url}/crm/objects/2026-09/contacts", timeout=5).status_code == 405


def test_an_existing_email_is_a_conflict_that_names_its_holder(hub: Hub) -> None:
    record = hub.store.put("contacts", {"email": "a@x.com", "hs_additional_emails": "b@x.com;c@x.com"})
    for email in ("a@x.com", "B@X.com"):
        answer = hub.client.post("/crm/objects/2026-09/contacts", json={"properties": {"email": email}})
        assert answer.status_code == 409
        assert answer.json()["message"] == f"Contact already exists. Existing ID: {record}"


def test_pages_cover_every_record_once(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(contacts=250)
    after, seen = None, []
    while True:
        params = {"limit": "100", "properties": "email"} | ({"after": after} if after else {})
        body = hub.client.get("/crm/objects/2026-09/contacts", params=params).json()
        seen += [record["id"] for record in body["results"]]
        if "paging" not in body:
            break
        after = body["paging"]["next"]["after"]
    assert len(seen) == len(set(seen)) == 250
    assert hub.client.get("/crm/objects/2026-09/contacts", params={"limit": "101"}).status_code == 400


@pytest.mark.parametrize("what", ["read", "create", "update", "upsert", "archive"])
def test_a_hundred_inputs_and_not_one_more(hub: Hub, what: str) -> None:
    def inputs(count: int) -> list[dict[str, Any]]:
        if what == "create":
            return [{"properties": {"firstname": "x"}} for _ in range(count)]
        if what == "upsert":
            return [
                {"id": f"u{i}@x.com", "idProperty": "email", "properties": {"firstname": "x"}}
                for i in range(count)
            ]
        if what == "update":
            return [{"id": str(i), "properties": {"firstname": "x"}} for i in range(count)]
        return [{"id": str(i)} for i in range(count)]

    answer = hub.batch(what, inputs(101))
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"
    assert not hub.store.contacts.records
    assert hub.batch(what, inputs(100)).ok
    assert hub.calls[-1].inputs == 100
    assert hub.batch(what, []).status_code == 400


def test_results_come_back_in_another_order_and_the_seed_decides_which(make_hub: Callable[..., Hub]) -> None:
    orders = []
    for seed in (1, 1, 2):
        hub = make_hub(seed=seed)
        answer = hub.batch("create", [row(f"r{i}", email=f"u{i}@x.com") for i in range(30)])
        assert answer.status_code == 201
        orders.append([result["objectWriteTraceId"] for result in answer.json()["results"]])
    assert orders[0] != [f"r{i}" for i in range(30)]
    assert orders[0] == orders[1] != orders[2]


def test_without_trace_ids_one_bad_row_refuses_the_whole_call(hub: Hub) -> None:
    inputs = [
        {"properties": {"email": "good@x.com"}},
        {"properties": {"email": "bad"}},
        {"properties": {"nonsense": "1"}},
    ]
    answer = hub.batch("create", inputs)
    assert answer.status_code == 400
    body = answer.json()
    assert body["message"].startswith('Property values were not valid: [{"isValid":false')
    assert [error["code"] for error in body["errors"]] == ["INVALID_EMAIL"]
    assert body["errors"][0]["context"] == {"propertyName": ["email"]}
    assert not hub.store.contacts.records


def test_trace_ids_that_repeat_or_are_missing_do_not_count(hub: Hub) -> None:
    for inputs in (
        [row("same", email="good@x.com"), row("same", email="bad")],
        [row("one", email="good@x.com"), {"properties": {"email": "bad"}}],
    ):
        assert hub.batch("create", inputs).status_code == 400
    assert not hub.store.contacts.records


def test_create_with_trace_ids_answers_207_and_names_every_bad_row(hub: Hub) -> None:
    held = hub.store.put("contacts", {"email": "held@x.com"})
    answer = hub.batch(
        "create",
        [
            row("good", email="good@x.com"),
            row("held", email="held@x.com"),
            row("bad", email="nope", createdate="1"),
            row("twin", email="good@x.com"),
        ],
    )
    assert answer.status_code == 207
    body = answer.json()
    assert body["status"] == "COMPLETE"
    assert [result["objectWriteTraceId"] for result in body["results"]] == ["good"]
    errors = {error["context"]["objectWriteTraceId"][0]: error for error in body["errors"]}
    assert body["numErrors"] == len(errors) == 3
    assert errors["held"]["category"] == "CONFLICT"
    assert errors["held"]["context"]["existingId"] == [held]
    assert [detail["code"] for detail in errors["bad"]["errors"]] == ["INVALID_EMAIL", "READ_ONLY_VALUE"]
    assert errors["twin"]["context"]["existingId"] == [body["results"][0]["id"]]


def test_partial_success_can_hide_behind_the_declared_status(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(options=Options(search_lag=0, partial_status="declared"))
    answer = hub.batch("create", [row("a", email="a@x.com"), row("b", email="bad")])
    assert answer.status_code == 201
    assert answer.json()["numErrors"] == 1


def test_update_of_missing_ids_is_a_207_without_trace_ids(hub: Hub) -> None:
    record = hub.store.put("contacts", {"email": "a@x.com"})
    answer = hub.batch(
        "update",
        [{"id": record, "properties": {"firstname": "A"}}, {"id": "999", "properties": {"firstname": "B"}}],
    )
    assert answer.status_code == 207
    assert [result["id"] for result in answer.json()["results"]] == [record]
    assert answer.json()["errors"][0]["category"] == "OBJECT_NOT_FOUND"
    assert answer.json()["errors"][0]["context"] == {"ids": ["999"]}


@pytest.mark.parametrize("mode", ["whole_call", "multi_status"])
def test_update_of_a_refused_value_can_go_either_way(make_hub: Callable[..., Hub], mode: str) -> None:
    hub = make_hub(options=Options(search_lag=0, update_invalid=mode))  # type: ignore[arg-type]
    first, second = hub.store.put("contacts", {}), hub.store.put("contacts", {})
    inputs = [{"id": first, **row("1", firstname="A")}, {"id": second, **row("2", lifecyclestage="Customer")}]
    answer = hub.batch("update", inputs)
    if mode == "whole_call":
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["code"] == "INVALID_OPTION"
        assert hub.store.snapshot("contacts")[first] == {}
    else:
        assert answer.status_code == 207
        assert answer.json()["errors"][0]["context"]["objectWriteTraceId"] == ["2"]
        assert hub.store.snapshot("contacts")[first] == {"firstname": "A"}
    inputs = [
        {"id": first, "properties": {"firstname": "Z"}},
        {"id": second, "properties": {"createdate": "0"}},
    ]
    assert hub.batch("update", inputs).status_code == 400
    assert hub.store.snapshot("contacts")[first].get("firstname") != "Z"


def test_duplicate_ids_refuse_the_whole_call(hub: Hub) -> None:
    record = hub.store.put("contacts", {"email": "a@x.com"})
    twice = [{"id": record, **row("1", firstname="A")}, {"id": record, **row("2", firstname="B")}]
    answer = hub.batch("update", twice)
    assert answer.status_code == 400
    assert answer.json()["message"] == f"Duplicate IDs found in batch input: [{record}]. IDs must be unique"
    emails = [
        {"id": email, "idProperty": "email", **row(email, firstname="A")} for email in ("q@x.com", "Q@x.com")
    ]
    assert hub.batch("upsert", emails).status_code == 400
    assert hub.batch("read", [{"id": record}, {"id": record}]).status_code == 400


def test_an_email_as_id_without_id_property_changes_nothing_and_says_nothing(hub: Hub) -> None:
    record = hub.store.put("contacts", {"email": "a@x.com"})
    for what in ("update", "upsert"):
        answer = hub.batch(what, [{"id": "a@x.com", "properties": {"firstname": "A"}}])
        assert answer.status_code == 200
        assert answer.json()["results"] == []
        assert "errors" not in answer.json()
    assert hub.store.snapshot("contacts")[record] == {"email": "a@x.com"}


@pytest.mark.parametrize("name", ["domain", "hs_object_id", "name"])
@pytest.mark.parametrize("what", ["update", "upsert", "read"])
def test_what_is_not_unique_is_refused_as_id_property(hub: Hub, what: str, name: str) -> None:
    hub.store.put("companies", {"domain": "acme.com"})
    if what == "read":
        answer = hub.batch("read", [{"id": "acme.com"}], "companies", idProperty=name)
    else:
        inputs = [{"id": "acme.com", "idProperty": name, "properties": {"name": "Acme"}}]
        answer = hub.batch(what, inputs, "companies")
    assert answer.status_code == 400
    assert answer.json()["message"] == f"Unable to perform update/upsert by non-unique 0-2 property {name}"


def test_email_names_a_contact_for_read_and_upsert_but_not_for_batch_update(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub()
    record = hub.store.put("contacts", {"email": "a@x.com", "hs_additional_emails": "second@x.com"})
    found = hub.batch(
        "read", [{"id": "Second@x.com"}, {"id": "no@x.com"}], idProperty="email", properties=["email"]
    )
    assert found.status_code == 207
    assert found.json()["results"][0]["properties"]["email"] == "a@x.com"
    assert found.json()["errors"][0]["context"]["ids"] == ["no@x.com"]
    inputs = [{"id": "a@x.com", "idProperty": "email", "properties": {"firstname": "A"}}]
    assert hub.batch("update", inputs).status_code == 400
    kinder = make_hub(options=Options(search_lag=0, update_by_email=True))
    kinder.store.put("contacts", {"email": "a@x.com"})
    assert kinder.batch("update", inputs).json()["results"][0]["properties"]["firstname"] == "A"
    assert hub.store.snapshot("contacts")[record].get("firstname") is None


def test_upsert_by_email_updates_also_by_an_additional_one_and_creates_the_rest(hub: Hub) -> None:
    record = hub.store.put("contacts", {"email": "a@x.com", "hs_additional_emails": "second@x.com"})
    answer = hub.batch(
        "upsert",
        [
            {"id": "SECOND@x.com", "idProperty": "email", **row("old", firstname="A")},
            {"id": "new@x.com", "idProperty": "email", **row("new", firstname="N")},
            {"id": "broken", "idProperty": "email", **row("bad", firstname="B")},
        ],
    )
    assert answer.status_code == 207
    results = {result["objectWriteTraceId"]: result for result in answer.json()["results"]}
    assert results["old"]["id"] == record
    assert (results["old"]["new"], results["new"]["new"]) == (False, True)
    assert answer.json()["errors"][0]["errors"][0]["code"] == "INVALID_EMAIL"
    stored = hub.store.snapshot("contacts")
    assert stored[record]["email"] == "a@x.com"
    assert stored[results["new"]["id"]] == {"email": "new@x.com", "firstname": "N"}


@pytest.mark.parametrize("mode", ["whole_call", "multi_status"])
def test_an_upsert_that_takes_the_email_of_another_contact(make_hub: Callable[..., Hub], mode: str) -> None:
    hub = make_hub(options=Options(search_lag=0, upsert_conflict=mode))  # type: ignore[arg-type]
    hub.store.put("contacts", {"email": "a@x.com"})
    held = hub.store.put("contacts", {"email": "b@x.com"})
    answer = hub.batch(
        "upsert",
        [
            {"id": "a@x.com", "idProperty": "email", **row("1", email="b@x.com")},
            {"id": "c@x.com", "idProperty": "email", **row("2", firstname="C")},
        ],
    )
    if mode == "whole_call":
        assert answer.status_code == 409
        assert answer.json()["context"]["existingId"] == [held]
        assert len(hub.store.contacts.records) == 2
    else:
        assert answer.status_code == 207
        assert len(hub.store.contacts.records) == 3


def test_upsert_by_email_can_be_all_or_nothing(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(options=Options(search_lag=0, email_upsert_partial=False))
    inputs = [
        {"id": email, "idProperty": "email", **row(email, firstname="A")} for email in ("a@x.com", "broken")
    ]
    assert hub.batch("upsert", inputs).status_code == 400
    assert not hub.store.contacts.records


def test_a_custom_unique_property_names_companies(hub: Hub) -> None:
    hub.store.add_property("companies", "customer_number", hasUniqueValue=True)
    inputs = [{"id": "k-1", "idProperty": "customer_number", **row("1", name="Acme")}]
    first = hub.batch("upsert", inputs, "companies").json()["results"][0]
    second = hub.batch("upsert", inputs, "companies").json()["results"][0]
    assert (first["id"], first["new"], second["new"]) == (second["id"], True, False)
    taken = hub.client.post("/crm/objects/2026-09/companies", json={"properties": {"customer_number": "k-1"}})
    assert taken.status_code == 409
    hub.batch("archive", [{"id": first["id"]}], "companies")
    assert hub.batch("upsert", inputs, "companies").json()["results"][0]["new"] is True


def test_companies_are_never_deduped_by_domain(hub: Hub) -> None:
    answer = hub.batch("create", [{"properties": {"domain": "ACME.com"}}] * 2, "companies")
    assert answer.status_code == 201
    domains = [record["domain"] for record in hub.store.snapshot("companies").values()]
    assert domains == ["acme.com", "acme.com"]


def test_an_empty_value_clears_and_an_absent_key_leaves_alone(hub: Hub) -> None:
    record = hub.store.put("contacts", {"email": "a@x.com", "firstname": "A", "lastname": "B"})
    hub.batch("update", [{"id": record, "properties": {"firstname": ""}}])
    assert hub.store.snapshot("contacts")[record] == {"email": "a@x.com", "lastname": "B"}


def test_an_email_that_was_additional_changes_places_with_the_first(hub: Hub) -> None:
    record = hub.store.put("contacts", {"email": "a@x.com", "hs_additional_emails": "b@x.com"})
    hub.client.patch(f"/crm/objects/2026-09/contacts/{record}", json={"properties": {"email": "b@x.com"}})
    assert hub.store.snapshot("contacts")[record] == {"email": "b@x.com", "hs_additional_emails": "a@x.com"}
    hub.client.patch(f"/crm/objects/2026-09/contacts/{record}", json={"properties": {"email": "c@x.com"}})
    freed = hub.client.post("/crm/objects/2026-09/contacts", json={"properties": {"email": "b@x.com"}})
    assert freed.status_code == 201


@pytest.mark.parametrize("new_id", [False, True])
def test_after_a_merge_the_old_id_leads_to_another_record(hub: Hub, new_id: bool) -> None:
    winner = hub.store.put("contacts", {"email": "w@x.com", "firstname": "W"})
    loser = hub.store.put("contacts", {"email": "l@x.com", "firstname": "L", "lastname": "Loser"})
    left = hub.store.merge("contacts", winner, loser, new_id=new_id)
    assert (left == winner) is not new_id
    found = hub.batch("read", [{"id": loser}], properties=["email", "hs_merged_object_ids"]).json()[
        "results"
    ][0]
    assert found["id"] == left
    assert found["properties"]["hs_merged_object_ids"] == f"{winner};{loser}"
    assert hub.store.snapshot("contacts") == {
        left: {"email": "w@x.com", "hs_additional_emails": "l@x.com", "firstname": "W", "lastname": "Loser"}
    }
    changed = hub.batch("update", [{"id": loser, "properties": {"firstname": "New"}}]).json()["results"][0]
    assert changed["id"] == left
    assert hub.batch("read", [{"id": "l@x.com"}], idProperty="email").json()["results"][0]["id"] == left


def test_archive_takes_unknown_ids_in_its_stride_and_frees_the_email(hub: Hub) -> None:
    record = hub.store.put("contacts", {"email": "a@x.com"})
    assert hub.batch("archive", [{"id": record}, {"id": "77"}]).status_code == 204
    assert hub.batch("update", [{"id": record, "properties": {"firstname": "A"}}]).status_code == 207
    again = hub.client.post("/crm/objects/2026-09/contacts", json={"properties": {"email": "a@x.com"}})
    assert again.status_code == 201
    assert again.json()["id"] != record
    listed = hub.client.get("/crm/objects/2026-09/contacts", params={"archived": "true"}).json()["results"]
    assert [one["id"] for one in listed] == [record]


@pytest.mark.parametrize("value", [17, True, None, {"a": 1}])
def test_a_value_that_is_not_a_string_is_refused(hub: Hub, value: object) -> None:
    answer = hub.batch("create", [{"properties": {"firstname": value}}], bad=True)
    assert answer.status_code == 400


def test_a_body_that_is_not_json_is_refused(hub: Hub) -> None:
    headers = {"Content-Type": "application/json"}
    url = "/crm/objects/2026-09/contacts/batch/create"
    assert hub.client.post(url, data=b"{", headers=headers, bad=True).status_code == 400
    assert hub.client.post(url, data=b"[]", headers=headers, bad=True).status_code == 400
    assert (
        hub.client.post(url, data=b"{}", headers={"Content-Type": "text/plain"}, bad=True).status_code == 415
    )


def test_the_remaining_switches(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(
        options=Options(
            search_lag=0,
            full_errors=False,
            first_error_only=False,
            json_scalars=True,
            shuffle=False,
            duplicate_reads="dedupe",
            email_has_unique_value=False,
            search_matches_additional=False,
            enforce_rules="never",
        )
    )
    bad = [{"properties": {"email": "bad"}}, {"properties": {"nonsense": "1"}}]
    codes = [error["code"] for error in hub.batch("create", bad).json()["errors"]]
    assert codes == ["INVALID_EMAIL", "PROPERTY_DOESNT_EXIST"]
    made = hub.batch(
        "create", [{"properties": {"firstname": 17}}, {"properties": {"firstname": True}}], bad=True
    )
    assert [one["properties"]["firstname"] for one in made.json()["results"]] == ["17", "true"]
    held = hub.store.put("contacts", {"email": "a@x.com", "hs_additional_emails": "b@x.com"})
    assert len(hub.batch("read", [{"id": held}, {"id": held}]).json()["results"]) == 1
    wanted = {"propertyName": "email", "operator": "EQ", "value": "b@x.com"}
    assert hub.search(wanted).json()["total"] == 0
    assert hub.client.get("/crm/properties/2026-09/contacts/email").json()["hasUniqueValue"] is False
    assert (
        hub.client.post("/crm/v3/objects/contacts", json={"properties": {"email": "b@x.com"}}).status_code
        == 409
    )
    url = f"{hub.base_url}/crm/v3/objects/contacts/batch/update"
    answer = requests.post(
        url, json={"inputs": [{"id": "77", "properties": {}}]}, headers=hub.auth, timeout=5
    )
    assert set(answer.json()["errors"][0]) == {"status", "category", "message", "context"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("objects/2026-09/contacts/batch/read", {"inputs": [{"id": "1"}], "properties": 5}),
        (
            "objects/2026-09/contacts/batch/update",
            {"inputs": [{"id": "1", "idProperty": [], "properties": {}}]},
        ),
        ("objects/2026-09/contacts/batch/update", {"inputs": [{"id": 1, "properties": {}}]}),
        ("objects/2026-09/contacts/batch/create", {"inputs": "x"}),
        ("objects/2026-09/contacts/search", {"filterGroups": [5]}),
        ("properties/2026-09/contacts/groups", {"name": "g", "label": "G", "displayOrder": "x"}),
    ],
)
def test_bodies_of_the_wrong_shape_are_refused(hub: Hub, path: str, body: object) -> None:
    assert hub.client.post(f"/crm/{path}", json=body, bad=True).status_code == 400
