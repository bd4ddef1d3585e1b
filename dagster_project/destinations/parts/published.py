"""What is published, read by a push that holds the warehouse; and that warehouse, held to an amount of memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.settings import Settings
from dagster_project.warehouse.database import Connection, open_warehouse, quoted, value
from dagster_project.warehouse.models import bare

from . import tables
from .errors import DestinationError

# What a push may hold in memory, however many records there are; what is more lies in the database's files. Each
# thread needs some of it.
_MEMORY, _THREADS = 160_000_000, 2
_ROWS = 10_000  # handed over at a time


def need_published(settings: Settings) -> None:
    if not settings.analytics_file.exists():
        raise DestinationError(
            f"nothing is published yet at {settings.analytics_file}; run `warehouse run` first"
        )


@contextmanager
def bounded_warehouse(settings: Settings, destination: str) -> Iterator[Connection]:
    """The warehouse with the destination's tables, held to an amount of memory that does not grow with the records."""
    with open_warehouse(settings) as connection:
        tables.prepare(connection, destination)
        if value(connection, "SELECT parse_formatted_bytes(current_setting('memory_limit')) > ?", [_MEMORY]):
            connection.execute(f"SET memory_limit = '{_MEMORY}B'")
        if value(connection, "SELECT current_setting('threads') > ?", [_THREADS]):
            connection.execute(f"SET threads = {_THREADS}")
        yield connection


@contextmanager
def published(connection: Connection, settings: Settings) -> Iterator[None]:
    """What is published, as the database `published` beside the warehouse."""
    need_published(settings)
    try:
        connection.execute(f"ATTACH '{quoted(str(settings.analytics_file))}' AS published (READ_ONLY)")
    except duckdb.Error as error:
        raise DestinationError(f"cannot read {settings.analytics_file}: {error}") from error
    try:
        yield
    finally:
        connection.execute("DETACH published")


def select(connection: Connection, file: Path, table: str) -> list[tuple[str, str]]:
    """Run an outbound SELECT on what is `published`; its rows are in a temporary table. Returns its columns and their types."""
    home = value(connection, "SELECT current_database()")
    connection.execute("USE published")
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS {bare(file.read_text(encoding='utf-8'))}"
        )
    except duckdb.Error as error:
        raise DestinationError(f"sql/outbound/{file.name}: {error}") from error
    finally:
        connection.execute(f'USE "{home}"')
    return [(name, kind) for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall()]


def source_of(
    connection: Connection, files: Sequence[Path], more: Sequence[object], database: str = ""
) -> str | None:
    """A hash of all that decides what a push finds to send; None: what is published does not say what it was built from."""
    try:
        builds = connection.execute(
            f"SELECT model, version FROM {database}core.builds ORDER BY ALL"
        ).fetchall()
    except duckdb.CatalogException:
        return None
    parts = (builds, [file.read_bytes() for file in files], *more)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def chunks(connection: Connection, query: str, given: Any = None, size: int = _ROWS) -> Iterator[list[Any]]:
    """A query's rows in pieces; the result is kept aside, so that the connection is free in between."""
    connection.execute("CREATE OR REPLACE TEMP TABLE plan_in_pieces AS SELECT * FROM (" + query + ")", given)
    count = int(value(connection, "SELECT count(*) FROM plan_in_pieces"))
    for start in range(0, count, size):
        yield connection.execute(
            "SELECT * FROM plan_in_pieces WHERE rowid >= ? AND rowid < ? ORDER BY rowid",
            [start, start + size],
        ).fetchall()


def need_digest(wanted: str | None, found: str) -> None:
    """Whether a plan is the one that is meant."""
    if wanted is not None and wanted != found:
        raise DestinationError(f"the plan has changed since {wanted}: it is {found} now; look at it again")


def quoted_name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def utc_now() -> datetime:
    """As the warehouse keeps times: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
