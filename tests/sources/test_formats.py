"""Every format of every source: the same records in, the same rows out, each at its place.

Most tests only load (files to raw tables); what a night makes of the rows is tested elsewhere.
"""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from harness import Row, Warehouse

from dagster_project.pipeline import nightly
from dagster_project.pipeline.nightly import LoadResult
from dagster_project.readers.json_arrays import elements
from dagster_project.readers.json_text import Unfinished
from dagster_project.warehouse.database import open_warehouse

Json = dict[str, Any]
Place = tuple[int, int]
NOW = datetime(2026, 4, 1, 3, 30)

# Alike in every record (Parquet has one schema a file), and nothing that only some formats can say.
RECORDS: dict[str, list[Json]] = {
    "events": [
        {
            "request": {
                "time": f"2026-03-30T10:00:0{n}.5Z",
                "verb": "GET",
                "uri": f"https://api/v1/é{n}?key=k",
                "headers": {"X-Moesif-Transaction-Id": f"k{n}"},
            },
            "response": {"status": 200 + n},
            "company_id": "acme",
            "user_id": n,
            "session_token": "line\u2028separator \u0085 and \N{GRINNING FACE}",
            "weight": n,
        }
        for n in (1, 2, 3)
    ],
    "actions": [
        {"action_name": "clicked", "request": {"time": "2026-03-30T10:00:00Z"}, "user_id": f"u{n}"}
        for n in (1, 2, 3)
    ],
    "companies": [
        {
            "company_id": n,
            "session_token": f"t{n}",
            "company_domain": "acme.com",
            "modified_time": "2026-03-30 10:00",
            "metadata": {"plan.name": "pro", "deep": {"list": [1, 2], "on": True}},
            "campaign": {"utm_source": "x"},
        }
        for n in (1, 2, 3)
    ],
    "users": [{"user_id": f"u{n}", "company_id": "acme", "metadata": {"email": "A@b.c"}} for n in (1, 2, 3)],
    "features": [
        {
            "account_id": "acme",
            "user_id": f"u{n}",
            "feature_id": "a, \"quoted\" é\u2028 one",
            "timestamp": "2026-03-30T10:00:00Z",
            "total": n,
        }
        for n in (1, 2, 3)
    ],
}  # fmt: skip
TABLES = {
    "events": "api_calls",
    "actions": "actions",
    "companies": "company_updates",
    "users": "user_updates",
    "features": "feature_events",
    "crm/companies": "crm_companies",
    "crm/contacts": "crm_contacts",
}


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def lines(records: Sequence[Any], end: bytes = b"\n") -> bytes:
    return b"".join(dumps(record) + end for record in records)


def batches(records: Sequence[Json]) -> bytes:
    return lines([records[:2], [], records[2:]])


def array_over_lines(records: Sequence[Json]) -> bytes:
    return b"[\n" + b",\n".join(dumps(record) for record in records) + b"\n]\n"


def parquet(records: Sequence[Json]) -> bytes:
    return parquet_of(pa.Table.from_pylist(list(records)))


def parquet_of(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def gzip_of_two(data: bytes) -> bytes:
    return gzip.compress(data[:70], mtime=0) + gzip.compress(data[70:], mtime=0)


def zstd_of_three(data: bytes) -> bytes:
    """Three frames, cut within lines, the middle one empty, the last without its size."""
    open_ended = zstandard.ZstdCompressor(write_content_size=False)
    return zstandard.compress(data[:70]) + zstandard.compress(b"") + open_ended.compress(data[70:])


def csv_of(header: Sequence[str], rows: Sequence[Sequence[Any]], end: str = "\n") -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end)
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue().encode()


