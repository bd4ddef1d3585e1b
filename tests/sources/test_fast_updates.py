"""The fast way in for company and user updates gives what the record-by-record way gives, whatever is in the file."""

from __future__ import annotations

import gzip
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse

from dagster_project.pipeline import nightly
from dagster_project.sources import typed
from dagster_project.warehouse.database import open_warehouse

NOW = datetime(2026, 4, 1, 3, 30)  # noqa: DTZ001
RAW = ("company_updates", "user_updates", "files", "rejects", "repairs", "lookalikes")

PLAIN = [
    '{"company_id":"acme","user_id":"u1","metadata":{"plan":"pro","seats":5}}',
    '{ "user_id" : 7, "company_id" : 42, "metadata" : { "a b" : 1.50, "plan.name" : "x.y: z", "n" : null } , "campaign" : { } }',
    '{"company_id":"c","user_id":"u","metadata":{"ключ":"значение","é.à":true},"campaign":{"utm_source":"x"}}',
    '{"company_id":"c","user_id":"u","session_token":"t","anonymous_id":"b","company_domain":"https:acme.com"}',
    '{"company_id":"c","user_id":"u","modified_time":"2026-03-30T10:00:00.1Z","received_at":"2026-03-30T11:00:00Z"}',
    '{"company_id":"c","user_id":"u","company_domain":null,"modified_time":null,"metadata":{},"campaign":{"a.b":0.1}}',
    '{"company_id":"c","user_id":"u","metadata":{"a":0,"b":-1,"c":1.0,"d":-2.50,"e":0.001,"f":123456789012345,"g":""}}',
]
ODD = [
    '{"company_id":"c"}',
    '{"user_id":"u"}',
    '{"company_id":"","user_id":" ","metadata":{"a":1}}',
    '{"company_id":1.0,"user_id":2.0,"metadata":{"a":1}}',
    '{"company_id":true,"user_id":"true","metadata":{"a":1}}',
    '{"company_id":["c"],"user_id":{"u":1},"metadata":{"a":1}}',
    '{"company_id":"c","user_id":"u","company_id":"d","user_id":"v","metadata":{"a":1}}',
    '{"company_id":"c","user_id":"u","metadata":{"a":1,"a":2}}',
    '{"company_id":"c","user_id":"u","metadata":{"a.b":1,"a_b":2}}',
    '{"company_id":"c","user_id":"u","metadata":{"a.b.c":1,"..":2}}',
    '{"company_id":"c","user_id":"u","metadata":{"a":1.5,":k":2,"":0.5}}',
    '{"company_id":"c","user_id":"u","metadata":{"a":"\\u00e9\\n","b":"\\ud800"}}',
    '{"company_id":"c","user_id":"u","metadata":{"deep":{"a.b":[1,{"c.d":2}]},"list":[]}}',
    '{"company_id":"c","user_id":"u","metadata":[1]}',
    '{"company_id":"c","user_id":"u","metadata":"text","campaign":5}',
    '{"company_id":"c","user_id":"u","metadata":{"e":1e5,"f":1E-7,"g":12345678901234567890,"h":1e999,"i":-0,"j":0.00000012}}',
    '{"company_id":"c","user_id":"u","metadata":{"j":0.0000001,"k":-0.0,"l":1234567890.1234567,"m":9007199254740993}}',
    '{"company_id":"c","user_id":"u","metadata":{"api_key":"s","Authorization":"Bearer abc","n":NaN}}',
    '{"company_id":"c","user_id":"u","metadata":{"site":"https://u:p@acme.com/?q=1","AUTHORİ":"x"}}',
    '{"company_id":"c","user_id":"u","metadata":{"a":1},"headers":{"Cookie":"s","K\u212aey":1}}',
    '{"company_id":"c","user_id":"u","metadata":{"a":1},"deep":' + "[" * 300 + "]" * 300 + "}",
    '{"company_id":"c","user_id":"u","campaign":{"token":"x"}}',
    '{"company_id":"c","user_id":"u","campaign":{"a":{"b":1}}}',
    '{"company_id":"c","user_id":"u","modified_time":1774864800,"metadata":{"a":1}}',
    '{"company_id":"c","user_id":"u","modified_time":"soon","metadata":{"a":1}}',
    '{"company_id":"c","user_id":"u","modified_time":"2036-01-01T00:00:00Z","metadata":{"a":1}}',
    '{"company_id":"c","user_id":"u","modified_time":"1970-01-01T00:00:00Z","received_at":"nonsense"}',
    '{"company_id":"c","user_id":"u","modified_time":"","company_domain":"  "}',
    '{"company_id":"c","user_id":"u","company_domain":"\u00a0acme.com"}',
    '{"company_id":"c","user_id":"u","company_domain":["acme.com"]}',
    '{"CompanyId":"c","user_id":"u","company_id":null,"User-ID":5}',
    '{"companyId":"c","user_id":"u"}',
    '{"company_id":"c","user_id":"u","metadata":{"long":"' + "x" * 70_000 + '"}}',
    "nonsense",
    '{"company_id":"c"} {"company_id":"d"}',
    '{"company_id":"c","user_id":"u","metadata":{"a":1,}}',
]
# Of some of these DuckDB refuses all of the file, which is read record by record then.
REFUSED = ['[{"company_id":"c","user_id":"u"}]', '"text"', '{"company_id":"c","user_id":"\x01"}', "5"]


