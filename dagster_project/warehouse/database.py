"""The one place that opens the databases.

Two files, because what is published is a copy of the first and must not carry the raw rows:
`warehouse.duckdb` holds what analysts see and what it is computed from; `raw.duckdb` (attached as `raw`)
holds what was loaded from the files, and the registry of files. Each transaction writes to one of them.
All of it is here, however long: what may open a file, lock it, mend its log and upgrade it must be seen at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.settings import Settings

from . import compaction
from .durable import in_the_way, keep_private, make_private
from .migrations import MIGRATIONS

_log = logging.getLogger(__name__)
Connection = duckdb.DuckDBPyConnection

# Readable by every DuckDB since 1.0: analysts bring their own client.
PUBLISHED_STORAGE = "v1.0.0"
_PUBLISHED_FORMAT = {"storage_compatibility_version": PUBLISHED_STORAGE}
_VERSION_TABLES = {"raw": "raw.main.schema_version", "warehouse": "warehouse.core.schema_version"}


_KEEP_TORN_DAYS = 30
_SAME_AGAIN = "then run the same again: nothing is lost"
_DAMAGED = ("Corrupt database", "not a valid DuckDB", "read enough bytes", "Is a directory", "version number")
_DAMAGED_REMEDY = (
    "it is damaged, or no database that this release reads. Restore a backup (`warehouse restore`); without one, move "
    "it away: warehouse.duckdb is then taken from what is published, and raw.duckdb is loaded anew from the raw files "
    "by `warehouse run --full`"
)
# What DuckDB says when the machine or a file fails it, and what a person can do then.
_REMEDIES = (
    (("No space left", "quota exceeded"), f"free some space there, {_SAME_AGAIN}"),
    (
        ("Permission denied", "Read-only file system", "not permitted", "read-only mode"),
        f"make the folder and its files writable for this user, or set WAREHOUSE_DATA to a folder that is, {_SAME_AGAIN}",
    ),
    (
        ("replaying WAL", "WAL was created"),
        "the .wal file beside it does not belong to it (was one of them restored from a backup?): move the .wal file away",
    ),
    (_DAMAGED, _DAMAGED_REMEDY),
)
_LOCKED = "Could not set lock on file"
_HEADERS = 3 * 4096  # bytes of a DuckDB file without any block


class DatabaseError(Exception):
    """A database cannot be opened, read or written. The text says which, why, and what to do."""


# Errors that may be gone when the same is tried again: a lock, a disk, a network folder.
TRANSIENT = (DatabaseError, duckdb.IOException, OSError)


@contextmanager
def open_warehouse(settings: Settings) -> Iterator[Connection]:
    """The warehouse, for reading and writing, with `raw` attached. One process at a time: others wait.

    Raises DatabaseError when the wait is over or a file cannot be opened.
    """
    keep_private()
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            f"cannot create the data folder {settings.data}: {error.strerror}; "
            "set WAREHOUSE_DATA to a folder that can be written"
        ) from error
    _take_back_published(settings)
    connection: Connection | None = None
    try:
        connection = _open(settings)
        if compaction.is_due(connection):
            _log.info("rewriting the databases without what was erased")
            compaction.compact(connection, settings)
            connection.close()
            connection = _open(settings)
        from . import stored  # which needs this module

        stored.tidy(connection)
        yield connection
    except duckdb.Error as error:
        if not is_of_the_machine(error):
            raise
        raise DatabaseError(_in_words(error, settings.data)) from error
    finally:
        if connection is not None:
            connection.close()


@contextmanager
def hold(settings: Settings) -> Iterator[Connection | None]:
    """Both databases as they are, old or new, so that no other process writes to them; None where they cannot be opened.

    For whoever copies the files or puts others in their place.
    """
    keep_private()
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection: Connection | None = None
    try:
        connection = _connect(settings)
        connection.execute("CHECKPOINT raw")
        connection.execute("CHECKPOINT warehouse")
    except DatabaseError as error:
        if _LOCKED in str(error.__cause__):
            raise
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def version_of_copy(file: Path) -> int:
    """The schema version of a copy that nobody writes to; 0: before there were any. Raises DatabaseError."""
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            found = "SELECT schema_name FROM duckdb_tables() WHERE table_name = 'schema_version'"
            schema = value(connection, found)
            return (
                int(value(connection, f"SELECT max(version) FROM {schema}.schema_version")) if schema else 0
            )
    except duckdb.Error as error:
        raise DatabaseError(f"{file} cannot be read: {_first_line(error)}") from error


def require_known_version(file: str, version: int) -> None:
    """Raises DatabaseError where a newer release wrote a database."""
    if version > len(MIGRATIONS):
        raise DatabaseError(
            f"{file} was written by a newer release: its schema version is {version}, this release knows "
            f"{len(MIGRATIONS)}. Use the newer release again, or restore a backup that was made before it "
            "(`warehouse restore`)"
        )


@contextmanager
def open_published(settings: Settings) -> Iterator[Connection]:
    """What analysts see, read-only. Raises DatabaseError where nothing is published yet."""
    if not settings.analytics_file.exists():
        raise _nothing_published(settings)
    _require_plain(settings.analytics_file)
    try:
        connection = duckdb.connect(str(settings.analytics_file), read_only=True)
    except duckdb.Error as error:
        raise _unreadable(settings, error) from error
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    except duckdb.Error as error:
        if not any(sign in str(error) for sign in _DAMAGED):
            raise
        raise _unreadable(settings, error) from error
    finally:
        connection.close()


def connect_published(settings: Settings, memory: str | None = None) -> Connection:
    """What analysts see, read-only, for a process that stays. Raises DatabaseError.

    The caller closes it. It goes on seeing the file that it was opened on, after a publish has put another in its
    place: so it is attached to a database of its own, as DuckDB would hand out one that this process has open under
    the same path instead of opening the new file. A cursor of it begins with `USE published`.
    """
    _require_plain(settings.analytics_file)
    connection = duckdb.connect(config={"memory_limit": memory or settings.warehouse.memory_limit})
    try:
        if settings.warehouse.threads:
            connection.execute(f"SET threads = {settings.warehouse.threads}")
        # It writes nothing, not even what does not fit into memory.
        connection.execute("SET TimeZone = 'UTC'; SET temp_directory = ''")
        connection.execute(f"ATTACH '{quoted(str(settings.analytics_file))}' AS published (READ_ONLY)")
    except duckdb.Error as error:
        connection.close()
        if not settings.analytics_file.exists():
            raise _nothing_published(settings) from error
        raise _unreadable(settings, error) from error
    # Whatever a query turns out to say: it reads this file and nothing else.
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _require_plain(*files: Path) -> None:
    """Raises DatabaseError where something else lies in the place of a file."""
    if wrong := in_the_way(*files):
        raise DatabaseError(wrong)


def _nothing_published(settings: Settings) -> DatabaseError:
    return DatabaseError(f"nothing is published yet at {settings.analytics_file}; run `warehouse run` first")


def _unreadable(settings: Settings, error: duckdb.Error) -> DatabaseError:
    file = settings.analytics_file
    if _LOCKED in str(error):
        return DatabaseError(
            f"{file} is open for writing in {_holder(error)}. It is for reading: open it there with read_only=True "
            "(`duckdb -readonly`)"
        )
    return DatabaseError(f"{file}: {_first_line(error)}. Move it away; `warehouse run` publishes it anew")


@contextmanager
def in_memory(memory: str, scratch: Path) -> Iterator[Connection]:
    """A database of one thread that is kept nowhere. scratch: a folder for what does not fit into memory."""
    with duckdb.connect(config={"memory_limit": memory, "threads": 1}) as connection:
        connection.execute(f"SET TimeZone = 'UTC'; SET temp_directory = '{quoted(str(scratch))}'")
        yield connection


@cache
def _nothing() -> Connection:
    return duckdb.connect()


def parser() -> Connection:
    """A database without any table: DuckDB reads queries for us."""
    return _nothing().cursor()


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All or nothing.

    A trap of DuckDB 2.0.0: a table into which an INSERT of no rows of another table (or a CREATE … AS of none) went first
    and then, in the same transaction, one of 122,880 rows or more, reads as if these were not there until the transaction
    ends (tests/test_build.py shows it). So where the first may bring nothing, both are one statement, or it is left out.
    """
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT has rolled back already.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def one_thread(connection: Connection) -> Iterator[None]:
    """For a statement that inserts many rows: threads leave half-full row groups, which the next checkpoint of any later
    run writes again (a third more CPU, and half as much again on the disk)."""
    threads = value(connection, "SELECT current_setting('threads')")
    connection.execute("SET threads = 1")
    try:
        yield
    finally:
        connection.execute(f"SET threads = {threads}")