def xlsx_of(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    workbook = openpyxl.Workbook()
    assert workbook.active is not None
    for row in (header, *rows):
        workbook.active.append(list(row))
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def zip_of(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return file.getvalue()


def load(warehouse: Warehouse) -> LoadResult:
    with open_warehouse(warehouse.settings) as connection:
        return nightly.load_new_files(connection, warehouse.settings, now=NOW)


def keyed(records: Sequence[Json], key: str) -> list[Json]:
    """The same records with keys of their own, so that they are no duplicates of others."""
    return [record | {"transaction_id": f"{key}{n}"} for n, record in enumerate(records)]


def of_file(source: str, path: str | None) -> str:
    named = f"WHERE file_seq = (SELECT max(file_seq) FROM raw.files WHERE path = '{path}')" if path else ""
    return f"FROM raw.{TABLES[source]} {named} ORDER BY file_seq, line, element"


def rows_of(warehouse: Warehouse, source: str, path: str | None = None) -> list[Row]:
    """A source's rows (of one file), in the order of their places, without these
    and without their text, which is as it came."""
    rows = warehouse.query(f"SELECT * EXCLUDE (load_seq, file_seq, line, element) {of_file(source, path)}")
    for row in rows:
        row.pop("raw", None)
    return rows


def places_of(warehouse: Warehouse, source: str, path: str | None = None) -> list[Place]:
    rows = warehouse.query(f"SELECT line, element {of_file(source, path)}")
    return [(row["line"], row["element"]) for row in rows]


def file_of(warehouse: Warehouse, path: str) -> Row:
    found = [row for row in warehouse.query("FROM raw.files ORDER BY file_seq") if row["path"] == path]
    assert found, f"{path} is not in raw.files"
    return found[-1]


def rejects_of(warehouse: Warehouse) -> list[tuple[int, int, str]]:
    rows = warehouse.query("FROM raw.rejects ORDER BY file_seq, line, element")
    return [(row["line"], row["element"], row["reason"]) for row in rows]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


# ---------------------------------------------------------------------------------------------------------
# Same records, same rows

EACH_A_LINE = [(1, 1), (2, 1), (3, 1)]
ONE_ARRAY = [(1, 1), (1, 2), (1, 3)]
IN_BATCHES = [(1, 1), (1, 2), (3, 1)]
SHAPES: dict[str, tuple[Callable[[Sequence[Json]], bytes], list[Place]]] = {
    "lines": (lines, EACH_A_LINE),
    "array": (dumps, ONE_ARRAY),
    "array-over-lines": (array_over_lines, ONE_ARRAY),
    "batches": (batches, IN_BATCHES),
}
PACKINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", bytes),
    "gzip": (".gz", lambda data: gzip.compress(data, mtime=0)),
    "gzip of two members": (".gz", gzip_of_two),
    "zstd": (".zst", zstandard.compress),
    "zstd of three frames": (".zst", zstd_of_three),
}


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """The rows of RECORDS, read from JSON lines."""
    warehouse = Warehouse(tmp_path_factory.mktemp("wanted"))
    for source, records in RECORDS.items():
        warehouse.put(f"{source}/a.jsonl", records)
    load(warehouse)
    found = {source: rows_of(warehouse, source) for source in RECORDS}
    assert all(len(rows) == 3 for rows in found.values())
    assert found["events"][2]["session_token"] == RECORDS["events"][2]["session_token"]
    assert [row["weight"] for row in found["events"]] == [1, 2, 3]
    return found


@pytest.mark.parametrize("packing", PACKINGS)
def test_json_of_every_shape_and_packing_gives_the_same_rows_at_their_places(
    warehouse: Warehouse, wanted: dict[str, list[Row]], packing: str
) -> None:
    suffix, pack = PACKINGS[packing]
    files: dict[str, tuple[str, list[Place]]] = {}
    for source, records in RECORDS.items():
        for shape, (encode, places) in SHAPES.items():
            for kind in ("json", "jsonl", "ndjson"):
                path = f"{source}/sub/{shape}.{kind.upper()}{suffix}"
                warehouse.put(path, pack(encode(keyed(records, path))))
                files[path] = source, places
    load(warehouse)
    assert {row["path"] for row in warehouse.query("FROM raw.files")} == set(files)
    found: dict[str, list[Row]] = {path: [] for path in files}
    for source in RECORDS:
        query = f"SELECT path, r.* FROM raw.{TABLES[source]} AS r JOIN raw.files USING (file_seq) ORDER BY line, element"
        for row in warehouse.query(query):
            found[row.pop("path")].append(row)
    for path, (source, places) in files.items():
        assert [(row["line"], row["element"]) for row in found[path]] == places, path
        assert [{c: row[c] for c in wanted[source][0]} for row in found[path]] == wanted[source], path


def test_parquet_gives_the_same_rows_as_json(warehouse: Warehouse, wanted: dict[str, list[Row]]) -> None:
    for source, records in RECORDS.items():
        warehouse.put(f"{source}/a.parquet", parquet(records))
    load(warehouse)
    assert {source: rows_of(warehouse, source) for source in RECORDS} == wanted
    assert places_of(warehouse, "events") == EACH_A_LINE


def test_csv_gives_the_same_feature_rows_as_json(warehouse: Warehouse, wanted: dict[str, list[Row]]) -> None:
    header = tuple(RECORDS["features"][0])
    warehouse.put("features/a.csv", csv_of(header, [list(r.values()) for r in RECORDS["features"]]))
    load(warehouse)
    assert rows_of(warehouse, "features") == wanted["features"]
    assert places_of(warehouse, "features") == [(2, 1), (3, 1), (4, 1)]


# ---------------------------------------------------------------------------------------------------------
# Parquet


def event(**changes: Any) -> Json:
    return {"request": {"time": "2026-03-30T10:00:00Z"}, "company_id": "acme", **changes}


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("ms", "Europe/Paris")], ids=str
)
def test_parquet_timestamps_are_times_in_utc(warehouse: Warehouse, kind: pa.DataType) -> None:
    at = datetime(2026, 3, 30, 10, 0, 0, 123000, tzinfo=UTC if "tz=" in str(kind) else None)
    request = pa.array([{"time": at}], pa.struct([("time", kind)]))
    warehouse.put("events/a.parquet", parquet_of(pa.table({"request": request})))
    load(warehouse)
    assert [row["event_at"] for row in rows_of(warehouse, "events")] == [at.replace(tzinfo=None)]


def test_parquet_nanoseconds_are_cut_not_rounded(warehouse: Warehouse) -> None:
    nanoseconds = pa.array([1774864800_123456999], pa.timestamp("ns"))
    request = pa.StructArray.from_arrays([nanoseconds], ["time"])
    warehouse.put("events/a.parquet", parquet_of(pa.table({"request": request})))
    load(warehouse)
    assert rows_of(warehouse, "events")[0]["event_at"] == datetime(2026, 3, 30, 10, 0, 0, 123456)


def test_parquet_integers_of_any_width_are_ids_and_numbers(warehouse: Warehouse) -> None:
    request = [{"time": "2026-03-30T10:00Z"}] * 2
    columns = {
        "request": request,
        "company_id": pa.array([7, 2**63 - 1], pa.int64()),
        "user_id": pa.array([7, 2**64 - 1], pa.uint64()),
        "weight": pa.array([3, None], pa.int8()),
        "response": pa.array([{"status": 200}, {"status": None}], pa.struct([("status", pa.uint16())])),
    }
    warehouse.put("events/a.parquet", parquet_of(pa.table(columns)))
    load(warehouse)
    rows = rows_of(warehouse, "events")
    assert [row["company_id"] for row in rows] == ["7", str(2**63 - 1)]
    assert [row["user_id"] for row in rows] == ["7", str(2**64 - 1)]
    assert [row["weight"] for row in rows] == [3, 1]
    assert [row["status"] for row in rows] == [200, None]


