"""Which value each property type takes, through the API."""

from __future__ import annotations

import pytest

from .conftest import Hub

pytestmark = pytest.mark.fast

OPTIONS = [
    {"label": "Big", "value": "big", "displayOrder": 0, "hidden": False},
    {"label": "Small", "value": "small", "displayOrder": 1, "hidden": False},
]

GOOD = [
    ("string", "x" * 65_536, "x" * 65_536),
    ("number", "17", "17"),
    ("number", "-1.5e3", "-1.5e3"),
    ("bool", "true", "true"),
    ("date", "2026-09-30", "2026-09-30"),
    ("date", "1790726400000", "2026-09-30"),
    ("datetime", "2026-09-30T12:00:00.250Z", "2026-09-30T12:00:00.250Z"),
    ("datetime", "1790726400001", "2026-09-30T00:00:00.001Z"),
    ("enumeration", "big", "big"),
    ("checks", "big;small", "big;small"),
    ("open", "whatever", "whatever"),
]
BAD = [
    ("string", "x" * 65_537, "PROPERTY_VALUE_TOO_LONG"),
    ("number", "abc", "INVALID_LONG"),
    ("number", "NaN", "INVALID_LONG"),
    ("number", "1e999", "INVALID_LONG"),
    ("number", "1,000", "INVALID_LONG"),
    ("bool", "True", "INVALID_OPTION"),
    ("date", "30.09.2026", "INVALID_DATE"),
    ("date", "2026-02-30", "INVALID_DATE"),
    ("date", "1790726400001", "INVALID_DATE"),
    ("date", "2026-09-30T00:00:00.000Z", "INVALID_DATE"),
    ("datetime", "2026-09-30 12:00", "INVALID_LONG"),
    ("datetime", "2026-09-30T12:00:00+02:00", "INVALID_LONG"),
    ("enumeration", "Big", "INVALID_OPTION"),
    ("enumeration", "big;small", "INVALID_OPTION"),
    ("checks", "big; small", "INVALID_OPTION"),
]


@pytest.fixture
def typed(hub: Hub) -> Hub:
    for kind in ("string", "number", "bool", "date", "datetime"):
        hub.store.add_property("contacts", f"p_{kind}", kind)
    hub.store.add_property("contacts", "p_enumeration", "enumeration", options=OPTIONS)
    hub.store.add_property("contacts", "p_checks", "enumeration", fieldType="checkbox", options=OPTIONS)
    hub.store.add_property("contacts", "p_open", "enumeration", externalOptions=True)
    return hub


@pytest.mark.parametrize(("kind", "sent", "stored"), GOOD)
def test_taken(typed: Hub, kind: str, sent: str, stored: str) -> None:
    answer = typed.client.post("/crm/objects/2026-09/contacts", json={"properties": {f"p_{kind}": sent}})
    assert answer.status_code == 201
    assert answer.json()["properties"][f"p_{kind}"] == stored


@pytest.mark.parametrize(("kind", "sent", "code"), BAD)
def test_refused(typed: Hub, kind: str, sent: str, code: str) -> None:
    answer = typed.client.post("/crm/objects/2026-09/contacts", json={"properties": {f"p_{kind}": sent}})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == code
    assert answer.json()["errors"][0]["context"] == {"propertyName": [f"p_{kind}"]}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("hs_object_id", "READ_ONLY_VALUE"),
        ("createdate", "READ_ONLY_VALUE"),
        ("hs_email_domain", "READ_ONLY_VALUE"),
        ("hs_location", "READ_ONLY_VALUE"),
        ("hs_raw_details", "READ_ONLY_VALUE"),
        ("no_such_property", "PROPERTY_DOESNT_EXIST"),
    ],
)
def test_properties_that_cannot_be_written(hub: Hub, name: str, code: str) -> None:
    answer = hub.client.post("/crm/objects/2026-09/contacts", json={"properties": {name: "1"}})
    assert [error["code"] for error in answer.json()["errors"]] == [code]


@pytest.mark.parametrize(
    "email", ["plain", "a@b", "a b@x.com", "a@x..com", "@x.com", "a@-x.com", "a@x.com.", ".a@x.com"]
)
def test_what_is_no_email(hub: Hub, email: str) -> None:
    answer = hub.client.post("/crm/objects/2026-09/contacts", json={"properties": {"email": email}})
    assert answer.json()["errors"][0]["code"] == "INVALID_EMAIL"


def test_a_leading_semicolon_appends(typed: Hub) -> None:
    record = typed.store.put("contacts", {"p_checks": "big"})
    typed.batch("update", [{"id": record, "properties": {"p_checks": ";small"}}])
    assert typed.store.snapshot("contacts")[record]["p_checks"] == "big;small"


def test_validation_rules_of_the_account_are_enforced_from_2026_09_on(hub: Hub) -> None:
    rules = "/crm/property-validations/2026-03/0-1"
    put = hub.client.put(f"{rules}/firstname/rule-type/MAX_LENGTH", json={"ruleArguments": ["3"]})
    assert put.status_code == 204
    assert hub.client.get(f"{rules}/firstname/rule-type/MAX_LENGTH").json()["ruleArguments"] == ["3"]
    assert hub.client.get(f"{rules}/firstname").json()["results"][0]["ruleType"] == "MAX_LENGTH"
    listed = hub.client.get("/crm/v3/property-validations/contacts").json()["results"]
    assert listed[0]["propertyName"] == "firstname"
    body = {"properties": {"firstname": "Barbara"}}
    assert hub.client.post("/crm/objects/2026-09/contacts", json=body).status_code == 400
    assert hub.client.post("/crm/v3/objects/contacts", json=body).status_code == 201
