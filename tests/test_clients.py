"""What is published is read whole by the DuckDB clients that the README promises, after any history of nights.

The clients are pinned, and fetched when they are first asked for; where they cannot be had, the tests are skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from harness import Warehouse
from soak import LONG, budget

from dagster_project.warehouse import publish

OLDEST, NEWER = "1.0.0", ("1.1.3", "1.2.2", "1.3.2", "1.4.4")
CLIENTS = (OLDEST, *NEWER) if LONG else (OLDEST, NEWER[-1])
FIRST = datetime(2026, 3, 1)  # noqa: DTZ001  (UTC, as all times here)
# Every value of every table and view is read; told are the rows of each, and how many have comments.
READ = """
import duckdb, json, sys
told = {}
for file in sys.argv[1:]:
    with duckdb.connect(file, read_only=True) as connection:
        connection.execute("SET enable_progress_bar = false")  # of a busy machine's
        names = connection.execute('''
            SELECT schema_name, table_name FROM duckdb_tables()
            UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal''').fetchall()
        rows = {f"{s}.{t}": len(connection.execute(f'SELECT * FROM "{s}"."{t}"').fetchall()) for s, t in names}
        rows["comments"] = connection.execute('''
            SELECT count(comment) FROM duckdb_columns() WHERE schema_name IN ('main', 'marts', 'ops', 'core')''').fetchall()[0][0]
        rows["shown"] = len(connection.execute("SHOW TABLES").fetchall())
        told[file] = rows
print(json.dumps(told))
"""


@cache
def client(version: str) -> Path:
    """The folder of a client of this version, kept for the next time."""
    cache_folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "usage-warehouse"
    folder = cache_folder / f"duckdb-{version}-{sys.implementation.cache_tag}"
    cache_folder.mkdir(parents=True, exist_ok=True)
    with (cache_folder / "fetching.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            options = ["--no-deps", "--only-binary", ":all:", "--timeout", "15", "--retries", "0"]
            done = subprocess.run(
                [*pip, *options, "--target", str(part), f"duckdb=={version}"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"DuckDB {version} cannot be had here: {done.stderr.strip().splitlines()[-1]}")
            part.rename(folder)
    return folder


def read_by(version: str | None, files: list[Path]) -> dict[str, dict[str, int]]:
    """What a client reads of the files; None: the one that the product is built on."""
    environment = {**os.environ, "PYTHONPATH": str(client(version)) if version else ""}
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, files)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"DuckDB {version}: {done.stderr}"
    told: dict[str, dict[str, int]] = json.loads(done.stdout)
    return told


def history(
    folder: Path, seed: int, nights: int, most: int, small: Callable[[int], int] = lambda _: 1 << 40
) -> list[Path]:
    """What was published by nights in which sources come and go; each publish, kept.

    small: up to which size a night's file is written anew in any case.
    """
    chance, warehouse = random.Random(seed), Warehouse(folder / "data")
    published = []
    for night in range(nights):
        day = FIRST + timedelta(days=night)
        publish._SMALL = small(night)
        for source, record in RECORDS.items():
            if chance.random() < 0.5:
                continue
            count = chance.choice((1, most // 20, most))
            records = [
                record(chance, day + timedelta(seconds=chance.randrange(86_000))) for _ in range(count)
            ]
            warehouse.put(f"{source}/dt={day:%Y-%m-%d}/a.jsonl", records)
        warehouse.night(as_of=day.date(), now=day + timedelta(hours=23), run_id=str(night), publishes=True)
        published.append(folder / f"{night:03}.duckdb")
        shutil.copyfile(warehouse.settings.analytics_file, published[-1])
    return published


def _company(chance: random.Random) -> str:
    return f"c{chance.randrange(300)}"


def _user(chance: random.Random) -> str:
    return f"u{chance.randrange(3000)}"


def _token(chance: random.Random) -> str:
    return f"{chance.randrange(5000):032x}"


RECORDS: dict[str, Callable[[random.Random, datetime], dict[str, Any]]] = {
    "events": lambda chance, at: {
        "request": {"time": at.isoformat(), "uri": f"/v1/{chance.randrange(40)}", "verb": "GET"},
        "response": {"status": chance.choice((200, 200, 404, 500))},
        "session_token": _token(chance),
    },
    "users": lambda chance, at: {
        "user_id": (user := _user(chance)),
        "company_id": _company(chance),
        "session_token": _token(chance),
        "metadata": {"email": f"{user}@acme.example", f"k{chance.randrange(9)}": chance.random()},
    },
    "companies": lambda chance, at: {
        "company_id": _company(chance),
        "session_token": _token(chance),
        "metadata": {"plan": "x" * chance.randrange(40), "n": chance.randrange(9)},
    },
    "features": lambda chance, at: {
        "account_id": _company(chance),
        "user_id": _user(chance),
        "feature_id": f"f{chance.randrange(20)}",
        "module_id": "m",
        "product_id": "p",
        "timestamp": at.isoformat(),
    },
    "actions": lambda chance, at: {
        "action_name": "export",
        "request": {"time": at.isoformat()},
        "user_id": _user(chance),
    },
}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(1, 3)))
def test_every_publish_is_read_whole_by_the_promised_clients(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_SMALL", 0)
    # Every third night's file is written anew in any case; of the others, those for which there is a reason.
    files = history(
        tmp_path,
        seed,
        nights=30 if LONG else 4,
        most=20_000 if LONG else 400,
        small=lambda night: 0 if night % 3 else 1 << 40,
    )
    expected = read_by(None, files)
    for rows in expected.values():
        assert rows["main.company_profiles"] == rows["marts.company_profiles"]
        assert rows["shown"] == sum(name.startswith("marts.") for name in rows), "the views, and nothing else"
    for version in CLIENTS:
        assert read_by(version, files) == expected, f"seed {seed}, DuckDB {version}"


def test_what_is_published_has_no_block_that_is_free_or_behind_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warehouse's own file has both, after nights in which tables shrank; old clients stumble over the second."""
    monkeypatch.setattr(publish, "_SMALL", publish._SMALL)
    file = history(tmp_path, 1, nights=3, most=400)[-1]
    with duckdb.connect(str(file), read_only=True) as connection:
        sizes = "SELECT block_size, total_blocks, free_blocks FROM pragma_database_size()"
        ((block, blocks, free),) = connection.execute(sizes).fetchall()
    assert free <= 2
    assert block * blocks <= file.stat().st_size


