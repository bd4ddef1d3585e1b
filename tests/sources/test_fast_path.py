"""The fast way in for API calls gives what the record-by-record way gives, whatever is in the file."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import zstandard
from harness import Row, Warehouse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from raw_traffic import BAD_LINES, calls, json_bytes, json_lines, oneof, rarely
from soak import LONG, budget

from dagster_project.pipeline import nightly
from dagster_project.sources import typed
from dagster_project.warehouse.database import open_warehouse

NOW = datetime(2026, 4, 1, 3, 30)
AS_OF = date(2026, 3, 31)
NEVER = 1 << 60
RAW = ("raw.api_calls", "raw.files", "raw.rejects", "raw.repairs", "raw.api_call_keys")
TABLES = ("ops.files", "ops.rejects", "ops.repairs", "marts.company_profiles", "marts.user_profiles",
          "marts.company_aliases", "marts.company_usage_daily", "marts.user_usage_daily",
          "marts.error_usage_daily")  # fmt: skip
QUICK = settings(
    max_examples=budget(4, 60),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not LONG,  # each soak tries others; what fails is printed
    print_blob=True,
    phases=[Phase.explicit, Phase.generate],
)


@contextmanager
def loaded(
    files: Mapping[str, bytes], smallest: int, *, builds: bool = False
) -> Iterator[tuple[Warehouse, set[str]]]:
    """A warehouse that loaded these events, and the files of which the fast way took something."""
    taken: set[str] = set()
    original = typed.read

    def noting(connection: Any, load: Any, rows: Any, *more: Any) -> set[int] | None:
        before = load.records
        odd = original(connection, load, rows, *more)
        if odd is not None and load.records > before:
            taken.add(load.part.path.removeprefix("events/"))
        return odd

    folder = Path(tempfile.mkdtemp(prefix="warehouse-"))
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(typed, "SMALLEST_BYTES", smallest)
            patched.setattr(typed, "read", noting)
            warehouse = Warehouse(folder)
            for path, data in files.items():
                warehouse.put(f"events/{path}", data)
            if builds:
                warehouse.night(AS_OF, NOW)
            else:
                with open_warehouse(warehouse.settings) as connection:
                    nightly.load_new_files(connection, warehouse.settings, now=NOW)
        yield warehouse, taken
    finally:
        shutil.rmtree(folder)


def rows_of(warehouse: Warehouse, tables: tuple[str, ...]) -> dict[str, list[Row]]:
    found = {table: warehouse.query(f"FROM {table} ORDER BY ALL") for table in tables}
    for rows in found.values():
        for row in rows:
            row.pop("updated_at", None)
    return found


def compare(files: Mapping[str, bytes], *, builds: bool = False) -> set[str]:
    """Both ways give the same tables. Returns the files of which the fast way took something."""
    tables = RAW + TABLES if builds else RAW
    with loaded(files, NEVER, builds=builds) as (slow, none):
        wanted = rows_of(slow, tables)
    with loaded(files, 0, builds=builds) as (fast, taken):
        got = rows_of(fast, tables)
    assert not none
    for table in tables:
        assert got[table] == wanted[table], table
    return taken


# ---------------------------------------------------------------------------------------------------------
# Random traffic


def plain_calls() -> st.SearchStrategy[bytes]:
    """Calls as SDKs send them, which the fast way takes. (Of those that raw_traffic draws, few have nothing odd.)"""
    return st.builds(
        lambda number, company, status: json_bytes(
            {
                "request": {"time": f"2026-03-30T10:00:{number:02d}.5Z", "verb": "GET", "uri": "/v1/parcels"},
                "response": {
                    "status": status,
                    "time": f"2026-03-30T10:00:{(number * 7) % 60:02d}.{number:03d}Z",
                },
                "transaction_id": f"t{number}",
                "company_id": company,
                "weight": 1 + number % 3,
            },
            ascii_only=False,
        ),
        st.integers(0, 59),
        oneof("acme", "globex", 42, None),
        oneof(200, 404, 500),
    )


@st.composite
def event_files(draw: st.DrawFn) -> dict[str, bytes]:
    """Files of mostly plain lines; with batches and bad lines in them only now and then."""
    files = {}
    for n in range(draw(st.integers(2, 5))):
        if draw(st.integers(0, 5)) == 0:
            data: bytes = draw(json_lines(calls()))
        else:
            end: bytes = draw(oneof(b"\n", b"\n", b"\r\n"))
            line = plain_calls() | calls().map(lambda call: json_bytes(call, ascii_only=False))
            drawn: list[bytes] = draw(st.lists(rarely(line, BAD_LINES, 30), min_size=1, max_size=8))
            data = b"".join(one + end for one in drawn)
            if draw(st.integers(0, 5)) == 0:
                data = data.removesuffix(end)
        folder = draw(oneof("", "dt=2026-03-30/", "dt=2026-03-01/"))
        pack = draw(oneof("", "", ".gz", ".zst"))
        data = gzip.compress(data, mtime=0) if pack == ".gz" else zstandard.compress(data) if pack else data
        files[f"{folder}{n}.jsonl{pack}"] = data
    return files


@pytest.mark.soak
def test_random_files_load_alike() -> None:
    taken = []

    @QUICK
    @given(files=event_files())
    def run(files: dict[str, bytes]) -> None:
        taken.append(len(compare(files)))

    run()
    assert sum(taken) > len(taken) // 3, "the fast way was hardly taken: this compares nothing"


@pytest.mark.soak
@settings(QUICK, max_examples=budget(2, 15))
@given(files=event_files())
def test_random_files_build_alike(files: dict[str, bytes]) -> None:
    compare(files, builds=True)


# ---------------------------------------------------------------------------------------------------------
# Hand-made lines

TIME = '"time": "2026-03-30T10:00:00Z"'


def call(top: str = "", request: str = "", response: str = '"status": 200') -> str:
    """A line from pieces of JSON text."""
    before = f"{top}, " if top else ""
    inner = f"{TIME}, {request}" if request else TIME
    return f'{{{before}"request": {{{inner}}}, "response": {{{response}}}}}'


def at(time: str) -> str:
    return f'{{"request": {{"time": {time}}}, "company_id": "acme"}}'


def head(*headers: str, more: str = "") -> str:
    return call(more, f'"headers": {{{", ".join(headers)}}}')


VALUES = [
    '"acme"', '"Acme"', '""', '" "', '" acme"', '"acme "', '"\\t"', '"\\u0061cme"', '"a\\"b"', '"a\\\\b"', '"a\\/b"',
    '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"é"', '"\u00a0"', '"\u3000"', '"\u200b"', '"\u2028"', '"~"', '"\x7f"',
    '"7"', "7", "0", "-0", "-7", "007", "1.0", "1.5", "1e3", "1E400", "9007199254740993", str(2**63 - 1),
    str(2**63), str(-(2**63)), str(-(2**63) - 1), str(2**64), "1" + "0" * 30, "123456789012345678", "1234567890123456789",
    "true", "false", "null", "NaN", "Infinity", "-Infinity", "{}", "[]", '{"a": 1}', '["acme"]', "[1]", '"null"',
    '"NULL"', '"nan"', '"\\n"', '"{}"', "\"'\"", '"\ufeff"', '"%s"', '"\x01"', "undefined", "", "1,", "+1", ".5", "5.",
    '"20261128-7"', '"12345678-1234-1234-1234-123456789012"', '"007"', '"1e5"', '"-"', '"1-"', '"1.e5"',
]  # fmt: skip
FIELDS = ("company_id", "user_id", "session_token", "transaction_id", "weight", "blocked_by")
TIMES = [
    '"2026-03-30T10:00:00.381Z"', '"2026-03-30T10:00:00.38Z "', '"2026-03-30T10:00:00. 81Z"', '"2026-3-30T10:00:00.3811Z"',
    '"2026-03-30t10:00:00.381Z"', '"2026-03-30T24:00:00.000Z"', '"2026-3-30T10:00:000Z"', '"2026-03-30T 1:00:00.381Z"',
    '"2026-03-30T10:00:00Z"', '"2026-03-30 10:00:00Z"', '"2026-03-30T10:00"', '"2026-03-30T10:00Z"', '"2026-03-30"',
    '"2026-03-30T10:00:00.1"', '"2026-03-30T10:00:00.123456Z"', '"2026-03-30T10:00:00.1234569Z"',
    '"2026-03-30T10:00:00.9999999Z"', '"2026-03-30T10:00:00.123456789012345678901234567890Z"', '"2026-03-30T10:00:00.Z"',
    '"2026-03-30T10:00:00,5Z"', '"2026-03-30T10:00:00+02"', '"2026-03-30T10:00:00-0230"', '"2026-03-30T10:00:00+02:30"',
    '"2026-03-30T10:00:00+14:00"', '"2026-03-30T10:00:00-13:59"', '"2026-03-30T10:00:00+15:00"', '"2026-03-30T10:00+23:59"',
    '"2026-03-30T10:00:00+24:00"', '"2026-03-30T10:00:00+02:60"', '"2026-03-30T10:00:00-00:00"', '"2026-03-30T10:00:00 Z"',
    '"2026-03-30T10:00:00 +02:00"', '"2026-03-30T10:00:00z"', '"2026-03-30t10:00:00Z"', '"2026-03-30T24:00:00Z"',
    '"2026-03-30T10:60:00Z"', '"2026-03-30T10:00:60Z"', '"2026-03-30T10Z"', '"2026-03-30T1:00Z"', '"2026-3-30T10:00Z"',
    '"2026-02-29T10:00Z"', '"2024-02-29T10:00Z"', '"1900-02-29T10:00Z"', '"2000-02-29T10:00Z"', '"2026-02-30"', '"2026-13-01"',
    '"0001-01-01T00:00Z"', '"0001-01-01T00:00+01:00"', '"9999-12-31T23:59:59.999999Z"', '"9999-12-31T23:59-01:00"',
    '"0000-01-01T00:00Z"', '"1899-12-31T23:59:59Z"', '"1969-12-31T23:59:59.999999Z"', '"10000-01-01T00:00Z"', '"-2026-03-30"',
    '"2026-03-30T10:00:00Zx"', '"2026-03-30T10:00:00UTC"', '"2026-03-30T10:00:00 UTC"', '"2026-03-30T10:00:00 Europe/Paris"',
    '" 2026-03-30T10:00:00Z"', '"2026-03-30T10:00:00Z "', '"2026-03-30T10:00:00Z\\n"', '"2026\\u002d03-30T10:00:00Z"',
    '"20260330T100000Z"', '"٢٠٢٦-03-30T10:00Z"', '"2026-03-30T1٠:00Z"', '"2026-03-30 (BC)"', '"infinity"', '"epoch"', '"now"',
    '"2026-04-02T03:30:00Z"', '"2026-04-02T03:30:00.000001Z"', '"2026-04-02T04:30:00.0000001+01:00"', "1774864800", "null", "{}",
    '["2026-03-30"]', "true", '""', '"2026-03-31T23:30:00-01:00"', '"2026-03-31T00:30:00+01:00"',
]  # fmt: skip
STATUSES = [
    "200", "204", "0", "-1", "-0", "007", "99", "999999999", "1000000000", "2147483647", "2147483648", str(2**63), "1" * 30,
    "200.0", "200.5", "2e2", '"200"', "true", "null", "{}", "[200]", "NaN", "1e999",
]  # fmt: skip
KEY = "x-moesif-transaction-id"
HEADERS = [
    f'"{KEY}": "k1"', f'"{KEY.upper()}": "k1"', '"X-Moesif-Transaction-Id": "k1"', f'"{KEY}": 1', f'"{KEY}": "1"',
    f'"{KEY}": ""', f'"{KEY}": " "', f'"{KEY}": null', f'"{KEY}": 1.5', f'"{KEY}": true', f'"{KEY}": ["k1"]', f'"{KEY}": {{}}',
    f'"{KEY}": {2**64}', f'"{KEY}": "k\\u0031"', f'"{KEY}": "é"', '"x\\u002dmoesif-transaction-id": "k1"', f'"{KEY} ": "k1"',
    f'"a-{KEY}": "k1"', f'"other": "{KEY}"', f'"other": "{KEY}", "{KEY}": "k1"', f'"nested": {{"{KEY}": "k1"}}',
    f'"{KEY}": "k1", "{KEY.upper()}": "k2"', f'"{KEY.upper()}": "k1", "{KEY}": "k2"', f'"{KEY.upper()}": "k2", "{KEY}": ""',
    f'"{KEY.upper()}": "k1", "X-Moesif-Transaction-Id": "k2"', f'"{KEY}": "k1", "{KEY}": "k2"', f'"{KEY}": "k1", "{KEY}": null',
    f'"{KEY.upper()}": "k2", "{KEY}": null', f'"K{KEY[1:]}": "k1"', '"X-MOESİF-TRANSACTION-ID": "k1"', '"\\ud800": 1',
]  # fmt: skip
WHOLE_LINES = [
    # what is not strict
    call('"company_id": "acme",'), call(request='"body": NaN'), call(request='"body": 1e999'), call(request='"body": -1e999'),
    call(request='"body": [Infinity, -Infinity]'), call(request='"body": [1, 2,]'), call(request="\"body\": 'x'"),
    call(request='"body": "\\ud800"'), call(request='"body": "\\x"'), call(request='"body": "a\tb"'), call(request='"body": 01'),
    call(request='"body": 0x1'), call(request='"body": "\\ud83d\\ude00"'), call(request='"body": 1' + "0" * 400),
    call(request='"body": /* comment */ 1'), call(request='"body": ' + "[" * 300 + "]" * 300),
    call(request='"body": ' + "1" * 5000), call(request='"body": 1e400, "b": NaN'), call(request='"body": tru'),
    # what stands around a record
    call() + "\f", "\f" + call(), call() + " ", " \t" + call(), call() + ",", call() + call(), call() + "\r", call() + "\r\r",
    call() + "\x00", "\ufeff" + call(), call() + "\u00a0", call() + " // x", call() + "\x1a", call()[:-1], call() + "}",
    # other kinds of records
    "null", "5", '"text"', "[]", "{}", "true", "[1, null]", f"[{call()}]", f"[{call()}, {call()}]", f"[{call()}, {{}}, 5]",
    "[[]]", "[{},", "nonsense", "NaN", "\x00",
    # keys given twice, at each depth, and keys in another spelling
    call('"company_id": "a", "company_id": "b"'), call('"company_id": "a", "company_id": null'), 
    call('"company_id": 1, "other": 1, "other": 2'),
    call(request='"time": "2026-03-29T10:00Z"'), call(request='"verb": "GET", "verb": "PUT"'),
    call(response='"status": 200, "status": 404'), call('"request": {"time": "2026-03-29"}'), call('"request": null'),
    call('"response": null'), '{"response": {"status": 200}, "response": null, "request": {' + TIME + "}}",
    call(request='"headers": {"a": 1, "a": 2}'), call(request='"headers": {}, "headers": null'),
    call('"Company_Id": "a"'), call('"COMPANY_ID": "a", "company_id": "b"'), 
    call('"company\\u005fid": "a"'), call('"company_id\\u0000": "a"'),
    call('"company_id": "a", "company\\u005fid": "b"'), call('"\\ud800": 1'), call('"": 1'), call('" company_id": "a"'),
    call().replace('"request"', '"Request"'), call().replace('"time"', '"Time"'), call().replace('"request"', '"reque\\u0073t"'),
    call(request='"body": {"time": 1, "time": 2}'), call('"metadata": {"a": 1, "a": 2}'), call('"a.b": 1'), call('"$": 1'),
    # request and response of another kind
    '{"request": null}', '{"request": "GET"}', '{"request": []}', '{"request": {}}', '{"request": [{' + TIME + "}]}",
    '{"request": "{\\"time\\": \\"2026-03-30\\"}"}', '{"request": {' + TIME + '}, "response": "x"}',
    '{"request": {' + TIME + '}, "response": [{"status": 200}]}', '{"request": {' + TIME + '}, "response": {}}',
    '{"request": {' + TIME + '}, "response": 5}', '{"request": {' + TIME + "}}", '{"company_id": "acme"}',
    call(request='"headers": null'), call(request='"headers": []'), call(request=f'"headers": "{KEY}"'),
    call(request=f'"headers": ["{KEY}", "k"]'), call(request='"headers": 5'), call(request=f'"headers": [["{KEY}", "k"]]'),
    # addresses and verbs
    *(call(request=f'"uri": {uri}, "verb": {verb}') for uri, verb in [
        ('"https://u:p@api/x/1?key=s#f"', '"GET"'), ('"/x"', '""'), ('""', "null"), ('"?a"', '" "'), ('"//host"', "5"),
        ('"https:"', "[]"), ('"x\\u003fy"', '"\\u0047ET"'), ("null", '"get"'), ("5", '"G\\u0000"'), ('"a b\\nc"', '"\u2028"'),
        ('"1http://h/p"', '"é"'), ('"mailto:x"', "{}"), ('"HTTPS://H/é"', "true"), ('"a\\nb?c"', "false"), ("[]", '"\\ud800"'),
    ]),
    # received_at
    *(call(f'"received_at": {time}') for time in (
        '"2026-03-27T23:59:59Z"', '"2026-03-29"', '"9999-12-31"', "null", '"x"', "5", "{}")),
    # a wide and a deep record
    call('"company_id": "acme", "metadata": {' + ", ".join(f'"k{n}": {n}' for n in range(300)) + "}"),
    call(request='"body": "' + "x" * 100_000 + '"'), call('"metadata": ' + '{"a": ' * 120 + "1" + "}" * 120),
]  # fmt: skip
BYTE_LINES = [
    call('"company_id": "acme"').encode().replace(b"acme", b"ac\xffme"),
    call(request='"body": "x"').encode().replace(b'"x"', b'"\xed\xa0\x80"'),
    call(request='"body": "x"').encode().replace(b'"x"', b'"\xc0\x80"'),
    call('"key": 1').encode().replace(b"key", b"k\xfe"),
    call().encode() + b"\xff",
    b"\xff",
]


def lines() -> list[bytes]:
    texts = [
        *(call(f'"{field}": {value}') for field in FIELDS for value in VALUES),
        *(at(time) for time in TIMES),
        *(call(response=f'"status": {status}') for status in STATUSES),
        *(head(header).replace('"k1"', f'"k{n}"') for n, header in enumerate(HEADERS)),
        *(head(header, more='"transaction_id": "own"') for header in HEADERS[:12]),
        *(head(f'"{KEY}": "h{n}"', more=f'"transaction_id": {value}') for n, value in enumerate(VALUES)),
        *WHOLE_LINES,
    ]
    return [*(text.encode("utf-8", "surrogatepass") for text in texts), *BYTE_LINES]


PLAIN = call('"company_id": "plain", "user_id": "u", "weight": 2').encode()


def test_every_nasty_line_between_plain_ones_loads_alike() -> None:
    """One file each, so that a line that the fast way will not touch hides no other. Twice, for the sake of keys."""
    nasty = {f"{number:04}.jsonl": line for number, line in enumerate(lines())}
    files = {name: b"\n".join([PLAIN, line, line, PLAIN, b""]) for name, line in nasty.items()}
    taken = compare(files)
    assert len(taken) > len(files) * 2 // 3, f"the fast way was taken for {len(taken)} of {len(files)} files"

    together = b"\n".join([*(nasty[name] for name in sorted(taken)), *[PLAIN] * 1000])
    assert compare({"a.jsonl": together}, builds=True) == {"a.jsonl"}


def test_nasty_times_in_a_dated_folder_load_alike() -> None:
    files = {f"dt=2026-03-29/{n:03}.jsonl": at(time).encode() + b"\n" + PLAIN for n, time in enumerate(TIMES)}
    assert compare(files)


LARGE = b"\n".join([call(request='"body": "' + "x" * 1000 + '"').encode()] * 1100)


@pytest.mark.parametrize("line", [b"[]", b"5", b"{", b'{"request": "GET"}', BYTE_LINES[0]], ids=repr)
def test_one_line_that_duckdb_cannot_read_does_not_stop_a_large_file(tmp_path: Path, line: bytes) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put("events/a.jsonl", LARGE + b"\n" + line)
    assert (warehouse.raw / "events/a.jsonl").stat().st_size > typed.SMALLEST_BYTES
    with open_warehouse(warehouse.settings) as connection:
        nightly.load_new_files(connection, warehouse.settings, now=NOW)
    assert warehouse.query("SELECT error, loaded >= 1100 AS whole FROM raw.files") == [
        {"error": None, "whole": True}
    ]


def test_an_error_that_duckdb_cuts_inside_a_character_is_an_error_like_others() -> None:
    files = {}
    for place in range(4):
        line = '[{"company_id": "' + "x" * place + "\N{GRINNING FACE}" * 100 + '"}]'
        files[f"{place}.jsonl"] = of_its_own(PLAIN, place) + b"\n" + line.encode() + b"\n"
    compare(files)


def of_its_own(data: bytes, number: int) -> bytes:
    """The same with another user: a file of its own, which goes on from no other."""
    return data.replace(b'"user_id": "u"', f'"user_id": "u{number}"'.encode())


def test_plain_files_of_every_kind_take_the_fast_way() -> None:
    files = {}
    for number, (end, last, suffix) in enumerate(
        product([b"\n", b"\r\n"], [True, False], ["json", "jsonl", "ndjson.gz", "jsonl.zst"])
    ):
        data = end.join([PLAIN, call(response='"status": 404').encode()]) + (end if last else b"")
        data = of_its_own(data, number)
        if suffix.endswith("gz"):
            data = gzip.compress(data, mtime=0)
        elif suffix.endswith("zst"):
            data = zstandard.compress(data)
        files[f"{number:02}.{suffix}"] = data
    assert compare(files) == set(files)


def test_files_that_are_no_plain_lines_load_alike() -> None:
    texts = [
        b"",
        b"\n",
        PLAIN + b"\n\n" + PLAIN,
        b"\xef\xbb\xbf" + PLAIN + b"\n",
        b"[" + PLAIN + b",\n" + PLAIN + b"]",
        PLAIN + b"\n  \n",
        b"\n" + PLAIN,
        PLAIN + b"\r" + PLAIN + b"\n",
        PLAIN + b"\n" + PLAIN[:40],
        PLAIN + b"\n{\n}\n",
    ]
    compare(
        {
            f"{number:02}.{suffix}": of_its_own(data, number)
            for number, (data, suffix) in enumerate(product(texts, ["jsonl", "json"]))
        }
    )


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_truncated_file_is_unreadable_either_way(pack: Any) -> None:
    suffix = "gz" if pack is gzip.compress else "zst"
    data = pack(b"".join(call(f'"user_id": "{n}"').encode() + b"\n" for n in range(500)))
    with loaded({f"a.jsonl.{suffix}": data[:-20]}, 0) as (fast, _):
        assert fast.query("FROM raw.api_calls") == []
        assert fast.query("SELECT error IS NOT NULL AS failed FROM raw.files") == [{"failed": True}]


@pytest.mark.parametrize(
    "more", [[PLAIN, b"", PLAIN, b""], [PLAIN, call('"company_id": true').encode(), PLAIN, b""]]
)
def test_a_grown_file_loads_alike(more: list[bytes]) -> None:
    found = []
    taken: list[set[int] | None] = []
    read = typed.read

    def noting(*given: Any) -> set[int] | None:
        taken.append(read(*given))
        return taken[-1]

    for smallest in (0, NEVER):
        with (
            loaded({"a.jsonl": PLAIN + b"\n"}, NEVER) as (warehouse, _),
            pytest.MonkeyPatch.context() as m,
        ):
            m.setattr(typed, "SMALLEST_BYTES", smallest)
            m.setattr(typed, "read", noting)
            warehouse.put("events/a.jsonl", b"\n".join([PLAIN, *more]))
            with open_warehouse(warehouse.settings) as connection:
                nightly.load_new_files(connection, warehouse.settings, now=NOW)
            found.append(rows_of(warehouse, RAW[:1]))
    assert found[0] == found[1]
    assert {row["line"] for row in found[0]["raw.api_calls"]} >= {1, 2, 4}
    assert taken == [None if b"" in more[:-1] else {3}, None]


def test_a_folder_at_the_end_of_the_calendar_loads_alike() -> None:
    assert compare({"dt=9999-12-31/a.jsonl": b"\n".join([PLAIN] * 3) + b"\n"})