def raw_tables(
    folder: Path, files: dict[str, bytes], smallest: int, **settings: Any
) -> tuple[dict[str, list[str]], list[int]]:
    """What is loaded, and how many lines the fast way left over, file by file."""
    left: list[int] = []
    read = typed.read

    def noting(*given: Any) -> set[int] | None:
        odd = read(*given)
        left.append(-1 if odd is None else len(odd))
        return odd

    warehouse = Warehouse(folder, **settings)
    for path, data in files.items():
        warehouse.put(path, data)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(typed, "SMALLEST_BYTES", smallest)
        patched.setattr(typed, "read", noting)
        with open_warehouse(warehouse.settings) as connection:
            nightly.load_new_files(connection, warehouse.settings, now=NOW)
            found = {t: sorted(map(str, connection.execute(f"FROM raw.{t}").fetchall())) for t in RAW}
    return found, left


def lines(texts: list[str], end: str = "\n") -> bytes:
    return "".join(text + end for text in texts).encode()


def test_every_update_is_read_alike(tmp_path: Path) -> None:
    content = lines([*PLAIN, *ODD, *PLAIN])
    files = {
        f"{source}/{path}": data
        for source in ("companies", "users")
        for path, data in {
            "a.jsonl": content,
            "dt=2026-03-30/returns.jsonl": lines(PLAIN + ODD[:3], "\r\n"),
            "dt=2026-03-31/packed.jsonl.gz": gzip.compress(lines(PLAIN), mtime=0),
            "z.jsonl": lines(PLAIN).removesuffix(b"}\n"),
        }.items()
    }
    for number, text in enumerate(REFUSED):
        files[f"users/refused-{number}.jsonl"] = lines([PLAIN[0], text, PLAIN[1]])
    wanted, none = raw_tables(tmp_path / "slow", files, 1 << 60)
    got, left = raw_tables(tmp_path / "fast", files, 0)
    for table in RAW:
        assert got[table] == wanted[table], table
    assert set(none) == {-1}
    # All that is plain is taken, and little else.
    for mixed, _, plain, _ in (left[:4], left[4:8]):
        assert len(ODD) - 10 < mixed <= len(ODD)
        assert plain == 0
    assert {-1, 1} == set(left[8:])


def test_hashed_tokens_are_kept_out_of_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_TOKEN_KEY", "k" * 64)
    files = {"users/a.jsonl": lines([*PLAIN, '{"user_id":"u","session_token":"secret","metadata":{"a":1}}'])}
    hashed = {"privacy": {"hash_tokens": True}}
    wanted, _ = raw_tables(tmp_path / "slow", files, 1 << 60, **hashed)
    got, _ = raw_tables(tmp_path / "fast", files, 0, **hashed)
    assert got == wanted
    assert "secret" not in str(got)


@pytest.mark.soak
def test_random_updates_are_read_alike(tmp_path: Path) -> None:
    rng = random.Random(4)
    keys = ["a", "b.c", "b_c", "d.e.f", "", ":", "key", "Ü", "x y", "İ"]
    values = [
        "1",
        "1.50",
        "-0",
        "0.5",
        "1e3",
        '"x"',
        '"a.b"',
        '":"',
        '"\\n"',
        "null",
        "true",
        "{}",
        "[]",
        '{"a":1}',
        '"//x"',
    ]

    def member(rng: random.Random) -> str:
        return f'"{rng.choice(keys)}"{rng.choice(["", " "])}:{rng.choice(["", " "])}{rng.choice(values)}'

    texts = []
    for n in range(900):
        members = ",".join(member(rng) for _ in range(rng.randint(0, 3)))
        texts.append(f'{{"company_id":"c{n % 5}","user_id":"u{n % 7}","metadata":{{{members}}}}}')
    files = {"users/a.jsonl": lines(texts), "companies/a.jsonl": lines(texts)}
    wanted, _ = raw_tables(tmp_path / "slow", files, 1 << 60)
    got, left = raw_tables(tmp_path / "fast", files, 0)
    for table in RAW:
        assert got[table] == wanted[table], table
    assert all(0 < odd < 800 for odd in left)
