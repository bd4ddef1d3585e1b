"""Attribution from night to night: what moves when claims arrive late, more than once."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

from harness import Warehouse

AS_OF = date(2026, 3, 31)
NIGHT = datetime(2026, 4, 1, 3)  # noqa: DTZ001 - the warehouse keeps UTC without a zone


def test_the_same_day_moves_again_when_another_night_brings_another_claim(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    call = {"session_token": "t", "transaction_id": "1", "request": {"time": "2026-03-10T10:00:00Z"}}
    warehouse.put("events/a.jsonl", [call])
    warehouse.night(AS_OF, NIGHT, run_id="0")
    for night, company in enumerate(("acme", "beta", "acme"), 1):
        day = f"2026-03-0{night}"
        claim = {"company_id": company, "session_token": "t", "modified_time": day}
        warehouse.put(f"companies/{night}.jsonl", [claim])
        warehouse.night(AS_OF, NIGHT + timedelta(days=night), run_id=str(night))
        assert warehouse.one("marts.company_usage_daily")["company_id"] == company
    moves = [
        (r["run"], r["company_id_before"], r["company_id_after"]) for r in warehouse.table("ops.restatements")
    ]
    assert moves == [("1", None, "acme"), ("2", "acme", "beta"), ("3", "beta", "acme")]


def test_what_a_browser_did_before_its_user_was_known_moves_to_the_user_s_company(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    seen = {"anonymous_id": "b1", "session_token": "t", "request": {"time": "2026-03-10T10:00:00Z"}}
    warehouse.put("events/a.jsonl", [{**seen, "response": {"status": 404}}])
    warehouse.put("actions/a.jsonl", [{**seen, "action_name": "Viewed Pricing"}])
    warehouse.night(AS_OF, NIGHT, run_id="0")
    assert warehouse.one("marts.user_usage_daily")["user_id"] is None
    who = {"user_id": "ann", "company_id": "acme"}
    warehouse.put("users/a.jsonl", [{**who, "anonymous_id": "b1", "modified_time": "2026-03-20"}])
    warehouse.night(AS_OF, NIGHT + timedelta(days=1), run_id="1")
    for table in (
        "marts.company_usage_daily",
        "marts.user_usage_daily",
        "marts.action_usage_daily",
        "marts.error_usage_daily",
        "marts.company_profiles",
        "marts.user_profiles",
    ):
        row = warehouse.one(table)
        assert {key: row[key] for key in who.keys() & row.keys()} == {
            k: who[k] for k in who.keys() & row.keys()
        }
    assert warehouse.one("core.attribution")["attributed_via"] == "anonymous"
    assert warehouse.one("marts.user_profiles")["actions_30d"] == 1
    for table in ("marts.company_aliases", "marts.user_aliases"):
        assert (warehouse.one(table)["claims"], warehouse.one(table)["calls"]) == (0, 1)
    moved = warehouse.one("ops.restatements")
    assert (moved["company_id_before"], moved["company_id_after"]) == (None, "acme")
    assert (moved["calls"], moved["reason"]) == (1, "anonymous")

    # A user that moves company takes its anonymous ids along.
    warehouse.put("users/b.jsonl", [{"user_id": "ann", "company_id": "bolt", "modified_time": "2026-03-01"}])
    warehouse.night(AS_OF, NIGHT + timedelta(days=2), run_id="2")
    assert warehouse.one("marts.company_usage_daily")["company_id"] == "bolt"
    tables = ("core.attribution", "marts.company_usage_daily", "marts.user_usage_daily", "marts.user_aliases")
    before = {table: warehouse.table(table) for table in tables}
    warehouse.night(AS_OF, NIGHT + timedelta(days=3), full=True)
    assert {table: warehouse.table(table) for table in tables} == before