def value(connection: Connection, query: str, given: Any = None) -> Any:
    """The first column of the first row. (A result that is not fetched to its end blocks the connection.)"""
    rows = connection.execute(query, given).fetchall()
    return rows[0][0] if rows else None


def append_rows(
    connection: Connection, table: str, rows: Sequence[tuple[Any, ...]], columns: Sequence[str] | None = None
) -> None:
    """Insert rows into a table, in bulk; columns that are not named become null."""
    if not rows:
        return
    import pyarrow as pa  # not needed on a night without news

    names = ", ".join(columns) if columns else "*"
    schema = connection.sql(f"SELECT {names} FROM {table} LIMIT 0").to_arrow_table().schema
    arrays = [
        pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    connection.register("rows_to_append", pa.Table.from_arrays(arrays, schema=schema))
    try:
        target = f"{table} ({names})" if columns else table
        connection.execute(f"INSERT INTO {target} SELECT * FROM rows_to_append")
    finally:
        connection.unregister("rows_to_append")


def _open(settings: Settings) -> Connection:
    connection = _connect(settings)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{settings.warehouse.memory_limit}'")
        connection.execute(f"SET temp_directory = '{quoted(str(settings.data / 'tmp'))}'")
        connection.execute("SET enable_progress_bar = false")
        if settings.warehouse.threads:
            connection.execute(f"SET threads = {settings.warehouse.threads}")
        make_private(*(f for file in _databases(settings) for f in (file, _log_of(file))))
        _remove_leftovers(settings)
        from . import stored  # which needs this module

        stored.attach(connection)
        _upgrade(connection, "raw", settings.raw_file.name)
        _upgrade(connection, "warehouse", settings.warehouse_file.name)
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: Connection, database: str, file: str) -> None:
    """Bring one database to the newest schema version. Raises DatabaseError where a newer release wrote it."""
    newest, at = len(MIGRATIONS), _VERSION_TABLES[database]
    try:
        version = value(connection, f"SELECT max(version) FROM {at}")
    except duckdb.CatalogException:
        version = None
    if version == newest:
        return
    if version is None:
        # Without a version it is empty, or from before versions were kept.
        tables = "SELECT count(*) FROM duckdb_tables() WHERE database_name = ?"
        version = 0 if value(connection, tables, [database]) else newest
    require_known_version(file, version)
    from . import stored  # which needs this module

    with transaction(connection):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {at.rpartition('.')[0]}")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {at} (version BIGINT)")
        connection.execute(f"""COMMENT ON TABLE {at} IS 'The schema versions that this database went through.';
            COMMENT ON COLUMN {at}.version IS 'number of the release''s newest migration'""")
        for number, step in enumerate(MIGRATIONS[version:], version + 1):
            _log.info("upgrading %s to schema version %d: %s", file, number, step.about)
            if step.only_with and not value(
                connection,
                "SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = $1 AND table_name = $2)"
                " + (SELECT count(*) FROM duckdb_views() WHERE database_name = $1 AND view_name = $2)",
                [database, step.only_with],
            ):
                continue
            try:
                stored.upgrade(connection, getattr(step, database))
            except duckdb.Error as error:
                raise DatabaseError(
                    f"{file} cannot be upgraded to schema version {number} ({step.about}): {error}; it is as it was"
                ) from error
        connection.execute(f"INSERT INTO {at} VALUES (?)", [newest])


