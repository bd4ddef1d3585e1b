"""Hostile and broken files: no exception leaves a night, every record is accounted for, time and memory are bounded."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import gzip
import io
import json
import resource
import time
import zipfile
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from harness import Row, Warehouse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soak import budget

from dagster_project.pipeline import nightly
from dagster_project.readers import table_records
from dagster_project.readers.files import format_of
from dagster_project.readers.redact import redact
from dagster_project.sources import typed
from dagster_project.warehouse.database import open_warehouse

NOW = datetime(2026, 4, 1, 3, 30)
CALL = {"request": {"time": "2026-03-30T10:00:00Z"}, "company_id": "acme"}
LINE = json.dumps(CALL).encode() + b"\n"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


def load(warehouse: Warehouse, *, full: bool = False) -> dict[str, Row]:
    """A load; what became of each file."""
    with open_warehouse(warehouse.settings) as connection:
        nightly.load_new_files(connection, warehouse.settings, now=NOW, full=full)
    return {row["path"]: row for row in warehouse.query("FROM raw.files ORDER BY file_seq")}


def xlsx(*cells: tuple[int, int, str]) -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row, column, text in cells:
        book.active.cell(row, column).value = text
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def archive(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return data.getvalue()


BOMBS: dict[str, tuple[str, bytes]] = {
    "gzip": ("events/a.jsonl.gz", gzip.compress(b" " * 150_000_000, 9)),
    "zstd": ("events/a.jsonl.zst", zstandard.compress(b" " * 150_000_000)),
    "zip": ("crm/companies/a.zip", archive(**{"a.csv": b"Record ID\n" + b"x" * 150_000_000})),
    "a sheet of two cells": ("crm/companies/a.xlsx", xlsx((1, 1, "Record ID"), (1048576, 16384, "x"))),
    "a sheet in a zip": (
        "crm/contacts/a.zip",
        archive(**{"a.xlsx": xlsx((1, 1, "Record ID"), (1048576, 16384, "x"))}),
    ),
    "zstd with a huge window": (
        "events/a.jsonl.zst",
        zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=30))
        .compressobj()
        .compress(LINE)
        + b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00",
    ),
    "gzip with something behind": ("events/a.jsonl.gz", gzip.compress(LINE) + b"garbage"),
    "another workbook": ("crm/companies/a.xlsx", archive(**{"content.xml": b"<x/>"})),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_an_unreadable_file_and_the_others_are_loaded(warehouse: Warehouse, name: str) -> None:
    path, data = BOMBS[name]
    warehouse.put(path, data)
    warehouse.put("events/fine.jsonl", LINE)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    files = load(warehouse)
    assert files[path]["error"]
    assert files[path]["records"] is None
    assert files["events/fine.jsonl"]["loaded"] == 1
    assert time.monotonic() - started < 30
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 400


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_nothing_of_a_packed_file_that_is_cut_is_loaded(warehouse: Warehouse, ending: str) -> None:
    """Its first half unpacks to more bytes than the file has."""
    lines = b"".join(json.dumps(CALL | {"transaction_id": f"t{n}"}).encode() + b"\n" for n in range(20_000))
    whole = gzip.compress(lines) if ending == "gz" else zstandard.compress(lines)
    warehouse.put(f"events/a.jsonl.{ending}", whole[: len(whole) * 3 // 4])
    files = load(warehouse)
    assert "end" in files[f"events/a.jsonl.{ending}"]["error"]
    assert warehouse.query("FROM raw.api_calls") == []
    warehouse.put(f"events/a.jsonl.{ending}", whole)
    load(warehouse)
    assert len(warehouse.query("FROM raw.api_calls")) == 20_000


def test_names_in_an_archive_lead_nowhere(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = b"Record ID,Company name\n%d,x\n"
    outside = tmp_path / "outside.csv"
    outside.write_bytes(rows % 99)
    link = zipfile.ZipInfo("link.csv")
    link.external_attr = 0o120777 << 16
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr("../../../escaped.csv", rows % 1)
        packed.writestr("/absolute.csv", rows % 2)
        packed.writestr(link, str(outside))
    warehouse.put("crm/companies/a.zip", data.getvalue())
    load(warehouse)
    found = {row["record_id"] for row in warehouse.query("FROM raw.crm_companies")}
    assert found == {"1", "2"}
    assert not list(tmp_path.rglob("escaped.csv"))


DEEP = 100_000
NASTY_VALUES = {
    "deep": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "wide": "{" + ",".join(f'"k{n}":{n}' for n in range(100_000)) + "}",
    "a long number": "1" * 1_000_000,
    "a long fraction": "0." + "1" * 1_000_000,
    "a long exponent": "1e" + "9" * 1_000_000,
    "a long text": '"' + "x" * 2_000_000 + '"',
    "escapes": '"' + '\\"' * 500_000 + '"',
}


@pytest.mark.parametrize("source", ["events", "companies"])
@pytest.mark.parametrize("name", NASTY_VALUES)
def test_nasty_values_spoil_neither_their_file_nor_the_night(
    warehouse: Warehouse, name: str, source: str
) -> None:
    record = json.dumps({**CALL, "metadata": {"v": 0}})
    nasty = record.replace('{"v": 0}', '{"v": ' + NASTY_VALUES[name] + "}")
    warehouse.put(f"{source}/a.jsonl", f"{record}\n{nasty}\n{record}\n")
    warehouse.put(f"{source}/b.json", f"[{record},\n{nasty},\n{record}]")
    started = time.monotonic()
    for file in load(warehouse).values():
        assert (file["error"], file["records"], file["loaded"]) == (None, 3, 3)
    assert time.monotonic() - started < 30


HOSTILE_TEXTS = {
    "backslashes": "cookie " + "\\" * 1_000_000,
    "open strings": 'cookie "' + '\\"' * 500_000,
    "spaces": 'cookie: ["a"' + " " * 1_000_000,
    "names": "cookie" * 150_000,
    "values": '"value":"' * 100_000 + "cookie",
}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_hostile_text_is_redacted_in_time(name: str) -> None:
    started = time.monotonic()
    assert len(redact(HOSTILE_TEXTS[name])) <= 64 * 1024
    assert time.monotonic() - started < 10


SQL = ["'; DROP TABLE raw.files; --", '"', "$1", "{x}", "%s", "a\nb", "\\", "x' OR '1'='1"]


def test_sql_in_names_ids_and_keys_is_text(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "it's data")
    for number, text in enumerate(SQL):
        name = text.replace("/", "_").replace("\n", "_")
        warehouse.put(
            f"events/{name}.jsonl", [{**CALL, "company_id": text, "user_id": text, "session_token": text}]
        )
        warehouse.put(
            f"companies/{name}.jsonl",
            [{"company_id": text, "session_token": text, "metadata": {text: text, "n": number}}],
        )
        warehouse.put(
            f"features/{name}.jsonl",
            [
                {
                    "account_id": text,
                    "user_id": text,
                    "feature_id": text,
                    "timestamp": "2026-03-30",
                    "total": 1,
                }
            ],
        )
    warehouse.night(date(2026, 3, 31), NOW)
    assert {row["company_id"] for row in warehouse.table("marts.company_profiles")} == set(SQL)
    assert {row["feature_id"] for row in warehouse.table("marts.daily_feature_totals")} == set(SQL)
    keys = {row["key"] for row in warehouse.table("marts.metadata_schema")}
    assert keys == {text.replace(".", "_") for text in SQL} | {"n"}


PARQUET_ROWS: dict[str, pa.Array] = {
    "decimal": pa.array([Decimal("1" * 70)], pa.decimal256(76, 0)),
    "duration": pa.array([timedelta(days=1)], pa.duration("s")),
    "time": pa.array([1], pa.time64("us")),
    "far date": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
    "dictionary": pa.array(["a"]).dictionary_encode(),
    "bytes": pa.array([b"\xff\x00"]),
    "large list": pa.array([[1, None]], pa.large_list(pa.int64())),
    "nulls": pa.nulls(1),
    "nan": pa.array([float("nan")]),
    "map": pa.array([[(1, "x")]], pa.map_(pa.int64(), pa.string())),
    "wrong request": pa.array(["text"]),
}


@pytest.mark.parametrize("name", PARQUET_ROWS)
@pytest.mark.parametrize("column", ["company_id", "request", "metadata", "weight"])
def test_parquet_of_any_schema_is_accounted_for(warehouse: Warehouse, name: str, column: str) -> None:
    columns: dict[str, Any] = {
        "request": pa.array([{"time": "2026-03-30T10:00:00Z"}]),
        column: PARQUET_ROWS[name],
    }
    data = io.BytesIO()
    pq.write_table(pa.table(columns), data)
    warehouse.put("events/a.parquet", data.getvalue())
    warehouse.put("companies/a.parquet", data.getvalue())
    for file in load(warehouse).values():
        assert file["error"] or file["records"] == 1 == file["loaded"] + file["rejected"]


def test_wide_and_odd_csv_is_accounted_for(warehouse: Warehouse) -> None:
    header = "account_id,user_id,feature_id,timestamp"
    row = "a,u,f,2026-03-30"
    wide = ",".join(f"c{n}" for n in range(100_000))
    warehouse.put("features/wide.csv", f"{header},{wide}\n{row},{wide}\n")
    warehouse.put(
        "features/nul.csv", f"{header}\na\0,u,f,2026-03-30\n\xff,u,f,2026-03-30\n".encode("latin-1")
    )
    warehouse.put("features/open.csv", f'{header}\n{row}\n"{row}\n{row}\n')
    files = load(warehouse)
    assert {path: (f["loaded"], f["rejected"], bool(f["error"])) for path, f in files.items()} == {
        "features/nul.csv": (2, 0, False),
        "features/open.csv": (None, None, True),
        "features/wide.csv": (1, 0, False),
    }
    assert "line 3: a quote" in files["features/open.csv"]["error"]
    repaired = warehouse.query("SELECT path, line FROM raw.repairs JOIN raw.files USING (file_seq)")
    assert {(row["path"], row["line"]) for row in repaired} == {
        ("features/nul.csv", 2),
        ("features/nul.csv", 3),
    }


# ---------------------------------------------------------------------------------------------------------
# At random


def seeds() -> dict[str, list[bytes]]:
    """A valid file of each format."""
    table = io.BytesIO()
    pq.write_table(pa.table({"request": [{"time": "2026-03-30T10:00:00Z"}], "company_id": ["a"]}), table)
    lines = LINE * 3
    export = b'Record ID,Company name,Company Domain Name\n1,Acme,acme.com\n2,"B\nc",b.com\n'
    feature = b"account_id,user_id,feature_id,timestamp,total\na,u,f,2026-03-30,1\na,u,g,2026-03-30,2\n"
    array = b"[" + LINE + b"," + LINE + b"]"
    return {
        "events/a.jsonl": [lines, array, b""],
        "events/a.json": [array, lines],
        "events/a.jsonl.gz": [gzip.compress(lines, mtime=0)],
        "events/a.json.zst": [zstandard.compress(array)],
        "events/a.parquet": [table.getvalue()],
        "companies/a.jsonl": [lines],
        "users/a.json": [array],
        "actions/a.jsonl": [lines],
        "features/a.csv": [feature],
        "crm/companies/a.csv": [export],
        "crm/companies/b.csv.gz": [gzip.compress(export, mtime=0)],
        "crm/companies/c.csv.zst": [zstandard.compress(export)],
        "crm/companies/a.xlsx": [xlsx((1, 1, "Record ID"), (2, 1, "1"))],
        "crm/contacts/a.zip": [
            archive(**{"a.csv": export}),
            archive(**{"b.xlsx": xlsx((1, 1, "Record ID"))}),
        ],
    }


SEEDS = seeds()
edits = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 20),
        st.binary(max_size=8) | st.sampled_from([b"\n", b'"', b"[", b"{"]),
    ),
    max_size=4,
)


@st.composite
def broken_files(draw: st.DrawFn) -> dict[str, bytes]:
    """Files of some formats, changed here and there, or bytes at random."""
    files = {}
    for path in draw(st.lists(st.sampled_from(sorted(SEEDS)), min_size=1, max_size=5, unique=True)):
        data = draw(st.sampled_from(SEEDS[path]) | st.binary(max_size=200))
        for share, length, put in draw(edits):
            at = int(share * len(data))
            data = data[:at] + put + data[at + length :]
        files[path] = data
    return files


ACCOUNT = (
    "SELECT file_seq, path, records, loaded, duplicates, rejected, error FROM raw.files ORDER BY file_seq"
)
TABLES = (
    "api_calls",
    "actions",
    "company_updates",
    "user_updates",
    "feature_events",
    "crm_companies",
    "crm_contacts",
)


def rows(warehouse: Warehouse) -> dict[str, list[str]]:
    return {
        table: sorted(
            str({k: v for k, v in row.items() if k != "load_seq"})
            for row in warehouse.query(f"FROM raw.{table}")
        )
        for table in (*TABLES, "rejects", "repairs")
    }


@pytest.mark.soak
def test_broken_files_are_accounted_for_and_load_the_same_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    @settings(
        max_examples=budget(2, 200),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(broken_files())
    def check(files: dict[str, bytes]) -> None:
        warehouse = Warehouse(tmp_path_factory.mktemp("fuzz"))
        for path, data in files.items():
            warehouse.put(path, data)
        load(warehouse)
        account, first = warehouse.query(ACCOUNT), rows(warehouse)
        # Files of the same bytes, packed or not, are one.
        seen = {row["path"]: row["file_seq"] for row in warehouse.query("FROM raw.paths")}
        assert seen.keys() == files.keys()
        assert {*seen.values()} == {row["file_seq"] for row in account}
        for row in account:
            if row["error"]:
                assert row["records"] is None, row
            else:
                assert row["records"] == row["loaded"] + row["duplicates"] + row["rejected"], row
        load(warehouse, full=True)
        assert rows(warehouse) == first
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(typed, "SMALLEST_BYTES", 0)
            load(warehouse, full=True)
        assert rows(warehouse) == first

    check()


def test_the_seeds_are_valid(warehouse: Warehouse) -> None:
    for path, (data, *_) in SEEDS.items():
        warehouse.put(path, data)
    assert [path for path, file in load(warehouse).items() if file["error"]] == []
    assert {format_of(path) for path in SEEDS} >= table_records.EXPORT_FORMATS
