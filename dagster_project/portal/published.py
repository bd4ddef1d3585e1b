"""The published database while the portal runs: opened once, and again when a publish has replaced the file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dagster_project.settings import Settings
from dagster_project.warehouse.database import Connection, connect_published

Identity = tuple[int, ...]


@dataclass
class _Opened:
    identity: Identity | None
    connection: Connection
    readers: int = 0


class Published:
    """Hands out cursors on the file that stands at its path now. A reader keeps the file that it began with."""

    def __init__(self, settings: Settings, memory: str | None = None) -> None:
        """memory: how much DuckDB may use; None: as the settings say."""
        self.settings = settings
        self.memory = memory
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def identity(self) -> Identity | None:
        """Another one after each publish; None: nothing is published."""
        try:
            found = os.stat(self.settings.analytics_file)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

    @contextmanager
    def cursor(self) -> Iterator[Connection]:
        """Raises DatabaseError where nothing is published, or the file cannot be opened."""
        with self._lock:
            opened = self._current()
            opened.readers += 1
            cursor = opened.connection.cursor()
        try:
            cursor.execute("USE published")
            yield cursor
        finally:
            cursor.close()
            with self._lock:
                opened.readers -= 1
                self._close_if_done(opened)

    def _current(self) -> _Opened:
        identity = self.identity()
        if self._opened is None or self._opened.identity != identity:
            before, self._opened = self._opened, None
            if before is not None:
                self._close_if_done(before)
            self._opened = _Opened(identity, connect_published(self.settings, self.memory))
        return self._opened

    def _close_if_done(self, opened: _Opened) -> None:
        # Closing a connection closes its cursors: the last reader of a file that was replaced does it.
        if opened is not self._opened and not opened.readers:
            opened.connection.close()


class Rows:
    """Asks one cursor. Values reach a query only as bound parameters."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __call__(self, query: str, **given: Any) -> list[dict[str, Any]]:
        self.connection.execute(query, given)
        names = [column[0] for column in self.connection.description or ()]
        return [dict(zip(names, row, strict=True)) for row in self.connection.fetchall()]

    def one(self, query: str, **given: Any) -> dict[str, Any] | None:
        """The first row; None: there is none."""
        found = self(query, **given)
        return found[0] if found else None

    def value(self, query: str, **given: Any) -> Any:
        """The first column of the first row."""
        found = self.one(query, **given)
        return next(iter(found.values())) if found else None

    def batches(
        self, query: str, size: int, **given: Any
    ) -> Iterator[tuple[list[str], list[tuple[Any, ...]]]]:
        """Column names and rows, some at a time; at least one batch, perhaps of no rows."""
        self.connection.execute(query, given)
        names = [column[0] for column in self.connection.description or ()]
        rows = self.connection.fetchmany(size)
        yield names, rows
        while rows and (rows := self.connection.fetchmany(size)):
            yield names, rows
