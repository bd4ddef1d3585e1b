"""Which files are new, which number each gets, and what a rebuild or a crash makes of it."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from harness import OF_FILES, Row, Warehouse

from dagster_project.pipeline import nightly
from dagster_project.pipeline.nightly import LoadResult
from dagster_project.sources import loading, reading
from dagster_project.warehouse import discovery
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.replay import MissingFiles

NOW = datetime(2026, 4, 1, 3, 30)
AS_OF = date(2026, 3, 31)
KEPT_HISTORY = {"ops.restatements", "marts.cohort_changes", "core.builds", "core.changed_days"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Its nights build what tells of files, and exports."""
    return Warehouse(tmp_path / "data", builds=OF_FILES | {"core.crm_companies"})


@pytest.fixture
def whole(tmp_path: Path) -> Warehouse:
    """Its nights build every table."""
    return Warehouse(tmp_path / "data")


def load(warehouse: Warehouse, now: datetime = NOW, *, full: bool = False) -> LoadResult:
    with open_warehouse(warehouse.settings) as connection:
        return nightly.load_new_files(connection, warehouse.settings, now=now, full=full)


def numbers(warehouse: Warehouse) -> dict[int, str]:
    rows = warehouse.query("SELECT file_seq, path FROM raw.files ORDER BY file_seq")
    return {row["file_seq"]: row["path"] for row in rows}


def calls(*names: str) -> list[dict[str, Any]]:
    return [{"request": {"time": "2026-03-30T10:00Z"}, "company_id": name} for name in names]


def text(*names: str, end: str = "\n") -> str:
    return "\n".join(json.dumps(call) for call in calls(*names)) + end


def positions(warehouse: Warehouse) -> list[tuple[int, int, str]]:
    rows = warehouse.query("SELECT * FROM raw.api_calls ORDER BY file_seq, line, element")
    return [(row["file_seq"], row["line"], row["company_id"]) for row in rows]


# ---------------------------------------------------------------------------------------------------------
# Numbers


def test_files_first_seen_together_are_numbered_by_the_bytes_of_their_paths(warehouse: Warehouse) -> None:
    paths = [
        "actions/b.jsonl",
        "crm/companies/a.csv",
        "events/B.jsonl",
        "events/a-b.jsonl",
        "events/a.jsonl",
        "events/a/z.jsonl",
        "events/a0.jsonl",
        "events/z.jsonl",
        "events/é.jsonl",
        "events/\uffee.jsonl",
        "events/\U0001f600.jsonl",
        "features/a.csv",
        "users/a.jsonl",
    ]
    for path in reversed(paths):
        warehouse.put(path, f"\n{path}")
    load(warehouse)
    assert numbers(warehouse) == dict(enumerate(paths, 1))


def test_numbers_are_kept_and_later_files_come_after(warehouse: Warehouse) -> None:
    warehouse.put("events/m.jsonl", text("m"))
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a"))
    load(warehouse, NOW + timedelta(days=1))
    assert numbers(warehouse) == {1: "events/m.jsonl", 2: "events/a.jsonl"}
    seen = warehouse.query("SELECT first_seen_at FROM raw.files ORDER BY file_seq")
    assert [row["first_seen_at"] for row in seen] == [NOW, NOW + timedelta(days=1)]


def test_the_first_loaded_by_number_wins_between_files(warehouse: Warehouse) -> None:
    for path, company in (("events/b.jsonl", "late"), ("events/a.jsonl", "early")):
        warehouse.put(path, [call | {"transaction_id": "k"} for call in calls(company)])
    load(warehouse)
    assert positions(warehouse) == [(1, 1, "early")]


