"""The one place that opens the databases.

Two files, because what is published is a copy of the first and must not carry the raw rows:
`warehouse.duckdb` holds what analysts see and what it is computed from; `raw.duckdb` (attached as `raw`)
holds what was loaded from the files, and the registry of files. Each transaction writes to one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

from dagster_project.settings import Settings

Connection = duckdb.DuckDBPyConnection

# Readable by every DuckDB since 1.0: analysts bring their own client.
_PUBLISHED_FORMAT = {"storage_compatibility_version": "v1.0.0"}


class DatabaseError(Exception):
    """A database cannot be opened. The text says which, why, and what to do."""


@contextmanager
def open_warehouse(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> Iterator[Connection]:
    """The warehouse, for reading and writing, with `raw` attached. One process at a time: others wait.

    Raises DatabaseError when the wait is over or a file cannot be opened.
    """
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            f"cannot create the data folder {settings.data}: {error.strerror}; "
            "set WAREHOUSE_DATA to a folder that can be written"
        ) from error
    connection = _connect(settings, tell)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{settings.warehouse.memory_limit}'")
        connection.execute(f"SET temp_directory = '{quoted(str(settings.data / 'tmp'))}'")
        connection.execute("SET enable_progress_bar = false")
        if settings.warehouse.threads:
            connection.execute(f"SET threads = {settings.warehouse.threads}")
        connection.execute(f"ATTACH '{quoted(str(settings.raw_file))}' AS raw")
        yield connection
    finally:
        connection.close()


@contextmanager
def open_published(settings: Settings) -> Iterator[Connection]:
    """What analysts see, read-only. Raises DatabaseError where nothing is published yet."""
    if not settings.analytics_file.exists():
        raise DatabaseError(
            f"nothing is published yet at {settings.analytics_file}; run `warehouse run` first"
        )
    connection = duckdb.connect(str(settings.analytics_file), read_only=True)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT has rolled back already.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise


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


def _connect(settings: Settings, tell: Callable[[str], None]) -> Connection:
    deadline = time.monotonic() + settings.warehouse.lock_wait_seconds
    told = False
    while True:
        try:
            return duckdb.connect(str(settings.warehouse_file), config=dict(_PUBLISHED_FORMAT))
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise DatabaseError(f"cannot open {settings.warehouse_file}: {error}") from error
            if time.monotonic() >= deadline:
                raise DatabaseError(
                    f"{settings.warehouse_file} is in use by another process (a run, or a client that opened it); "
                    f"waited {settings.warehouse.lock_wait_seconds} s. Analysts should open analytics.duckdb instead"
                ) from error
            if not told:
                tell("another process is writing to the warehouse; waiting for it to end")
                told = True
            time.sleep(0.25)


def quoted(text: str) -> str:
    """Text to stand between single quotes."""
    return text.replace("'", "''")
