"""Which column goes into which property, and which values are caught before they are sent."""

from __future__ import annotations

from typing import Any

import pytest

from dagster_project.destinations.parts.errors import DestinationError
from dagster_project.standins.hubspot import Emulator

from .desk import Desk
from .test_push import SEEN, by_key

OPTIONS = [{"label": o.upper(), "value": o} for o in ("low", "mid", "high")]
# DuckDB type, value in SQL, property type, what HubSpot holds then (None: the column is left out).
PAIRS: list[tuple[str, str, str, str | None]] = [
    ("VARCHAR", "'text, \"quoted\" ü 🙂'", "string", 'text, "quoted" ü 🙂'),
    ("VARCHAR", "'mid'", "enumeration", "mid"),
    ("VARCHAR", "'17'", "number", None),
    ("BIGINT", "17", "number", "17"),
    ("BIGINT", "17", "string", None),
    ("BIGINT", "9007199254740993", "number", "9007199254740993"),
    (
        "HUGEINT",
        "170141183460469231731687303715884105727",
        "number",
        "170141183460469231731687303715884105727",
    ),
    ("DOUBLE", "0.1", "number", "0.1"),
    ("DOUBLE", "17.0", "number", "17"),
    ("DOUBLE", "-0.0", "number", "0"),
    ("DOUBLE", "1e300", "number", "1e+300"),
    ("DECIMAL(10, 2)", "17.50", "number", "17.5"),
    ("DECIMAL(10, 2)", "100.00", "number", "100"),
    ("BOOLEAN", "true", "bool", "true"),
    ("BOOLEAN", "false", "bool", "false"),
    ("BOOLEAN", "true", "string", None),
    ("BOOLEAN", "true", "enumeration", None),
    ("DATE", "DATE '2026-02-03'", "date", "2026-02-03"),
    ("DATE", "DATE '2026-02-03'", "datetime", None),
    ("DATE", "DATE '2026-02-03'", "string", None),
    ("TIMESTAMP", "TIMESTAMP '2026-02-03 04:05:06.789123'", "datetime", "2026-02-03T04:05:06.789Z"),
    ("TIMESTAMP", "TIMESTAMP '2026-02-03 04:05:06'", "string", "2026-02-03T04:05:06.000Z"),
    ("TIMESTAMP", "TIMESTAMP '2026-02-03 04:05:06'", "date", None),
    (
        "TIMESTAMP WITH TIME ZONE",
        "TIMESTAMPTZ '2026-02-03 04:05:06+02'",
        "datetime",
        "2026-02-03T02:05:06.000Z",
    ),
    ("VARCHAR[]", "['mid', 'low', NULL, 'mid']", "enumeration", "low;mid"),
    ("VARCHAR[]", "['mid']", "string", None),
    ("BIGINT[]", "[1]", "enumeration", None),
    ("JSON", "'{}'", "string", None),
    ("BLOB", "'a'::BLOB", "string", None),
]


def test_columns_go_into_properties_of_their_types(desk: Desk, hub: Emulator) -> None:
    """All pairs in one push. Only what does not fit is left out, and is no reason to keep back the others."""
    names = [f"api_value_{number}" for number in range(len(PAIRS))]
    for name, (_, _, property_type, _) in zip(names, PAIRS, strict=True):
        more: dict[str, Any] = (
            {"options": OPTIONS, "fieldType": "checkbox"} if property_type == "enumeration" else {}
        )
        hub.store.add_property("contacts", name, property_type, **more)

    def publish(wanted: list[int]) -> None:
        values = "".join(f", {PAIRS[number][1]} AS {names[number]}" for number in wanted)
        desk.contacts(
            f"""SELECT 'u' AS user_id, TIMESTAMP '{SEEN}' AS last_seen_at, 'u@example.com' AS email,
                1 AS api_calls{values}""",
            api_calls="BIGINT",
            **{names[number]: PAIRS[number][0] for number in wanted},
        )

    publish(list(range(len(PAIRS))))
    result = desk.push()
    (held,) = by_key(hub, "contacts", "u@example.com")
    assert {name: held.get(name) for name in names} == dict(
        zip(names, (expected for *_, expected in PAIRS), strict=True)
    )
    assert held["api_calls"] == "1"
    assert [one.column for one in result.left_out] == [
        name for name, (*_, expected) in zip(names, PAIRS, strict=True) if expected is None
    ]
    assert result.exit_status == 1
    publish([number for number, (*_, expected) in enumerate(PAIRS) if expected is not None])
    hub.forget_calls()
    assert desk.push().exit_status == 0
    assert not hub.writes