def test_the_same_bytes_under_another_name_are_no_new_file(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    warehouse.put("events/copy.jsonl", text("a"))
    load(warehouse)
    warehouse.put("events/sub/later.jsonl", text("a"))
    result = load(warehouse)
    assert numbers(warehouse) == {1: "events/a.jsonl"}
    assert result.new_files == 0
    assert positions(warehouse) == [(1, 1, "a")]


def test_the_same_bytes_in_another_source_are_a_file_of_their_own(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    warehouse.put("actions/a.jsonl", text("a"))
    load(warehouse)
    assert numbers(warehouse) == {1: "actions/a.jsonl", 2: "events/a.jsonl"}


def test_a_renamed_file_is_no_new_file_and_grows_under_its_new_name(warehouse: Warehouse) -> None:
    old = warehouse.put("events/a.jsonl", text("a"))
    load(warehouse)
    old.rename(old.with_name("b.jsonl"))
    load(warehouse)
    assert numbers(warehouse) == {1: "events/a.jsonl"}
    warehouse.put("events/b.jsonl", text("a", "b"))
    load(warehouse)
    assert numbers(warehouse) == {1: "events/a.jsonl", 2: "events/b.jsonl"}
    assert positions(warehouse) == [(1, 1, "a"), (2, 2, "b")]


def test_an_unreadable_file_is_loaded_once_it_has_the_right_ending(warehouse: Warehouse) -> None:
    wrong = {"p.jsonl.gz": "z.jsonl", "z.parquet": "a.jsonl", "b.zip": "c.csv"}
    texts = {"p.jsonl.gz": text("p"), "z.parquet": text("q"), "b.zip": "Record ID\n1\n"}
    folder = {name: "crm/companies" if name == "b.zip" else "events" for name in wrong}
    for name, content in texts.items():
        warehouse.put(f"{folder[name]}/{name}", content)
    warehouse.night(AS_OF, NOW)
    before = {row["file_seq"]: bool(row["error"]) for row in warehouse.table("ops.files")}
    assert before == {1: True, 2: True, 3: True}
    for name, right in wrong.items():
        (warehouse.raw / folder[name] / name).rename(warehouse.raw / folder[name] / right)
    warehouse.night(AS_OF, NOW)
    listed = {
        row["path"]: (row["file_seq"], row["loaded"], row["error"]) for row in warehouse.table("ops.files")
    }
    assert listed == {
        "crm/companies/c.csv": (1, 1, None),
        "events/z.jsonl": (2, 1, None),
        "events/a.jsonl": (3, 1, None),
    }
    assert all(check.passed for check in warehouse.built["ops.files"].checks)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "z.jsonl.gz"])
def test_an_unreadable_file_that_was_moved_is_named_where_it_is(warehouse: Warehouse, name: str) -> None:
    cut = gzip.compress(text("a", "b").encode(), mtime=0)[:-12]
    file = warehouse.put("events/m.jsonl.gz", cut)
    warehouse.night(AS_OF, NOW)
    (warehouse.raw / "events/dt=2026-03-30").mkdir()
    file.rename(warehouse.raw / "events/dt=2026-03-30" / name)
    warehouse.night(AS_OF, NOW)
    listed = warehouse.one("ops.files")
    assert (listed["path"], listed["received_date"]) == (f"events/dt=2026-03-30/{name}", date(2026, 3, 30))
    assert listed["error"]
    assert listed["note"] is None
    assert [check.name for check in warehouse.built["ops.files"].checks if not check.passed] == [
        "files_are_readable"
    ]


