"""What is made of usage, over one history: a late file, a late claim, a withdrawal, an erasure.

Latency, endpoints, trends, retention, health, alerts and meters are held against the second reading (oracle.py) after each
night, and against a full rebuild at the end.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

from harness import Row
from oracle import OracleSettings, expected, latency_doubled, meter_adjustments
from test_against_oracle import (
    HISTORY,
    assert_endpoints,
    assert_judged,
    assert_latencies,
    assert_same,
    comparable,
    every_table,
)
from test_erase import erased
from test_meters import COLUMNS, Nights, feature, subscription

END = date(2026, 5, 31)
ALL = OracleSettings(routes="all")
BY_NIGHT = [END - timedelta(days=1), END, END]


def call(
    ago: int,
    company: str | None,
    took_ms: int | None = 80,
    status: int = 200,
    weight: int = 1,
    **more: object,
) -> Row:
    at = datetime.combine(END - timedelta(days=ago), datetime.min.time()) + timedelta(hours=9)
    answered = None if took_ms is None else f"{(at + timedelta(milliseconds=took_ms)).isoformat()}Z"
    return {
        "request": {
            "time": f"{at.isoformat()}Z",
            "verb": "GET",
            "uri": f"https://api.example/v1/{company}/{ago}",
        },
        "response": {"status": status, "time": answered},
        "company_id": company,
        "weight": weight,
        **more,
    }


FIRST = {
    "companies/a.jsonl": [
        {"company_id": "fell", "metadata": {"plan_quota_calls_30d": 400}},
        {"company_id": "over", "metadata": {"plan_quota_calls_30d": 30}},
    ],
    "subscriptions/a.jsonl": [
        subscription("sub", "steady", "2026-04-20", "2026-05-20", quota_calls=1000),
        subscription("sub", "steady", "2026-05-20", "2026-06-20"),
    ],
    "events/a.jsonl": [
        *(call(ago, "slow", 100, weight=20) for ago in (10, 15, 20)),
        *(call(ago, "slow", 300, weight=30) for ago in (1, 3)),
        *(call(ago, "fell", weight=60) for ago in (9, 16, 23, 30)),
        call(2, "fell", weight=10),
        *(call(2, "broken", status=503, weight=3) for _ in range(2)),
        call(4, "broken", 2_000, weight=30),
        *(call(ago, "silent", None) for ago in range(5, 17)),
        call(3, "over", weight=31),
        *(call(ago, None, 50, session_token="late", weight=4) for ago in (1, 2, 14, 45)),
        *(call(ago, "steady", 40 + ago, weight=2) for ago in range(0, 60, 3)),
        *(
            call(
                8,
                "steady",
                10,
                status=404,
                weight=2,
                request={"time": "2026-05-23T10:00:00Z", "verb": "PUT", "uri": f"/v1/{n}x"},
            )
            for n in range(3)
        ),
    ],
    "features/a.jsonl": [feature("2026-05-20", "steady", 3), feature("2026-05-29", "over", 2)],
}
LATE = {
    "events/late.jsonl": [
        call(1, "fell", weight=60),  # it has not fallen after all
        call(13, "steady", 900, weight=9),  # in a period that is closed
        call(40, "broken", weight=40),
        call(2, "over", 5_000, status=500, weight=4),
    ],
    "companies/late.jsonl": [
        {"company_id": "claims", "session_token": "late", "metadata": {"plan_quota_calls_30d": 6}}
    ],
}


def found(traffic: Nights) -> set[tuple[str, str]]:
    """What is open, after all was compared."""
    as_of, warehouse = traffic.as_of[-1], traffic.warehouse
    tables = expected(traffic.nights, as_of, ALL)
    assert_same(warehouse, tables)
    assert_latencies(warehouse, traffic.nights, as_of)
    assert_endpoints(warehouse, traffic.nights, ALL)
    assert_judged(warehouse, traffic.nights, tables, as_of)
    traffic.assert_right()
    rows = [row for row in warehouse.table("marts.alerts") if row["closed_at"] is None]
    slower = {row["id"] for row in rows if row["rule"] == "latency_doubled"}
    # Percentiles may be 5 % off, so what is near twice as long says nothing here.
    exact = latency_doubled(traffic.nights, as_of, ALL)
    assert {company for company, times in exact.items() if times > 2.3} == slower
    return {(row["rule"], row["id"]) for row in rows}


def test_all_that_follows_from_usage_follows_what_comes_late_or_goes(tmp_path: Path) -> None:
    traffic = Nights(tmp_path, usage={"routes": "all"})
    traffic.night(BY_NIGHT[0], FIRST)
    at_first = {
        ("latency_doubled", "slow"),
        ("calls_fell_by_half", "fell"),
        ("server_errors", "broken"),
        ("gone_silent", "silent"),
        ("quota_exceeded", "over"),
    }
    assert found(traffic) == at_first

    traffic.night(BY_NIGHT[1], LATE)
    later = at_first - {("calls_fell_by_half", "fell")} | {
        ("server_errors", "over"),
        ("quota_exceeded", "claims"),
    }
    assert found(traffic) == later
    moved = {
        (r["company_id"], r["subscription_id"], r["quantity_before"], r["quantity_after"])
        for r in traffic.warehouse.table("ops.meter_adjustments")
    }
    # The period that was closed, and months that were: of a late file, and of who turned out to have called.
    assert {("steady", "sub", 20, 29)} <= moved
    assert "claims" in {company for company, *_ in moved}

    late = next(
        f["file_seq"] for f in traffic.warehouse.table("ops.files") if f["path"] == "events/late.jsonl"
    )
    traffic.night(BY_NIGHT[2], {}, (late,))
    assert found(traffic) == at_first | {("quota_exceeded", "claims")}
    opened = [row for row in traffic.warehouse.table("marts.alerts") if row["rule"] == "calls_fell_by_half"]
    assert len(opened) == 2, "it was closed, and opened again"
    days = {(r["day"], r["company_id"]) for r in traffic.warehouse.table("marts.company_health_daily")}
    assert (BY_NIGHT[0], "steady") in days, "a day's score is kept"

    erased(traffic.warehouse, companies=["broken"])
    now = traffic.nights[-1].at + timedelta(days=1)
    traffic.warehouse.night(END, now, run_id="after the erase")
    before = every_table(traffic.warehouse)
    assert not [name for name, rows in before.items() if any('"broken"' in row for row in rows)]
    columns = [name for name in COLUMNS if name != "run"]
    told = [row for row in meter_adjustments(traffic.nights, BY_NIGHT) if row["company_id"] != "broken"]
    assert comparable(traffic.warehouse.table("ops.meter_adjustments"), columns) == comparable(told, columns)
    traffic.warehouse.night(END, now, full=True, run_id="full")
    after = every_table(traffic.warehouse)
    assert {n: after[n] for n in after.keys() - HISTORY} == {n: before[n] for n in before.keys() - HISTORY}