def test_what_cannot_be_written_is_left_out_with_the_reason(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_old", "number")
    hub.store.contacts.schema.archive("api_old", 0)
    columns = {
        "api_calls": "BIGINT",
        "hs_email_domain": "VARCHAR",
        "createdate": "TIMESTAMP",
        "hs_location": "VARCHAR",
        "api_old": "BIGINT",
        "api_none": "BIGINT",
    }
    desk.contacts(
        [{"user_id": "a", "last_seen_at": SEEN, "email": "a@example.com", "api_calls": 4}], **columns
    )
    result = desk.push()
    assert {one.column: one.reason.split(";")[0] for one in result.left_out} == {
        "hs_email_domain": "HubSpot calculates the property",
        "createdate": "the property is read-only in HubSpot",
        "hs_location": "properties of type object_coordinates cannot be written",
        "api_old": "HubSpot has no property of this name",
        "api_none": "HubSpot has no property of this name",
    }
    assert by_key(hub, "contacts", "a@example.com")[0]["api_calls"] == "4"
    assert "api_none" in desk.table("ops.hubspot_pushes")[0]["left_out"]
    loaded = {
        (row["object"], row["name"]): row["is_writable"] for row in desk.table("ops.hubspot_properties")
    }
    assert loaded["contacts", "email"] is True
    assert loaded["contacts", "hs_email_domain"] is False
    assert ("companies", "domain") not in loaded or loaded["companies", "domain"]


def test_values_that_hubspot_would_refuse_are_caught_per_row(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_text")
    hub.store.add_property("contacts", "api_number", "number")
    hub.store.add_property("contacts", "api_date", "date")
    hub.store.add_property("contacts", "api_plan", "enumeration", options=OPTIONS)
    hub.store.add_property("contacts", "api_many", "enumeration", options=OPTIONS, fieldType="checkbox")
    columns = {
        "api_calls": "BIGINT",
        "api_text": "VARCHAR",
        "api_number": "DOUBLE",
        "api_date": "DATE",
        "api_plan": "VARCHAR[]",
        "api_many": "VARCHAR",
    }
    bad: dict[str, Any] = {
        "long": {"api_text": "x" * 65_537},
        "nan": {"api_number": float("nan")},
        "inf": {"api_number": float("-inf")},
        "era": {"api_date": "infinity"},
        "two": {"api_plan": ["low", "mid"]},
        "none": {"api_plan": ["other"]},
        "append": {"api_many": ";low"},
        "unknown": {"api_many": "low;other"},
        "mail": {"email": "not..one@example.com"},
    }
    desk.contacts(
        [
            {"user_id": name, "last_seen_at": SEEN, "email": f"{name}@example.com", "api_calls": 4, **values}
            for name, values in bad.items()
        ]
        + [
            {
                "user_id": "fine",
                "last_seen_at": SEEN,
                "email": "fine@example.com",
                "api_text": "x" * 65_536,
                "api_plan": ["low"],
                "api_many": "low;high",
            }
        ],
        **columns,
    )
    result = desk.push()
    rejects = {row["id"]: row for row in desk.table("ops.hubspot_rejects")}
    assert {name: row["code"] for name, row in rejects.items()} == {
        "long": "VALUE_TOO_LONG",
        "nan": "INVALID_NUMBER",
        "inf": "INVALID_NUMBER",
        "era": "INVALID_DATE",
        "two": "INVALID_OPTION",
        "none": "INVALID_OPTION",
        "append": "INVALID_OPTION",
        "unknown": "INVALID_OPTION",
        "mail": "INVALID_EMAIL",
    }
    assert all(row["attempts"] == 0 and row["message"] for row in rejects.values())
    assert (result.total.acknowledged, result.total.rejected, result.exit_status) == (9, 1, 0)
    assert hub.totals["writes"] == 1
    assert by_key(hub, "contacts", "fine@example.com")[0]["api_many"] == "low;high"
    assert all(
        r["api_calls"] == "4"
        for r in hub.store.snapshot("contacts").values()
        if r["email"] != "fine@example.com"
    )
    hub.forget_calls()
    desk.push()
    assert not hub.writes
    assert len(desk.table("ops.hubspot_rejects")) == 9
    hub.store.contacts.schema.update(
        "api_plan", {"options": [*OPTIONS, {"label": "Other", "value": "other"}]}, 0
    )
    desk.push()
    assert by_key(hub, "contacts", "none@example.com")[0]["api_plan"] == "other"
    assert len(desk.table("ops.hubspot_rejects")) == 8


def test_without_any_usable_column_nothing_is_made(desk: Desk, hub: Emulator) -> None:
    desk.contacts(
        [{"user_id": "a", "last_seen_at": SEEN, "email": "a@example.com", "api_none": 4}], api_none="BIGINT"
    )
    result = desk.push()
    assert (result.total.planned, result.exit_status) == (0, 1)
    assert not hub.store.snapshot("contacts")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT 1 AS user_id, 2 AS email", "does not select last_seen_at"),
        ("SELECT nothing FROM marts.contacts_out", "hubspot_contacts.sql: .*nothing"),
        ("SELEC", "hubspot_contacts.sql"),
    ],
)
def test_a_select_that_cannot_be_used_is_an_error_for_people(
    desk: Desk, hub: Emulator, query: str, says: str
) -> None:
    desk.contacts([])
    desk.select("contacts", query)
    with pytest.raises(DestinationError, match=says):
        desk.push()


def test_the_select_may_be_anything_that_runs_in_the_published_database(desk: Desk, hub: Emulator) -> None:
    desk.contacts([{"user_id": "a", "last_seen_at": SEEN, "email": "a@example.com", "api_calls": 4}])
    desk.select(
        "contacts",
        """-- the mapping
        WITH x AS (SELECT * FROM marts.contacts_out)
        SELECT 7 AS user_id, NULL AS last_seen_at, ' Www ' || upper(email) AS email, api_calls * 2 AS api_calls FROM x
        UNION ALL SELECT 8, NULL, 'b@example.com', 5; -- end""",
    )
    desk.push()
    assert by_key(hub, "contacts", "b@example.com")[0]["api_calls"] == "5"
    (skipped,) = desk.table("ops.hubspot_skips")
    assert (skipped["id"], skipped["reason"]) == ("7", "no_key")
