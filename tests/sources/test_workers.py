"""Who reads, in which batches and in which of the two ways: nothing of it shows in the tables; nor does a reader that dies."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse

from dagster_project.pipeline import nightly
from dagster_project.readers import contents
from dagster_project.sources import loading, typed, workers
from dagster_project.warehouse import discovery
from dagster_project.warehouse.database import DatabaseError, open_warehouse

NOW = datetime(2026, 11, 22, 3)  # noqa: DTZ001
SAMPLE = Path(__file__).parents[2] / "data/sample/raw"
_ODD = (
    b'{"company_id": 7, "user_id": 8.0, "request": {"time": "2026-11-20T10:00:00Z"}, "weight": NaN}\n'
    b'nothing\n[{"company_id": "a", "user_id": "b", "metadata": {"a.b": 1, "a_b": "x"}}, 5]\n'
    b'{"CompanyId": "a", "user_id": "b", "modified_time": "soon", "metadata": {"password": "x"}}\n'
)


def put_files(warehouse: Warehouse) -> None:
    """Of every source; some with odd records, some that go on from others, one that is large, two that cannot be read."""
    lines = {}
    for folder in ("events", "actions", "companies", "users", "features"):
        for file in sorted(path for path in (SAMPLE / folder).rglob("*") if path.is_file()):
            path = file.relative_to(SAMPLE).as_posix()
            if any(f"-11-{day:02}" in path for day in range(8, 20)):
                continue
            data = file.read_bytes()
            if path.endswith(".jsonl.gz"):
                path, data = path.removesuffix(".gz"), gzip.decompress(data)
            if path.endswith(".jsonl"):
                data += _ODD
                lines.setdefault(folder, data)
            warehouse.put(path, data)
    warehouse.put("events/grown.jsonl", lines["events"] + lines["events"])
    warehouse.put("events/a/large.jsonl", b"".join(reversed(lines["events"].splitlines(keepends=True))) * 2)
    warehouse.put("users/grown.jsonl", lines["users"] + b'{"user_id": "last", "session_token": "t"}')
    warehouse.put("events/packed.jsonl.gz", b"no gzip at all")
    warehouse.put("companies/broken.json", '[{"company_id": 1},')


def load(warehouse: Warehouse, now: datetime = NOW) -> None:
    with open_warehouse(warehouse.settings) as connection:
        nightly.load_new_files(connection, warehouse.settings, now=now)


def raw_tables(warehouse: Warehouse) -> dict[str, list[str]]:
    with open_warehouse(warehouse.settings) as connection:
        names = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'raw' ORDER BY 1"
        ).fetchall()
        left_out = {"versions", "paths", "erasure_key"}  # counts of writes, times of files
        return {
            name: sorted(map(str, connection.execute(f"FROM raw.{name}").fetchall()))
            for (name,) in names
            if name not in left_out
        }


def two_nights(warehouse: Warehouse) -> dict[str, list[str]]:
    put_files(warehouse)
    load(warehouse)
    with (warehouse.raw / "users/grown.jsonl").open("ab") as grown:
        grown.write(b'\n{"user_id": "more"}\n')
    load(warehouse, NOW + timedelta(days=1))
    return raw_tables(warehouse)


@pytest.fixture(scope="module")
def by_itself(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The raw tables, read in this process, in batches as large as they are."""
    return two_nights(Warehouse(tmp_path_factory.mktemp("itself"), engine={"workers": 1}))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[workers._Process]]:
    """However little there is, it is read by other processes, a few files at a time. Those that are started."""
    started: list[workers._Process] = []
    start = workers._Process.__init__

    def noted(process: workers._Process, folder: Path) -> None:
        start(process, folder)
        started.append(process)

    monkeypatch.setattr(workers, "SMALLEST_BYTES", 0)
    monkeypatch.setattr(workers._Process, "__init__", noted)
    monkeypatch.setattr(loading, "_SHARE_FILES", 3)
    yield started
    # However it ended, none of them is left.
    assert all(process._process.poll() is not None for process in started)


