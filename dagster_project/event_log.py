"""Dagster's SQLite storages, opened without a detour and written in batches: named in `dagster.yaml`, used by whatever
process opens that instance.

Dagster's own SQLite storage makes an engine for every question and every event, and so compiles every statement
anew; and it writes each event of a batch (what a run plans, what a step made of its assets) in transactions of its
own. For a night without news that was half of the work. Besides, it reads all its migrations whenever it opens a
database, and again to make the one of each run. The files and their contents are Dagster's: with or without this
class, the same history is read.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from dagster import __version__
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import StaticPool

from dagster_project.settings import load_settings

_MOST = "1000"
_ENGINES = 4  # a webserver looks into one database after the other


class BatchingEventLogStorage(SqliteEventLogStorage):
    """SQLite event log that keeps a batch in one transaction a database."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._held: dict[str, Any] | None = None  # connections of the batch that is being written
        self._engines: dict[str, Any] = {}  # by database, the one used last at the end
        self._holder: int | None = None  # the thread that writes it
        super().__init__(base_dir, inst_data)
        self._db_lock = threading.RLock()  # type: ignore[assignment]  # a batch holds two databases
        # Where Dagster looks for how much it may hand over at once; without it, it hands over single events.
        os.environ["DAGSTER_EVENT_BATCH_SIZE"] = _MOST

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchingEventLogStorage:
        """In the place where Dagster's own storage has it."""
        return cls(_folder("history/runs"), inst_data)

    def dispose(self) -> None:
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """All events of the batch, or none."""
        with self._db_lock, ExitStack() as stack:
            held: dict[str, Any] = {}
            for shard in {"index", *(event.run_id for event in events)}:
                held[shard] = stack.enter_context(self._connect(shard))
            self._held, self._holder = held, threading.get_ident()
            try:
                super().store_event_batch(events)
            finally:
                self._held = self._holder = None

    def _initdb(self, engine: Any, for_index_shard: bool = False) -> None:
        """Make the tables where there are none. A run's are copied from the first one that this Dagster made."""
        file = str(engine.url.database)
        if _has_tables(file):
            return
        blank = Path(self._base_dir) / f"blank-{__version__}"
        if for_index_shard or not blank.exists():
            super()._initdb(engine, for_index_shard)
            if not for_index_shard:
                part = blank.with_suffix(f".{os.getpid()}.part")
                _copy(file, str(part))
                part.replace(blank)
        else:
            _copy(str(blank), file)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Any]:
        if self._holder == threading.get_ident() and self._held is not None and shard in self._held:
            yield self._held[shard]
            return
        if shard not in self._engines:
            with super()._connect(shard):
                pass  # makes the database where there is none yet
        with self._db_lock:
            engine = self._engines.pop(shard, None)
            if engine is None:
                engine = create_engine(
                    self.conn_string_for_shard(shard),
                    poolclass=StaticPool,  # one connection that stays open; _db_lock guards it
                    connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                )
            self._engines[shard] = engine
            while len(self._engines) > _ENGINES:
                self._engines.pop(next(iter(self._engines))).dispose()
            with engine.begin() as connection:
                yield connection


class _AtHand:
    """A storage in one SQLite database, for which no migrations are read where the database is there."""

    folder: str  # where Dagster's own storage has it, below Dagster's home
    database: str

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        storage: Any = cls
        folder = _folder(cls.folder)
        if _has_tables(f"{folder}/{cls.database}.db"):
            return storage(create_db_conn_string(folder, cls.database), inst_data)
        return storage.from_local(folder, inst_data)


class RunStorage(_AtHand, SqliteRunStorage):
    folder, database = "history", "runs"


class ScheduleStorage(_AtHand, SqliteScheduleStorage):
    folder, database = "schedules", "schedules"


def _folder(name: str) -> str:
    return str(load_settings().dagster_home / name)


def _has_tables(file: str) -> bool:
    if not os.path.exists(file):
        return False
    with closing(sqlite3.connect(file, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as connection:
        found = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
        ).fetchone()
        return bool(found[0]) and bool(
            connection.execute("SELECT count(*) FROM alembic_version").fetchone()[0]
        )


def _copy(source: str, target: str) -> None:
    """All of an SQLite database, also what is still in its log; in one transaction of the target."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode = WAL")
