"""Subscriptions from file to table: what updates come to, and what else they touch."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

from harness import Row, Warehouse
from test_against_oracle import every_table

AS_OF = date(2026, 3, 31)
NIGHT = datetime(2026, 4, 1, 3)  # noqa: DTZ001 - the warehouse keeps UTC without a zone


def night(warehouse: Warehouse, number: int, *, full: bool = False) -> None:
    warehouse.night(AS_OF, NIGHT + timedelta(days=number), run_id=str(number), full=full)


def without_stamp(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "updated_at"}


def test_updates_of_several_nights_come_to_one_row(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put(
        "subscriptions/a.jsonl",
        [
            {
                "subscription_id": "sub_1",
                "company_id": "acme",
                "status": "trialing",
                "current_period_start": "2026-03-01T00:00:00Z",
                "current_period_end": "2026-04-01",
                "modified_time": "2026-03-02T10:00:00Z",
                "metadata": {"plan": {"name": "team", "seats": 5}},
                "price_id": "not known here",
            }
        ],
    )
    night(warehouse, 0)
    warehouse.put(
        "subscriptions/b.jsonl",
        [
            # Older, though it came later: it does not overwrite.
            {"subscription_id": "sub_1", "status": "incomplete", "modified_time": "2026-03-01T10:00:00Z"},
            {
                "subscription_id": "sub_1",
                "company_id": None,
                "status": "active",
                "current_period_end": "soon",
                "modified_time": "2026-03-03T10:00:00Z",
                "metadata": {"plan": {"seats": "many", "annual": True}},
            },
            {"subscription_id": " ", "company_id": "nobody"},
        ],
    )
    night(warehouse, 1)
    assert without_stamp(warehouse.one("marts.subscriptions")) == {
        "subscription_id": "sub_1",
        "company_id": "acme",
        "status": "active",
        "current_period_start": datetime(2026, 3, 1),  # noqa: DTZ001
        "current_period_end": datetime(2026, 4, 1),  # noqa: DTZ001
        "metadata": {"plan": {"name": "team", "seats": 5, "annual": True}},
    }
    repair = warehouse.one("ops.repairs")
    assert (repair["source"], repair["line"], repair["what"]) == (
        "subscriptions",
        2,
        "current_period_end_bad",
    )
    assert "soon" in repair["detail"]
    conflict = warehouse.one("marts.metadata_conflicts")
    assert [conflict[c] for c in ("entity", "entity_id", "path", "expected_type")] == [
        "subscription",
        "sub_1",
        "plan.seats",
        "number",
    ]
    assert [r["reason"] for r in warehouse.table("ops.rejects")] == ["missing_id"]
    profile = warehouse.one("marts.company_profiles")
    assert (profile["company_id"], profile["created_at"]) == ("acme", datetime(2026, 3, 2, 10))  # noqa: DTZ001
    before = every_table(warehouse)
    night(warehouse, 2, full=True)
    after = every_table(warehouse)
    assert {name: after[name] for name in after if name.startswith("marts.")} == {
        name: before[name] for name in before if name.startswith("marts.")
    }


def test_types_are_locked_for_companies_users_and_subscriptions_alike(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put("subscriptions/a.jsonl", [{"subscription_id": "s", "metadata": {"seats": 5}}])
    night(warehouse, 0)
    warehouse.put("companies/a.jsonl", [{"company_id": "acme", "metadata": {"seats": "5"}}])
    night(warehouse, 1)
    assert warehouse.one("marts.metadata_conflicts")["entity"] == "company"


def test_a_refused_update_names_no_company(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, metadata={"on_conflict": "reject_update", "pins": {"seats": "number"}})
    warehouse.put(
        "subscriptions/a.jsonl", [{"subscription_id": "s", "company_id": "acme", "metadata": {"seats": "x"}}]
    )
    night(warehouse, 0)
    assert warehouse.table("marts.subscriptions") == []
    assert warehouse.table("marts.company_profiles") == []
    assert warehouse.one("ops.rejects")["source"] == "subscriptions"


def test_an_empty_value_is_read_as_the_type_that_its_key_gets_later(tmp_path: Path) -> None:
    """PHP writes an empty object as []."""
    warehouse = Warehouse(tmp_path)
    warehouse.put(
        "companies/a.jsonl",
        [
            {
                "company_id": "first",
                "metadata": {"address": [], "tags": {}, "note": [], "x": {"address": []}},
            },
            {"company_id": "old", "metadata": {"address": {}}, "modified_time": "2026-03-05"},
        ],
    )
    night(warehouse, 0)
    assert warehouse.table("marts.metadata_schema")[0]["key"] == "x", "the others lock nothing"
    assert len(warehouse.table("marts.metadata_schema")) == 1
    warehouse.put(
        "users/a.jsonl",
        [{"user_id": "ann", "metadata": {"address": {"city": "Sampleton"}, "tags": ["a"], "note": "text"}}],
    )
    warehouse.put(
        "companies/b.jsonl",
        [
            # Later than the empty one in its time, and not cleared by it.
            {"company_id": "old", "metadata": {"address": {"city": "Oldham"}}, "modified_time": "2026-03-04"},
        ],
    )
    night(warehouse, 1)
    late = {"company_id": "late", "metadata": {"note": {}, "tags": {}, "address": []}}
    warehouse.put("companies/c.jsonl", [late])
    night(warehouse, 2)

    def metadata(company_id: str) -> Row:
        row = warehouse.one("marts.company_profiles", company_id=company_id)["metadata"]
        assert isinstance(row, dict)
        return row

    assert metadata("first") == {"address": {}, "tags": [], "note": [], "x": {"address": {}}}
    assert metadata("old") == {"address": {"city": "Oldham"}}
    assert metadata("late") == {"tags": [], "address": {}}
    conflict = warehouse.one("marts.metadata_conflicts")
    assert [conflict[c] for c in ("entity_id", "path", "expected_type", "actual_type")] == [
        "late",
        "note",
        "string",
        "object",
    ]
    before = [metadata(c) for c in ("first", "old", "late")]
    night(warehouse, 3, full=True)
    assert [metadata(c) for c in ("first", "old", "late")] == before
