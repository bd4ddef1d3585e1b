"""A peer of the benchmark comes to the warehouse's tables from the same files, by code that shares nothing with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from harness import Warehouse

from benchmarks import data, peers

_SCRIPT = Path(peers.__file__).with_name("polars_peer.py")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The published database, and what Polars made of the same files."""
    folder = tmp_path_factory.mktemp("peers")
    warehouse, out = Warehouse(folder / "data"), folder / "out"
    warehouse.raw.rmdir()
    data.history(warehouse.raw, calls=3000, companies=20)
    out.mkdir()
    warehouse.night(data.END, publishes=True)
    subprocess.run([sys.executable, str(_SCRIPT), str(warehouse.raw), str(out), str(data.END)], check=True)
    return warehouse.settings.analytics_file, out


def test_polars_comes_to_the_same_tables(loaded: tuple[Path, Path]) -> None:
    analytics, out = loaded
    assert peers.differing(out, analytics) == 0


def test_a_difference_is_counted(loaded: tuple[Path, Path], tmp_path: Path) -> None:
    analytics, out = loaded
    for file in out.glob("*.parquet"):
        changed = "* REPLACE (calls + 1 AS calls)" if file.stem == "company_profiles" else "*"
        duckdb.sql(f"COPY (SELECT {changed} FROM '{file}') TO '{tmp_path / file.name}'")
    assert peers.differing(tmp_path, analytics) == 2 * len(
        duckdb.sql(f"FROM '{out}/company_profiles.parquet'")
    )
