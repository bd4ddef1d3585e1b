"""A warehouse in a folder of its own: raw files in, tables out."""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakSet

import duckdb

from dagster_project.orchestration.log import listening
from dagster_project.pipeline import nightly
from dagster_project.pipeline.nightly import LoadResult
from dagster_project.settings import Settings
from dagster_project.sources import all_sources, loading
from dagster_project.warehouse import database, registry, state, tables
from dagster_project.warehouse.build import Built
from dagster_project.warehouse.database import Connection, open_warehouse, quoted, transaction
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


# What tells of files. A test of loading needs no more; to build all tables takes most of a night.
OF_FILES = frozenset({"ops.files", "ops.rejects", "ops.repairs", "ops.warnings"})


def on_cluster(folder: Path, remote: str) -> dict[str, Any]:
    """The section of the settings by which a cluster does the heavy half of a warehouse in that folder."""
    storage = folder / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    owner = storage / "owner.json"
    if owner.exists() and str(folder.resolve()) not in owner.read_text():
        owner.unlink()  # a test copies warehouses
    return {"kind": "spark", "remote": remote, "storage": str(storage)}


_all: WeakSet[Warehouse] = WeakSet()


def release(data: Path | None = None) -> None:
    """Close what looks at tables left open: in this data folder, or everywhere."""
    for warehouse in list(_all):
        if data in (None, warehouse.data):
            warehouse.close()


class Warehouse:
    """Runs nights on the files that a test puts into raw/.

    new: begin without databases, as on a new machine. builds: the tables that its nights bring up to date (default: all).

    Looking at tables leaves the databases open, as opening them costs more than most looks. Whoever asks for `settings` or
    `folder`, opens them in this process, or starts the command, finds them closed.

    With WAREHOUSE_TEST_ENGINE, the address of a cluster, its large tables lie in files. (It is not asked about what is small.)
    """

    def __init__(
        self,
        folder: Path,
        *,
        new: bool = False,
        builds: Set[str] | None = None,
        **sections: Mapping[str, Any],
    ) -> None:
        self._open: ExitStack | None = None
        self._connection: Connection | None = None
        self.builds = builds
        self._folder = folder
        self.raw = folder / "raw"
        self.raw.mkdir(parents=True, exist_ok=True)
        # Nights of a test are by any clock, in any order. Of tables as small as theirs, two threads make a tenth more work.
        by_default = {"clock_jump_days": 0, "threads": 1}
        sections = {**sections, "warehouse": {**by_default, **sections.get("warehouse", {})}}
        if (remote := os.environ.get("WAREHOUSE_TEST_ENGINE")) and "engine" not in sections:
            sections["engine"] = on_cluster(folder, remote)
        self._settings = Settings.model_validate({"data": folder, "raw": self.raw, **sections})
        _all.add(self)
        files = (self.settings.raw_file, self.settings.warehouse_file)
        if not new and not any(file.exists() for file in files):
            for file in files:
                shutil.copy(_blank() / file.name, file)
        self.loaded = LoadResult()
        self.built: dict[str, Built] = {}

    @property
    def settings(self) -> Settings:
        self.close()
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self.close()
        self._settings = settings

    @property
    def folder(self) -> Path:
        self.close()
        return self._folder

    @property
    def data(self) -> Path:
        return self._settings.data

    def close(self) -> None:
        """Let others open the databases."""
        opened, self._open, self._connection = self._open, None, None
        if opened is not None:
            opened.close()

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
        settings = self.settings
        with open_warehouse(settings) as connection:
            self.loaded = nightly.load_new_files(
                connection, settings, now=now, full=full, apply_settings=apply_settings
            )
            self.built = nightly.build_tables(
                connection,
                settings,
                as_of=as_of,
                now=now,
                run_id=run_id,
                selected=None if self.builds is None else set(self.builds),
            )
            if publishes:
                publish(connection, settings)
        return self

    def query(self, query: str) -> list[Row]:
        if self._connection is None:
            opened = ExitStack()
            self._connection = opened.enter_context(open_warehouse(self._settings))
            self._open = opened
        relation = self._connection.sql(query)
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


_connect = database._connect


def _connecting(settings: Settings) -> Connection:
    release(settings.data)
    return _connect(settings)


database._connect = _connecting


@cache
def _looking() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def rows_of(file: Path, query: str) -> list[Row]:
    """What a query finds in a database, as one sees it who opens it for reading. (To attach one costs less than a connection.)"""
    connection = _looking().cursor()
    name = f"looked_at_{uuid4().hex}"
    connection.execute(f"ATTACH '{quoted(str(file))}' AS {name} (READ_ONLY)")
    try:
        connection.execute(f"USE {name}")
        relation = connection.sql(query)
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    finally:
        connection.execute("USE memory")
        connection.execute(f"DETACH {name}")
        connection.close()


@contextmanager
def hearing(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with each thing that the warehouse logs, when it is logged. What it raises, the one who logged meets."""

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    with listening(Hearing()):
        yield
