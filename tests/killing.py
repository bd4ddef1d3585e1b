"""One night in a process of its own, killed at a chosen moment. `python -m pytest tests/test_killed.py` uses it.

No code of the product knows of it: a night is run as it is, behind a connection that counts.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.pipeline import nightly
from dagster_project.settings import Settings
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.publish import is_published, publish

# Imports once for all nights: each is a fork of a process that has them.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["killing", "pyarrow", "polars", "sqlglot"])
_BOUNDARIES = ("BEGIN", "COMMIT", "CHECKPOINT", "COPY FROM DATABASE", "DETACH")


@dataclass(frozen=True)
class Moment:
    """When to kill. By default never.

    statement: before the n-th statement. boundary: before or after the n-th end of a transaction, copy, sync or
    rename (two moments each). size: in the middle of a write that makes a file longer than this. seconds: then.
    """

    statement: int = 0
    boundary: int = 0
    size: int = 0
    seconds: float = 0


NEVER = Moment()


@dataclass(frozen=True)
class Ended:
    """How it went. Of a night that was not killed: how many moments of each kind it had, and how long it took."""

    killed: bool
    statements: int = 0
    boundaries: int = 0
    seconds: float = 0


def night(
    settings: Settings,
    as_of: date,
    now: datetime,
    run_id: str,
    full: bool = False,
    moment: Moment = NEVER,
    prepare: Callable[[Counts], None] | None = None,
) -> Ended:
    """Run a night. Raises AssertionError where it ended in another way than well or killed as asked.

    prepare: called first in the night's process; it may set further boundaries.
    """
    ours, theirs = _processes.Pipe(duplex=False)
    given = (theirs, settings, as_of, now, run_id, full, moment, prepare)
    process = _processes.Process(target=_night, args=given)
    process.start()
    theirs.close()
    if moment.seconds:
        process.join(moment.seconds)
        process.kill()
    process.join()
    try:
        said = ours.recv()
    except EOFError:
        said = "nothing"
    if isinstance(said, Ended):
        return said
    # Where no file may grow, publishing may come to hear of it, and says so.
    in_words = bool(moment.size) and "cannot publish" in said
    assert in_words or process.exitcode in (-signal.SIGKILL, -signal.SIGXFSZ), (process.exitcode, said)
    return Ended(killed=True)


def _night(
    told: Pipe,
    settings: Settings,
    as_of: date,
    now: datetime,
    run_id: str,
    full: bool,
    moment: Moment,
    prepare: Callable[[Counts], None] | None,
) -> None:
    counts = Counts(moment)
    if prepare is not None:
        prepare(counts)
    duckdb.connect = partial(_watched, duckdb.connect, counts)
    for module, name in ((os, "replace"), (os, "fsync")):
        setattr(module, name, counts.boundary(getattr(module, name)))
    if moment.size:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (moment.size, moment.size))
    start = time.monotonic()
    try:
        with open_warehouse(settings) as connection:
            nightly.load_new_files(connection, settings, now=now, full=full)
            nightly.build_tables(connection, settings, as_of=as_of, now=now, run_id=run_id)
            if not is_published(connection, settings):
                publish(connection, settings)
    except Exception as error:
        told.send(f"{type(error).__name__}: {error}")
        raise
    told.send(Ended(False, counts.statements, counts.boundaries, time.monotonic() - start))


class Counts:
    """Counts what happens, and kills this process when the moment has come."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.statements = self.boundaries = 0
        self.before_each: Callable[[], None] = lambda: None  # called before a statement

    def statement(self) -> None:
        self.statements += 1
        self.before_each()
        if self.statements == self.moment.statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def at_boundary(self) -> None:
        self.boundaries += 1
        if self.boundaries == self.moment.boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    def boundary(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            self.at_boundary()
            result = function(*args, **kwargs)
            self.at_boundary()
            return result

        return called


class States:
    """Copies of a data folder as a kill before each statement would leave it: what another process sees at that instant.

    Most statements change no file, and a kill before them leaves what one before the last did: that state is copied once, to
    a folder in `to` that is named by the statement.
    """

    def __init__(self, data: Path, to: Path) -> None:
        self._data, self._to = data, to
        self._seen: dict[Path, tuple[int, int, bytes]] = {}

    def __call__(self, counts: Counts) -> None:
        counts.before_each = lambda: self._look(counts.statements)

    def _look(self, statement: int) -> None:
        seen = {file: self._state(file) for file in sorted(self._data.glob("*.duckdb*"))}
        if {file: content for file, (_, _, content) in seen.items()} != {
            file: content for file, (_, _, content) in self._seen.items()
        }:
            shutil.copytree(self._data, self._to / str(statement))
        self._seen = seen

    def _state(self, file: Path) -> tuple[int, int, bytes]:
        """Its size, when it was written and a hash of its content: which is read again where it may have changed."""
        now = file.stat()
        size, written, content = self._seen.get(file, (-1, 0, b""))
        # Two writes within a tick of the file system's clock carry the same time.
        settled = time.time_ns() - now.st_mtime_ns > 50_000_000
        if (now.st_size, now.st_mtime_ns) != (size, written) or not settled:
            content = hashlib.blake2b(file.read_bytes()).digest()
        return now.st_size, now.st_mtime_ns, content


def _watched(connect: Callable[..., Any], counts: Counts, *args: Any, **kwargs: Any) -> Any:
    connection = connect(*args, **kwargs)
    connection.execute(
        "SET python_scan_all_frames = true"
    )  # a frame of ours is between a query and its caller
    return _Watched(connection, counts)


class _Watched:
    """A connection whose statements are counted."""

    def __init__(self, connection: Any, counts: Counts) -> None:
        self._connection, self._counts = connection, counts

    def execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
        self._counts.statement()
        run = self._connection.execute
        if query.startswith(_BOUNDARIES):
            run = self._counts.boundary(run)
        return run(query, *args, **kwargs)

    def cursor(self) -> _Watched:
        return _Watched(self._connection.cursor(), self._counts)

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._counts.boundary(self._connection.close)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
