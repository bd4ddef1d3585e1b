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
