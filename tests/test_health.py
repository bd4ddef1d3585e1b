"""Health: scores by `sql/health/company.sql`, read a second time in plain Python; their history is not rewritten."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import json
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Row, Warehouse

from dagster_project import settings
from dagster_project.models import health, queries
from dagster_project.models.queries import Query
from dagster_project.pipeline import nightly
from dagster_project.warehouse.models import ModelError, read_models

FIRST, SECOND = date(2026, 3, 30), date(2026, 3, 31)
WEIGHTS = {"recency": 3, "trend": 2, "breadth": 1, "success": 2, "quota": 1}


def call(day: date, company: str, status: int = 200, weight: int = 1) -> Row:
    return {
        "request": {"time": f"{day}T10:00:00Z"},
        "response": {"status": status},
        "company_id": company,
        "weight": weight,
    }


CALLS = [
    *((FIRST - timedelta(days=n), "steady", 200, 2) for n in range(0, 60, 5)),
    (FIRST - timedelta(days=40), "grew", 200, 10),
    (FIRST, "grew", 200, 12),
    (FIRST, "grew", 500, 2),
    (FIRST - timedelta(days=20), "fades", 404, 1),
    (FIRST - timedelta(days=40), "fades", 200, 9),
    (FIRST - timedelta(days=50), "gone", 200, 5),
]
LATER = [(SECOND, "fades", 200, 30), (FIRST - timedelta(days=1), "gone", 200, 3)]
QUOTAS = {"steady": 20, "grew": 7, "named": 100}
FEATURES = {"grew": 2, "steady": 9}


def score(
    calls: list[tuple[date, str, int, int]], company: str, as_of: date
) -> tuple[float, dict[str, float | None]]:
    """The formula of the file, over calls, quotas and features."""
    own = [c for c in calls if c[1] == company]

    def within(first: int, last: int) -> list[tuple[date, str, int, int]]:
        return [c for c in own if first <= (as_of - c[0]).days <= last]

    def total(some: list[tuple[date, str, int, int]]) -> int:
        return sum(weight for *_, weight in some)

    now, before = total(within(0, 29)), total(within(30, 59))
    # Feature events are of the first day.
    days = [(as_of - c[0]).days for c in within(0, 1000)] + (
        [(as_of - FIRST).days] if company in FEATURES else []
    )
    failed = total([c for c in within(0, 29) if c[2] >= 400])
    quota = QUOTAS.get(company)
    parts: dict[str, float | None] = {
        "recency": max(0, 1 - min(days) / 30) if days else 0,
        "trend": min(1, max(0, 0.5 + now / before - 1)) if before else None,
        "breadth": min(1, FEATURES[company] / 5) if company in FEATURES else None,
        "success": max(0, 1 - 5 * failed / now) if now else None,
        "quota": min(1, now / quota) if quota else None,
    }
    counted = {name: part for name, part in parts.items() if part is not None}
    mean = sum(WEIGHTS[n] * part for n, part in counted.items()) / sum(WEIGHTS[n] for n in counted)
    return mean, parts


def history(warehouse: Warehouse) -> dict[tuple[date, str], Row]:
    return {(row["day"], row["company_id"]): row for row in warehouse.table("marts.company_health_daily")}


def test_scores_are_kept_day_by_day_and_history_is_not_rewritten(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put("events/a.jsonl", [call(*one) for one in CALLS])
    warehouse.put(
        "companies/a.jsonl",
        [{"company_id": c, "metadata": {"plan.quota_calls_30d": n}} for c, n in QUOTAS.items()],
    )
    warehouse.put(
        "features/a.jsonl",
        [
            {"account_id": c, "user_id": "u", "feature_id": f"f{n}", "timestamp": f"{FIRST}T09:00:00Z"}
            for c, count in FEATURES.items()
            for n in range(count)
        ],
    )
    warehouse.night(FIRST, datetime(2026, 3, 31, 1))
    first = history(warehouse)
    assert {company for _, company in first} == {"steady", "grew", "fades", "gone", "named"}
    for (day, company), row in first.items():
        wanted, parts = score(CALLS, company, FIRST)
        assert day == FIRST
        assert row["health_score"] == pytest.approx(wanted, abs=1e-3), company
        assert row["health"] == ("good" if wanted >= 0.7 else "fair" if wanted >= 0.4 else "poor")
        found = json.loads(row["components"])
        assert {n: found[n] for n in parts} == {
            n: None if part is None else pytest.approx(part, abs=1e-3) for n, part in parts.items()
        }, company
    assert {row["health"] for row in first.values()} == {"good", "poor"}

    warehouse.put("events/b.jsonl", [call(*one) for one in LATER])
    warehouse.night(SECOND, datetime(2026, 4, 1, 1), run_id="second")
    both = history(warehouse)
    assert {key: both[key] for key in first} == first  # though a late file changed what those days were
    for company in ("fades", "gone", "named"):
        wanted, _ = score(CALLS + LATER, company, SECOND)
        assert both[SECOND, company]["health_score"] == pytest.approx(wanted, abs=1e-3)
        profile = warehouse.one("marts.company_profiles", company_id=company)
        assert (profile["health_score"], profile["health"]) == (
            both[SECOND, company]["health_score"],
            both[SECOND, company]["health"],
        )

    warehouse.night(SECOND, datetime(2026, 4, 1, 2), full=True, run_id="full")
    assert history(warehouse) == both
    # A look back is in the profiles, and changes no day.
    warehouse.night(FIRST, datetime(2026, 4, 1, 3), run_id="back")
    assert history(warehouse) == both
    wanted, _ = score(CALLS + LATER, "gone", FIRST)
    assert warehouse.one("marts.company_profiles", company_id="gone")["health_score"] == pytest.approx(
        wanted, abs=1e-3
    )


def test_without_a_file_there_is_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "project"
    (root / "sql" / "health").mkdir(parents=True)
    (root / "sql" / "health" / "company.sql").write_text("-- Nobody is scored.\n")
    monkeypatch.setattr(queries, "project_root", lambda: root)
    warehouse = Warehouse(tmp_path / "data")
    warehouse.put("events/a.jsonl", [call(FIRST, "acme")])
    warehouse.night(FIRST, datetime(2026, 3, 31, 1))
    profile = warehouse.one("marts.company_profiles")
    assert (profile["health_score"], profile["health"]) == (None, None)
    assert warehouse.table("marts.company_health_daily") == []
    # In a project that has no such file the profiles have no such columns, and what HubSpot is told is null.
    shipped = settings.project_root() / "sql"
    shutil.copytree(shipped, root / "sql", dirs_exist_ok=True, ignore=shutil.ignore_patterns("health"))
    models = read_models(root / "sql")
    assert [c.name for c in models["marts.company_profiles"].columns if "health" in c.name] == []
    monkeypatch.setattr(nightly, "models", lambda: models)
    warehouse.night(FIRST, datetime(2026, 3, 31, 2), run_id="without")
    assert {"health", "health_score"} & set(warehouse.one("marts.company_profiles")) == set()
    (told,) = warehouse.query((shipped / "outbound" / "hubspot_companies.sql").read_text())
    assert (told["company_id"], told["api_health"], told["api_health_score"]) == ("acme", None, None)


@pytest.mark.parametrize(
    "header",
    [
        "-- Nothing is said.",
        "-- weights: recency",
        "-- weights: recency 0",
        "-- weights: recency many",
        "-- weights: recency 1\n-- good: 0.2\n-- fair: 0.4",
        "-- weights: recency 1\n-- good: 7",
    ],
)
def test_a_header_that_says_no_weights_or_limits_is_refused(header: str) -> None:
    read: Any = health._header
    with pytest.raises(ModelError, match=r"sql/health/company\.sql: its header must say"):
        read(Query("sql/health/company.sql", f"{header}\nSELECT 1"))
