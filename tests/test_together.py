"""Several at once: two runs, analysts with connections that stay open, readers at the instant of a publish."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import DAY, CommandLine
from harness import Warehouse, hearing
from soak import LONG, budget

from dagster_project.warehouse.database import (
    DatabaseError,
    connect_published,
    open_published,
    open_warehouse,
)

COUNT = "SELECT count(*) FROM ops.files"
READER = """
import duckdb, os, sys
seen = []
while not os.path.exists(sys.argv[2]):
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        seen.append(connection.execute("SELECT count(*) FROM ops.files").fetchall()[0][0])
    if len(seen) == 1:
        print("ready", flush=True)
assert seen == sorted(seen), "a newer one, then an older one"
print(len(seen), len(set(seen)))
"""


def put(warehouse: Warehouse, number: int) -> None:
    warehouse.put(
        f"events/{number:04}.jsonl",
        [{"request": {"time": "2026-03-30T10:00:00Z"}, "company_id": f"c{number}"}],
    )


@contextmanager
def holding(file: Path, *, read_only: bool) -> Iterator[None]:
    """A client of another process that has a database open."""
    code = f"import duckdb; c = duckdb.connect({str(file)!r}, read_only={read_only}); print('open', flush=True); input()"
    client = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "open\n"
    try:
        yield
    finally:
        client.communicate("\n")


def test_two_runs_at_once_both_end_well(line: CommandLine) -> None:
    for number in (1, 2):
        (line.raw / f"events/{number}.jsonl").write_text(
            f'{{"request": {{"time": "{DAY}T10:00:00Z"}}, "company_id": "new-{number}"}}\n'
        )
    shutil.rmtree(line.data / "dagster")  # the first that Dagster's storage sees: it is made once
    runs = [line.start("run", "--as-of", DAY) for _ in range(6 if LONG else 2)]
    said = [line.finish(run) for run in runs]
    assert sum("Nothing new" in text for text in said) == len(runs) - 1, "one loads, the others find it done"
    assert line.ask("SELECT count(*) FROM marts.company_profiles WHERE company_id LIKE 'new-_'") == [(2,)]


@pytest.mark.soak
def test_readers_at_the_instant_of_a_publish_never_fail(tmp_path: Path) -> None:
    """Each opens the published file again and again, in processes of their own, while it is replaced."""
    warehouse = Warehouse(tmp_path)
    put(warehouse, 0)
    warehouse.night(publishes=True)
    stop = tmp_path / "stop"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(warehouse.settings.analytics_file), str(stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    for number in range(1, budget(3, 60)):
        put(warehouse, number)
        warehouse.night(publishes=True)
    stop.touch()
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        opened, different = map(int, out.split())
        assert opened > different >= 2


@pytest.mark.soak
def test_connections_that_stay_open_keep_their_data_and_the_portals_see_the_new(tmp_path: Path) -> None:
    """Also many at once, of one process and of others, some opened for writing by mistake."""
    warehouse = Warehouse(tmp_path)
    put(warehouse, 0)
    warehouse.night(publishes=True)
    file = warehouse.settings.analytics_file
    kept = [connect_published(warehouse.settings) for _ in range(3)]
    failed: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                with connect_published(warehouse.settings) as connection:
                    connection.execute("SELECT count(*) FROM published.marts.company_profiles").fetchall()
                time.sleep(0.01)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    nights = budget(2, 20)
    with holding(file, read_only=True):
        for thread in threads:
            thread.start()
        for number in range(1, nights + 1):
            put(warehouse, number)
            warehouse.night(publishes=True)
        done.set()
        for thread in threads:
            thread.join()
        assert not failed
        for connection in kept:
            assert connection.execute("SELECT count(*) FROM published.ops.files").fetchall() == [(1,)]
            connection.close()
    with open_published(warehouse.settings) as connection:
        assert connection.execute(COUNT).fetchall() == [(nights + 1,)]


def test_who_opens_the_published_file_for_writing_holds_up_no_run_and_is_named_to_readers(
    tmp_path: Path,
) -> None:
    warehouse = Warehouse(tmp_path)
    put(warehouse, 0)
    warehouse.night(publishes=True)
    with holding(warehouse.settings.analytics_file, read_only=False):
        with (
            pytest.raises(DatabaseError, match=r"open for writing in .*PID \d+.*read_only=True"),
            open_published(warehouse.settings),
        ):
            pass
        put(warehouse, 1)
        warehouse.night(publishes=True)
        with open_published(warehouse.settings) as connection:
            assert connection.execute(COUNT).fetchall() == [(2,)]


@pytest.mark.parametrize("name", ["warehouse.duckdb", "raw.duckdb"])
def test_who_opens_the_wrong_file_is_waited_for_and_then_named(tmp_path: Path, name: str) -> None:
    Warehouse(tmp_path).night(publishes=True)
    hasty = Warehouse(tmp_path, warehouse={"lock_wait_seconds": 0})
    patient = Warehouse(tmp_path, warehouse={"lock_wait_seconds": 60})
    told: list[str] = []
    with holding(tmp_path / name, read_only=True):
        with pytest.raises(
            DatabaseError, match=rf"{name} is in use by .*PID \d+.*open analytics.duckdb instead"
        ):
            hasty.night()
        waiting = threading.Thread(target=lambda: _open(patient, told), daemon=True)
        waiting.start()
        end = time.monotonic() + 60
        while not told and waiting.is_alive() and time.monotonic() < end:
            time.sleep(0.01)
        assert told, "nothing was said of the wait"
    waiting.join(60)
    assert told[0].startswith(f"{name} is in use by")
    assert told[1:] == ["opened"]


def _open(warehouse: Warehouse, told: list[str]) -> None:
    with hearing(told.append), open_warehouse(warehouse.settings):
        told.append("opened")