def test_parquet_bytes_are_text_where_they_can_be(warehouse: Warehouse) -> None:
    columns = {"company_id": pa.array([b"acme", b"\xff"]), "request": [{"time": "2026-03-30T10:00Z"}] * 2}
    warehouse.put("events/a.parquet", parquet_of(pa.table(columns)))
    load(warehouse)
    assert [row["company_id"] for row in rows_of(warehouse, "events")] == ["acme", "/w=="]


def test_parquet_nan_becomes_null_and_is_listed(warehouse: Warehouse) -> None:
    updates = [
        {"company_id": "acme", "metadata": {"score": float("nan"), "list": [1.0, float("inf")]}},
        {"company_id": "beta", "metadata": {"score": 1.5, "list": [2.0]}},
    ]
    warehouse.put("companies/a.parquet", parquet(updates))
    load(warehouse)
    metadata = [json.loads(row["metadata"]) for row in rows_of(warehouse, "companies")]
    assert metadata == [{"score": None, "list": [1.0, None]}, {"score": 1.5, "list": [2.0]}]
    repairs = warehouse.query("SELECT DISTINCT line, element, what FROM raw.repairs")
    assert repairs == [{"line": 1, "element": 1, "what": "non_finite_number"}]
    assert file_of(warehouse, "companies/a.parquet")["repaired"] == 1


def test_parquet_headers_may_be_a_map(warehouse: Warehouse) -> None:
    headers = pa.array(
        [[("Host", "x"), ("X-Moesif-Transaction-ID", "k")]] * 2, pa.map_(pa.string(), pa.string())
    )
    request = pa.StructArray.from_arrays([pa.array(["2026-03-30T10:00Z"] * 2), headers], ["time", "headers"])
    warehouse.put("events/a.parquet", parquet_of(pa.table({"request": request})))
    load(warehouse)
    assert file_of(warehouse, "events/a.parquet")["duplicates"] == 1


def test_parquet_nulls_are_as_if_not_given(warehouse: Warehouse) -> None:
    warehouse.put("events/a.parquet", parquet([event(transaction_id=None, user_id=None), event()]))
    load(warehouse)
    assert [row["user_id"] for row in rows_of(warehouse, "events")] == [None, None]


def test_what_a_parquet_row_does_not_have_clears_nothing_and_a_null_in_a_map_does(
    warehouse: Warehouse,
) -> None:
    updates = [
        {"company_id": "a", "metadata": {"plan": "gold", "sub": {"x": 1}, "list": [{"p": 1}, {"q": 2}]}}
    ]
    updates.append({"company_id": "a", "metadata": {"size": 7, "sub": {"y": 2}}})
    warehouse.put("companies/a.parquet", parquet(updates))
    cleared = pa.table({"company_id": ["b", "b"], "metadata": pa.array(
        [[("plan", "gold"), ("seats", "7")], [("plan", None)]], pa.map_(pa.string(), pa.string())
    )})  # fmt: skip
    warehouse.put("companies/b.parquet", parquet_of(cleared))
    warehouse.night(now=NOW)
    assert {row["company_id"]: row["metadata"] for row in warehouse.table("marts.company_profiles")} == {
        "a": {"plan": "gold", "sub": {"x": 1, "y": 2}, "list": [{"p": 1}, {"q": 2}], "size": 7},
        "b": {"plan": None, "seats": "7"},
    }


def metadata_of(warehouse: Warehouse) -> list[Any]:
    return [row["metadata"] and json.loads(row["metadata"]) for row in rows_of(warehouse, "companies")]


def test_parquet_fields_that_another_row_has_are_not_given(warehouse: Warehouse) -> None:
    updates = [
        {"company_id": "acme", "metadata": {"plan": "pro", "limits": {"calls": 5}}},
        {
            "company_id": "acme",
            "metadata": {"seats": 2, "limits": {"users": 1}, "list": [{"a": 1}, {"b": 2}]},
        },
        {"company_id": "beta", "metadata": None},
    ]
    warehouse.put("companies/a.parquet", parquet(updates))
    load(warehouse)
    assert metadata_of(warehouse) == [update["metadata"] for update in updates]


def test_parquet_maps_may_be_empty_and_hold_nulls(warehouse: Warehouse) -> None:
    metadata = pa.array([[], [("plan", None), ("tier", "x")]], pa.map_(pa.string(), pa.string()))
    warehouse.put(
        "companies/a.parquet", parquet_of(pa.table({"company_id": ["a", "b"], "metadata": metadata}))
    )
    load(warehouse)
    assert metadata_of(warehouse) == [{}, {"plan": None, "tier": "x"}]


def test_parquet_json_columns_are_what_their_text_says(warehouse: Warehouse) -> None:
    texts = ['{"plan":"pro","old":null,"score":NaN}', "no JSON"]
    columns = {"company_id": ["a", "b"], "metadata": pa.array(texts, pa.json_())}
    warehouse.put("companies/a.parquet", parquet_of(pa.table(columns)))
    load(warehouse)
    assert metadata_of(warehouse) == [{"plan": "pro", "old": None, "score": None}, None]
    repairs = warehouse.query("SELECT line, what FROM raw.repairs ORDER BY line")
    assert [(r["line"], r["what"]) for r in repairs] == [(1, "non_finite_number"), (2, "metadata_not_object")]