def test_other_processes_read_the_same(
    tmp_path: Path,
    by_itself: dict[str, list[str]],
    eager: list[workers._Process],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "_BATCH_FILES", 4)
    assert two_nights(Warehouse(tmp_path, engine={"workers": 2})) == by_itself
    assert len(eager) == 4


def test_the_way_in_which_a_file_is_read_does_not_show(
    tmp_path: Path, by_itself: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = typed.SMALLEST_BYTES
    monkeypatch.setattr(typed, "SMALLEST_BYTES", 1 << 60)
    monkeypatch.setattr(loading, "_BATCH_FILES", 2)
    warehouse = Warehouse(tmp_path, engine={"workers": 1})
    assert two_nights(warehouse) == by_itself
    assert (warehouse.raw / "events/a/large.jsonl").stat().st_size > usual  # so both ways are compared


def test_files_that_are_hashed_ahead_are_the_same_files(
    tmp_path: Path, by_itself: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    once = contents.read_content

    def counted(path: str, *given: Any, **more: Any) -> contents.Content:
        read.append(path)
        return once(path, *given, **more)

    monkeypatch.setattr(contents, "read_content", counted)
    monkeypatch.setattr(discovery, "_LARGE", 0)
    assert two_nights(Warehouse(tmp_path, engine={"workers": 1})) == by_itself
    assert len(set(read)) > 10
    assert len(read) < 2 * len(set(read))


def test_tokens_are_hashed_by_whoever_reads_them(
    tmp_path: Path, eager: list[workers._Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_TOKEN_KEY", "k" * 64)
    tables = []
    for count in (2, 1):
        warehouse = Warehouse(tmp_path / str(count), engine={"workers": count}, privacy={"hash_tokens": True})
        warehouse.put("users/a.jsonl", [{"user_id": "u", "session_token": "secret"}])
        load(warehouse)
        tables.append(raw_tables(warehouse))
    assert tables[0] == tables[1]
    assert "secret" not in str(tables)


def test_a_reader_that_is_killed_ends_the_night_in_words_and_the_next_one_ends_well(
    tmp_path: Path,
    by_itself: dict[str, list[str]],
    eager: list[workers._Process],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warehouse = Warehouse(tmp_path, engine={"workers": 2})
    put_files(warehouse)
    ask = workers._Process.ask

    def killed(process: workers._Process, batch: workers.Batch) -> workers.Read:
        if batch.source == "companies":
            process._process.kill()
        return ask(process, batch)

    with monkeypatch.context() as patched:
        patched.setattr(workers._Process, "ask", killed)
        with pytest.raises(
            DatabaseError, match=r"the process that read companies/.* was ended by signal 9.*nothing is lost"
        ):
            load(warehouse)
    monkeypatch.setattr(workers, "SMALLEST_BYTES", 1 << 60)
    assert two_nights(warehouse) == by_itself


def test_a_reader_that_does_not_answer_is_not_waited_for_forever(
    tmp_path: Path, eager: list[workers._Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path, engine={"workers": 2})
    warehouse.put("users/a.jsonl", [{"user_id": "u"}])
    monkeypatch.setattr(workers, "_LONGEST_SECONDS", 0.2)
    ask = workers._Process.ask

    def stopped(process: workers._Process, batch: workers.Batch) -> workers.Read:
        process._process.send_signal(signal.SIGSTOP)
        return ask(process, batch)

    monkeypatch.setattr(workers._Process, "ask", stopped)
    with pytest.raises(DatabaseError, match=r"users/a\.jsonl did not answer"):
        load(warehouse)


_PARENT = """
import os, signal, sys, time
from pathlib import Path
from dagster_project.sources.workers import _Process
print(_Process(Path(sys.argv[1]) / "reader")._process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_reader_does_not_outlive_who_started_it(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    reader = int(parent.stdout.readline())
    parent.send_signal(how)
    parent.wait(timeout=20)
    parent.stdout.close()
    for _ in range(200):
        if not _runs(reader):
            break
        time.sleep(0.1)
    assert not _runs(reader)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return f"{pid}" in os.listdir("/proc") and ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