def _databases(settings: Settings) -> tuple[Path, Path]:
    return settings.warehouse_file, settings.raw_file


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _damaged(log: Path) -> Path:
    """Where the torn log is kept as it was."""
    return log.with_name(f"{log.name}.damaged")


def _connect(settings: Settings) -> Connection:
    """Both databases, once nobody else has one of them open."""
    _require_plain(
        *(f for file in _databases(settings) for f in (file, _log_of(file), _damaged(_log_of(file))))
    )
    deadline = time.monotonic() + settings.warehouse.lock_wait_seconds
    told = False
    while True:
        file = settings.warehouse_file
        connection: Connection | None = None
        try:
            connection = duckdb.connect(str(file), config=dict(_PUBLISHED_FORMAT))
            file = settings.raw_file
            connection.execute(f"ATTACH '{quoted(str(file))}' AS raw")
            return connection
        except duckdb.Error as error:
            mended = _cut_torn_log(file, error)
            if connection is not None:
                connection.close()
            if mended or _remove_unfinished(settings, file):
                continue
            if _LOCKED not in str(error):
                raise DatabaseError(_in_words(error, file)) from error
            if time.monotonic() >= deadline:
                raise DatabaseError(
                    f"{file} is in use by another process, {_holder(error)}: a run, or a client that opened it; "
                    f"waited {settings.warehouse.lock_wait_seconds} s. Let it end, {_SAME_AGAIN}. "
                    "Analysts should open analytics.duckdb instead"
                ) from error
            if not told:
                _log.info("%s is in use by %s; waiting for it to end", file.name, _holder(error))
                told = True
            time.sleep(0.25)


def _cut_torn_log(file: Path, error: duckdb.Error) -> bool:
    """Cut off the end of a log that had not reached the disk when the power went. Returns whether to open again.

    DuckDB passes over an end that is missing, but not over one that is nulls or garbage. What stood there was not
    committed; where a disk lost what was, the next run goes on from what is left, or `continuity` stops it.
    """
    found = re.search(r"Corrupt WAL file: entry at byte position (\d+)", str(error))
    log = file.with_name(f"{file.name}.wal")
    if not found or not log.exists() or log.stat().st_size <= int(found[1]):
        return False
    try:
        with file.open("rb+") as held:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DuckDB does: another run may be at it
            shutil.copyfile(log, _damaged(log))
            os.truncate(log, int(found[1]))
    except OSError:
        return False
    _log.info(
        "%s: cut off its end, which had not reached the disk; as it was: %s.damaged", log.name, log.name
    )
    return True


