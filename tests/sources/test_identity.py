"""Which file a content is: moved, copied, packed, rotated, grown, cut off, withdrawn. In each format that can be."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import gzip
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from harness import OF_FILES, Warehouse

from dagster_project.pipeline import nightly
from dagster_project.readers.raw_storage import RawStorageError
from dagster_project.sources import withdrawal
from dagster_project.warehouse.database import open_warehouse

AS_OF = date(2026, 3, 31)
FEATURE_FORMATS = next(source.formats for source in nightly.all_sources() if source.folder == "features")
HEADER = "account_id,user_id,feature_id,timestamp,total\n"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data", builds=OF_FILES)


def night(warehouse: Warehouse, day: int = 1, *, full: bool = False) -> None:
    warehouse.night(AS_OF, datetime(2026, 4, day, 3), full=full)


def lines(*names: str) -> str:
    calls = [{"request": {"time": "2026-03-30T10:00Z"}, "company_id": n, "transaction_id": n} for n in names]
    return "".join(json.dumps(call) + "\n" for call in calls)


def unkeyed(*names: str) -> str:
    return lines(*names).replace("transaction_id", "other")


def of_key(name: str, key: str = "same") -> str:
    return lines(name).replace(f'"transaction_id": "{name}"', f'"transaction_id": "{key}"')


def rows(*names: str) -> str:
    return "".join(f"{name},u,f,2026-03-30,1\n" for name in names)


def companies(warehouse: Warehouse) -> list[str]:
    return sorted(row["company_id"] for row in warehouse.query("FROM raw.api_calls"))


def accounts(warehouse: Warehouse) -> list[str]:
    return sorted(row["account_id"] for row in warehouse.query("FROM raw.feature_events"))


def withdraw(warehouse: Warehouse, *names: str, gone: bool = False) -> withdrawal.Withdrawal:
    with open_warehouse(warehouse.settings) as connection:
        plan = withdrawal.look(connection, nightly.raw_storage(warehouse.settings), names, gone=gone)
        withdrawal.carry_out(connection, plan, datetime(2026, 4, 9))
    return plan


def test_a_log_that_is_rotated_and_packed_is_loaded_once(warehouse: Warehouse) -> None:
    put, raw = warehouse.put, warehouse.raw
    put("events/app.jsonl", unkeyed("a"))
    put("features/app.csv", HEADER + rows("a"))
    night(warehouse, 1)
    for folder, ending, more in (("events", "jsonl", unkeyed("b")), ("features", "csv", rows("b"))):
        old = raw / folder / f"app.{ending}"
        old.rename(raw / folder / f"app-1.{ending}").write_text("")
        content = {"events": unkeyed("a"), "features": HEADER + rows("a")}[folder] + more
        put(f"{folder}/app-1.{ending}", content)
    put("events/app.jsonl", unkeyed("c"))
    put("features/app.csv", HEADER + rows("c"))
    night(warehouse, 2)
    assert companies(warehouse) == accounts(warehouse) == ["a", "b", "c"]
    assert warehouse.loaded.warnings == []
    for file in (raw / "events/app-1.jsonl", raw / "features/app-1.csv"):
        data = file.read_bytes()
        file.unlink()
        is_csv = file.suffix == ".csv"
        if is_csv and "csv.zst" not in FEATURE_FORMATS:
            put(f"features/old/{file.name}", data)
            continue
        put(f"features/old/{file.name}.zst" if is_csv else f"events/old/{file.name}.gz",
            zstandard.compress(data) if is_csv else gzip.compress(data))  # fmt: skip
    night(warehouse, 3)
    night(warehouse, 4, full=True)
    assert companies(warehouse) == ["a", "b", "c"]


def test_the_same_bytes_of_another_date_are_another_file_while_the_first_stands(warehouse: Warehouse) -> None:
    first = warehouse.put("events/dt=2026-03-30/a.jsonl", unkeyed("a"))
    warehouse.put("events/dt=2026-03-31/a.jsonl", unkeyed("a"))
    night(warehouse, 1)
    assert companies(warehouse) == ["a", "a"]
    warehouse.put("events/dt=2026-03-31/again.jsonl", unkeyed("a"))
    warehouse.put("events/undated/again.jsonl", unkeyed("a"))
    (warehouse.raw / "events/dt=2026-03-29").mkdir()
    first.rename(warehouse.raw / "events/dt=2026-03-29/a.jsonl")
    night(warehouse, 2)
    assert companies(warehouse) == ["a", "a"]
    night(warehouse, 3, full=True)
    assert companies(warehouse) == ["a", "a"]


def test_of_several_that_begin_alike_the_longest_goes_on(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", unkeyed("a"))
    warehouse.put("events/b.jsonl", unkeyed("a", "b"))
    night(warehouse, 1)
    warehouse.put("events/c.jsonl", unkeyed("a", "b", "c"))
    night(warehouse, 2)
    assert companies(warehouse) == ["a", "b", "c"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_a_file_in_utf_16_grows(warehouse: Warehouse, encoding: str, end: str) -> None:
    """Its ends of lines are two bytes, and the bytes of one may stand within other characters: U+0A0D, U+0A00."""

    def text(*names: str) -> str:
        return (HEADER + rows(*names)).replace("\n", end)

    first = text("a", "\u0a0d\u0a00\u000b\u0d0a")
    steps = [first, first + rows("c").replace("\n", end)[:-4], first + rows("c", "d").replace("\n", end)]
    for day, step in enumerate(steps, 1):
        warehouse.put("features/a.csv", ("\ufeff" + step).encode(encoding))
        night(warehouse, day)
    found = warehouse.query("SELECT account_id, file_seq, line FROM raw.feature_events ORDER BY line")
    assert [tuple(row.values()) for row in found] == [
        ("a", 1, 2),
        ("\u0a0d\u0a00\u000b\u0d0a", 1, 3),
        ("c", 3, 4),
        ("d", 3, 5),
    ]
    before = warehouse.table("ops.files")
    assert [(row["records"], row["rejected"]) for row in before] == [(2, 0), (0, 0), (2, 0)]
    night(warehouse, 4, full=True)
    assert warehouse.table("ops.files") == before


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_row_that_is_being_written_waits(warehouse: Warehouse, ending: str) -> None:
    if ending not in FEATURE_FORMATS:
        pytest.skip("packed CSV is not read yet")

    def put(text: str) -> None:
        warehouse.put(f"features/a.{ending}", gzip.compress(text.encode()) if "gz" in ending else text)

    put(HEADER + rows("a") + "b,u,f")
    night(warehouse, 1)
    assert accounts(warehouse) == ["a"]
    assert warehouse.table("ops.rejects") == []
    assert warehouse.one("ops.files")["records"] == 1
    put(HEADER + rows("a", "b"))
    night(warehouse, 2)
    assert accounts(warehouse) == ["a", "b"]
    assert warehouse.table("ops.rejects") == []


@pytest.mark.parametrize("source", ["events", "features"])
def test_what_waits_is_refused_by_the_next_run_and_taken_if_it_goes_on(
    warehouse: Warehouse, source: str
) -> None:
    path, whole, reason = {
        "events": ("events/a.jsonl", unkeyed("a", "b"), "bad_json"),
        "features": ("features/a.csv", HEADER + rows("a", "b"), "bad_csv_row"),
    }[source]
    warehouse.put(path, whole[:-10])
    night(warehouse, 1)
    night(warehouse, 2)
    assert [(row["reason"], row["element"]) for row in warehouse.table("ops.rejects")] == [(reason, 1)]
    assert warehouse.one("ops.files")["rejected"] == 1
    night(warehouse, 3, full=True)
    assert [row["reason"] for row in warehouse.table("ops.rejects")] == [reason]
    warehouse.put(path, whole)
    night(warehouse, 4)
    assert warehouse.table("ops.rejects") == []
    assert companies(warehouse) + accounts(warehouse) == ["a", "b"]
    night(warehouse, 5, full=True)
    assert [(f["records"], f["loaded"]) for f in warehouse.table("ops.files")] == [(1, 1), (1, 1)]


def test_a_day_that_is_delivered_again_is_named_and_can_be_withdrawn(warehouse: Warehouse) -> None:
    warehouse.put("events/dt=2026-03-30/part-1.jsonl", unkeyed("b", "a"))
    warehouse.put("events/dt=2026-03-29/other.jsonl", unkeyed("z"))
    night(warehouse, 1)
    (warehouse.raw / "events/dt=2026-03-30/part-1.jsonl").unlink()
    warehouse.put("events/dt=2026-03-30/part-2.jsonl", unkeyed("a", "b", "c"))
    night(warehouse, 2)
    assert companies(warehouse) == ["a", "a", "b", "b", "c", "z"]
    assert ["warehouse withdraw 2" in warning for warning in warehouse.loaded.warnings] == [True]
    assert warehouse.one("ops.warnings", kind="delivered_again")["help"].endswith("warehouse withdraw 2")
    withdraw(warehouse, gone=True)
    night(warehouse, 3)
    assert companies(warehouse) == ["a", "b", "c", "z"]
    assert warehouse.loaded.warnings == []
    assert warehouse.one("ops.files", file_seq=2)["note"].startswith("withdrawn")
    night(warehouse, 4, full=True)
    assert companies(warehouse) == ["a", "b", "c", "z"]


def test_a_duplicate_that_lost_to_a_withdrawn_record_counts(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", lines("x", "y"))
    warehouse.put("events/b.jsonl", lines("y", "z"))
    warehouse.put("events/c.jsonl", lines("z"))
    night(warehouse, 1)
    assert withdraw(warehouse, "events/a.jsonl").again[0].path == "events/b.jsonl"
    night(warehouse, 2)
    assert companies(warehouse) == ["y", "z"]
    assert [f["duplicates"] for f in warehouse.table("ops.files")] == [0, 0, 1]
    night(warehouse, 3)
    assert companies(warehouse) == ["y", "z"]  # it stays out while it lies there
    night(warehouse, 4, full=True)
    assert companies(warehouse) == ["y", "z"]


def test_a_file_that_a_withdrawal_loads_again_has_its_later_part_behind_it_in_a_full_rebuild(
    warehouse: Warehouse,
) -> None:
    """It is loaded again last, though what it grew by stays as it is."""
    warehouse.put("events/a.jsonl", lines("x"))
    warehouse.put("events/b.jsonl", lines("x", "y"))
    night(warehouse, 1)
    warehouse.put("events/b.jsonl", lines("x", "y", "z"))
    night(warehouse, 2)
    assert [file.path for file in withdraw(warehouse, "events/a.jsonl").again] == ["events/b.jsonl"]
    for day, full in ((3, False), (4, True), (5, True)):
        night(warehouse, day, full=full)
        assert [(f["records"], f["loaded"]) for f in warehouse.table("ops.files")[1:]] == [(2, 2), (1, 1)]
        assert companies(warehouse) == ["x", "y", "z"]


def test_what_is_to_be_loaded_again_may_go_on_in_a_file_of_the_same_night(warehouse: Warehouse) -> None:
    """Rather than in one that holds the same, and half a record behind it, which is no part of what was loaded."""
    warehouse.put("events/dt=2026-03-30/a.jsonl", lines("x"))
    warehouse.put("events/old/b.jsonl", lines("x", "w"))
    night(warehouse, 1)
    file = warehouse.put("events/old/b.jsonl", lines("x", "w") + '{"company_id": "half')
    night(warehouse, 2)
    file.unlink()
    warehouse.put("events/dt=2026-03-31/b.jsonl", lines("x", "w") + '{"company_id": "half')
    warehouse.put("events/c.jsonl", lines("x", "w", "y"))
    withdraw(warehouse, "1")
    night(warehouse, 3)
    assert companies(warehouse) == ["w", "x", "y"]
    assert warehouse.one("ops.files", file_seq=4)["note"] == "goes on where file 2 ended"
    assert [(r["file_seq"], r["reason"]) for r in warehouse.table("ops.rejects")] == [(3, "bad_json")]


@pytest.mark.parametrize("line", ["[] [{}]", "[{}][{}]", "[1] 5", "[] []", "[{}]", "[] x"])
def test_a_file_that_begins_with_an_array_and_more_on_its_line_is_lines(
    warehouse: Warehouse, line: str
) -> None:
    warehouse.put("events/a.json", f"{line}\r\n")
    night(warehouse, 1)
    warehouse.put("events/a.json", f"{line}\r\n{lines('x')}")
    night(warehouse, 2)
    assert companies(warehouse) == ["x"]
    assert warehouse.one("ops.files", file_seq=2)["records"] == 1
    assert warehouse.one("ops.files", file_seq=2)["note"] == "goes on where file 1 ended"


def test_a_row_that_was_refused_for_having_no_end_is_refused_again_by_a_full_rebuild(
    warehouse: Warehouse,
) -> None:
    """The file stands as the beginning of another, which went on from where it had ended before the half row."""
    warehouse.put("features/a.csv", HEADER + rows("one"))
    night(warehouse, 1)
    warehouse.put("features/a.csv", HEADER + rows("one") + "two,u,f")
    night(warehouse, 2)
    warehouse.put("features/a.csv", HEADER + rows("other"))
    warehouse.put("features/b.csv", HEADER + rows("one", "two"))
    for day, full in ((3, False), (4, False), (5, True), (6, False)):
        night(warehouse, day, full=full)
        assert accounts(warehouse) == ["one", "other", "two"]
        assert warehouse.one("ops.files", file_seq=4)["note"] == "goes on where file 1 ended"
        assert [(r["file_seq"], r["reason"]) for r in warehouse.table("ops.rejects")] == [(2, "bad_csv_row")]
        assert warehouse.one("ops.files", file_seq=2)["rejected"] == 1


def test_a_refused_half_row_that_stands_nowhere_any_more_stays_refused(warehouse: Warehouse) -> None:
    """What was loaded of its file still stands, so that a full rebuild or a withdrawal loads that again."""
    warehouse.put("features/0.csv", HEADER + "zero,u,f,2026-03-30,1\n")
    warehouse.put("features/a.csv", HEADER + rows("one"))
    night(warehouse, 1)
    warehouse.put("features/a.csv", HEADER + rows("one") + "two,u,f")
    night(warehouse, 2)
    night(warehouse, 3)
    warehouse.put("features/a.csv", HEADER + rows("one"))
    for day, full in ((4, False), (5, True), (6, False), (7, True)):
        night(warehouse, day, full=full)
        assert accounts(warehouse) == ["one", "zero"]
        assert [(r["file_seq"], r["line"], r["reason"]) for r in warehouse.table("ops.rejects")] == [
            (3, 3, "bad_csv_row")
        ]
        account = warehouse.one("ops.files", file_seq=3)
        assert (account["records"], account["loaded"], account["rejected"]) == (1, 0, 1)
    # Where the file goes on after all, it was no record.
    warehouse.put("features/b.csv", HEADER + rows("one") + "two,u,f,2026-03-30,1\n")
    night(warehouse, 8)
    withdraw(warehouse, "2")
    night(warehouse, 9)
    assert accounts(warehouse) == ["one", "two", "zero"]


@pytest.mark.parametrize("more", ["two,u,f,2026-03-30,1\n", "six,u,f,2026-03-30,1\n"])
def test_a_half_row_is_refused_when_what_had_gone_on_from_it_is_withdrawn(
    warehouse: Warehouse, more: str
) -> None:
    """Whether that held the whole row, or another: it is as if it had never come."""
    warehouse.put("features/a.csv", HEADER + rows("one") + "two,u")
    night(warehouse, 1)
    warehouse.put("features/a.csv", HEADER + rows("one") + more)
    night(warehouse, 2)
    assert warehouse.table("ops.rejects") == []
    withdraw(warehouse, "2")
    for day in (3, 4):
        night(warehouse, day)
        assert accounts(warehouse) == ["one"]
        assert [(r["file_seq"], r["line"], r["raw"]) for r in warehouse.table("ops.rejects")] == [
            (1, 3, "two,u")
        ]
        account = warehouse.one("ops.files", file_seq=1)
        assert (account["records"], account["loaded"], account["rejected"]) == (2, 1, 1)
    night(warehouse, 5, full=True)
    assert [(r["file_seq"], r["line"]) for r in warehouse.table("ops.rejects")] == [(1, 3)]


def test_a_half_row_is_not_forgotten_when_its_file_is_loaded_again_without_it(warehouse: Warehouse) -> None:
    warehouse.put("features/a.csv", HEADER + rows("one"))
    night(warehouse, 1)
    warehouse.put("features/a.csv", HEADER + rows("one") + "two,u")
    night(warehouse, 2)
    withdraw(warehouse, "1")  # what went on from it is loaded again,
    warehouse.put("features/a.csv", HEADER + rows("one", "six"))  # and stands in what it grew to only
    night(warehouse, 3)
    assert accounts(warehouse) == ["one", "six"]
    assert warehouse.table("ops.rejects") == []
    withdraw(warehouse, "3")
    night(warehouse, 4)
    assert accounts(warehouse) == ["one"]
    assert [(r["file_seq"], r["line"]) for r in warehouse.table("ops.rejects")] == [(2, 3)]


def test_a_half_row_of_which_only_what_precedes_it_still_stands_goes_on_from_that(
    warehouse: Warehouse,
) -> None:
    warehouse.put("events/dt=2026-03-30/a.jsonl", unkeyed("1", "2"))
    night(warehouse, 1)
    file = warehouse.put("events/dt=2026-03-31/a.jsonl", unkeyed("1", "2"))
    night(warehouse, 2)
    file.write_text(unkeyed("1", "2") + '{"half')
    night(warehouse, 3)
    assert companies(warehouse) == ["1", "1", "2", "2"]
    file.unlink()
    withdraw(warehouse, "2")
    for day, full in ((4, False), (5, True)):
        night(warehouse, day, full=full)
        assert companies(warehouse) == ["1", "2"]
        assert [(r["file_seq"], r["line"]) for r in warehouse.table("ops.rejects")] == [(3, 3)]
        account = warehouse.one("ops.files", file_seq=3)
        assert (account["records"], account["loaded"], account["rejected"]) == (1, 0, 1)


def test_a_full_rebuild_after_a_withdrawal_keeps_the_order_of_loading(warehouse: Warehouse) -> None:
    """Also of files that go on from ones that were loaded again behind them: who came first keeps its key."""
    warehouse.put("events/0.jsonl", of_key("gone"))
    warehouse.put("events/a.jsonl", of_key("a") + unkeyed("x"))
    warehouse.put("events/b.jsonl", of_key("b") + unkeyed("y"))
    night(warehouse, 1)
    warehouse.put("events/b.jsonl", of_key("b") + unkeyed("y", "z"))
    night(warehouse, 2)
    withdraw(warehouse, "1")
    for day, full in ((3, False), (4, True), (5, True)):
        night(warehouse, day, full=full)
        assert companies(warehouse) == ["a", "x", "y", "z"]


def test_exports_that_a_withdrawn_one_had_replaced_are_withdrawn_with_it_where_they_are_gone(
    warehouse: Warehouse,
) -> None:
    header = "Record ID,Company name,Company Domain Name\n"
    for day, name in enumerate(("one", "two", "three"), 1):
        file = warehouse.put("crm/companies/export.csv", f"{header}1,{name},{name}.example\n")
        night(warehouse, day)
    file.unlink()
    warehouse.put("crm/companies/other.csv", f"{header}1,four,four.example\n")
    night(warehouse, 4)
    assert [file.file_seq for file in withdraw(warehouse, gone=True).files] == [1, 2, 3]
    night(warehouse, 5)
    night(warehouse, 6, full=True)
    assert [row["name"] for row in warehouse.query("FROM raw.crm_companies")] == ["four"]


@pytest.mark.parametrize("why", ["withdrawn", "unreadable"])
def test_an_export_stands_when_what_had_taken_its_path_does_not_count_and_moves_on(
    warehouse: Warehouse, why: str
) -> None:
    header = "Record ID,Company name,Company Domain Name\n"
    warehouse.builds = OF_FILES | {"core.crm_companies"}
    at, to = "crm/companies/a.csv", "crm/companies/old/a.csv"
    warehouse.put(at, f"{header}1,one,one.example\n")
    night(warehouse, 1)
    newer = f"{header}1,two,two.example\n" if why == "withdrawn" else f'{header}1,"two,two.example\n'
    file = warehouse.put(at, newer)
    night(warehouse, 2)
    if why == "withdrawn":
        withdraw(warehouse, "2")
    file.unlink()
    warehouse.put(to, newer)
    for day in (3, 4):
        night(warehouse, day)
        assert [row["name"] for row in warehouse.table("core.crm_companies")] == ["one"]
    warehouse.put("crm/companies/kept.csv", f"{header}1,one,one.example\n")
    night(warehouse, 5, full=True)
    assert [row["name"] for row in warehouse.table("core.crm_companies")] == ["one"]


def test_what_went_on_from_a_withdrawn_file_is_loaded_whole(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", unkeyed("a"))
    night(warehouse, 1)
    warehouse.put("events/a.jsonl", unkeyed("a", "b"))
    night(warehouse, 2)
    withdraw(warehouse, "1")
    night(warehouse, 3)
    assert companies(warehouse) == ["a", "b"]
    assert [f["loaded"] for f in warehouse.table("ops.files")] == [0, 2]


def test_what_went_on_from_a_withdrawn_file_may_go_on_from_another(warehouse: Warehouse) -> None:
    """As if the withdrawn one had never been there: the same content came under another date, too."""
    warehouse.put("events/dt=2026-03-30/a.jsonl", unkeyed("1", "2"))
    night(warehouse, 1)
    warehouse.put("events/dt=2026-03-31/a.jsonl", unkeyed("1", "2"))
    night(warehouse, 2)
    warehouse.put("events/dt=2026-03-30/a.jsonl", unkeyed("1", "2", "3"))
    night(warehouse, 3)
    assert companies(warehouse) == ["1", "1", "2", "2", "3"]
    withdraw(warehouse, "1")
    night(warehouse, 4)
    assert companies(warehouse) == ["1", "2", "3"]
    assert warehouse.one("ops.files", file_seq=3)["records"] == 1
    night(warehouse, 5, full=True)
    assert companies(warehouse) == ["1", "2", "3"]


def test_what_a_corrected_file_left_behind_goes_with_what_it_corrects(warehouse: Warehouse) -> None:
    file = warehouse.put("events/a.jsonl", unkeyed("a") + '{"company_id": "no time"}\n')
    night(warehouse, 1)
    file.unlink()
    warehouse.put("events/a.jsonl", unkeyed("corrected"))
    night(warehouse, 2)
    rewritten = "SELECT failures FROM core.check_results WHERE name = 'files_are_not_rewritten'"
    assert warehouse.query(rewritten) == [{"failures": 1}]
    assert len(warehouse.table("ops.rejects")) == 1
    withdraw(warehouse, "1")
    night(warehouse, 3)
    assert warehouse.query(rewritten) == [{"failures": 0}]
    assert warehouse.table("ops.rejects") == []
    assert warehouse.table("ops.warnings") == []
    assert (
        warehouse.one("ops.files", file_seq=2)["note"] == "the path held file 1 before, which was withdrawn"
    )


def test_a_day_is_loaded_again_from_other_files(warehouse: Warehouse) -> None:
    day = "events/dt=2026-03-30/"
    warehouse.put(f"{day}a.jsonl", unkeyed("a"))
    warehouse.put(f"{day}b.jsonl", unkeyed("b"))
    warehouse.put("events/dt=2026-03-29/other.jsonl", unkeyed("z"))
    night(warehouse, 1)
    withdraw(warehouse, day)
    for file in (warehouse.raw / day).iterdir():
        file.unlink()
    warehouse.put(f"{day}whole.jsonl", unkeyed("a", "b", "c"))
    night(warehouse, 2)
    assert companies(warehouse) == ["a", "b", "c", "z"]
    assert warehouse.table("ops.warnings") == []


def test_slots_of_a_withdrawn_file_are_free(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "data", builds=OF_FILES, features={"feature_limit": 1})
    warehouse.put("features/a.csv", HEADER + rows("a").replace(",f,", ",f1,"))
    warehouse.put("features/b.csv", HEADER + rows("b").replace(",f,", ",f2,"))
    night(warehouse, 1)
    assert accounts(warehouse) == ["a"]
    withdraw(warehouse, "features/a.csv")
    night(warehouse, 2)
    assert accounts(warehouse) == ["b"]
    assert warehouse.table("ops.rejects") == []


def test_a_withdrawal_that_would_lack_a_file_touches_nothing(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", lines("x"))
    warehouse.put("events/b.jsonl", lines("x", "z"))
    night(warehouse, 1)
    (warehouse.raw / "events/b.jsonl").unlink()
    with pytest.raises(withdrawal.CannotWithdraw, match=r"events/b\.jsonl"):
        withdraw(warehouse, "events/a.jsonl")
    night(warehouse, 2)
    assert companies(warehouse) == ["x", "z"]


def test_a_file_that_goes_before_it_is_loaded_again_is_named_and_can_be_withdrawn(
    warehouse: Warehouse,
) -> None:
    warehouse.put("events/a.jsonl", unkeyed("1"))
    night(warehouse)
    warehouse.put("events/a.jsonl", unkeyed("1", "2"))
    night(warehouse)
    withdraw(warehouse, "1")  # the second is to be loaded whole
    (warehouse.raw / "events/a.jsonl").unlink()
    night(warehouse)
    night(warehouse)
    assert companies(warehouse) == []
    assert warehouse.one("ops.warnings", kind="gone")["help"].endswith("warehouse withdraw 2")
    withdraw(warehouse, "2")
    night(warehouse)
    assert warehouse.table("ops.warnings") == []
    night(warehouse, full=True)


def test_a_withdrawn_file_that_was_gone_and_comes_back_is_new(warehouse: Warehouse) -> None:
    file = warehouse.put("events/a.jsonl", unkeyed("a"))
    warehouse.put("events/b.jsonl", unkeyed("b"))
    night(warehouse, 1)
    file.unlink()
    night(warehouse, 2)
    withdraw(warehouse, gone=True)
    night(warehouse, 3)
    assert companies(warehouse) == ["b"]
    warehouse.put("events/a.jsonl", unkeyed("a"))
    night(warehouse, 4)
    assert companies(warehouse) == ["a", "b"]
    assert len(warehouse.table("ops.files")) == 3


def test_a_raw_folder_that_is_not_there_stops_the_run(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", unkeyed("a"))
    night(warehouse, 1)
    away = warehouse.raw.rename(warehouse.folder / "unmounted")
    for full in (False, True):
        with pytest.raises(RawStorageError, match="1 files were loaded from it"):
            night(warehouse, 2, full=full)
    warehouse.raw.mkdir()  # as where a disk would be mounted
    night(warehouse, 2)
    assert warehouse.one("ops.warnings", kind="gone")["help"] == "is the disk mounted?"
    warehouse.raw.rmdir()
    away.rename(warehouse.raw)
    night(warehouse, 3)
    assert warehouse.table("ops.warnings") == []
    assert companies(warehouse) == ["a"]


def test_a_link_out_of_the_raw_folder_is_named_and_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere" / "secret.jsonl"
    secret.parent.mkdir()
    secret.write_text(unkeyed("secret"))
    for links, expected in (([], []), ([str(secret.parent)], ["secret"])):
        warehouse = Warehouse(tmp_path / f"data{len(links)}", builds=OF_FILES, warehouse={"raw_links": links})
        (warehouse.raw / "events").mkdir()
        (warehouse.raw / "events/a.jsonl").symlink_to(secret)
        night(warehouse)
        assert companies(warehouse) == expected
        assert ["is a link to" in warning for warning in warehouse.loaded.warnings] == [True] * (not links)


def test_a_misspelt_folder_and_ids_under_another_name_are_noticed(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "data")
    call: dict[str, Any] = {"request": {"time": "2026-03-30T10:00Z"}, "companyId": "acme"}
    warehouse.put("event/a.jsonl", [call])
    warehouse.put("events/a.jsonl", [call, call, {**call, "company_id": "acme"}])
    warehouse.put("users/a.jsonl", [{"userId": "u"}])
    night(warehouse)
    noticed = {row["kind"]: (row["message"], row["help"]) for row in warehouse.table("ops.warnings")}
    assert noticed["source_unknown"][1] == "is events/ meant?"
    assert noticed["no_company"] == (
        "2 of 3 calls belong to no company",
        "2 records have `companyId`: is `company_id` meant?",
    )
    assert "every one of 1 records of users/a.jsonl" in noticed["all_rejected"][0]
