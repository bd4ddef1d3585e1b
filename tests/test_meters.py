"""Meters: quantities by period, quotas, and closed periods that move. A second reading is in oracle.py."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Row, Warehouse
from oracle import Night, meter_adjustments, meter_usage
from test_against_oracle import assert_same, comparable, every_table
from test_erase import erased

from dagster_project.models import meters, queries
from dagster_project.pipeline import nightly
from dagster_project.sources import withdrawal
from dagster_project.warehouse.build import BuildError
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.models import ModelError

Lines = list[Row]
COLUMNS = [
    "run",
    "meter",
    "company_id",
    "subscription_id",
    "period_start",
    "quantity_before",
    "quantity_after",
]


def call(day: str, company: str | None, weight: int = 1, token: str | None = None) -> Row:
    return {
        "request": {"time": f"{day}T10:00:00Z"},
        "company_id": company,
        "session_token": token,
        "weight": weight,
    }


def feature(day: str, company: str, total: int) -> Row:
    return {
        "account_id": company, "user_id": "u", "feature_id": "f", "timestamp": f"{day}T09:00:00Z", "total": total,
    }  # fmt: skip


def subscription(name: str, company: str, first: str, end: str, **metadata: Any) -> Row:
    return {
        "subscription_id": name,
        "company_id": company,
        "current_period_start": first,
        "current_period_end": end,
        "modified_time": f"{first[:10]}T00:00:01Z",
        "metadata": metadata,
    }


class Nights:
    """A warehouse and, beside it, all that it was given."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.warehouse = Warehouse(folder, **sections)
        self.nights: list[Night] = []
        self.as_of: list[date] = []

    def night(self, as_of: date, files: dict[str, Lines], withdrawn: tuple[int, ...] = ()) -> None:
        number = len(self.nights)
        at = datetime(2026, 6, 1, 2) + timedelta(days=number)
        written = {path: self.warehouse.put(path, lines).read_bytes() for path, lines in files.items()}
        if withdrawn:
            with open_warehouse(self.warehouse.settings) as connection:
                place = nightly.raw_storage(self.warehouse.settings)
                plan = withdrawal.look(connection, place, [str(seq) for seq in withdrawn], gone=False)
                withdrawal.carry_out(connection, plan, at)
        self.nights.append(Night(at, written, (), withdrawn))
        self.as_of.append(as_of)
        self.warehouse.night(as_of, at, run_id=str(number))

    def assert_right(self) -> None:
        assert_same(self.warehouse, {"marts.meter_usage": meter_usage(self.nights, self.as_of[-1])})
        found = self.warehouse.table("ops.meter_adjustments")
        assert comparable(found, COLUMNS) == comparable(meter_adjustments(self.nights, self.as_of), COLUMNS)