def _remove_unfinished(settings: Settings, file: Path) -> bool:
    """Remove a database whose making the power ended, before anything was published: it holds nothing yet.

    Returns whether to open again. A file that is no database, or was one, stays.
    """
    log = _log_of(file)
    try:
        if (
            settings.analytics_file.exists()
            or file.stat().st_size > _HEADERS
            or (log.exists() and log.stat().st_size)
        ):
            return False
        with file.open("rb+") as held:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DuckDB does: another run may be making it
            first = held.read(4096)
            if first.strip(b"\0") and first[8:12] != b"DUCK":
                return False
            file.unlink()
    except OSError:
        return False
    _log.info("%s was not finished when the power went, and holds nothing: it is made anew", file.name)
    return True


def _take_back_published(settings: Settings) -> None:
    """Where warehouse.duckdb is gone, what is published is the last copy of it, with its history."""
    target, published = settings.warehouse_file, settings.analytics_file
    if target.exists() or not (settings.raw_file.exists() and published.exists()):
        return
    _require_plain(settings.raw_file, published)
    _log.info("%s is gone: going on from what is published", target.name)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with duckdb.connect(str(published), read_only=True) as connection:
            value(connection, "SELECT count(*) FROM core.builds")
        shutil.copyfile(published, part)
        with duckdb.connect(str(part), config=dict(_PUBLISHED_FORMAT)) as connection:
            views = "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal"
            for schema, view in connection.execute(views).fetchall():  # publishing makes them anew
                connection.execute(f'DROP VIEW "{schema}"."{view}"')
        # Not a rename: another run may have been faster, and has it open (and has removed our copy as a leftover).
        with suppress(FileExistsError, FileNotFoundError):
            os.link(part, target)
    except (duckdb.Error, OSError) as error:
        raise DatabaseError(
            f"{target} is gone, and what is published ({published}) cannot take its place: {_first_line(error)}. "
            "Restore a backup (`warehouse restore`), or move the published file away, too: all but the history "
            "(restatements, cohort changes, what HubSpot acknowledged) is then computed again"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _remove_leftovers(settings: Settings) -> None:
    """What a run that was killed has spilled and copied, and torn logs that nobody looked at for long. Raises DatabaseError.

    With the lock held, nobody else needs it.
    """
    tmp = settings.data / "tmp"
    try:
        if tmp.is_symlink() or (tmp.exists() and not tmp.is_dir()):
            tmp.unlink()
        shutil.rmtree(tmp, ignore_errors=True)
        for part in settings.data.glob("*.duckdb*.part*"):
            part.unlink(missing_ok=True)
        for log in torn_logs(settings):
            if time.time() - log.stat().st_mtime > _KEEP_TORN_DAYS * 86400:
                log.unlink(missing_ok=True)
                _log.info("removed %s, which is older than %d days", log.name, _KEEP_TORN_DAYS)
    except OSError as error:
        raise DatabaseError(
            f"what an earlier run left in {settings.data} cannot be removed: {error}. Remove it by hand, {_SAME_AGAIN}"
        ) from error


def torn_logs(settings: Settings) -> list[Path]:
    """What was cut off of logs after power cuts. They hold rows, of anybody."""
    return sorted(settings.data.glob("*.wal.damaged"))


def is_of_the_machine(error: duckdb.Error) -> bool:
    """Whether it is the disk or a file that failed, not a query."""
    return isinstance(error, duckdb.IOException | duckdb.FatalException) or any(
        sign in str(error) for sign in ("Failed to commit", *_DAMAGED)
    )


def _in_words(error: duckdb.Error, place: Path) -> str:
    text = _first_line(error)
    remedy = next((what for signs, what in _REMEDIES if any(s.lower() in text.lower() for s in signs)), None)
    if place.is_dir() and (named := re.search(r'file "([^"]+\.duckdb)"', text)):
        place = Path(named[1])  # one of the two turns out to be damaged only when it is read
    return f"{place}: {text}. What to do: {remedy or f'see to the disk, {_SAME_AGAIN}'}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _holder(error: duckdb.Error) -> str:
    """The process that holds a file's lock."""
    found = re.search(r"held in (.+? \(PID \d+\))", str(error))
    return found[1] if found else "another process"


def quoted(text: str) -> str:
    """Text to stand between single quotes."""
    return text.replace("'", "''")
