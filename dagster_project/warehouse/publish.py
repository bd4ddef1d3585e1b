"""Publishes the warehouse: `analytics.duckdb` becomes a copy of it in one step.

Analysts who have the old file open keep it; whoever opens it next gets the new one. Nobody waits for anybody.
"""

from __future__ import annotations

import subprocess

import duckdb

from dagster_project.settings import Settings

from .database import Connection, DatabaseError, quoted, value
from .durable import put_in_place


def is_published(connection: Connection, settings: Settings) -> bool:
    """Whether `analytics.duckdb` holds what the warehouse holds: each table as it was last built."""
    if not settings.analytics_file.exists():
        return False
    builds = """SELECT model, version, built_at FROM {0}core.builds
        UNION ALL SELECT 'compaction', version, NULL FROM {0}core.compactions"""
    try:
        connection.execute(f"ATTACH '{quoted(str(settings.analytics_file))}' AS published (READ_ONLY)")
    except duckdb.Error:
        return False  # whatever lies there is to be replaced
    try:
        differing = f"({builds.format('')} EXCEPT {builds.format('published.')})"
        return not value(connection, f"SELECT count(*) FROM {differing}")
    except duckdb.Error:
        return False
    finally:
        connection.execute("DETACH published")


def publish(connection: Connection, settings: Settings) -> int:
    """Replace `analytics.duckdb` atomically. Returns its size in bytes. Raises DatabaseError."""
    connection.execute("CHECKPOINT")
    target = settings.analytics_file
    part = target.with_suffix(".duckdb.part")
    # In a process of its own: closing the file in this one would drop DuckDB's lock on it.
    copied = subprocess.run(
        ["cp", "--", str(settings.warehouse_file), str(part)], capture_output=True, text=True, check=False
    )
    try:
        if copied.returncode:
            raise OSError(copied.stderr.strip() or f"cp ended with {copied.returncode}")
        # Left by a client that opened the published file for writing; it would be applied to the new one.
        target.with_name(f"{target.name}.wal").unlink(missing_ok=True)
        put_in_place(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DatabaseError(
            f"cannot publish to {target}: {error}; what is published is as it was. See to it (is the disk full?) and "
            "run again: nothing is lost"
        ) from error
    return target.stat().st_size