def test_closed_periods_that_move_are_told_of(tmp_path: Path) -> None:
    traffic = Nights(tmp_path)
    traffic.night(
        date(2026, 3, 31),
        {
            "companies/a.jsonl": [{"company_id": "acme", "metadata": {"plan.quota_calls_30d": 100}}],
            "subscriptions/a.jsonl": [
                subscription("sub", "acme", "2026-02-10T08:00:00Z", "2026-03-10T08:00:00Z", seats=3),
                subscription("sub", "acme", "2026-03-10T08:00:00Z", "2026-04-10T08:00:00Z"),
                subscription("two", "acme", "2026-03-01", "2026-04-01", quota_calls=10),
            ],
            "events/a.jsonl": [
                call("2026-02-09", "acme"),  # before the first period: its month's
                *(call(day, "acme", 2) for day in ("2026-02-10", "2026-03-09", "2026-03-10", "2026-03-31")),
                call("2026-02-28", "beta"),
                call("2026-03-01", "beta", 5),
                call("2026-03-05", None, 7, "late"),
            ],
            "features/a.jsonl": [feature("2026-03-05", "beta", 4)],
        },
    )
    traffic.assert_right()
    usage = {
        (row["subscription_id"], row["period_start"]): (row["quantity"], row["quota"], row["is_closed"])
        for row in traffic.warehouse.table("marts.meter_usage")
        if row["meter"] == "calls" and row["company_id"] == "acme"
    }
    assert usage == {
        (None, date(2026, 2, 1)): (1, 100, True),
        ("sub", date(2026, 2, 10)): (4, 100, True),
        ("sub", date(2026, 3, 10)): (4, 100, False),
        ("two", date(2026, 3, 1)): (6, 10, False),
    }
    assert traffic.warehouse.table("ops.meter_adjustments") == []

    # May begins: March is closed. Nothing has moved.
    traffic.night(date(2026, 5, 1), {})
    assert traffic.warehouse.table("ops.meter_adjustments") == []

    # A late file, also for a month in which there was nothing; and a late claim.
    traffic.night(
        date(2026, 5, 1),
        {
            "events/b.jsonl": [
                call("2026-02-20", "acme", 3),
                call("2026-04-20", "beta"),
                call("2026-05-01", "beta"),
            ],
            "companies/b.jsonl": [{"company_id": "gamma", "session_token": "late"}],
            "features/b.jsonl": [feature("2026-03-06", "beta", 1)],
        },
    )
    traffic.assert_right()
    moved = {
        (
            r["meter"],
            r["company_id"],
            r["subscription_id"],
            r["quantity_before"],
            r["quantity_after"],
            r["reason"],
        )
        for r in traffic.warehouse.table("ops.meter_adjustments")
    }
    assert moved == {
        ("calls", "acme", "sub", 4, 7, "usage"),
        ("calls", "beta", None, 0, 1, "usage"),
        ("calls", "gamma", None, 0, 7, "usage"),
        ("feature_total", "beta", None, 4, 5, "usage"),
    }

    # A look back moves nothing, nor does the way forward again.
    before = len(moved)
    traffic.warehouse.night(date(2026, 3, 1), traffic.nights[-1].at, run_id="back")
    traffic.warehouse.night(date(2026, 5, 1), traffic.nights[-1].at, run_id="forward")
    assert len(traffic.warehouse.table("ops.meter_adjustments")) == before

    # A period that turns out to have been another one, and a file that is taken back.
    late = next(f["file_seq"] for f in traffic.warehouse.table("ops.files") if f["path"] == "events/b.jsonl")
    traffic.night(
        date(2026, 5, 2),
        {"subscriptions/b.jsonl": [subscription("two", "acme", "2026-03-01", "2026-03-10T12:00:00Z")]},
        (late,),
    )
    traffic.assert_right()
    reasons = {
        (r["subscription_id"], r["quantity_before"], r["quantity_after"]): r["reason"]
        for r in traffic.warehouse.table("ops.meter_adjustments")
        if r["run"] == "3" and r["company_id"] == "acme"
    }
    assert reasons == {("sub", 7, 4): "usage", ("two", 6, 4): "period"}

    before_full = every_table(traffic.warehouse)
    traffic.warehouse.night(traffic.as_of[-1], traffic.nights[-1].at, full=True, run_id="full")
    assert every_table(traffic.warehouse) == before_full

    erased(traffic.warehouse, companies=["gamma"])
    traffic.warehouse.night(traffic.as_of[-1], traffic.nights[-1].at, run_id="after the erase")
    for table in ("marts.meter_usage", "ops.meter_adjustments", "core.meter_closed"):
        assert "gamma" not in {row["company_id"] for row in traffic.warehouse.table(table)}, table
    assert not [r for r in traffic.warehouse.table("ops.meter_adjustments") if r["run"] == "after the erase"]