def test_a_large_warehouse_whose_lists_are_all_empty_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_SMALL", 0)
    warehouse = Warehouse(tmp_path)
    calls = [
        {"company_id": "acme", "request": {"time": at}, "response": {"status": 200}}
        for at in ("2026-11-01T10:00:00Z", "2026-11-09T10:00:00Z", "2026-11-09T11:00:00Z")
    ]
    warehouse.put("events/a.jsonl", calls)
    warehouse.night(as_of=date(2026, 11, 9), publishes=True)
    with duckdb.connect(str(warehouse.settings.analytics_file), read_only=True) as connection:
        lists = "SELECT max(len(cohorts)) FROM {}.company_profiles"
        for schema in ("main", "marts"):
            assert connection.execute(lists.format(schema)).fetchall() == [(0,)], (
                "no cohort: this tests nothing else"
            )
            assert connection.execute(f"SELECT events FROM {schema}.company_profiles").fetchall() == [(3,)]


def test_each_part_of_a_list_column_holds_elements_also_where_the_warehouse_was_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB 1.0 reads no other. Calls without `response.time` have no latencies."""
    monkeypatch.setattr(publish, "_SMALL", 0)
    monkeypatch.setattr(publish, "_is_sound", lambda *_: True)
    warehouse = Warehouse(tmp_path)
    for day in (8, 9, 10):
        calls = [
            {"company_id": f"c{number}", "request": {"time": f"2026-11-{day:02}T10:00:00Z"}}
            for number in range(3000)
        ]
        warehouse.put(f"events/{day}.jsonl", calls)
        warehouse.night(as_of=date(2026, 11, day), publishes=True)
        with duckdb.connect(str(warehouse.settings.analytics_file), read_only=True) as connection:
            groups = "FROM pragma_storage_info('core.api_usage_daily') WHERE column_name = 'latencies'"
            every = connection.execute(f"SELECT DISTINCT row_group_id {groups}").fetchall()
            whole = connection.execute(
                f"SELECT DISTINCT row_group_id {groups} AND segment_type = 'BIGINT' ORDER BY 1"
            ).fetchall()
            assert every
            assert sorted(every) == whole
            assert connection.execute("SELECT count(*) FROM core.api_usage_daily").fetchall() == [
                (3000 * (day - 7),)
            ]


def test_marts_are_found_first_with_their_comments(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put("companies/a.jsonl", [{"company_id": "acme"}])
    warehouse.night(publishes=True)
    with duckdb.connect(str(warehouse.settings.analytics_file), read_only=True) as connection:
        assert ("company_profiles",) in connection.execute("SHOW TABLES").fetchall()
        assert connection.execute("SELECT company_id FROM company_profiles").fetchall() == [("acme",)]
        among = "FROM duckdb_columns() WHERE schema_name = '{}' AND NOT internal"
        said = "SELECT table_name, column_name, comment " + among
        views, tables = (set(connection.execute(said.format(s)).fetchall()) for s in ("main", "marts"))
        assert views == tables
    # A warehouse that is taken from what is published has no views: the next publish makes them.
    warehouse.settings.warehouse_file.unlink()
    assert warehouse.query("SELECT view_name FROM duckdb_views() WHERE NOT internal") == []
    warehouse.put("companies/b.jsonl", [{"company_id": "beta"}])
    warehouse.night(publishes=True)
    with duckdb.connect(str(warehouse.settings.analytics_file), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM company_profiles").fetchall() == [(2,)]