def test_parquet_texts_are_the_objects_that_they_say_where_records_have_one(warehouse: Warehouse) -> None:
    call = '{"time":"2026-03-30T10:00:00Z","verb":"GET","uri":"https://a.example/x?key=1","headers":{"X-Moesif-Transaction-Id":"k"}}'
    calls = {"request": [call, call, "2026-03-30"], "response": ['{"status":404.0}', '{"status":500}', None]}
    warehouse.put("events/a.parquet", parquet_of(pa.table({**calls, "company_id": ["a", "b", "c"]})))
    texts = ['{"plan":"pro","n":12345678901234567890}', " {} ", "[1]", '{"plan":']
    updates = {
        "company_id": list("abcd"),
        "metadata": texts,
        "campaign": ['{"utm_source":"x"}', "", None, "{}"],
    }
    warehouse.put("companies/a.parquet", parquet_of(pa.table(updates)))
    load(warehouse)
    rows = warehouse.query("SELECT company_id, status, verb, route FROM raw.api_calls")
    assert rows == [
        {"company_id": "a", "status": 404, "verb": "GET", "route": "/x"}
    ]  # the second has its key
    assert [(r["line"], r["reason"]) for r in warehouse.table("raw.rejects")] == [(3, "bad_time")]
    assert metadata_of(warehouse) == [{"plan": "pro", "n": 12345678901234567890}, {}, None, None]
    repairs = warehouse.query("SELECT source, line, what FROM raw.repairs ORDER BY ALL")
    assert [tuple(r.values()) for r in repairs] == [
        ("companies", 2, "campaign_not_object"),
        ("companies", 3, "metadata_not_object"),
        ("companies", 4, "metadata_not_object"),
        ("events", 1, "whole_float"),
    ]


# ---------------------------------------------------------------------------------------------------------
# CRM exports