def test_quotas_of_subscriptions_come_before_those_of_companies(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put(
        "companies/a.jsonl",
        [{"company_id": c, "metadata": {"plan.quota_calls_30d": 100}} for c in ("big", "small", "none")],
    )
    warehouse.put(
        "subscriptions/a.jsonl",
        [
            subscription("s1", "big", "2026-03-20", "2026-04-20", **{"plan.quota_calls_30d": 1000}),
            subscription("s2", "small", "2026-03-20", "2026-04-20", quota_calls=10, plan_quota_calls=99),
            subscription("s3", "none", "2026-03-20", "2026-04-20", quota_calls="many", quota_users=3),
        ],
    )
    warehouse.put(
        "events/a.jsonl",
        [
            call("2026-03-19", "small", 50),
            call("2026-03-20", "small", 10),
            call("2026-03-31", "big", 200),
            call("2026-03-31", "none", 101),
            call("2026-04-01", "none", 5),
        ],
    )
    warehouse.night(date(2026, 3, 31))
    quotas = {
        row["subscription_id"]: (row["quantity"], row["quota"], row["share"])
        for row in warehouse.table("marts.meter_usage")
        if row["meter"] == "calls" and row["subscription_id"]
    }
    assert quotas == {"s1": (200, 1000, 0.2), "s2": (10, 10, 1), "s3": (101, 100, 1.01)}
    members = {
        (r["cohort"], r["id"]) for r in warehouse.table("marts.cohort_members") if "quota" in r["cohort"]
    }
    assert members == {("near_quota", "small"), ("over_quota", "none")}
    assert warehouse.one("marts.alerts", rule="quota_exceeded")["detail"] == "101 of 100 calls"


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the only meter, `units`."""
    folder = tmp_path / "project" / "sql" / "meters"
    folder.mkdir(parents=True)
    monkeypatch.setattr(queries, "project_root", lambda: tmp_path / "project")

    def write(query: str) -> None:
        (folder / "units.sql").write_text(query, encoding="utf-8")

    return write


def test_a_meter_that_comes_changes_and_goes(tmp_path: Path, meter: Callable[[str], None]) -> None:
    warehouse = Warehouse(tmp_path / "data")
    warehouse.put("events/a.jsonl", [call("2026-02-01", "acme", 2), call("2026-03-31", "acme", 3)])
    query = "SELECT company_id, day, events AS quantity FROM marts.company_usage_daily"
    meter(query)
    warehouse.night(date(2026, 3, 31), run_id="first")
    assert [(r["quantity"], r["quota"]) for r in warehouse.table("marts.meter_usage")] == [
        (1, None),
        (1, None),
    ]
    meter(query.replace("events", "calls"))
    warehouse.night(date(2026, 3, 31), run_id="changed")
    moved = warehouse.one("ops.meter_adjustments")
    assert (moved["run"], moved["quantity_before"], moved["quantity_after"]) == ("changed", 1, 2)
    meter("-- Nothing any more.\n")
    warehouse.night(date(2026, 3, 31), run_id="gone")
    assert warehouse.table("marts.meter_usage") == []
    meter(query)
    warehouse.night(date(2026, 3, 31), run_id="again")
    assert len(warehouse.table("ops.meter_adjustments")) == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT company_id, day FROM marts.company_usage_daily", "it must be company_id, day"),
        ("SELECT company_id, day, 1.5 AS quantity FROM marts.company_usage_daily", "whole numbers"),
        ("SELECT company_id, first_at AS day, 1 AS quantity FROM marts.company_usage_daily", "a DATE"),
        ("SELECT nothing FROM marts.company_usage_daily", "nothing"),
        ("SELECT company_id, day, calls AS quantity FROM marts.unheard_of", "unheard_of"),
    ],
)
def test_a_meter_that_cannot_be_used_is_named(
    query: str, said: str, meter: Callable[[str], None], tmp_path: Path
) -> None:
    meter(query)
    with pytest.raises((ModelError, BuildError), match=said) as raised:
        Warehouse(tmp_path / "data").night(date(2026, 3, 31))
    assert "sql/meters/units.sql" in str(raised.value)
    assert [m.name for m in meters.meters()] == ["units"]
