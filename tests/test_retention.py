"""Old raw rows are dropped, and nothing that was computed from them changes: not then, and not on any later night."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Row, Warehouse
from hypothesis import given, settings
from hypothesis.strategies import one_of
from oracle import Night
from raw_traffic import AS_OF, claim_nights, feature_nights, nights
from soak import budget
from test_against_oracle import QUICK, bytes_are_there, every_table, ran, write
from test_erase import erased, left_in_bytes

from dagster_project.pipeline import nightly
from dagster_project.warehouse.build import BuildError
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.retention import RetentionError

DAY = date(2026, 3, 31)
NIGHT = datetime(2026, 4, 1, 2)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
KEEPS = {"api_calls_days": 5, "actions_days": 5, "feature_events_days": 5}


def call(number: int, day: int, **ids: Any) -> Row:
    return {
        "transaction_id": f"t{number}",
        "request": {"time": f"2026-03-{day:02d}T10:00:00Z", "uri": "/v1/a", "verb": "GET"},
        "response": {"status": 404 if number % 2 else 200},
        **ids,
    }


def traffic(warehouse: Warehouse) -> Warehouse:
    warehouse.put(
        "events/a.jsonl",
        [
            call(1, 1, session_token="t"),
            call(2, 1, session_token="t", weight=5),
            call(3, 30, company_id="acme"),
            {"request": {}},
        ],
    )
    warehouse.put(
        "actions/a.jsonl", [{"action_name": "x", "company_id": "acme", "request": {"time": "2026-03-01"}}]
    )
    warehouse.put(
        "features/a.jsonl",
        [
            {
                "account_id": "acme",
                "user_id": "u",
                "feature_id": "f",
                "timestamp": "2026-03-01",
                "event_id": "e",
            }
        ],
    )
    return warehouse.night(DAY, NIGHT, run_id="first")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two warehouses after two nights, one that drops rows and one that keeps them. Made once."""
    folder = tmp_path_factory.mktemp("made")
    traffic(Warehouse(folder / "drops", retention=KEEPS)).night(DAY, NIGHT, run_id="second")
    traffic(Warehouse(folder / "keeps")).night(DAY, NIGHT, run_id="second")
    return folder


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Warehouse:
    shutil.copytree(made / "drops", tmp_path / "drops")
    return Warehouse(tmp_path / "drops", retention=KEEPS)


@pytest.fixture
def keeps(made: Path, tmp_path: Path) -> Warehouse:
    shutil.copytree(made / "keeps", tmp_path / "keeps")
    return Warehouse(tmp_path / "keeps")


def rows(warehouse: Warehouse) -> dict[str, int]:
    return {
        table: len(warehouse.table(f"raw.{table}")) for table in ("api_calls", "actions", "feature_events")
    }


def forget_builds(warehouse: Warehouse) -> None:
    """As if every model's file had changed: all is computed anew, but not from the files."""
    with open_warehouse(warehouse.settings) as connection:
        connection.execute("UPDATE core.builds SET code = 'older'")


def test_rows_go_and_tables_stay(warehouse: Warehouse, keeps: Warehouse) -> None:
    assert rows(keeps) == {"api_calls": 3, "actions": 1, "feature_events": 1}
    assert rows(warehouse) == {"api_calls": 1, "actions": 0, "feature_events": 0}
    assert every_table(warehouse) == every_table(keeps)
    forget_builds(warehouse)
    warehouse.night(DAY, NIGHT)
    assert every_table(warehouse) == every_table(keeps)


def test_an_older_warehouse_does_not_miss_what_was_dropped_since(warehouse: Warehouse) -> None:
    backup = warehouse.settings.warehouse_file.read_bytes()
    warehouse.put("events/b.jsonl", [call(9, 1, company_id="acme"), call(10, 30, company_id="acme")])
    warehouse.night(DAY, NIGHT).night(DAY, NIGHT)
    assert rows(warehouse)["api_calls"] == 2
    wanted = every_table(warehouse)
    warehouse.settings.warehouse_file.write_bytes(backup)
    warehouse.night(DAY, NIGHT)
    assert every_table(warehouse) == wanted


def test_a_late_claim_moves_calls_whose_rows_are_gone(warehouse: Warehouse, keeps: Warehouse) -> None:
    for one in (warehouse, keeps):
        one.put("companies/a.jsonl", [{"company_id": "late", "session_token": "t"}])
        one.put("events/b.jsonl", [call(1, 1, session_token="t"), call(4, 1, session_token="t")])
        one.put(
            "features/b.jsonl",
            [
                {
                    "account_id": "acme",
                    "user_id": "u",
                    "feature_id": "f",
                    "timestamp": "2026-03-01",
                    "event_id": "e",
                    "total": 1,
                }
            ],
        )
        for night in ("third", "fourth"):
            one.night(DAY, NIGHT + timedelta(days=1), run_id=night)
    assert warehouse.one("marts.company_profiles", company_id="late")["calls"] == 7
    assert [r["duplicates"] for r in warehouse.table("ops.files") if r["path"].endswith("b.jsonl")] == [1, 1]
    assert warehouse.one("ops.restatements")["calls"] == 6
    assert rows(warehouse)["api_calls"] == 1
    assert every_table(warehouse) == every_table(keeps)


