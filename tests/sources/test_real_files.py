"""Files as people have them: what spreadsheets, streams, data frames and exports write, in every source they may be in."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import gzip
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from harness import Warehouse

from dagster_project.readers import json_records
from dagster_project.readers.files import FilePart, UnreadableFile
from dagster_project.readers.raw_storage import LocalFile
from dagster_project.sources import typed

pytestmark = pytest.mark.fast

HEADER = "account_id,user_id,feature_id,timestamp,total"
DAY = "2026-03-30"


def call(hour: int, **more: Any) -> dict[str, Any]:
    return {
        "request": {"time": f"{DAY}T{hour:02}:00:00Z"},
        "response": {"status": 200},
        "company_id": "acme",
        **more,
    }


def load(tmp_path: Path, files: dict[str, bytes]) -> Warehouse:
    warehouse = Warehouse(tmp_path)
    for path, data in files.items():
        warehouse.put(path, data)
    return warehouse.night(date(2026, 3, 31), datetime(2026, 4, 1))


def told(warehouse: Warehouse, table: str, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row[column] for column in columns) for row in warehouse.table(table))


# ---------------------------------------------------------------------------------------------------------
# JSON: where values begin and end

BAD = "bad"
LINES: dict[str, tuple[str, list[tuple[int, int, Any]]]] = {
    "glued": ('{"a":1}{"b":2} , {"c":3}\n{"d":4}\n', [(1, 1, {"a": 1}), (1, 2, {"b": 2}), (1, 3, {"c": 3}), (2, 1, {"d": 4})]),
    "over lines": ('{\n"a":1\n}\n{\n"b":[\n1]\n}{"c":3}\n', [(1, 1, {"a": 1}), (4, 1, {"b": [1]}), (7, 1, {"c": 3})]),
    "an array over lines": ('{"a":1}\n[{"b":1},\n{"c":1}]\n', [(1, 1, {"a": 1}), (2, 1, {"b": 1}), (2, 2, {"c": 1})]),
    "arrays one behind the other": ('[\n{"a":1}]\n[\n{"b":1}\n]\n', [(1, 1, {"a": 1}), (3, 1, {"b": 1})]),
    "an array among others": ('[{"a":1}] {"b":1}\n', [(1, 1, [{"a": 1}]), (1, 2, {"b": 1})]),
    "an array alone, and a comma": ('[{"a":1}],\n', [(1, 1, {"a": 1})]),
    "not all JSON": ('{"a":1} x\n{"b":1}\n', [(1, 1, BAD), (2, 1, {"b": 1})]),
    "garbage behind the end": ('{\n"a":1\n} x\n{"b":1}\n', [(1, 1, {"a": 1}), (3, 1, BAD), (4, 1, {"b": 1})]),
    "a cut line": ('{"a":1,\n{"b":1}\n', [(1, 1, BAD), (2, 1, {"b": 1})]),
    "a string over lines": ('{"a":"x\ny"}\n{"b":1}\n', [(1, 1, BAD), (2, 1, BAD), (3, 1, {"b": 1})]),
    "a comma alone": ('{"a":1}\n,\n', [(1, 1, {"a": 1}), (2, 1, BAD)]),
    "byte order marks": ('\ufeff{"a":1}\n\ufeff{"b":1}\n', [(1, 1, {"a": 1}), (2, 1, {"b": 1})]),
    "one array, further down": ('\n\n[{"a":1},\n{"b":1}]\n\n', [(1, 1, {"a": 1}), (1, 2, {"b": 1})]),
}  # fmt: skip


def records(tmp_path: Path, data: bytes, name: str, exact: bool) -> list[Any]:
    file = tmp_path / name
    file.write_bytes(data)
    part = FilePart(
        1, "events", name, LocalFile(str(file)), 0, 0, len(data), None, datetime(2026, 4, 1), len(data), ""
    )
    return list(json_records.read(part, exact=exact))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", LINES)
def test_a_value_stands_where_it_starts(tmp_path: Path, name: str, exact: bool) -> None:
    text, wanted = LINES[name]
    found = records(tmp_path, text.encode(), "a.ndjson", exact)
    assert [(r.line, r.element, BAD if r.bad else r.value) for r in found] == wanted


@pytest.mark.parametrize(
    ("text", "waits"),
    [('{"a":1}\n{"b":', 5), ('{"a":1}\n{\n"b":1,\n"c', 11), ('{"a":1}\nx', 1), ('{"a":1}\n[1,\n2', 5)],
)
def test_a_last_record_that_is_cut_off_waits(tmp_path: Path, text: str, waits: int) -> None:
    *_, last = records(tmp_path, text.encode(), "a.jsonl", True)
    assert (last.line, last.unfinished, last.bad is None) == (2, waits, False)
    assert all(r.unfinished == 0 for r in records(tmp_path, text.encode() + b"\n", "a.jsonl", True))


def test_a_broken_array_is_no_heap_of_lines(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="not one whole JSON array"):
        records(tmp_path, b'[\n{"a":1},\n{bad}\n]', "a.json", False)


# ---------------------------------------------------------------------------------------------------------
# All of it, through the outside


@pytest.mark.parametrize("smallest", [1 << 60, 0], ids=["record by record", "typed"])
def test_calls_as_streams_and_data_frames_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smallest: int
) -> None:
    monkeypatch.setattr(typed, "SMALLEST_BYTES", smallest)
    glued = json.dumps(call(1)) + json.dumps(call(2)) + " , " + json.dumps(call(3)) + "\n"
    glued += json.dumps(call(4), indent=1) + "\n\ufeff" + json.dumps(call(5)) + "\n"
    plain = json.dumps(call(6)).encode() + b"\n"
    floats = json.dumps(call(7, company_id=42.0, weight=10.0, response={"status": 500.0})).encode() + b"\n"
    times = [
        1774864800,
        1774864800123,
        1774864800.5,
        f"{DAY} 10:00:00 UTC",
        f"{DAY}t10:00:00,5z",
        "0001-01-01T00:00Z",
    ]
    warehouse = load(
        tmp_path,
        {
            "events/glued.json": glued.encode(),
            "events/twice.json.gz": gzip.compress(zstandard.compress(plain)),
            "events/thrice.json.gz": gzip.compress(gzip.compress(gzip.compress(plain))),
            "events/wide.json": plain.decode().encode("utf-16-le"),
            "events/floats.jsonl": floats * 3,
            "events/times.jsonl": "".join(
                json.dumps({"request": {"time": t}}) + "\n" for t in times
            ).encode(),
            "actions/glued.ndjson": glued.encode(),
        },
    )
    files = {row["path"]: row for row in warehouse.table("ops.files")}
    assert {path: row["loaded"] for path, row in files.items() if not row["error"]} == {
        "actions/glued.ndjson": 5,
        "events/floats.jsonl": 3,
        "events/glued.json": 5,
        "events/times.jsonl": 5,
        "events/twice.json.gz": 1,
    }
    assert "packed more than 2 times" in files["events/thrice.json.gz"]["error"]
    assert "UTF-16 without a byte order mark" in files["events/wide.json"]["error"]
    (reject,) = warehouse.table("ops.rejects")
    assert (reject["reason"], reject["line"]) == ("bad_time", 6)
    assert "0001-01-01T00:00Z" in reject["detail"]
    assert [what for _, what in told(warehouse, "ops.repairs", "line", "what")] == ["whole_float"] * 3
    assert warehouse.query(
        "SELECT sum(calls) AS c, sum(errors_5xx) AS e FROM marts.company_usage_daily WHERE company_id = '42'"
    ) == [{"c": 30, "e": 30}]


def test_tables_as_spreadsheets_and_exports_write_them(tmp_path: Path) -> None:
    row = f"acme,ada,F,{DAY},2.0"
    tables = {
        "semicolons.csv": f"sep=;\r\n{HEADER}\r\n{row}\r\n".replace(",", ";").encode(),
        "tabs.csv.zst": zstandard.compress(f"{HEADER}\n{row}\n".replace(",", "\t").encode()),
        "case.csv": f" Account_ID ,USER_ID,Feature_Id, timestamp,Total,note,,\n{row},x,,,\n".encode(),
        "mac.csv": f"{HEADER}\r{row}\r".encode(),
        "wide.csv": f"{HEADER}\r\n{row}\r\n".encode("utf-16"),
        "windows.csv.gz": gzip.compress(f"{HEADER}\n{row}\nacme,ad\xe9,F,{DAY},2\n".encode("cp1252")),
        "short.csv": f"{HEADER}\nacme,ada,F,{DAY}\n{row}\n".encode(),
        "exact.csv": f"ACCOUNT_ID,{HEADER}\nother,{row}\n".encode(),
        "long.csv": f"{HEADER}\nacme,ada,F,x,{DAY},2\n{row},,\n".encode(),
        "quote.csv": f'{HEADER}\n{row}\nacme,"ada,F,{DAY},1\n{row}\n{row}\n'.encode(),
        "foreign.csv": f"konto;zeit\n{row}\n".encode(),
        "json.csv": json.dumps({"account_id": "acme"}).encode(),
        "unmarked.csv": f"{HEADER}\n{row}\n".encode("utf-16-le"),
    }
    exports = {
        "companies/a.csv": b"Record ID - Company,Company Domain Name,Record ID - Contact\n"
        b'"=""1601""",B.example,1\n1602.0,,\n1.2E+11,a.example,2\n',
        "contacts/a.csv.gz": gzip.compress(
            b"Record ID - Contact,Email,EMAIL\n31,a@one.example,old@one.example\n"
        ),
        "contacts/b.csv": b"Vorname,Email\nAda,a@one.example\n",
    }
    warehouse = load(
        tmp_path,
        {**{f"features/{n}": d for n, d in tables.items()}, **{f"crm/{n}": d for n, d in exports.items()}},
    )
    files = {row["path"].partition("/")[2]: row for row in warehouse.table("ops.files")}
    assert {path: row["loaded"] for path, row in files.items() if not row["error"]} == {
        "semicolons.csv": 1, "tabs.csv.zst": 1, "case.csv": 1, "mac.csv": 1, "wide.csv": 1, "windows.csv.gz": 2,
        "short.csv": 2, "exact.csv": 1, "long.csv": 1, "companies/a.csv": 2, "contacts/a.csv.gz": 1,
    }  # fmt: skip
    said = {
        "quote.csv": "line 3",
        "foreign.csv": "(separator: a semicolon): 'konto', 'zeit'",
        "json.csv": "JSON in a .csv",
        "unmarked.csv": "UTF-16 without",
        "contacts/b.csv": "no column Record ID",
    }
    assert [path for path, text in said.items() if text not in files[path]["error"]] == []
    rejects = warehouse.table("ops.rejects")
    assert sorted((row["reason"], row["line"]) for row in rejects) == [("bad_crm_row", 4), ("bad_csv_row", 2)]
    assert any("1.2E+11" in row["detail"] for row in rejects)
    assert told(warehouse, "ops.repairs", "what", "line") == [("not_utf8", 3)]
    found = warehouse.query(
        "SELECT user_id, sum(total) AS t FROM marts.daily_feature_totals GROUP BY 1 ORDER BY 1"
    )
    assert found == [{"user_id": "ada", "t": 19}, {"user_id": "ad\xe9", "t": 2}]
    assert [(row["record_id"], row["match_key"]) for row in warehouse.table("raw.crm_contacts")] == [
        ("31", "a@one.example")
    ]