HEADER = ("Record ID", "Company Domain Name", "Company name", "Employees")
ROWS = (("1", "acme.com", "Acme, Inc.", "12"), ("2", "", 'The "B"', ""), ("3", "c.com", "two\nlines", "é"))
EXPORTS: dict[str, tuple[bytes, list[Place]]] = {
    "a.csv": (csv_of(HEADER, ROWS), [(2, 1), (3, 1), (4, 1)]),
    "a.xlsx": (xlsx_of(HEADER, ROWS), [(2, 1), (3, 1), (4, 1)]),
    "a.zip": (zip_of(a_csv=csv_of(HEADER, ROWS)), [(2, 1), (3, 1), (4, 1)]),
    "b.zip": (zip_of(sub__a_xlsx=xlsx_of(HEADER, ROWS)), [(2, 1), (3, 1), (4, 1)]),
    # two members, in the order of their names, whatever their order in the archive; other members are left out
    "c.zip": (
        zip_of(
            b_csv=csv_of(HEADER, ROWS[1:]), a_csv=csv_of(HEADER, ROWS[:1]), readme_txt=b"see a.csv and b.csv"
        ),
        [(2, 1), (4, 1), (5, 1)],
    ),
    "d.zip": (
        zip_of(b_csv=csv_of(HEADER, ROWS[1:]), a_xlsx=xlsx_of(HEADER, ROWS[:1])),
        [(2, 1), (4, 1), (5, 1)],
    ),
    "e.zip": (
        zip_of(b_xlsx=xlsx_of(HEADER, ROWS[1:]), a_csv=csv_of(HEADER, ROWS[:1]).rstrip(b"\n")),
        [(2, 1), (4, 1), (5, 1)],
    ),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_of_every_format_give_the_same_rows_at_their_places(warehouse: Warehouse, name: str) -> None:
    data, places = EXPORTS[name]
    warehouse.put(f"crm/companies/{name}", data)
    load(warehouse)
    rows = rows_of(warehouse, "crm/companies")
    assert [json.loads(row["properties"]) for row in rows] == [
        dict(zip(HEADER, row, strict=True)) for row in ROWS
    ]
    assert [(row["record_id"], row["match_key"], row["name"]) for row in rows] == [
        ("1", "acme.com", "Acme, Inc."),
        ("2", None, 'The "B"'),
        ("3", "c.com", "two\nlines"),
    ]
    assert places_of(warehouse, "crm/companies") == places


def test_internal_names_and_labels_mean_the_same(warehouse: Warehouse) -> None:
    warehouse.put("crm/contacts/labels.csv", csv_of(("Record ID", "Email"), [("1", " A@b.co ")]))
    warehouse.put("crm/contacts/names.csv", csv_of(("hs_object_id", "email"), [("1", " A@b.co ")]))
    load(warehouse)
    rows = rows_of(warehouse, "crm/contacts")
    assert [(row["record_id"], row["match_key"]) for row in rows] == [("1", "a@b.co")] * 2


def test_spreadsheet_numbers_and_times_are_as_a_csv_shows_them(warehouse: Warehouse) -> None:
    header = ("Record ID", "Big", "Share", "Active", "At", "Blank")
    row = (9007199254740991, 3.0, 0.25, True, datetime(2026, 3, 30, 10, 5), None)
    warehouse.put("crm/companies/a.xlsx", xlsx_of(header, [row]))
    load(warehouse)
    properties = json.loads(rows_of(warehouse, "crm/companies")[0]["properties"])
    wanted = ("9007199254740991", "3", "0.25", "true", "2026-03-30 10:05", "")
    assert properties == dict(zip(header, wanted, strict=True))


@pytest.mark.parametrize("packed", [False, True], ids=["xlsx", "zip"])
def test_hidden_sheets_are_left_out_and_named(warehouse: Warehouse, packed: bool) -> None:
    workbook = openpyxl.Workbook()
    assert workbook.active is not None
    for state, row in (
        ("visible", ROWS[0]),
        ("hidden", ROWS[1]),
        ("veryHidden", ("no", "table")),
        ("visible", ROWS[2]),
    ):
        sheet = workbook.create_sheet(f"{state} {row[0]}")
        sheet.sheet_state = state
        sheet.append(list(HEADER))
        sheet.append(list(row))
    workbook.remove(workbook.active)
    file = io.BytesIO()
    workbook.save(file)
    data = file.getvalue()
    warehouse.put(f"crm/companies/a.{'zip' if packed else 'xlsx'}", zip_of(a_xlsx=data) if packed else data)
    load(warehouse)
    rows = warehouse.query("SELECT record_id, line FROM raw.crm_companies ORDER BY line")
    assert [tuple(row.values()) for row in rows] == [("1", 2), ("3", 4)]
    noted = [(row["what"], row["detail"]) for row in warehouse.table("raw.repairs")]
    assert [what for what, _ in noted] == ["sheet_hidden"] * 2
    assert ["'hidden 2'" in noted[0][1], "'veryHidden no'" in noted[1][1]] == [True, True]


def test_empty_rows_of_a_spreadsheet_are_no_records(warehouse: Warehouse) -> None:
    warehouse.put("crm/companies/a.xlsx", xlsx_of(HEADER, [ROWS[0], (None,) * 4, ROWS[1]]))
    load(warehouse)
    assert places_of(warehouse, "crm/companies") == [(2, 1), (4, 1)]
    assert file_of(warehouse, "crm/companies/a.xlsx")["records"] == 2


# ---------------------------------------------------------------------------------------------------------
# Lines

BOM = b"\xef\xbb\xbf"


def test_blank_lines_and_carriage_returns_count_as_lines_but_are_no_records(warehouse: Warehouse) -> None:
    one = dumps(event())
    warehouse.put("events/a.jsonl", b"\r\n" + one + b"\r\n \t\r\n\n" + one + b"\n" + one)
    load(warehouse)
    assert places_of(warehouse, "events") == [(2, 1), (5, 1), (6, 1)]
    assert file_of(warehouse, "events/a.jsonl")["records"] == 3


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("events/a.jsonl", lines([event()])),
        ("events/a.json", array_over_lines([event()])),
        ("events/a.jsonl.gz", gzip.compress(BOM + lines([event()]), mtime=0)),
        ("features/a.csv", csv_of(tuple(RECORDS["features"][0]), [list(RECORDS["features"][0].values())])),
        ("crm/companies/a.csv", csv_of(HEADER, ROWS[:1])),
        ("crm/companies/a.zip", zip_of(a_csv=BOM + csv_of(HEADER, ROWS[:1]))),
    ],
)
def test_a_byte_order_mark_is_dropped(warehouse: Warehouse, name: str, data: bytes) -> None:
    source = name.rpartition("/")[0]
    warehouse.put(name, data if name.endswith(("gz", "zip")) else BOM + data)
    load(warehouse)
    assert rejects_of(warehouse) == []
    assert len(rows_of(warehouse, source)) == 1


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u0085", "\v", "\f", "\x1c", "\x1e"], ids=ascii)
def test_no_other_character_ends_a_line(warehouse: Warehouse, character: str) -> None:
    token = f"one{character}two"
    escape = character < " "  # JSON wants control characters escaped
    warehouse.put(
        "events/a.jsonl", b"".join(json.dumps(event(session_token=token), ensure_ascii=escape).encode() + b"\n"
                                   for _ in range(2)),
    )  # fmt: skip
    header = tuple(RECORDS["features"][0])
    values = list((RECORDS["features"][0] | {"feature_id": token}).values())
    unquoted = ",".join(header) + "\n" + ",".join(map(str, values)) + "\n"
    warehouse.put("features/a.csv", unquoted + unquoted.split("\n", 1)[1])
    load(warehouse)
    assert rejects_of(warehouse) == []
    assert [row["session_token"] for row in rows_of(warehouse, "events")] == [token] * 2
    assert places_of(warehouse, "events") == [(1, 1), (2, 1)]
    assert [row["feature_id"] for row in rows_of(warehouse, "features")] == [token] * 2
    assert places_of(warehouse, "features") == [(2, 1), (3, 1)]


def feature_row(user: str, feature: str = "f") -> str:
    return f"acme,{user},{feature},2026-03-30,1"


FEATURE_HEADER = "account_id,user_id,feature_id,timestamp,total"


def test_a_csv_row_stands_at_the_line_on_which_it_starts(warehouse: Warehouse) -> None:
    text = "\r\n".join(
        [FEATURE_HEADER, feature_row("u1", '"a\r\nb\n\nc"'), feature_row("u2"), "", feature_row("u3")]
    )
    warehouse.put("features/a.csv", text)
    load(warehouse)
    assert places_of(warehouse, "features") == [(2, 1), (6, 1), (8, 1)]
    assert rows_of(warehouse, "features")[0]["feature_id"] == "a\r\nb\n\nc"


def test_a_line_of_spaces_in_a_csv_is_no_record(warehouse: Warehouse) -> None:
    warehouse.put("features/a.csv", "\n".join([FEATURE_HEADER, feature_row("u1"), "  ", feature_row("u2")]))
    load(warehouse)
    assert rejects_of(warehouse) == []
    assert places_of(warehouse, "features") == [(2, 1), (4, 1)]


def test_a_lone_carriage_return_in_a_csv_cell_is_text(warehouse: Warehouse) -> None:
    warehouse.put("features/a.csv", "\n".join([FEATURE_HEADER, feature_row("u1", "a\rb"), feature_row("u2")]))
    load(warehouse)
    assert file_of(warehouse, "features/a.csv")["error"] is None
    assert [row["feature_id"] for row in rows_of(warehouse, "features")] == ["a\rb", "f"]