def test_a_full_rebuild_loads_the_rows_again(warehouse: Warehouse, keeps: Warehouse) -> None:
    warehouse.night(DAY, NIGHT, run_id="full", full=True)
    assert rows(warehouse) == rows(keeps)
    assert every_table(warehouse) == every_table(keeps)
    warehouse.night(DAY, NIGHT)
    assert rows(warehouse)["api_calls"] == 1
    forget_builds(warehouse)
    warehouse.night(DAY, NIGHT)
    assert every_table(warehouse) == every_table(keeps)


def test_rows_that_are_not_merged_yet_are_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed between load and build."""
    warehouse = Warehouse(tmp_path, retention=KEEPS)
    with monkeypatch.context() as broken:
        broken.setattr(nightly, "build_tables", lambda *_, **__: {})
        traffic(warehouse)
        warehouse.night(DAY, NIGHT)
        assert rows(warehouse)["api_calls"] == 3
    warehouse.night(DAY, NIGHT).night(DAY, NIGHT)
    assert rows(warehouse)["api_calls"] == 1
    assert warehouse.one("marts.company_usage_daily", company_id=None)["calls"] == 6


def test_rejects_go_by_the_age_of_their_file(tmp_path: Path) -> None:
    warehouse = traffic(Warehouse(tmp_path, retention={"rejects_days": 10}))
    warehouse.put("events/b.jsonl", [{"request": {}}])
    warehouse.night(DAY, NIGHT + timedelta(days=10))
    assert len(warehouse.table("ops.rejects")) == 2
    warehouse.night(DAY, NIGHT + timedelta(days=11))
    assert [r["file_seq"] for r in warehouse.table("ops.rejects")] == [4]
    assert [f["rejected"] for f in warehouse.table("ops.files") if f["source"] == "events"] == [1, 1]


def with_model(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    models = dict(nightly.models())
    models[name] = replace(models[name], code="another", **changes)
    monkeypatch.setattr(nightly, "models", lambda: models)


def test_a_table_that_needs_all_rows_keeps_them_from_being_dropped(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_model(monkeypatch, "core.action_usage_daily", rebuild="whole")
    with pytest.raises(RetentionError, match=r"actions_days: core\.action_usage_daily reads raw\.actions"):
        warehouse.night(DAY, NIGHT)


def test_a_table_with_new_columns_is_not_computed_from_half_of_the_rows(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = warehouse.table("core.action_usage_daily")
    model = nightly.models()["core.action_usage_daily"]
    more = replace(model.columns[-1], name="latest_at")
    with_model(
        monkeypatch,
        model.name,
        columns=(*model.columns, more),
        merge={**model.merge, "latest_at": "max"},
        query=model.query.replace("FROM raw", ", max(event_at) AS latest_at FROM raw"),
    )
    with pytest.raises(BuildError, match="run with --full"):
        warehouse.night(DAY, NIGHT)
    assert warehouse.table("core.action_usage_daily") == before
    warehouse.night(DAY, NIGHT, full=True)
    assert warehouse.one("core.action_usage_daily")["latest_at"] == datetime(2026, 3, 1)  # noqa: DTZ001


def test_an_erased_company_goes_from_what_dropped_rows_summed_up_to(warehouse: Warehouse) -> None:
    erased(warehouse, companies=["acme"])
    assert left_in_bytes(warehouse, "acme") == []
    forget_builds(warehouse)
    warehouse.night(DAY, NIGHT)
    assert warehouse.table("marts.company_profiles") == warehouse.table("marts.daily_feature_totals") == []


@pytest.mark.soak
@settings(QUICK, max_examples=budget(2, 30))
@given(traffic=one_of(nights(), claim_nights(), feature_nights()).filter(bytes_are_there))
def test_no_night_can_tell_that_rows_were_dropped(traffic: list[Night]) -> None:
    with ran(traffic) as keeps, dropping(traffic) as drops:
        wanted = every_table(keeps)
        assert every_table(drops) == wanted
        forget_builds(drops)
        for warehouse in (keeps, drops):  # one more night: what waited for its end is rejected by it
            warehouse.night(AS_OF, traffic[-1].at, run_id="anew")
        assert every_table(drops) == every_table(keeps)


@contextmanager
def dropping(traffic: Sequence[Night]) -> Iterator[Warehouse]:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder), retention=dict.fromkeys(KEEPS, 1))
        for index, night in enumerate(traffic):
            write(warehouse, night)
            warehouse.night(AS_OF, night.at, run_id=str(index))
        yield warehouse