def test_a_file_that_is_moved_between_a_crash_and_the_next_run_is_loaded(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    with monkeypatch.context() as patch:
        patch.setattr(discovery, "pending", lambda *_: [])
        load(warehouse)
    (warehouse.raw / "events/a.jsonl").rename(warehouse.raw / "events/z.jsonl")
    load(warehouse)
    assert positions(warehouse) == [(1, 1, "a")]


def test_a_removed_file_stays_loaded(warehouse: Warehouse) -> None:
    file = warehouse.put("events/a.jsonl", text("a"))
    load(warehouse)
    file.unlink()
    load(warehouse)
    assert positions(warehouse) == [(1, 1, "a")]


def test_an_unreadable_file_that_was_removed_is_tried_no_more(warehouse: Warehouse) -> None:
    broken = warehouse.put("events/a.json", "[{},")
    warehouse.night(AS_OF, NOW)
    broken.unlink()
    warehouse.night(AS_OF, NOW)
    assert [line for summary in warehouse.loaded.summaries.values() for line in summary.unreadable] == []
    assert all(check.passed for check in warehouse.built["ops.files"].checks)


def test_a_touched_file_is_no_new_file(warehouse: Warehouse) -> None:
    file = warehouse.put("events/a.jsonl", text("a"))
    load(warehouse)
    os.utime(file, (1, 1))
    assert load(warehouse).new_files == 0


def test_other_bytes_of_the_same_size_and_time_are_seen(warehouse: Warehouse) -> None:
    file = warehouse.put("events/a.jsonl", text("a"))
    before = file.stat()
    load(warehouse)
    warehouse.put("events/a.jsonl", text("b"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    load(warehouse)
    assert positions(warehouse) == [(1, 1, "a"), (2, 1, "b")]


# ---------------------------------------------------------------------------------------------------------
# Growth


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "json"])
def test_of_grown_json_lines_only_the_added_part_is_loaded(warehouse: Warehouse, ending: str) -> None:
    path = f"events/a.{ending}"
    warehouse.put(path, text("a", "b"))
    load(warehouse)
    warehouse.put(path, text("a", "b", "c"))
    load(warehouse)
    warehouse.put(path, text("a", "b", "c") + "\n[" + text("d", end="") + "]\n{")
    result = load(warehouse)
    assert positions(warehouse) == [(1, 1, "a"), (1, 2, "b"), (2, 3, "c"), (3, 5, "d")]
    assert warehouse.query("SELECT line, waits FROM raw.rejects") == [{"line": 6, "waits": True}]
    assert result.warnings == []
    counts = warehouse.query("SELECT records, loaded FROM raw.files ORDER BY file_seq")
    assert [tuple(row.values()) for row in counts] == [(2, 2), (1, 1), (1, 1)]


CSV = "account_id,user_id,feature_id,timestamp\n"


def test_of_a_grown_csv_only_the_added_part_is_loaded_under_the_same_header(warehouse: Warehouse) -> None:
    bom = "\ufeff"
    warehouse.put("features/a.csv", bom + CSV + 'acme,u,"two\nlines",2026-03-30\n')
    load(warehouse)
    warehouse.put(
        "features/a.csv", bom + CSV + 'acme,u,"two\nlines",2026-03-30\n' + "acme,u,new,2026-03-30\n"
    )
    load(warehouse)
    rows = warehouse.query("SELECT file_seq, line, feature_id FROM raw.feature_events ORDER BY file_seq")
    assert [tuple(row.values()) for row in rows] == [(1, 2, "two\nlines"), (2, 4, "new")]


def test_a_file_whose_last_line_lacks_its_end_grows_behind_it(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a", "b", end=""))
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a", "b", "c"))
    assert load(warehouse).warnings == []
    assert positions(warehouse) == [(1, 1, "a"), (1, 2, "b"), (2, 3, "c")]


def test_what_goes_on_in_the_middle_of_a_line_is_a_rewritten_file(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a", end=""))
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a", end="") + text("b"))
    assert len(load(warehouse).warnings) == 1
    assert numbers(warehouse) == {1: "events/a.jsonl", 2: "events/a.jsonl"}


def packed(content: str, ending: str) -> bytes:
    data = content.encode()
    return gzip.compress(data, mtime=0) if ending == "gz" else zstandard.compress(data)


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_packed_file_grows_by_another_member_or_packed_anew(warehouse: Warehouse, ending: str) -> None:
    path = f"events/a.jsonl.{ending}"
    warehouse.put(path, packed(text("a"), ending))
    load(warehouse)
    warehouse.put(path, packed(text("a"), ending) + packed(text("b"), ending))
    load(warehouse)
    warehouse.put(path, packed(text("a", "b", "c"), ending))
    load(warehouse)
    assert positions(warehouse) == [(1, 1, "a"), (2, 2, "b"), (3, 3, "c")]


def test_a_batch_that_was_cut_off_and_then_goes_on_is_loaded_whole(warehouse: Warehouse) -> None:
    whole = "[" + text("a", end=",\n") + text("b", end="]\n")
    warehouse.put("events/a.json", whole[: whole.index("\n") + 1])
    load(warehouse)
    warehouse.put("events/a.json", whole)
    load(warehouse)
    assert [company for _, _, company in positions(warehouse)] == ["a", "b"]


def test_a_shrunk_file_that_is_a_known_beginning_is_loaded_besides(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a", "b"))
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a"))
    result = load(warehouse)
    assert positions(warehouse) == [(1, 1, "a"), (1, 2, "b"), (2, 1, "a")]
    assert "events/a.jsonl" in result.warnings[0]


def test_a_rewritten_file_is_loaded_besides_the_old_one_and_named_in_a_warning(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    load(warehouse)
    warehouse.put("events/a.jsonl", text("x", "y"))
    result = load(warehouse)
    assert positions(warehouse) == [(1, 1, "a"), (2, 1, "x"), (2, 2, "y")]
    assert ["events/a.jsonl" in warning for warning in result.warnings] == [True]


def test_a_rewritten_file_shows_in_a_check_of_ops_files(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    warehouse.night(AS_OF, NOW)
    warehouse.put("events/a.jsonl", text("x"))
    warehouse.night(AS_OF, NOW)
    failed = [(check.name, check.warns) for check in warehouse.built["ops.files"].checks if not check.passed]
    assert failed == [("files_are_not_rewritten", True)]


# ---------------------------------------------------------------------------------------------------------
# CRM exports


def export(*names: str) -> str:
    return "Record ID,Company name\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names, 1))


def shown(warehouse: Warehouse) -> dict[str, str]:
    rows = warehouse.query("SELECT record_id, name FROM core.crm_companies")
    return {row["record_id"]: row["name"] for row in rows}


def test_an_overwritten_export_replaces_what_its_path_held(warehouse: Warehouse) -> None:
    warehouse.put("crm/companies/a.csv", export("old one", "old two"))
    warehouse.put("crm/companies/b.csv", "Record ID,Company name\n7,seven\n")
    warehouse.night(AS_OF, NOW)
    assert shown(warehouse) == {"1": "old one", "2": "old two", "7": "seven"}
    warehouse.put("crm/companies/a.csv", export("new one"))
    warehouse.night(AS_OF, NOW)
    assert shown(warehouse) == {"1": "new one", "7": "seven"}
    assert warehouse.loaded.warnings == []


def test_an_export_that_grew_replaces_too(warehouse: Warehouse) -> None:
    warehouse.put("crm/companies/a.csv", export("one"))
    warehouse.night(AS_OF, NOW)
    warehouse.put("crm/companies/a.csv", export("one", "two"))
    warehouse.night(AS_OF, NOW)
    assert shown(warehouse) == {"1": "one", "2": "two"}
    assert warehouse.table("ops.files")[-1]["records"] == 2


def test_an_old_export_that_is_restored_is_shown_again(warehouse: Warehouse) -> None:
    warehouse.put("crm/companies/a.csv", export("old", "gone"))
    warehouse.night(AS_OF, NOW)
    warehouse.put("crm/companies/a.csv", export("new"))
    warehouse.night(AS_OF, NOW)
    warehouse.put("crm/companies/a.csv", export("old", "gone"))
    warehouse.night(AS_OF, NOW)
    assert shown(warehouse) == {"1": "old", "2": "gone"}
    assert len(warehouse.table("ops.files")) == 2


def test_an_unreadable_new_export_leaves_nothing_half_replaced(warehouse: Warehouse) -> None:
    warehouse.put("crm/companies/a.xlsx", b"no sheet")
    warehouse.put("crm/companies/b.csv", export("one"))
    warehouse.night(AS_OF, NOW)
    assert shown(warehouse) == {"1": "one"}


# ---------------------------------------------------------------------------------------------------------
# Received dates


@pytest.mark.parametrize(
    ("folders", "received"),
    [
        ("dt=2026-03-30", date(2026, 3, 30)),
        ("date=2026-03-30", date(2026, 3, 30)),
        ("dt=2026-03-29/date=2026-03-30", date(2026, 3, 30)),
        ("dt=2026-03-30/hour=10", date(2026, 3, 30)),
        ("dt=2026-03-30/dt=2026-02-30/dt=soon", date(2026, 3, 30)),
        ("dt=20260330", None),
        ("day=2026-03-30", None),
        ("xdt=2026-03-30", None),
        ("dt=2026-03-30x", None),
        ("", None),
    ],
)
def test_the_last_valid_date_folder_is_the_received_date(
    warehouse: Warehouse, folders: str, received: date | None
) -> None:
    warehouse.put(f"events/{folders}/dt=2026-01-01.jsonl", text("a"))
    load(warehouse)
    assert [row["received_date"] for row in warehouse.query("FROM raw.files")] == [received]


# ---------------------------------------------------------------------------------------------------------
# Full rebuilds


def every_table(warehouse: Warehouse) -> dict[str, list[str]]:
    """All tables of the warehouse as sorted text, without what is history or a clock."""
    found: dict[str, list[str]] = {}
    clocks = {"updated_at", "entered_at", "note", "inputs"}
    names = warehouse.query(
        "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() "
        "WHERE database_name = 'warehouse' AND schema_name IN ('core', 'marts', 'ops')"
    )
    for name in (row["name"] for row in names):
        if name not in KEPT_HISTORY:
            rows = warehouse.query(f"FROM {name}")
            found[name] = sorted(str({c: v for c, v in row.items() if c not in clocks}) for row in rows)
    return found


def update(company: str, token: str, **metadata: Any) -> Row:
    return {"company_id": company, "session_token": token, "metadata": metadata}


def many_nights(warehouse: Warehouse, night: Callable[[datetime], object]) -> None:
    """Nights in which files come, grow, are renamed, copied, broken, mended and replaced; all bytes stay."""
    put, now = warehouse.put, NOW
    keyed = [call | {"transaction_id": f"k{n}"} for n, call in enumerate(calls("a", "b", "c"))]
    by_token = [{"request": {"time": "2026-03-29T10:00Z"}, "session_token": "t"}] * 2
    put("events/a.jsonl", keyed)
    put("events/dt=2026-03-30/b.json.gz", gzip.compress(json.dumps(by_token).encode(), mtime=0))
    put("events/broken.json", '[{"request": {"time": "2026-03-30"}, "company_id": "mended"},\n')
    put("companies/a.jsonl", [update("a", "t", plan="pro"), update("b", "u", plan=5)])
    put("features/a.csv", CSV + "a,u,f,2026-03-30\n")
    put("crm/companies/a.csv", "Record ID,Company Domain Name\n1,old.com\n,no id\n")
    night(now)
    put("events/0-copy.jsonl", [keyed[1], keyed[0]])
    put("events/a.jsonl", [*keyed, keyed[0], *calls("grown")])
    put("companies/0.jsonl", [update("z", "t", plan=["other"], seats=5)])
    put("features/a.csv", CSV + "a,u,f,2026-03-30\n" + "a,u,g,2026-03-30\na,u,,2026-03-30\n")
    put("crm/companies/a.csv", "Record ID,Company Domain Name\n2,new.com\n")
    night(now + timedelta(days=1))
    (warehouse.raw / "companies/a.jsonl").rename(warehouse.raw / "companies/zz.jsonl")
    put(
        "events/broken.json", '[{"request": {"time": "2026-03-30"}, "company_id": "mended"},\n{"request": 1}]'
    )
    put("events/a.jsonl", [*keyed, keyed[0], *calls("grown", "again")])
    put("events/dt=2026-03-30/same.jsonl", [keyed[1], keyed[0]])
    night(now + timedelta(days=2))


def test_a_full_rebuild_equals_the_nights_before_it(whole: Warehouse) -> None:
    many_nights(whole, lambda now: whole.night(AS_OF, now))
    before = every_table(whole)
    history = {name: whole.table(name) for name in ("ops.restatements", "marts.cohort_changes")}
    assert len(before["ops.files"]) == 13
    for n in range(2):
        whole.night(AS_OF, NOW + timedelta(days=9), full=True, run_id=f"full{n}")
        assert every_table(whole) == before
        assert {name: whole.table(name) for name in history} == history


def test_a_full_rebuild_loads_what_is_new_besides(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a", "b"))
    warehouse.put("events/0.jsonl", text("c"))
    load(warehouse, full=True)
    assert positions(warehouse) == [(1, 1, "a"), (2, 1, "c"), (3, 2, "b")]


def test_a_full_rebuild_finds_moved_files_by_their_bytes(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    warehouse.put("events/b.jsonl", text("b"))
    load(warehouse)
    (warehouse.raw / "events/sub").mkdir()
    (warehouse.raw / "events/b.jsonl").rename(warehouse.raw / "events/sub/0.jsonl")
    result = load(warehouse, full=True)
    assert result.replayed_files == 2
    assert positions(warehouse) == [(1, 1, "a"), (2, 1, "b")]


def test_a_full_rebuild_finds_files_that_got_another_ending(whole: Warehouse) -> None:
    whole.put("events/a.json", text("a"))
    whole.night(AS_OF, NOW)
    (whole.raw / "events/a.json").rename(whole.raw / "events/a.jsonl")
    whole.night(AS_OF, NOW)
    before = every_table(whole)
    whole.night(AS_OF, NOW, full=True)
    assert every_table(whole) == before


def test_a_full_rebuild_keeps_first_seen_times(whole: Warehouse) -> None:
    whole.put("companies/a.jsonl", [{"company_id": "acme"}])
    whole.night(AS_OF, NOW)
    whole.night(AS_OF, NOW + timedelta(days=30), full=True)
    assert whole.one("marts.company_profiles")["created_at"] == NOW
    assert whole.one("ops.files")["first_seen_at"] == NOW


def test_a_full_rebuild_keeps_what_was_said_of_replaced_exports(warehouse: Warehouse) -> None:
    warehouse.put("crm/companies/a.csv", "Record ID,Company name\n,nobody\n")
    warehouse.night(AS_OF, NOW)
    warehouse.put("crm/companies/a.csv", export("one"))
    warehouse.night(AS_OF, NOW)
    before = every_table(warehouse)
    assert len(before["ops.rejects"]) == 1
    warehouse.night(AS_OF, NOW, full=True)
    assert every_table(warehouse) == before


def fingerprint(warehouse: Warehouse) -> dict[str, list[str]]:
    return every_table(warehouse) | {
        f"raw.{table}": [str(row) for row in warehouse.query(f"FROM raw.{table} ORDER BY ALL")]
        for table in ("files", "paths", "versions", "api_calls", "rejects")
    }


@pytest.mark.parametrize("how", ["removed", "rewritten", "cut"])
def test_a_full_rebuild_without_all_bytes_stops_names_each_file_and_touches_nothing(
    warehouse: Warehouse, how: str
) -> None:
    for name in ("a", "b", "c"):
        warehouse.put(f"events/{name}.jsonl", text(name, "x", name))
    warehouse.night(AS_OF, NOW)
    for name in ("a", "c"):
        file = warehouse.raw / f"events/{name}.jsonl"
        file.unlink() if how == "removed" else file.write_text("{}\n" if how == "rewritten" else text(name))
    before = fingerprint(warehouse)
    with pytest.raises(MissingFiles) as stopped:
        warehouse.night(AS_OF, NOW, full=True)
    assert "events/a.jsonl" in str(stopped.value)
    assert "events/c.jsonl" in str(stopped.value)
    assert "events/b.jsonl" not in str(stopped.value)
    assert fingerprint(warehouse) == before


def test_a_full_rebuild_does_without_files_that_were_never_loaded(warehouse: Warehouse) -> None:
    broken = warehouse.put("events/a.json", "[{},")
    warehouse.put("events/b.jsonl", text("b"))
    load(warehouse)
    broken.unlink()
    load(warehouse, full=True)
    assert positions(warehouse) == [(2, 1, "b")]


def test_a_grown_file_that_went_back_to_its_beginning_lacks_the_added_part(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a", "b"))
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a"))
    with pytest.raises(MissingFiles, match=r"events/a\.jsonl"):
        load(warehouse, full=True)


# ---------------------------------------------------------------------------------------------------------
# Crashes


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    warehouse = Warehouse(tmp_path_factory.mktemp("undisturbed"))
    many_nights(warehouse, lambda now: warehouse.night(AS_OF, now))
    return every_table(warehouse)


def test_a_crash_between_load_and_build_changes_nothing_in_the_end(
    whole: Warehouse, undisturbed: dict[str, list[str]]
) -> None:
    def night(now: datetime) -> None:
        load(whole, now)
        whole.night(AS_OF, now)

    many_nights(whole, night)
    assert every_table(whole) == undisturbed


class Crash(BaseException):
    """As if the process had been killed: nothing may catch it."""


@pytest.mark.parametrize(("module", "where"), [(reading, "_read"), (loading, "_account")])
def test_a_crash_in_the_middle_of_a_batch_changes_nothing_in_the_end(
    whole: Warehouse,
    undisturbed: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    where: str,
) -> None:
    original, crashes = getattr(module, where), []

    def night(now: datetime) -> None:
        for survives in range(20):  # each try gets one step further
            left = [survives]

            def crashing(*given: Any, left: list[int] = left) -> Any:
                original(*given)
                left[0] -= 1
                if left[0] < 0:
                    raise Crash

            monkeypatch.setattr(module, where, crashing)
            try:
                load(whole, now)
            except Crash:
                crashes.append(now)
            else:
                break
        monkeypatch.setattr(module, where, original)
        whole.night(AS_OF, now)

    monkeypatch.setattr(loading, "_BATCH_FILES", 2)
    many_nights(whole, night)
    assert len(crashes) > 3
    assert every_table(whole) == undisturbed


def test_a_crash_in_a_full_rebuild_changes_nothing_in_the_end(
    whole: Warehouse, undisturbed: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    many_nights(whole, lambda now: whole.night(AS_OF, now))
    original, left = loading._account, [3]

    def crashing(*given: Any) -> None:
        original(*given)
        left[0] -= 1
        if left[0] == 0:
            raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(loading, "_BATCH_FILES", 1)
        patched.setattr(loading, "_account", crashing)
        with pytest.raises(Crash):
            whole.night(AS_OF, NOW, full=True)
    whole.night(AS_OF, NOW)
    assert every_table(whole) == undisturbed


def test_a_full_rebuild_after_a_crash_in_one_still_wants_every_file(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    last = warehouse.put("events/b.jsonl", text("b"))
    load(warehouse)

    def crash(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(loading, "_account", crash)
        with pytest.raises(Crash):
            load(warehouse, full=True)
    last.unlink()
    with pytest.raises(MissingFiles, match=r"events/b\.jsonl"):
        load(warehouse, full=True)


def test_batches_do_not_matter(
    whole: Warehouse, undisturbed: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_BATCH_FILES", 1)
    monkeypatch.setattr(reading, "_FLUSH_ROWS", 1)
    many_nights(whole, lambda now: whole.night(AS_OF, now))
    assert every_table(whole) == undisturbed


def test_a_linked_folder_is_read_and_links_in_circles_end(warehouse: Warehouse, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "sub"
    elsewhere.mkdir(parents=True)
    (elsewhere / "a.jsonl").write_text(text("a"))
    (elsewhere / "circle").symlink_to(tmp_path / "elsewhere")
    (warehouse.raw / "events").symlink_to(tmp_path / "elsewhere")
    warehouse = Warehouse(tmp_path / "data", warehouse={"raw_links": [str(tmp_path / "elsewhere")]})
    load(warehouse)
    assert [row["path"] for row in warehouse.query("FROM raw.files")] == ["events/sub/a.jsonl"]


def test_a_file_that_was_empty_is_no_rewritten_one(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", b"")
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a"))
    assert load(warehouse).warnings == []


# ---------------------------------------------------------------------------------------------------------
# Files that are being written


def test_a_half_written_line_is_no_reject_for_ever(warehouse: Warehouse) -> None:
    half = text("a", "b")[:-20]
    warehouse.put("events/a.jsonl", half)
    warehouse.night(AS_OF, NOW)
    assert warehouse.table("ops.rejects") == []
    warehouse.night(AS_OF, NOW)
    assert [(row["line"], row["reason"]) for row in warehouse.table("ops.rejects")] == [(2, "bad_json")]
    warehouse.put("events/a.jsonl", text("a", "b", "c"))
    warehouse.night(AS_OF, NOW)
    assert positions(warehouse) == [(1, 1, "a"), (2, 2, "b"), (2, 3, "c")]
    assert warehouse.table("ops.rejects") == []
    counts = [(row["records"], row["loaded"], row["rejected"]) for row in warehouse.table("ops.files")]
    assert counts == [(1, 1, 0), (2, 2, 0)]
    assert warehouse.loaded.warnings == []
    before = every_table(warehouse)
    warehouse.night(AS_OF, NOW, full=True)
    assert every_table(warehouse) == before


def test_a_line_that_is_half_written_for_several_nights_is_loaded_once(warehouse: Warehouse) -> None:
    whole = text("a", "b")
    for size in range(len(whole) - 30, len(whole) + 1, 10):
        warehouse.put("events/a.jsonl", whole[:size])
        load(warehouse)
    assert [company for _, _, company in positions(warehouse)] == ["a", "b"]
    assert warehouse.query("FROM raw.rejects WHERE NOT waits") == []


def test_a_bad_last_line_that_is_left_behind_stays_rejected(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl", text("a") + "{bad")
    load(warehouse)
    warehouse.put("events/a.jsonl", text("a") + "{bad, still\n" + text("c"))
    load(warehouse)
    assert positions(warehouse) == [(1, 1, "a"), (2, 3, "c")]
    rejects = warehouse.query("SELECT file_seq, line FROM raw.rejects WHERE NOT waits")
    assert rejects == [{"file_seq": 2, "line": 2}]


@pytest.mark.parametrize("last", ["null", "u", ".", "true"])
def test_what_no_record_can_go_on_with_does_not_wait(warehouse: Warehouse, last: str) -> None:
    """A word or a part of a number is cut off only where one may stand."""
    warehouse.put("events/a.jsonl", text("a") + '{"a": 1\n' + last)
    warehouse.night(AS_OF, NOW)
    assert (2, "bad_json") in [(row["line"], row["reason"]) for row in warehouse.table("ops.rejects")]


def test_a_file_that_is_replaced_between_being_numbered_and_being_read_is_loaded_next_time(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than before, so that a look at its size would not tell."""
    warehouse.put("events/a.jsonl", text("a"))
    warehouse.put("events/b.jsonl", text("b"))
    number = discovery.discover

    def then_replace(*args: Any) -> Any:
        found = number(*args)
        warehouse.put("events/a.jsonl", text("x", "y"))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(discovery, "discover", then_replace)
        load(warehouse)
    assert positions(warehouse) == [(2, 1, "b")]
    assert warehouse.query("SELECT path FROM raw.files WHERE error LIKE '%written to%'")
    load(warehouse)
    assert sorted(company for _, _, company in positions(warehouse)) == ["b", "x", "y"]


def test_a_file_that_grows_between_being_numbered_and_being_read_is_loaded_as_numbered(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.put("events/a.jsonl", text("a"))
    number = discovery.discover

    def then_grow(*args: Any) -> Any:
        found = number(*args)
        warehouse.put("events/a.jsonl", text("a", "b"))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(discovery, "discover", then_grow)
        load(warehouse)
    assert positions(warehouse) == [(1, 1, "a")]
    load(warehouse)
    assert positions(warehouse) == [(1, 1, "a"), (2, 2, "b")]


# ---------------------------------------------------------------------------------------------------------
# Names and what is no file


def test_what_is_no_file_is_an_unreadable_one(warehouse: Warehouse) -> None:
    """A pipe would hold up the night for ever."""
    warehouse.put("events/b.jsonl", text("b"))
    os.mkfifo(warehouse.raw / "events/a.jsonl")
    (warehouse.raw / "events/loop.jsonl").symlink_to("loop.jsonl")
    load(warehouse)
    assert positions(warehouse) == [(2, 1, "b")]
    errors = {row["path"]: row["error"] for row in warehouse.query("FROM raw.files WHERE error IS NOT NULL")}
    assert "not a file" in errors["events/a.jsonl"]
    assert "symbolic links" in errors["events/loop.jsonl"]


ODD_NAMES = (
    "with space.jsonl",
    "Ünïcödé ✓.jsonl",
    "quote'.jsonl",
    "'; DROP TABLE raw.files; --.jsonl",
    "star*.jsonl",
    "[a]?.jsonl",
    "$file {x} %s.jsonl",
    "line\nend.jsonl",
    "-rf.jsonl",
)


@pytest.mark.parametrize("records", [1, 4000])
def test_odd_names_are_names(warehouse: Warehouse, records: int) -> None:
    """With many records, the fast path reads them."""
    (warehouse.raw / "events").mkdir()
    names = [*(name.encode() for name in ODD_NAMES), b"not-utf-8-\xff\xfe.jsonl"]
    for number, name in enumerate(names):
        content = text(*(f"c{number}" for _ in range(records)))
        with open(os.fsencode(warehouse.raw / "events") + b"/" + name, "w") as file:
            file.write(content)
    load(warehouse)
    files = warehouse.query("SELECT path, loaded, error FROM raw.files ORDER BY file_seq")
    assert [(row["loaded"], row["error"]) for row in files] == [(records, None)] * len(names)
    assert {"events/" + name for name in ODD_NAMES} < {row["path"] for row in files}
    assert load(warehouse).new_files == 0


def test_a_folder_that_cannot_be_looked_into_is_named(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.put("events/locked/a.jsonl", text("a"))
    warehouse.put("events/b.jsonl", text("b"))
    scan = os.scandir

    def refuse(folder: Any) -> Any:
        if bytes(folder).endswith(b"locked"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    result = load(warehouse)
    assert positions(warehouse) == [(1, 1, "b")]
    assert ["events/locked" in warning for warning in result.warnings] == [True]
