"""Tables that a module computes: metadata with its locks, cohorts with their history; night by night.

Also what follows from one night to the next: history that is told once, days that are not computed twice.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from harness import Row, Warehouse

from dagster_project.models.cohorts import Cohort, cohorts
from dagster_project.settings import project_root
from dagster_project.warehouse import lineage
from dagster_project.warehouse.models import ModelError, read_models

NIGHT = [datetime(2026, 4, day, 2) for day in range(1, 10)]  # noqa: DTZ001 - UTC
DAY = date(2026, 3, 31)


@pytest.fixture(autouse=True)
def _without_lineage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Column lineage does not matter here, and is half the time of a first night."""
    monkeypatch.setattr(lineage, "column_lineage", lambda model, models: {})


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def company(metadata: Any, company_id: str = "acme", day: int = 1, **more: Any) -> Row:
    return {
        "company_id": company_id,
        "metadata": metadata,
        "modified_time": f"2026-03-{day:02}T00:00:00Z",
        **more,
    }


def user(metadata: Any, user_id: str = "ann", day: int = 1, **more: Any) -> Row:
    return {"user_id": user_id, "metadata": metadata, "modified_time": f"2026-03-{day:02}T00:00:00Z", **more}


def call(day: int, company_id: str | None = "acme", status: int = 200, path: str = "/a", **more: Any) -> Row:
    request = {"time": f"2026-03-{day:02}T12:00:00Z", "verb": "GET", "uri": f"https://api.example.com{path}"}
    return {"request": request, "company_id": company_id, "response": {"status": status}, **more}


def updated(warehouse: Warehouse, *updates: Row, folder: str = "companies") -> Warehouse:
    """After one night with these updates."""
    warehouse.put(f"{folder}/updates.jsonl", updates)
    return warehouse.night(now=NIGHT[0])


def metadata_of(warehouse: Warehouse, company_id: str = "acme") -> Any:
    return warehouse.one("marts.company_profiles", company_id=company_id)["metadata"]


def locks(warehouse: Warehouse) -> dict[str, str]:
    return {row["key"]: row["type"] for row in warehouse.table("marts.metadata_schema")}


