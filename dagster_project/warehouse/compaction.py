"""Rewrites the databases, so that what was erased is not in their bytes any more.

DuckDB leaves deleted values in the free blocks of a file. After an erasure each database is copied, and the copy takes
its place. `database.open_warehouse` does this whenever it is due, so also after a crash in the middle.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from dagster_project.settings import Settings

from .durable import put_in_place

_ERASED = "SELECT coalesce(max(version), 0) FROM raw.versions WHERE name = 'erased'"
_COMPACTED = "SELECT coalesce(max(version), 0) FROM core.compactions"


def is_due(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether something was erased since the files were last rewritten."""
    return _number(connection, _ERASED) > _number(connection, _COMPACTED)


def compact(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Rewrite both databases. The connection is of no use afterwards but to hold the lock: close it."""
    erased = _number(connection, _ERASED)
    part = _copy(connection, "raw", settings.raw_file)
    connection.execute("DETACH raw")
    put_in_place(part, settings.raw_file)
    # Last: only when both are rewritten is it done.
    put_in_place(_copy(connection, "warehouse", settings.warehouse_file, erased), settings.warehouse_file)


def _copy(
    connection: duckdb.DuckDBPyConnection, database: str, file: Path, compacted: int | None = None
) -> Path:
    connection.execute(f"CHECKPOINT {database}")
    part = file.with_suffix(".duckdb.part")
    connection.execute(f"ATTACH '{str(part).replace(chr(39), chr(39) * 2)}' AS compacted")
    connection.execute(f"COPY FROM DATABASE {database} TO compacted")
    if compacted is not None:
        connection.execute("DELETE FROM compacted.core.compactions")
        connection.execute("INSERT INTO compacted.core.compactions VALUES (?)", [compacted])
    connection.execute("DETACH compacted")
    return part


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    try:
        rows = connection.execute(query).fetchall()
    except duckdb.CatalogException:
        return 0  # nothing was ever loaded, or built
    return int(rows[0][0])