@pytest.mark.parametrize("behind", [0, 30])
def test_a_csv_quote_that_is_not_closed_swallows_nothing(warehouse: Warehouse, behind: int) -> None:
    rows = [FEATURE_HEADER, feature_row("u1"), feature_row("u2", '"f'), *[feature_row("u3")] * behind]
    warehouse.put("features/a.csv", "\n".join(rows))
    load(warehouse)
    assert "line 3" in file_of(warehouse, "features/a.csv")["error"]
    assert rows_of(warehouse, "features") == rejects_of(warehouse) == []


def test_a_bad_line_is_rejected_at_its_place_and_the_others_are_loaded(warehouse: Warehouse) -> None:
    data = [dumps(event()), b"{", b"[1, null, " + dumps(event()) + b"]", b"[{},", b'"text"', dumps(event())]
    warehouse.put("events/a.jsonl", b"\n".join(data))
    load(warehouse)
    assert places_of(warehouse, "events") == [(1, 1), (3, 3), (6, 1)]
    assert rejects_of(warehouse) == [
        (2, 1, "bad_json"),
        (3, 1, "not_object"),
        (3, 2, "not_object"),
        (4, 1, "bad_json"),
        (5, 1, "not_object"),
    ]
    assert file_of(warehouse, "events/a.jsonl")["records"] == 8


def test_elements_of_an_array_over_lines_are_rejected_one_by_one(warehouse: Warehouse) -> None:
    warehouse.put("events/a.json", array_over_lines([event(), {"request": {}}, event()]))
    load(warehouse)
    assert places_of(warehouse, "events") == [(1, 1), (1, 3)]
    assert rejects_of(warehouse) == [(1, 2, "bad_time")]


@pytest.mark.parametrize("digits", ["9007199254740993", str(2**63), str(2**64), "1" + "0" * 40])
def test_a_long_integer_id_is_the_same_in_every_shape(warehouse: Warehouse, digits: str) -> None:
    body = (
        f'{{"company_id": {digits}, "request": {{"time": "2026-03-30T10:00Z", '
        f'"headers": {{"x-moesif-transaction-id": {digits}}}}}}}'
    )
    warehouse.put("events/a.jsonl", f"{body}\n")
    warehouse.put("events/b.jsonl", f"[{body}]\n")
    warehouse.put("events/c.json", f"[\n{body}\n]")
    load(warehouse)
    assert [row["company_id"] for row in rows_of(warehouse, "events")] == [digits]
    assert [file_of(warehouse, f"events/{n}")["duplicates"] for n in ("b.jsonl", "c.json")] == [1, 1]


# ---------------------------------------------------------------------------------------------------------
# Unreadable files

LINES = lines(RECORDS["events"])