def conflicts(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    columns = ("entity_id", "path", "expected_type", "actual_type", "value")
    return [tuple(row[c] for c in columns) for row in warehouse.table("marts.metadata_conflicts")]


def leaves(warehouse: Warehouse) -> dict[str, tuple[str, str, float | None]]:
    rows = warehouse.table("marts.company_metadata")
    return {row["path"]: (row["type"], row["value"], row["value_number"]) for row in rows}


# Metadata: the merge


def test_the_last_writer_wins_per_leaf_and_arrays_are_replaced_whole(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company({"plan": "pro", "list": [1, 2, 3], "in": {"a": 1, "b": {"c": 1, "d": 1}}}, day=1),
        company({"plan": "free", "list": [4], "in": {"b": {"c": 2}, "e": 5}}, day=2),
    )
    assert metadata_of(warehouse) == {
        "plan": "free",
        "list": [4],
        "in": {"a": 1, "b": {"c": 2, "d": 1}, "e": 5},
    }


def test_updates_merge_in_the_order_of_their_times_then_of_their_places(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company({"by_time": "new", "by_place": 1}, day=5),
        company({"by_time": "old"}, day=4),
        company({"by_place": 2}, day=5),
    )
    assert metadata_of(warehouse) == {"by_time": "new", "by_place": 2}


def test_an_older_update_that_is_loaded_later_takes_its_place_in_time(warehouse: Warehouse) -> None:
    updated(warehouse, company({"a": "new"}, day=5))
    warehouse.put("companies/z.jsonl", [company({"a": "old", "b": "only there"}, day=1)])
    warehouse.night(now=NIGHT[1])
    assert metadata_of(warehouse) == {"a": "new", "b": "only there"}


def test_a_null_inside_metadata_clears_and_the_key_stays(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company({"a": 1, "in": {"x": 1, "y": 2}, "back": 1}, day=1),
        company({"a": None, "in": None, "back": None}, day=2),
        company({"in": {"z": 3}, "back": 2}, day=3),
    )
    assert metadata_of(warehouse) == {"a": None, "in": {"z": 3}, "back": 2}
    assert set(leaves(warehouse)) == {"in.z", "back"}


def test_a_null_at_the_top_is_not_given(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company({"a": 1}, day=1, company_domain="acme.com", campaign={"utm_source": "x"}),
        company(None, day=2, company_domain=None, campaign=None, session_token=None),
    )
    row = warehouse.one("marts.company_profiles", company_id="acme")
    assert (row["metadata"], row["company_domain"], row["campaign"]) == (
        {"a": 1},
        "acme.com",
        {"utm_source": "x"},
    )


def test_metadata_that_is_no_object_is_dropped_and_the_update_stands(warehouse: Warehouse) -> None:
    updated(warehouse, company("text", company_domain="acme.com"))
    row = warehouse.one("marts.company_profiles", company_id="acme")
    assert (row["metadata"], row["company_domain"]) == (None, "acme.com")
    assert [r["what"] for r in warehouse.table("ops.repairs")] == ["metadata_not_object"]


def test_empty_metadata_is_a_value_and_none_is_null(warehouse: Warehouse) -> None:
    updated(warehouse, company({}), company(None, "bolt"))
    assert (metadata_of(warehouse), metadata_of(warehouse, "bolt")) == ({}, None)


def test_leaves_have_their_type_text_and_number(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company(
            {
                "s": "x",
                "i": 7,
                "f": 2.5,
                "t": True,
                "n": None,
                "list": [1, {"k": "é"}],
                "empty": {},
                "none": [],
                "custom_obj_field": {"sub_a": "deep", "e": {}},
            }
        ),
    )
    assert leaves(warehouse) == {
        "s": ("string", "x", None),
        "i": ("number", "7", 7.0),
        "f": ("number", "2.5", 2.5),
        "t": ("boolean", "true", None),
        "list": ("array", '[1,{"k":"é"}]', None),
        "empty": ("object", "{}", None),
        "none": ("array", "[]", None),
        "custom_obj_field.sub_a": ("string", "deep", None),
        "custom_obj_field.e": ("object", "{}", None),
    }


def test_a_leaf_s_updated_at_is_the_time_of_the_update_that_wrote_it(warehouse: Warehouse) -> None:
    updated(warehouse, company({"a": 1, "b": 1}, day=5), company({"a": 0, "c": 0}, day=2))
    times = {r["path"]: r["updated_at"].day for r in warehouse.table("marts.company_metadata")}
    assert times == {"a": 5, "b": 5, "c": 2}


def test_campaigns_merge_as_they_are_without_locks(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company(None, day=1, campaign={"utm.source": "a", "utm_medium": 1, "in": {"x": 1}}),
        company(None, day=2, campaign={"utm_medium": "mail", "in": {"y": 2}}),
        company(None, "bolt", day=2, campaign={}),
        company(None, "core", day=2, campaign="text"),
    )
    found = {r["company_id"]: r["campaign"] for r in warehouse.table("marts.company_profiles")}
    assert found == {
        "acme": {"utm.source": "a", "utm_medium": "mail", "in": {"x": 1, "y": 2}},
        "bolt": None,
        "core": None,
    }
    assert [r["what"] for r in warehouse.table("ops.repairs")] == ["campaign_not_object"]
    assert locks(warehouse) == {}


def test_a_campaigns_fields_that_an_sdk_left_unset_clear_nothing(warehouse: Warehouse) -> None:
    unset = dict.fromkeys(["utm_source", "utm_medium", "gclid"])
    updated(
        warehouse,
        company(None, day=1, campaign={**unset, "utm_source": "a", "in": {"x": 1, "y": None}}),
        company(None, day=2, campaign={**unset, "utm_medium": "mail", "in": {"x": None}}),
        company(None, "bolt", day=2, campaign=unset),
    )
    found = {r["company_id"]: r["campaign"] for r in warehouse.table("marts.company_profiles")}
    assert found == {"acme": {"utm_source": "a", "in": {"x": 1}, "utm_medium": "mail"}, "bolt": None}


def test_a_domain_at_the_top_beats_that_of_metadata_whatever_their_times(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company({"company_domain": "first.com"}, "meta", day=1),
        company({"company_domain": "WWW.Second.com"}, "meta", day=2),
        company(None, "top", day=1, company_domain="https://user:pw@www.Top.com:8080/path?x"),
        company(None, "top", day=2, company_domain="  "),
        company({"company_domain": "meta.com"}, "top", day=3),
        company(None, "latest", day=2, company_domain="new.com"),
        company(None, "latest", day=1, company_domain="old.com"),
    )
    found = {r["company_id"]: r["company_domain"] for r in warehouse.table("marts.company_profiles")}
    assert found == {"meta": "second.com", "top": "top.com", "latest": "new.com"}


def test_names_come_from_metadata_if_they_are_text(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company({"company_name": "Acme Inc", "name": "Acme"}, "both"),
        company({"company_name": "Acme Inc"}, "one"),
        company({"company_name": "Acme Inc", "name": None}, "cleared"),
    )
    found = {r["company_id"]: r["company_name"] for r in warehouse.table("marts.company_profiles")}
    assert found == {"both": "Acme", "one": "Acme Inc", "cleared": "Acme Inc"}


def test_a_user_s_columns_come_from_its_metadata(warehouse: Warehouse) -> None:
    given = {"email": " Ann@Acme.COM ", "name": "Ann A", "first_name": "Ann", "last_name": "A", "phone": "1"}
    updated(warehouse, user({**given, "photo_url": "p.png"}), user({"name": None}, "bob"), folder="users")
    row = warehouse.one("marts.user_profiles", user_id="ann")
    columns = ("email", "name", "first_name", "last_name", "phone", "photo_url")
    assert tuple(row[c] for c in columns) == ("ann@acme.com", "Ann A", "Ann", "A", "1", "p.png")
    assert warehouse.one("marts.user_profiles", user_id="bob")["name"] is None


# Metadata: type locks


def test_the_first_value_locks_its_key_for_companies_and_users_at_any_depth(warehouse: Warehouse) -> None:
    warehouse.put("companies/a.jsonl", [company({"in": {"size": 5}})])
    warehouse.put(
        "users/a.jsonl", [user({"size": "big", "plan": True}), user({"size": 7.5, "plan": "pro"}, "bob")]
    )
    warehouse.night(now=NIGHT[0])
    assert locks(warehouse) == {"in": "object", "size": "number", "plan": "boolean"}
    assert conflicts(warehouse) == [
        ("ann", "size", "number", "string", '"big"'),
        ("bob", "plan", "boolean", "string", '"pro"'),
    ]
    assert warehouse.one("marts.user_profiles", user_id="ann")["metadata"] == {"plan": True}
    assert warehouse.one("marts.user_profiles", user_id="bob")["metadata"] == {"size": 7.5}


def test_locks_follow_the_order_of_loading_not_of_time(warehouse: Warehouse) -> None:
    updated(warehouse, company({"a": 1}, day=5), company({"a": "older"}, day=1))
    warehouse.put("companies/0-sorts-first.jsonl", [company({"a": "oldest"}, "bolt", day=1)])
    warehouse.night(now=NIGHT[1])
    assert locks(warehouse) == {"a": "number"}
    assert [c[4] for c in conflicts(warehouse)] == ['"older"', '"oldest"']
    assert (metadata_of(warehouse), metadata_of(warehouse, "bolt")) == ({"a": 1}, {})


def test_a_dropped_value_is_dropped_alone_with_all_inside_which_locks_nothing(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company({"a": 1}, day=1),
        company({"a": {"inner": "text"}, "kept": 1, "list": [{"a": "x", "b": 2}]}, day=2),
        company({"inner": 5}, day=3),
    )
    assert metadata_of(warehouse) == {"a": 1, "kept": 1, "list": [{"b": 2}], "inner": 5}
    assert conflicts(warehouse) == [
        ("acme", "a", "number", "object", '{"inner":"text"}'),
        ("acme", "list[0].a", "number", "string", '"x"'),
    ]
    assert locks(warehouse) == {
        "a": "number",
        "kept": "number",
        "list": "array",
        "b": "number",
        "inner": "number",
    }


def test_within_a_record_a_key_locks_before_the_keys_inside_it(warehouse: Warehouse) -> None:
    updated(warehouse, company({"a": {"a": 1, "b": "x"}, "b": 2}))
    assert locks(warehouse) == {"a": "object", "b": "string"}
    assert [c[1:4] for c in conflicts(warehouse)] == [("a.a", "object", "number"), ("b", "string", "number")]
    assert metadata_of(warehouse) == {"a": {"b": "x"}}


def test_nulls_and_elements_of_arrays_lock_nothing(warehouse: Warehouse) -> None:
    updated(warehouse, company({"a": None, "list": [1, "x", None, [True]]}), company({"a": True}))
    assert locks(warehouse) == {"list": "array", "a": "boolean"}
    assert metadata_of(warehouse) == {"a": True, "list": [1, "x", None, [True]]}


def test_dots_become_underscores_before_locks(warehouse: Warehouse) -> None:
    updated(
        warehouse,
        company({"a.b": 1, "in": {"x.y": 1}, "text": "a.b"}),
        company({"a_b": "x"}),
        company({"c_d": "never there", "c.d": 2}),
    )
    assert metadata_of(warehouse) == {"a_b": 1, "in": {"x_y": 1}, "text": "a.b", "c_d": 2}
    assert locks(warehouse)["c_d"] == "number"
    assert [c[1] for c in conflicts(warehouse)] == ["a_b"]
    assert [r["what"] for r in warehouse.table("ops.repairs")] == ["key_collision"]


def test_metadata_of_actions_is_not_checked(warehouse: Warehouse) -> None:
    action = {"action_name": "x", "request": {"time": "2026-03-01T00:00:00Z"}, "metadata": {"a": "x"}}
    warehouse.put("actions/a.jsonl", [action])
    updated(warehouse, company({"a": 1}))
    assert (locks(warehouse), conflicts(warehouse)) == ({"a": "number"}, [])


def test_a_pin_overrules_the_first_value_and_knows_its_place(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, metadata={"pins": {"phone.no": "string", "unused": "array"}})
    updated(warehouse, company({"phone_no": 123}), company({"phone_no": "123"}))
    found = {
        r["key"]: (r["type"], r["pinned"], r["first_file_seq"], r["first_line"])
        for r in warehouse.table("marts.metadata_schema")
    }
    assert found == {"phone_no": ("string", True, 1, 2), "unused": ("array", True, None, None)}
    assert metadata_of(warehouse) == {"phone_no": "123"}


def test_a_pin_that_is_set_later_applies_to_history(tmp_path: Path) -> None:
    updated(Warehouse(tmp_path), company({"phone": 123}, day=1), company({"phone": "45"}, day=2))
    warehouse = Warehouse(tmp_path, metadata={"pins": {"phone": "string"}}).night(now=NIGHT[1])
    assert metadata_of(warehouse) == {"phone": "45"}
    assert [c[4] for c in conflicts(warehouse)] == ["123"]


def test_locks_of_entities_are_their_own(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, metadata={"lock_scope": "entity"})
    warehouse.put("users/a.jsonl", [user({"size": True}, "acme")])
    updated(warehouse, company({"size": 5}), company({"size": "big"}, "bolt"), company({"size": "no"}))
    found = {(r["entity"], r["entity_id"]): r["type"] for r in warehouse.table("marts.metadata_schema")}
    assert found == {
        ("company", "acme"): "number",
        ("company", "bolt"): "string",
        ("user", "acme"): "boolean",
    }
    assert [c[:2] for c in conflicts(warehouse)] == [("acme", "size")]


REFUSING = {"on_conflict": "reject_update"}


def test_a_refused_update_is_rejected_and_claims_locks_and_names_nothing(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, metadata=REFUSING)
    updated(
        warehouse,
        company({"a": 1}),
        company(
            {"a": "x", "b": "x"}, "bolt", session_token="t1", company_domain="bolt.com", campaign={"c": 1}
        ),
        company({"b": 2}, "core"),
    )
    assert locks(warehouse) == {"a": "number", "b": "number"}
    assert [r["company_id"] for r in warehouse.table("marts.company_profiles")] == ["acme", "core"]
    assert warehouse.table("marts.company_aliases") == []
    assert [c[:2] for c in conflicts(warehouse)] == [("bolt", "a")]
    assert [(r["line"], r["reason"]) for r in warehouse.table("ops.rejects")] == [(2, "metadata_conflict")]
    (file,) = warehouse.table("ops.files")
    assert (file["records"], file["loaded"], file["rejected"]) == (3, 2, 1)


def test_a_refused_update_is_listed_as_it_came(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, metadata=REFUSING)
    refused = company({"a": "x"}, session_token="t1")
    updated(warehouse, company({"a": 1}), refused)
    (reject,) = warehouse.table("ops.rejects")
    assert json.loads(reject["raw"]) == refused


def test_a_refused_update_has_no_repairs(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, metadata=REFUSING)
    updated(warehouse, company({"a": 1}), company({"a": "x", "b.c": 1, "b_c": 2}, campaign=5))
    assert warehouse.table("ops.repairs") == []
    assert warehouse.table("ops.files")[0]["repaired"] == 0


def test_refusing_may_be_set_later_and_applies_to_history(tmp_path: Path) -> None:
    updated(Warehouse(tmp_path), company({"a": 1}), company({"a": "x"}, "bolt", session_token="t1"))
    warehouse = Warehouse(tmp_path, metadata=REFUSING).night(now=NIGHT[1])
    assert warehouse.table("marts.company_aliases") == []
    assert [r["company_id"] for r in warehouse.table("marts.company_profiles")] == ["acme"]
    Warehouse(tmp_path).night(now=NIGHT[2])
    assert [r["company_id"] for r in warehouse.table("marts.company_aliases")] == ["bolt"]
    assert warehouse.table("ops.rejects") == []


# Metadata that no run may fail of


@pytest.mark.parametrize(
    "metadata",
    [
        {"": {"a": 1}, "a": 2},
        {"": 1},
        {"": {"": {"b": 1}}},
        {"n": 10**400, "m": -(10**400)},
        {"a": "\u0000"},
        {"a": ["'", '"', "\\", "\n"]},
        {"a b": {"é": {"🙂": 1}}},
        {"a": -0.0},
        {"__proto__": {"x": 1}},
        {"a[0]": 1, "a": [1]},
    ],
    ids=str,
)
def test_odd_metadata_is_kept(warehouse: Warehouse, metadata: Any) -> None:
    updated(warehouse, company(metadata))
    assert metadata_of(warehouse) == metadata


def test_a_night_of_very_many_keys_locks_them_all(warehouse: Warehouse) -> None:
    """More than DuckDB keeps in one row group."""
    count = 123_000
    updated(warehouse, company({f"k{i}": i for i in range(count)}))
    assert len(locks(warehouse)) == count
    warehouse.put("companies/b.jsonl", [company({"k7": "seven"}, day=2)])
    warehouse.night(now=NIGHT[1])
    assert conflicts(warehouse) == [("acme", "k7", "number", "string", '"seven"')]


@pytest.mark.parametrize("depth", [100, 300, 600, 1000, 5000])
def test_deep_metadata_does_not_fail_a_run(warehouse: Warehouse, depth: int) -> None:
    nested = '{"a":' * depth + "1" + "}" * depth
    warehouse.put("companies/a.jsonl", f'{{"company_id":"acme","metadata":{nested}}}\n')
    warehouse.night(now=NIGHT[0])
    assert [r["company_id"] for r in warehouse.table("marts.company_profiles")] == ["acme"]
    (file,) = warehouse.table("ops.files")
    assert (file["records"], file["loaded"], file["error"]) == (1, 1, None)


# Cohorts


def members(warehouse: Warehouse, cohort: str) -> dict[str, datetime]:
    return {
        r["id"]: r["entered_at"] for r in warehouse.table("marts.cohort_members") if r["cohort"] == cohort
    }


def changes(warehouse: Warehouse, cohort: str) -> list[tuple[str, datetime, str]]:
    rows = [r for r in warehouse.table("marts.cohort_changes") if r["cohort"] == cohort]
    return sorted(((r["id"], r["changed_at"], r["change"]) for r in rows), key=lambda row: row[1])


def test_who_enters_stays_leaves_and_comes_back(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", [call(20, status=429)] * 5)
    warehouse.night(date(2026, 3, 20), NIGHT[0])
    assert members(warehouse, "rate_limited") == {"acme": NIGHT[0]}
    assert changes(warehouse, "rate_limited") == [("acme", NIGHT[0], "entered")]
    assert "rate_limited" in warehouse.one("marts.company_profiles", company_id="acme")["cohorts"]

    warehouse.night(date(2026, 3, 26), NIGHT[1])  # the last day on which the 20th is one of the last seven
    assert members(warehouse, "rate_limited") == {"acme": NIGHT[0]}

    warehouse.night(date(2026, 3, 27), NIGHT[2])
    assert members(warehouse, "rate_limited") == {}
    assert "rate_limited" not in warehouse.one("marts.company_profiles", company_id="acme")["cohorts"]

    warehouse.put("events/b.jsonl", [call(28, status=429)] * 5)
    warehouse.night(date(2026, 3, 28), NIGHT[3])
    assert members(warehouse, "rate_limited") == {"acme": NIGHT[3]}
    assert changes(warehouse, "rate_limited") == [
        ("acme", NIGHT[0], "entered"),
        ("acme", NIGHT[2], "left"),
        ("acme", NIGHT[3], "entered"),
    ]


def test_a_full_rebuild_keeps_the_history_of_cohorts(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", [call(31, status=429)] * 5)
    warehouse.night(DAY, NIGHT[0])
    before = warehouse.table("marts.cohort_members"), warehouse.table("marts.cohort_changes")
    warehouse.night(DAY, NIGHT[1], full=True)
    assert (warehouse.table("marts.cohort_members"), warehouse.table("marts.cohort_changes")) == before


def test_companies_and_users_with_one_id_are_two(warehouse: Warehouse) -> None:
    warehouse.put("companies/a.jsonl", [{"company_id": "42"}])
    warehouse.put("users/a.jsonl", [{"user_id": "42"}])
    warehouse.put("events/a.jsonl", [call(31, company_id="42")])
    warehouse.night(DAY, NIGHT[0])
    found = {(r["cohort"], r["entity"], r["id"]) for r in warehouse.table("marts.cohort_members")}
    assert found == {("first_call", "company", "42"), ("never_called", "user", "42")}


def test_calls_of_nobody_make_no_member(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", [call(31, company_id=None, status=429)] * 5 + [call(31, None, 500)] * 3)
    warehouse.night(DAY, NIGHT[0])
    assert warehouse.table("marts.cohort_members") == []


def test_a_late_claim_moves_errors_and_with_them_members(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", [call(31, company_id=None, status=429, session_token="t1")] * 5)
    warehouse.night(DAY, NIGHT[0])
    warehouse.put("companies/a.jsonl", [{"company_id": "acme", "session_token": "t1"}])
    warehouse.night(DAY, NIGHT[1])
    assert members(warehouse, "rate_limited") == {"acme": NIGHT[1]}


def test_broken_endpoint_is_three_5xx_on_one_route_within_seven_days(warehouse: Warehouse) -> None:
    warehouse.put(
        "events/a.jsonl",
        [
            *(call(25, "one_route", 500 + i, f"/users/{i}/cards") for i in range(3)),
            *(call(25, "many_routes", 500, f"/{name}") for name in ("a", "b", "c")),
            *(call(24, "too_old", 500) for _ in range(3)),
            *(call(25, "not_5xx", status) for status in (499, 600, 429)),
            call(25, "weighted", 503, weight=3),
        ],
    )
    warehouse.night(DAY, NIGHT[0])
    assert set(members(warehouse, "broken_endpoint")) == {"one_route", "weighted"}


def test_quotas_are_read_from_metadata(warehouse: Warehouse) -> None:
    ids = {"below": 7, "near": 8, "full": 10, "over": 11, "text": 11}
    warehouse.put("events/a.jsonl", [call(31, name, weight=weight) for name, weight in ids.items()])
    warehouse.put(
        "companies/a.jsonl", [company({"plan_quota_calls_30d": 10}, name) for name in ids if name != "text"]
    )
    warehouse.night(DAY, NIGHT[0])
    assert set(members(warehouse, "near_quota")) == {"near", "full"}
    assert set(members(warehouse, "over_quota")) == {"over"}


def test_gone_quiet_called_in_thirty_days_but_not_in_seven(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", [call(24, "quiet"), call(25, "active"), call(2, "just"), call(1, "gone")])
    warehouse.night(DAY, NIGHT[0])
    assert set(members(warehouse, "gone_quiet")) == {"quiet", "just"}


def test_first_call_is_for_a_week(warehouse: Warehouse) -> None:
    warehouse.put("companies/a.jsonl", [{"company_id": "silent"}])
    warehouse.put(
        "events/a.jsonl", [call(24, "old"), call(31, "old"), call(25, "new"), call(31, "new", weight=9)]
    )
    warehouse.night(DAY, NIGHT[0])
    assert set(members(warehouse, "first_call")) == {"new"}
    assert set(members(warehouse, "never_called")) == {"silent"}
    warehouse.night(date(2026, 4, 1), NIGHT[1])
    assert changes(warehouse, "first_call") == [("new", NIGHT[0], "entered"), ("new", NIGHT[1], "left")]


def test_several_400s_are_five_on_one_day(warehouse: Warehouse) -> None:
    warehouse.put(
        "events/a.jsonl",
        [
            *(call(25, "one_day", status) for status in (400, 401, 404, 422, 499)),
            *(call(day, "some_each_day", 400) for day in (26, 27, 28, 29, 30, 31)),
            *(call(24, "too_old", 400) for _ in range(5)),
            *(call(25, "rate_limited", 429) for _ in range(5)),
            *(call(25, "server", 500) for _ in range(5)),
            call(31, "weighted", 400, weight=5),
        ],
    )
    warehouse.night(DAY, NIGHT[0])
    assert set(members(warehouse, "several_400s")) == {"one_day", "weighted"}


def test_users_have_the_cohorts_over_behaviour_too(warehouse: Warehouse) -> None:
    def by(user: str, day: int, status: int = 200) -> dict[str, Any]:
        return call(day, None, status, user_id=user)

    warehouse.put("users/a.jsonl", [{"user_id": "silent"}])
    warehouse.put(
        "events/a.jsonl",
        [
            *(by("limited", 31, 429) for _ in range(5)),
            *(by("refused", 31, 400) for _ in range(5)),
            *(by("broken", 31, 500) for _ in range(3)),
            by("quiet", 20),
        ],
    )
    warehouse.night(DAY, NIGHT[0])
    found: dict[str, set[str]] = {}
    for row in warehouse.table("marts.cohort_members"):
        assert row["entity"] == "user"
        found.setdefault(row["cohort"], set()).add(row["id"])
    assert found == {
        "rate_limited": {"limited"},
        "several_400s": {"refused"},
        "broken_endpoint": {"broken"},
        "gone_quiet": {"quiet"},
        "never_called": {"silent"},
        "first_call": {"limited", "refused", "broken"},
    }


@pytest.mark.parametrize("name", ["rate_limited.sql", "company__.sql", "account__x.sql", "company_x.sql"])
def test_a_cohort_file_must_say_what_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT company_id FROM marts.company_profiles")
    with pytest.raises(ModelError, match=name):
        cohorts(tmp_path)


def test_a_cohort_that_reads_what_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sql/cohorts").mkdir(parents=True)
    (tmp_path / "sql/cohorts/company__wrong.sql").write_text("SELECT company_id FROM marts.nothing")
    monkeypatch.setattr("dagster_project.models.cohorts.project_root", lambda: tmp_path)
    with pytest.raises(
        ModelError, match=r"^sql/cohorts/company__wrong\.sql reads marts\.nothing: no such model"
    ):
        read_models(project_root() / "sql")


def test_a_very_large_cohort_after_an_empty_one_has_all_its_members(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than DuckDB keeps in one row group; see `database.transaction`."""
    folder = tmp_path / "sql/cohorts"
    folder.mkdir(parents=True)
    (folder / "company__a.sql").write_text("SELECT company_id FROM marts.company_profiles WHERE false")
    (folder / "company__b.sql").write_text("SELECT 'c' || range AS company_id FROM range(123_000)")
    monkeypatch.setattr("dagster_project.models.cohorts.project_root", lambda: tmp_path)
    warehouse.night(DAY, NIGHT[0])
    assert warehouse.query("SELECT count(*) AS n FROM marts.cohort_members") == [{"n": 123_000}]
    warehouse.night(DAY, NIGHT[1])
    assert warehouse.query("SELECT count(*) AS n FROM marts.cohort_changes") == [{"n": 123_000}]


def test_every_cohort_with_a_file_is_listed_with_what_its_comment_says(warehouse: Warehouse) -> None:
    warehouse.night(DAY, NIGHT[0])
    assert warehouse.table("marts.cohort_members") == []
    listed = {(row["entity"], row["cohort"]): row["about"] for row in warehouse.table("marts.cohorts")}
    assert set(listed) == {(cohort.entity, cohort.name) for cohort in cohorts()}
    assert (
        listed["company", "gone_quiet"] == "Companies that called in the last 30 days, but not in the last 7."
    )
    assert (
        Cohort("user", "x", "-- Users\n-- of two lines.\nSELECT user_id -- no").about == "Users of two lines."
    )
    assert Cohort("user", "x", "SELECT user_id").about is None


@pytest.mark.parametrize("end", [";", "; -- done;", ";;\n/* ü; */\n-- ü", " -- no end"])
def test_a_cohort_may_end_as_any_query_does(tmp_path: Path, end: str) -> None:
    (tmp_path / "company__x.sql").write_text(f"\ufeff-- ü;\nSELECT ';' AS company_id{end}\n")
    (cohort,) = cohorts(tmp_path)
    [(found,)] = duckdb.execute(f"SELECT company_id FROM (\n{cohort.query}\n)").fetchall()
    assert found == ";"


# From one night to the next


def test_a_restatement_is_told_once(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", [call(1, None, session_token="t1", weight=2)])
    warehouse.night(DAY, NIGHT[0], run_id="1")
    warehouse.put("companies/a.jsonl", [{"company_id": "acme", "session_token": "t1"}])
    warehouse.night(DAY, NIGHT[1], run_id="2")
    warehouse.put("events/b.jsonl", [call(1, None, session_token="t1"), call(2, None, session_token="t1")])
    warehouse.night(DAY, NIGHT[2], run_id="3")
    warehouse.night(DAY, NIGHT[3], run_id="4")
    columns = ("run", "day", "company_id_before", "company_id_after", "calls", "reason")
    assert [tuple(row[c] for c in columns) for row in warehouse.table("ops.restatements")] == [
        ("2", date(2026, 3, 1), None, "acme", 2, "token")
    ]


def test_a_profile_s_updated_at_moves_only_with_its_row(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", [call(31, "acme"), call(31, "bolt")])
    warehouse.night(DAY, NIGHT[0])
    warehouse.put("events/b.jsonl", [call(31, "bolt")])
    warehouse.night(DAY, NIGHT[1])
    found = {r["company_id"]: r["updated_at"] for r in warehouse.table("marts.company_profiles")}
    assert found == {"acme": NIGHT[0], "bolt": NIGHT[1]}


def test_only_the_days_that_changed_are_computed_again(warehouse: Warehouse) -> None:
    def event(day: int) -> Row:
        return call(day, None, 500, user_id="ann", session_token="t1")

    warehouse.put("companies/a.jsonl", [{"company_id": "acme", "session_token": "t1"}])
    warehouse.put("events/a.jsonl", [event(1), event(2)])
    warehouse.night(DAY, NIGHT[0])
    warehouse.put("events/b.jsonl", [event(3)])
    warehouse.night(DAY, NIGHT[1])
    warehouse.put("events/c.jsonl", [event(4)])
    warehouse.night(DAY, NIGHT[2])
    rows = warehouse.query("""
        SELECT c.model, list_sort(list(DISTINCT day(c.day))) AS days FROM core.changed_days AS c
        JOIN core.builds AS b ON b.model = c.model AND b.version = c.version GROUP BY 1""")
    found = {row["model"]: row["days"] for row in rows}
    assert {model: days for model, days in found.items() if days != [4]} == {}
    assert {"core.attribution", "core.company_activity_daily", "marts.error_usage_daily"} <= set(found)
