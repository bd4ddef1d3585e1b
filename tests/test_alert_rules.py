"""Alert rules: what is opened, goes on and is closed; and whom the rules that come along find."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Row, Warehouse

from dagster_project.models import alerts, queries
from dagster_project.warehouse.build import BuildError
from dagster_project.warehouse.models import ModelError

DAY = date(2026, 3, 31)


def calls(company: str, days: range, weight: int = 10, status: int = 200, took_ms: int = 100) -> list[Row]:
    """One call a day, so many days ago."""
    return [
        {
            "request": {"time": f"{DAY - timedelta(days=n)}T10:00:00Z"},
            "response": {
                "time": f"{DAY - timedelta(days=n)}T10:00:{took_ms // 1000:02d}.{took_ms % 1000:03d}Z",
                "status": status,
            },
            "company_id": company,
            "weight": weight,
        }
        for n in days
    ]


def test_the_rules_that_come_along_find_whom_they_say(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put(
        "events/a.jsonl",
        [
            *calls("steady", range(35)),
            *(calls("slow", range(7), took_ms=250) + calls("slow", range(7, 35), took_ms=100)),
            *(calls("slower", range(7), took_ms=150) + calls("slower", range(7, 35), took_ms=100)),
            *(calls("fell", range(7), weight=4) + calls("fell", range(7, 35))),
            *(calls("fails", range(35)) + calls("fails", range(1), weight=4, status=503)),
            *calls("few_fail", range(1), weight=9, status=503),
            *calls("silent", range(3, 20)),
            *calls("over", range(1), weight=101),
        ],
    )
    warehouse.put(
        "companies/a.jsonl",
        [{"company_id": c, "metadata": {"plan.quota_calls_30d": 100}} for c in ("over", "few_fail")],
    )
    warehouse.night(DAY)
    found = {(row["rule"], row["id"]): row["detail"] for row in warehouse.table("marts.alerts")}
    assert set(found) == {
        ("latency_doubled", "slow"),
        ("calls_fell_by_half", "fell"),
        ("server_errors", "fails"),
        ("gone_silent", "silent"),
        ("quota_exceeded", "over"),
    }
    assert found["calls_fell_by_half", "fell"] == "28 calls in 7 days, 70 a week before"
    assert found["quota_exceeded", "over"] == "101 of 100 calls"
    assert warehouse.one("marts.company_profiles", company_id="over")["alerts"] == ["quota_exceeded"]
    assert warehouse.one("marts.company_profiles", company_id="steady")["alerts"] == []


@pytest.fixture
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the only rule, `busy`."""
    folder = tmp_path / "project" / "sql" / "alerts"
    folder.mkdir(parents=True)
    monkeypatch.setattr(queries, "project_root", lambda: tmp_path / "project")

    def write(query: str) -> None:
        (folder / "busy.sql").write_text(query, encoding="utf-8")

    return write


def test_an_alert_opens_goes_on_and_closes(tmp_path: Path, rule: Any) -> None:
    rule("SELECT company_id, calls_7d AS detail FROM marts.company_profiles WHERE calls_7d >= 10")
    warehouse = Warehouse(tmp_path / "data")
    times = [datetime(2026, 4, 1, hour) for hour in range(6)]

    def stands() -> list[tuple[Any, ...]]:
        return [
            (row["id"], row["opened_at"], row["closed_at"], row["detail"])
            for row in sorted(warehouse.table("marts.alerts"), key=lambda row: row["opened_at"])
        ]

    warehouse.put("events/a.jsonl", calls("acme", range(1)))
    warehouse.night(DAY, times[0])
    assert stands() == [("acme", times[0], None, "10")]
    warehouse.put("events/b.jsonl", calls("acme", range(1), weight=5))
    warehouse.night(DAY, times[1], run_id="more")
    assert stands() == [("acme", times[0], None, "15")]
    warehouse.night(DAY + timedelta(days=7), times[2], run_id="quiet")
    assert stands() == [("acme", times[0], times[2], "15")]
    assert warehouse.one("marts.company_profiles")["alerts"] == []
    warehouse.night(DAY, times[3], run_id="again")
    both = [("acme", times[0], times[2], "15"), ("acme", times[3], None, "15")]
    assert stands() == both
    warehouse.night(DAY, times[4], full=True, run_id="full")
    assert stands() == both
    rule("-- Nothing any more.\n")
    warehouse.night(DAY, times[5], run_id="no rule")
    assert stands() == [both[0], ("acme", times[3], times[5], "15")]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1 AS detail", "it must be company_id or user_id"),
        ("SELECT 'a' AS company_id, 'b' AS user_id", "it must be company_id or user_id"),
        ("SELECT 'a' AS company_id, 2 AS calls", "it selects calls, company_id"),
        ("SELECT nothing FROM marts.company_profiles", "nothing"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(query: str, said: str, rule: Any, tmp_path: Path) -> None:
    rule(query)
    with pytest.raises((ModelError, BuildError), match=said) as raised:
        Warehouse(tmp_path / "data").night(DAY)
    assert "sql/alerts/busy.sql" in str(raised.value)
    assert [r.name for r in alerts.rules()] == ["busy"]
