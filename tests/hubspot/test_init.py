"""Making the property group and the properties that the SELECTs name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dagster_project.destinations.hubspot import HubspotError, init_properties
from dagster_project.standins.hubspot import Emulator, Fault

from .desk import Desk
from .test_push import SEEN, by_key

COLUMNS = {
    "api_calls_30d": "BIGINT",
    "api_rate": "DOUBLE",
    "api_plan": "VARCHAR",
    "api_near_quota": "BOOLEAN",
    "api_first_seen_date": "DATE",
    "api_last_seen_at": "TIMESTAMP",
    "api_cohorts": "VARCHAR[]",
}


def rows(desk: Desk) -> None:
    desk.companies(
        [
            {
                "company_id": "a",
                "last_seen_at": SEEN,
                "domain": "a.example",
                "api_calls_30d": 1,
                "api_rate": 0.5,
                "api_plan": "gold",
                "api_near_quota": True,
                "api_first_seen_date": "2026-01-01",
                "api_last_seen_at": SEEN,
                "api_cohorts": ["quiet"],
            }
        ],
        **COLUMNS,
    )
    for name in ("quiet", "near_quota"):
        (desk.root / "sql" / "cohorts" / f"company__{name}.sql").write_text("SELECT 1")


def test_it_shows_first_and_makes_then(desk: Desk, make_hub: Callable[..., Emulator]) -> None:
    hub = make_hub()
    rows(desk)
    shown = init_properties(desk.settings, live=False)
    assert not hub.writes
    assert shown.groups == ["companies"]
    made = init_properties(desk.settings, live=True)
    assert made.properties == shown.properties
    assert {(p.name, p.type, p.field_type, p.label) for p in made.properties} == {
        ("api_calls_30d", "number", "number", "API calls, 30 days"),
        ("api_rate", "number", "number", "API rate"),
        ("api_plan", "string", "text", "API plan"),
        ("api_near_quota", "bool", "booleancheckbox", "API near quota"),
        ("api_first_seen_date", "date", "date", "API first seen date"),
        ("api_last_seen_at", "datetime", "date", "API last seen at"),
        ("api_cohorts", "enumeration", "checkbox", "API cohorts"),
    }
    assert hub.store.companies.schema.groups["api_analytics"].label == "API Analytics"
    assert [call.operation for call in hub.writes] == ["properties.group_create", "properties.batch_create"]
    result = desk.push()
    assert result.exit_status == 0
    (company,) = by_key(hub, "companies", "a.example")
    assert (company["api_cohorts"], company["api_near_quota"]) == ("quiet", "true")
    hub.forget_calls()
    again = init_properties(desk.settings, live=True)
    assert (again.properties, again.groups, again.options, hub.writes) == ([], [], {}, [])


def test_a_new_cohort_becomes_an_option(desk: Desk, hub: Emulator) -> None:
    rows(desk)
    init_properties(desk.settings, live=True)
    (desk.root / "sql" / "cohorts" / "company__new_one.sql").write_text("SELECT 1")
    result = init_properties(desk.settings, live=True)
    assert result.options == {("companies", "api_cohorts"): ["new_one"]}
    options = hub.store.companies.schema.properties["api_cohorts"].options
    assert [o["value"] for o in options] == ["near_quota", "quiet", "new_one"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("cut", path="batch/create", when="after"),
        Fault("status", path="groups$", method="POST", status=500, when="after"),
        Fault("empty", path="batch/create", when="after"),
        Fault("cut", path="batch/create"),
        Fault("status", path="groups$", method="POST", status=503),
        Fault("conflict", path="batch/create"),
    ],
)
def test_one_mishap_is_no_failure(desk: Desk, hub: Emulator, fault: Fault) -> None:
    rows(desk)
    hub.faults.add(fault)
    assert init_properties(desk.settings, live=True).exit_status == 0


def test_what_hubspot_did_not_make_is_named(desk: Desk, hub: Emulator) -> None:
    rows(desk)
    hub.faults.add(Fault("cut", path="batch/create", every=1, times=3))
    result = init_properties(desk.settings, live=True)
    assert result.exit_status == 1
    assert set(result.failed) == {("companies", name) for name in COLUMNS}
    assert init_properties(desk.settings, live=True).exit_status == 0


def test_one_property_that_hubspot_does_not_want_leaves_the_others_alone(desk: Desk, hub: Emulator) -> None:
    names = ["api_one", "Api_Wrong", "api_two", "api_three"]
    desk.companies(
        [{"company_id": "a", "last_seen_at": SEEN, "domain": "a.example", **dict.fromkeys(names, 1)}],
        **dict.fromkeys(names, "BIGINT"),
    )
    hub.faults.add(Fault("conflict", path="batch/create"))
    result = init_properties(desk.settings, live=True)
    assert set(result.failed) == {("companies", "Api_Wrong")}
    assert {"api_one", "api_two", "api_three"} < set(hub.store.companies.schema.properties)


def test_a_missing_scope_is_named(desk: Desk, hub: Emulator) -> None:
    rows(desk)
    hub.access.scopes = {"crm.schemas.companies.read", "crm.schemas.contacts.read"}
    with pytest.raises(HubspotError, match=r"crm\.schemas\.companies\.write"):
        init_properties(desk.settings, live=True)
