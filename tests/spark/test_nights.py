"""The same nights on this machine and on a cluster: every table is equal, row for row."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Warehouse
from sources.test_workers import two_nights

from dagster_project.sources import on_spark


@pytest.fixture(autouse=True)
def _whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to do, the cluster does it."""
    monkeypatch.setattr(on_spark, "SMALLEST_BYTES", 0)


def on_cluster(folder: Path, remote: str) -> Warehouse:
    storage = folder / "storage"
    storage.mkdir(parents=True)
    return Warehouse(folder, engine={"kind": "spark", "remote": remote, "storage": str(storage)})


def test_odd_files_are_read_alike(tmp_path: Path, remote: str) -> None:
    assert two_nights(on_cluster(tmp_path / "spark", remote)) == two_nights(Warehouse(tmp_path / "local"))
