"""A warehouse in a folder of its own: raw files in, tables out."""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from dagster_project.orchestration.log import listening
from dagster_project.pipeline import nightly
from dagster_project.pipeline.nightly import LoadResult
from dagster_project.settings import Settings
from dagster_project.sources import all_sources, loading
from dagster_project.warehouse import registry, state, tables
from dagster_project.warehouse.build import Built
from dagster_project.warehouse.database import open_warehouse, transaction
from dagster_project.warehouse.publish import publish

Row = dict[str, Any]
_JSON_COLUMNS = {"metadata", "campaign", "crm"}


@cache
def _blank() -> Path:
    """Databases where every table is there and empty. To make them takes most of a first night: once a process."""
    folder = Path(tempfile.mkdtemp(prefix="blank-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with open_warehouse(Settings.model_validate({"data": folder, "raw": folder / "raw"})) as connection:
        registry.prepare(connection)
        loading.prepare(connection, all_sources())
        state.prepare(connection, ())
        with transaction(connection):
            for model in nightly.models().values():
                tables.create(connection, model)
    return folder


def on_cluster(folder: Path, remote: str) -> dict[str, Any]:
    """The section of the settings by which a cluster does the heavy half of a warehouse in that folder."""
    storage = folder / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    owner = storage / "owner.json"
    if owner.exists() and str(folder.resolve()) not in owner.read_text():
        owner.unlink()  # a test copies warehouses
    return {"kind": "spark", "remote": remote, "storage": str(storage)}


class Warehouse:
    """Runs nights on the files that a test puts into raw/. new: begin without databases, as on a new machine.

    With WAREHOUSE_TEST_ENGINE, the address of a cluster, its large tables lie in files. (It is not asked about what is small.)
    """

    def __init__(self, folder: Path, *, new: bool = False, **sections: Mapping[str, Any]) -> None:
        self.folder = folder
        self.raw = folder / "raw"
        self.raw.mkdir(parents=True, exist_ok=True)
        # Nights of a test are by any clock, in any order.
        sections = {**sections, "warehouse": {"clock_jump_days": 0, **sections.get("warehouse", {})}}
        if (remote := os.environ.get("WAREHOUSE_TEST_ENGINE")) and "engine" not in sections:
            sections["engine"] = on_cluster(folder, remote)
        self.settings = Settings.model_validate({"data": folder, "raw": self.raw, **sections})
        files = (self.settings.raw_file, self.settings.warehouse_file)
        if not new and not any(file.exists() for file in files):
            for file in files:
                shutil.copy(_blank() / file.name, file)
        self.loaded = LoadResult()
        self.built: dict[str, Built] = {}

    def put(self, path: str, content: bytes | str | Iterable[Any]) -> Path:
        """Write a raw file: bytes, text, or records as JSON lines."""
        file = self.raw / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, bytes | str):
            content = "".join(json.dumps(record) + "\n" for record in content)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def night(
        self,
        as_of: date = date(2026, 3, 31),
        now: datetime | None = None,
        *,
        full: bool = False,
        apply_settings: bool = False,
        run_id: str = "run",
        publishes: bool = False,
    ) -> Warehouse:
        with open_warehouse(self.settings) as connection:
            self.loaded = nightly.load_new_files(
                connection, self.settings, now=now, full=full, apply_settings=apply_settings
            )
            self.built = nightly.build_tables(connection, self.settings, as_of=as_of, now=now, run_id=run_id)
            if publishes:
                publish(connection, self.settings)
        return self

    def query(self, query: str) -> list[Row]:
        with open_warehouse(self.settings) as connection:
            relation = connection.sql(query)
            return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

    def table(self, name: str) -> list[Row]:
        rows = self.query(f"FROM {name}")
        for row in rows:
            for column in _JSON_COLUMNS & set(row):
                if row[column] is not None:
                    row[column] = json.loads(row[column])
        return rows

    def one(self, name: str, **key: Any) -> Row:
        found = [row for row in self.table(name) if all(row[k] == v for k, v in key.items())]
        assert len(found) == 1, f"{len(found)} rows of {name} for {key}"
        return found[0]


@contextmanager
def hearing(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with each thing that the warehouse logs, when it is logged. What it raises, the one who logged meets."""

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    with listening(Hearing()):
        yield
