"""The sample, what SDKs send, and the benchmark's set: over two nights and a full rebuild, a cluster comes to the same tables."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse, on_cluster
from soak import LONG

from benchmarks import data
from dagster_project.settings import project_root
from dagster_project.warehouse.database import open_warehouse

from .test_nights import every_table
from .watching import watched

DAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 22, 3)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
# What was last looked at, and what was built from which version.
_OF_BUILDS = ("core.changed_days", "core.claim_changed_days")


def sample(folder: Path) -> list[list[Path]]:
    """The sample as it is shipped: its last days come in the second night."""
    shutil.copytree(project_root() / "data/sample/raw", folder)
    return by_night(folder, lambda file: any(f"2026-11-{day}" in str(file) for day in range(17, 22)))


def benchmark(folder: Path) -> list[list[Path]]:
    """What `make bench` loads, in small: what was sent again comes in the second night, and what SDKs send in both."""
    data.history(folder, 3000, 12)
    for night in range(2):
        for path, lines in sdk_traffic(night).items():
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            file.write_text("".join(f"{line}\n" for line in lines))
    return by_night(folder, lambda file: file.stem.endswith("-again") or "sdk-1" in file.name)


def by_night(folder: Path, is_late: Callable[[Path], bool]) -> list[list[Path]]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return [[file for file in files if is_late(file) is late] for late in (False, True)]


def sdk_traffic(night: int) -> dict[str, list[str]]:
    """Node's and Python's: ids in headers, unset fields as null, naive times, NaN, lone surrogates, batches sent again."""
    node = [
        {
            "request": {
                "time": f"2026-11-20T00:27:{n:02d}.183Z",
                "uri": f"http://127.0.0.1/v1/items/{n}?page={n}",
                "verb": "POST" if n % 3 else "GET",
                "headers": {"x-moesif-transaction-id": f"bc51989d-{n + 20 * night:04d}", "x-token": "t"},
                "ip_address": "127.0.0.1",
                "body": "cGxhaW4gdGV4dA==",
                "transfer_encoding": "base64",
            },
            "response": {"time": f"2026-11-20T00:27:{n:02d}.283Z", "status": 200 + 101 * (n % 4)},
            "session_token": f"tok_node_{n % 3}",
            "metadata": {"k.v": n, "deep": {"a": [1, "x"]}},
            "direction": "Incoming",
            "weight": 1 + n % 2,
        }
        for n in range(40)
    ]
    python: list[Any] = [
        {
            "request": {
                "time": f"2026-11-20T01:{n:02d}:05.123456",
                "uri": "/v1/x",
                "verb": "GET",
                "body": None,
            },
            "response": {
                "time": f"2026-11-20T01:{n:02d}:06.5",
                "status": 404 if n % 5 else 500,
                "headers": {},
            },
            "session_token": None,
            "user_id": ["u1", 7, 7.0, "\ud83d", None][n % 5],
            "company_id": ["c1", "c2", 42, None][n % 4],
            "transaction_id": None if n % 2 else f"py-{n + 15 * night}",
            "weight": [1, 2.0, math.nan, None, -1][n % 5],
            "metadata": None,
            "blocked_by": None,
        }
        for n in range(30)
    ]
    batch = json.dumps(python[:7])
    feature = {"account_id": "c1", "user_id": "u1", "timestamp": "2026-11-20T10:00:00Z"}
    return {
        f"events/sdk-{night}.jsonl": [*map(json.dumps, [*node, *python]), batch, batch, "{cut"],
        f"actions/sdk-{night}.jsonl": [
            json.dumps({"action_name": f"Clicked {n % 3}", "session_token": "tok_node_1", "user_id": None,
                        "request": {"time": "2026-11-20T00:27:16.183Z"}, "metadata": {"n": n}})
            for n in range(20)
        ],
        f"companies/sdk-{night}.jsonl": [
            json.dumps({"company_id": "c1", "session_token": "tok_node_1", "metadata": {"plan": f"p{night}"}}),
            json.dumps({"company_id": 42, "company_domain": "acme.example", "session_token": None}),
        ],
        f"users/sdk-{night}.jsonl": [json.dumps({"user_id": "u1", "company_id": "c1", "session_token": "tok_node_2"})],
        f"features/sdk-{night}.jsonl": [
            json.dumps({**feature, "feature_id": f"f{n % 9}", "module_id": f"m{n % 2}", "event_id": f"e{n % 25 + 9 * night}",
                        "total": [1, "2", 3.0, 0, -1, 2**60][n % 6]})
            for n in range(40)
        ],
    }  # fmt: skip


def life(warehouse: Warehouse, folder: Path, nights: list[list[Path]]) -> Iterator[str]:
    for number, files in enumerate(nights):
        for file in files:
            warehouse.put(file.relative_to(folder).as_posix(), file.read_bytes())
        warehouse.night(DAY, NOW + timedelta(days=number))
        yield f"night {number + 1}"
    warehouse.night(DAY, NOW + timedelta(days=len(nights)), full=True)
    yield "full rebuild"


_ONLY_LONG = pytest.mark.skipif(not LONG, reason="make soak: it takes some minutes")


@pytest.mark.parametrize("make", [pytest.param(sample, marks=_ONLY_LONG), benchmark])
def test_a_cluster_comes_to_the_same_tables(
    make: Callable[[Path], list[list[Path]]], tmp_path: Path, remote: str
) -> None:
    nights = make(tmp_path / "raw")
    assert all(nights)
    here = Warehouse(tmp_path / "here")
    there = Warehouse(tmp_path / "there", engine=on_cluster(tmp_path / "there", remote))
    with watched() as did:
        for step, _ in zip(
            life(here, tmp_path / "raw", nights), life(there, tmp_path / "raw", nights), strict=True
        ):
            wanted, found = every_table(here), every_table(there)
            assert wanted.keys() == found.keys()
            differing = {
                name: (
                    sorted({*wanted[name]} - {*found[name]})[:3],
                    sorted({*found[name]} - {*wanted[name]})[:3],
                )
                for name in wanted
                if wanted[name] != found[name]
            }
            assert differing == {}, step
            for work in (
                "read",
                "duplicates",
                "api_calls",
                "api_call_keys",
                "sums_of_cluster",
                "feature_outcomes",
            ):
                assert did[work], f"{step}: the cluster did {dict(did)}"
            did.clear()
    with open_warehouse(there.settings) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM raw.stored").fetchall() == [(True,)]
