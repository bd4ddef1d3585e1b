"""A cluster that dies, a run that is killed, a worker that cannot read: the same again goes on, and nothing of it shows."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse, on_cluster
from soak import LONG

from dagster_project.pipeline import nightly
from dagster_project.sources import loading, on_spark
from dagster_project.sources.reading import Batch, Read
from dagster_project.spark import check, engine, session
from dagster_project.standins.spark import Cluster
from dagster_project.warehouse.database import DatabaseError, open_warehouse

from .test_nights import NOW, every_table

DAY = date(2026, 11, 21)


@pytest.fixture(autouse=True)
def _whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_spark, "SMALLEST_BYTES", 0)
    monkeypatch.setattr(engine, "SMALLEST_ROWS", 0)


def put_calls(warehouse: Warehouse, files: int = 6) -> None:
    for n in range(files):
        calls = [
            {
                "transaction_id": f"{n}-{i % 150}",  # some come twice
                "company_id": f"c{i % 7}",
                "request": {"time": f"2026-11-{10 + n:02d}T10:00:{i % 60:02d}Z"},
                "response": {"status": 200 + 100 * (i % 4)},
            }
            for i in range(200)
        ]
        warehouse.put(f"events/{n}.jsonl", calls)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The tables as they are on one machine."""
    warehouse = Warehouse(tmp_path_factory.mktemp("here"))
    put_calls(warehouse)
    warehouse.night(DAY, NOW)
    return every_table(warehouse)


def test_a_worker_that_cannot_read_is_not_believed(
    tmp_path: Path, remote: str, wanted: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = on_spark.SparkReaders._taken

    def without_credentials(self: Any, batch: Batch, parts: Sequence[bytes]) -> Read:
        said = "OSError: the bucket refuses the credentials of this machine"
        return taken(self, batch, [pickle.dumps(said)])

    monkeypatch.setattr(on_spark.SparkReaders, "_taken", without_credentials)
    warehouse = Warehouse(tmp_path, engine=on_cluster(tmp_path, remote))
    put_calls(warehouse)
    warehouse.night(DAY, NOW)
    assert every_table(warehouse) == wanted


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (on_spark.SparkReaders, "_taken"),  # while they read
        (engine.Spark, "_fetch"),  # while they decide
        *([(engine.Spark, "_written")] if LONG else []),  # while they write
    ],
)
def test_a_worker_that_dies_does_not_show(
    part: type, name: str, tmp_path: Path, cluster: Cluster, wanted: dict[str, list[str]], monkeypatch: Any
) -> None:
    """Nor does its executor, which dies with it."""
    monkeypatch.setattr(loading, "_SHARE_FILES", 1)
    does = getattr(part, name)
    killed: list[int] = []

    def kill(*given: Any) -> Any:
        if killed:
            return does(*given)
        killed.append(1)
        with ThreadPoolExecutor(1) as beside:
            dying = beside.submit(cluster.kill_worker)
            done = does(*given)
            dying.result(60)
        return done

    monkeypatch.setattr(part, name, kill)
    warehouse = Warehouse(tmp_path, engine=on_cluster(tmp_path, cluster.remote))
    put_calls(warehouse)
    try:
        warehouse.night(DAY, NOW)
    finally:
        cluster.start_worker()
    assert killed
    assert every_table(warehouse) == wanted
    assert_no_leftovers(warehouse)


def assert_no_leftovers(warehouse: Warehouse) -> None:
    with open_warehouse(warehouse.settings) as connection:
        named = {file for (file,) in connection.execute("SELECT file FROM raw.stored").fetchall()}
    left = {str(file) for file in (warehouse.folder / "storage").rglob("*") if file.is_file()}
    assert left - {str(warehouse.folder / "storage/owner.json")} == named


_KILLED = """
import os, sys
from datetime import date
from pathlib import Path
sys.path[:0] = {path!r}
from harness import Warehouse, on_cluster
from dagster_project.sources import loading, on_spark
from dagster_project.spark import engine
from dagster_project.warehouse import rebuild, stored
from spark.test_failures import DAY, NOW, put_calls
on_spark.SMALLEST_BYTES = engine.SMALLEST_ROWS = 0
def dies(*_, **__):
    os._exit(9)
setattr({module}, {name!r}, dies)
folder = Path({folder!r})
warehouse = Warehouse(folder, engine=on_cluster(folder, {remote!r}))
put_calls(warehouse)
warehouse.night(DAY, NOW)
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *([("loading", "_collected")] if LONG else []),  # while it is read
        ("stored", "add"),  # rows are written, and nobody knows of them
        *([("loading", "_account")] if LONG else []),  # before all of it is committed
        ("rebuild", "_log_days"),  # while it is summed up
    ],
)
def test_a_run_that_is_killed_goes_on(
    module: str, name: str, tmp_path: Path, remote: str, wanted: dict[str, list[str]]
) -> None:
    tests = str(Path(__file__).parents[1])
    script = _KILLED.format(path=[tests], module=module, name=name, folder=str(tmp_path), remote=remote)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ},
        timeout=300,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 9, done.stderr[-2000:]
    warehouse = Warehouse(tmp_path, engine=on_cluster(tmp_path, remote))
    warehouse.night(DAY, NOW)
    assert every_table(warehouse) == wanted
    assert_no_leftovers(warehouse)


def test_a_cluster_that_is_gone_is_said_in_words(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, engine=on_cluster(tmp_path, "sc://127.0.0.1:1"))
    put_calls(warehouse)
    with pytest.raises(DatabaseError, match="no Spark Connect server answers"):
        warehouse.night(DAY, NOW)


def test_a_check_says_what_is_there_and_what_is_missing(tmp_path: Path, remote: str) -> None:
    settings = Warehouse(tmp_path, engine=on_cluster(tmp_path, remote)).settings
    found = check.check(settings)
    assert [finding.text for finding in found if not finding.is_good] == []
    assert any("all see" in finding.text and "storage" in finding.text for finding in found)
    (tmp_path / "storage/owner.json").unlink(missing_ok=True)
    (tmp_path / "storage").rmdir()
    assert any("no folder" in finding.text for finding in check.check(settings) if not finding.is_good)


def test_a_storage_of_another_warehouse_is_refused(tmp_path: Path) -> None:
    engine = on_cluster(tmp_path / "a", "sc://127.0.0.1:1")
    one, other = Warehouse(tmp_path / "a", engine=engine), Warehouse(tmp_path / "b", engine=engine)
    with open_warehouse(one.settings) as connection:
        assert nightly.move_tables(connection, one.settings) is not None
        assert nightly.move_tables(connection, one.settings) is None
    with (
        open_warehouse(other.settings) as connection,
        pytest.raises(DatabaseError, match="belongs to the warehouse in"),
    ):
        nightly.move_tables(connection, other.settings)


def test_what_the_cluster_was_asked_is_named(tmp_path: Path, remote: str, caplog: Any) -> None:
    session.operations()
    warehouse = Warehouse(tmp_path, engine=on_cluster(tmp_path, remote))
    put_calls(warehouse, 1)
    with caplog.at_level(logging.INFO):
        warehouse.night(DAY, NOW)
    assert session.operations()
    assert session.operations() == []