def export(name: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    return (*HEADER, "Of"), [(*row, name) for row in ROWS]


def broken_files() -> dict[str, tuple[bytes, bytes]]:
    """path: (what cannot be read, what it is in the end). All hold three records of their own."""

    def events(name: str) -> list[Json]:
        return keyed(RECORDS["events"], name)

    def packed(name: str, pack: Callable[[bytes], bytes], damage: Callable[[bytes], bytes]) -> None:
        whole = pack(lines(events(name)))
        found[f"events/{name}"] = damage(whole), whole

    found: dict[str, tuple[bytes, bytes]] = {}
    packed("cut.jsonl.gz", gzip.compress, lambda data: data[:-12])
    packed("cut-in-head.json.gz", gzip.compress, lambda data: data[:5])
    packed("length.jsonl.gz", gzip.compress, lambda data: data[:-4] + b"1234")
    packed("garbage.ndjson.gz", gzip.compress, lambda _: b"no gzip")
    packed("second.ndjson.gz", gzip.compress, lambda data: data + b"garbage")
    packed("cut.jsonl.zst", zstandard.compress, lambda data: data[:-9])
    packed("cut-in-head.jsonl.zst", zstandard.compress, lambda data: data[:3])
    packed("cut-after-frame.json.zst", zstandard.compress, lambda data: data + data[:6])
    packed("garbage.jsonl.zst", zstandard.compress, lambda _: b"no zstandard")
    for name, cut in (("no-end", 3), ("no-end-in-a-value", 30), ("no-end-of-the-first", 700)):
        whole = array_over_lines(events(name))
        found[f"events/{name}.json"] = whole[:-cut], whole
    for name, cut in (("no-end", 3), ("no-end-of-a-line", 0), ("no-end-of-the-first", 700)):
        whole = array_over_lines(events(f"{name}.jsonl"))
        found[f"events/{name}.jsonl"] = whole[: -cut or whole.rindex(b"\n", 0, -3) + 1], whole
    whole = dumps(events("no-end.ndjson"))
    found["events/no-end.ndjson"] = whole[:-9], whole
    whole = dumps(events("no-end.json.gz"))
    found["events/no-end.json.gz"] = gzip.compress(whole[:-1]), gzip.compress(whole)
    for name, damage in {
        "garbage": b"PAR1 no parquet PAR1",
        "empty": b"",
        "cut": parquet(events("cut.parquet"))[:-20],
    }.items():
        found[f"events/{name}.parquet"] = damage, parquet(events(f"{name}.parquet"))
    for name in ("garbage", "cut", "cut-in-half", "member"):
        header, rows = export(name + ".xlsx")
        whole = xlsx_of(header, rows)
        damaged = {"garbage": b"no sheet", "cut": whole[:-100], "cut-in-half": whole[: len(whole) // 2]}
        found[f"crm/companies/{name}.xlsx"] = damaged.get(name, zip_of(a_xml=name.encode())), whole
    for name in ("garbage", "cut", "checksum", "no-table", "garbage-inside"):
        header, rows = export(name + ".zip")
        table = csv_of(header, rows)
        whole = zip_of(a_csv=table)
        damaged = {
            "garbage": b"no archive",
            "cut": whole[:-30],
            "checksum": whole[:60] + b"\xff\xff" + whole[62:],
            "no-table": zip_of(readme_txt=b"no table"),
            "garbage-inside": zip_of(a_csv=table, b_xlsx=b"no sheet"),
        }
        found[f"crm/companies/{name}.zip"] = damaged[name], whole
    return found


def test_of_unreadable_files_nothing_is_loaded_until_they_are_whole(warehouse: Warehouse) -> None:
    files = broken_files()
    for path, (broken, _) in files.items():
        warehouse.put(path, broken)
    warehouse.put("users/other.jsonl", RECORDS["users"])
    numbers: dict[str, int] = {}
    for _ in range(2):
        result = load(warehouse)
        unreadable = [line for summary in result.summaries.values() for line in summary.unreadable]
        for path in files:
            listed = file_of(warehouse, path)
            assert listed["error"], path
            assert (listed["records"] or 0, listed["loaded"] or 0) == (0, 0), path
            assert numbers.setdefault(path, listed["file_seq"]) == listed["file_seq"], path
            assert [line for line in unreadable if line.startswith(f"{path}: ")], path
        assert rows_of(warehouse, "events") == rows_of(warehouse, "crm/companies") == []
        assert rejects_of(warehouse) == []
        assert len(rows_of(warehouse, "users")) == 3

    for path, (_, whole) in files.items():
        warehouse.put(path, whole)
    result = load(warehouse)
    assert [line for summary in result.summaries.values() for line in summary.unreadable] == []
    for path in files:
        listed = file_of(warehouse, path)
        assert (listed["error"], listed["records"], listed["loaded"]) == (None, 3, 3), path
        assert len(rows_of(warehouse, path.rpartition("/")[0], path)) == 3, path


@pytest.mark.parametrize("first", ['[{"company_id":"x"},{"comp', "[", "[1,]", '[{"company_id":"x"},'])
def test_lines_behind_a_line_that_only_begins_an_array_are_loaded(warehouse: Warehouse, first: str) -> None:
    """JSON lines whose first batch was cut off, say: the line is wrong, the file is not."""
    warehouse.put("events/a.jsonl", first.encode() + b"\n" + LINES)
    load(warehouse)
    assert (file_of(warehouse, "events/a.jsonl")["loaded"], len(rejects_of(warehouse))) == (3, 1)


def test_an_array_ends_too_early_wherever_it_is_cut() -> None:
    text = (
        '[{"a":1.5e+3,"b":[true,false,null,NaN,-Infinity,"x\\u00e9\\n\\"y"]},\n{"c":"\u00fc"}, 12 ]'.encode()
    )
    assert len(list(elements(io.BytesIO(text).read))) == 3
    for size in range(1, len(text)):
        with pytest.raises(Unfinished):
            list(elements(io.BytesIO(text[:size]).read))


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(LINES),
        zstandard.compress(LINES),
        parquet(RECORDS["events"]),
        LINES.decode().encode("utf-16"),
        b"\x89PNG\r\n",
    ],
    ids=["gzip", "zstandard", "parquet", "utf-16", "png"],
)
@pytest.mark.parametrize("path", ["events/a.jsonl", "events/a.json", "features/a.csv", "crm/companies/a.csv"])
def test_a_file_that_is_plainly_something_else_is_unreadable(
    warehouse: Warehouse, path: str, data: bytes
) -> None:
    warehouse.put(path, data)
    load(warehouse)
    assert "wrong format" in file_of(warehouse, path)["error"]
    assert rejects_of(warehouse) == []


def test_hidden_members_of_an_archive_are_no_tables(warehouse: Warehouse) -> None:
    """macOS puts such a twin beside each file."""
    twin = b"\x00\x05\x16\x07\n\n"
    members = {
        "A.csv": csv_of(HEADER, ROWS[:1]),
        "__MACOSX/._A.csv": twin,
        "b.csv": csv_of(HEADER, ROWS[1:]),
        ".b.csv": twin,
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    warehouse.put("crm/companies/a.zip", packed.getvalue())
    load(warehouse)
    assert places_of(warehouse, "crm/companies") == [(2, 1), (4, 1), (5, 1)]
    assert rejects_of(warehouse) == []


def test_of_a_header_that_stands_twice_both_cells_are_kept(warehouse: Warehouse) -> None:
    warehouse.put("crm/contacts/a.csv", "Record ID,Email,Note,Note,Email\n7,p@q.example,one,two,\n")
    load(warehouse)
    (row,) = warehouse.query("FROM raw.crm_contacts")
    assert row["match_key"] == "p@q.example"
    assert json.loads(row["properties"]) == {
        "Record ID": "7", "Email": "p@q.example", "Note": "one", "Note (2)": "two", "Email (2)": ""
    }  # fmt: skip


def test_a_name_that_is_blank_once_it_is_cut_is_missing(warehouse: Warehouse) -> None:
    used = {"account_id": "a", "user_id": "u", "feature_id": "f", "timestamp": "2026-03-30T10:00:00Z"}
    blank = " " * 64 + "x"
    warehouse.put(
        "features/a.jsonl", [{**used, "feature_id": blank}, {**used, "module_id": blank, "product_id": blank}]
    )
    load(warehouse)
    assert rejects_of(warehouse) == [(1, 1, "missing_id")]
    assert [(row["module_id"], row["product_id"]) for row in rows_of(warehouse, "features")] == [("", "")]


def test_a_night_lists_the_unreadable_and_goes_on_with_the_others(warehouse: Warehouse) -> None:
    warehouse.put("events/a.jsonl.gz", gzip.compress(LINES)[:-12])
    warehouse.put("events/b.jsonl", LINES)
    warehouse.night(now=NOW)
    listed = {row["path"]: (bool(row["error"]), row["loaded"]) for row in warehouse.table("ops.files")}
    assert listed == {"events/a.jsonl.gz": (True, 0), "events/b.jsonl": (False, 3)}
    failed = [check.name for check in warehouse.built["ops.files"].checks if not check.passed]
    assert failed == ["files_are_readable"]
    assert warehouse.one("marts.company_profiles")["events"] == 3

    warehouse.put("events/a.jsonl.gz", gzip.compress(b"\n" + LINES))
    warehouse.night(now=NOW)
    assert warehouse.one("marts.company_profiles")["events"] == 3, "the same events twice"
    assert all(check.passed for check in warehouse.built["ops.files"].checks)


def forbid(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """No permission to open a file, also for root."""
    opened = Path.open

    def deny(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self == file:
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", deny)


@pytest.mark.parametrize("path", ["events/a.jsonl", "events/a.json.gz", "events/a.parquet"])
def test_a_file_without_permission_is_listed_and_loaded_once_it_may_be_read(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    data = parquet(RECORDS["events"]) if path.endswith("parquet") else LINES
    file = warehouse.put(path, gzip.compress(data) if path.endswith("gz") else data)
    with monkeypatch.context() as patched:
        forbid(patched, file)
        for _ in range(2):
            load(warehouse)
            listed = file_of(warehouse, path)
            assert "denied" in listed["error"]
            assert rows_of(warehouse, "events") == []
    load(warehouse)
    assert len(rows_of(warehouse, "events")) == 3
    now_read = file_of(warehouse, path)
    assert (now_read["file_seq"], now_read["error"]) == (listed["file_seq"], None)


def test_a_rewritten_file_without_permission_is_listed_and_loaded_once_it_may_be_read(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.put("events/b.jsonl.gz", gzip.compress(LINES)[:-12])
    file = warehouse.put("events/a.jsonl", LINES)
    load(warehouse)
    warehouse.put("events/a.jsonl", b"\n" + LINES.replace(b'"k', b'"again'))
    with monkeypatch.context() as patched:
        forbid(patched, file)
        load(warehouse)
        errors = {row["path"] for row in warehouse.query("FROM raw.files WHERE error IS NOT NULL")}
        assert errors == {"events/a.jsonl", "events/b.jsonl.gz"}, "a rewritten file that cannot be opened"
    load(warehouse)
    assert len(rows_of(warehouse, "events")) == 6


@pytest.mark.parametrize(
    "name",
    [
        "events/a.jsonl",
        "events/a.json",
        "events/a.jsonl.gz",
        "events/a.jsonl.zst",
        "features/a.csv",
        "crm/companies/a.csv",
    ],
)
def test_an_empty_file_has_no_records_and_no_error(warehouse: Warehouse, name: str) -> None:
    warehouse.put(name, b"")
    load(warehouse)
    listed = file_of(warehouse, name)
    assert (listed["records"], listed["error"]) == (0, None)


def test_a_dangling_link_is_listed_with_its_error(warehouse: Warehouse) -> None:
    (warehouse.raw / "events").mkdir()
    (warehouse.raw / "events/gone.jsonl").symlink_to("nowhere.jsonl")
    load(warehouse)
    assert file_of(warehouse, "events/gone.jsonl")["error"]


def test_a_name_that_is_not_utf8_stops_nothing(warehouse: Warehouse) -> None:
    (warehouse.raw / "events").mkdir()
    name = os.fsencode(warehouse.raw / "events") + b"/caf\xe9.jsonl"
    with open(name, "wb") as file:
        file.write(LINES)
    load(warehouse)
    assert len(rows_of(warehouse, "events")) == 3


# ---------------------------------------------------------------------------------------------------------
# Unknown formats

UNKNOWN = [
    "a.jsonl",
    "crm/a.csv",
    "crm/companies/a.jsonl",
    "crm/deals/a.csv",
    "events/.hidden.jsonl",
    "events/a.csv",
    "events/a.jsonl.bz2",
    "events/a.jsonl.gz.part",
    "events/a.txt",
    "events/jsonl",
    "features/a.xlsx",
    "other/a.jsonl",
]


def test_files_of_unknown_folder_or_format_are_named_and_get_no_number(warehouse: Warehouse) -> None:
    for path in UNKNOWN:
        warehouse.put(path, LINES)
    warehouse.put("events/z.jsonl", LINES)
    result = load(warehouse)
    assert sorted(result.unknown) == UNKNOWN
    assert [(row["file_seq"], row["path"]) for row in warehouse.query("FROM raw.files")] == [
        (1, "events/z.jsonl")
    ]


def test_reading_leaves_raw_as_it_was(warehouse: Warehouse) -> None:
    files = [warehouse.put(path, data) for path, (data, _) in broken_files().items()]
    files.append(warehouse.put("events/a.txt", b"?"))

    def state() -> list[tuple[Any, ...]]:
        found = sorted(p for p in warehouse.raw.rglob("*") if p.is_file())
        return [(p, p.read_bytes(), p.stat().st_mtime_ns) for p in found]

    before = state()
    load(warehouse)
    assert state() == before
    assert len(before) == len(files)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_file_that_was_unpacked_but_not_renamed_says_so(warehouse: Warehouse, ending: str) -> None:
    warehouse.put(f"events/a.jsonl{ending}", LINES)
    load(warehouse)
    assert f"take {ending} off its name" in file_of(warehouse, f"events/a.jsonl{ending}")["error"]
