"""Publishes the warehouse: `analytics.duckdb` becomes a copy of it in one step.

Analysts who have the old file open keep it; whoever opens it next gets the new one. Nobody waits for anybody.
"""

from __future__ import annotations

import os
import subprocess

import duckdb

from dagster_project.settings import Settings

from .database import Connection, DatabaseError, quoted, value


def is_published(connection: Connection, settings: Settings) -> bool:
    """Whether `analytics.duckdb` holds what the warehouse holds: each table as it was last built."""
    if not settings.analytics_file.exists():
        return False
    builds = "SELECT model, version, built_at FROM {}core.builds"
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
    if copied.returncode:
        part.unlink(missing_ok=True)
        raise DatabaseError(
            f"cannot publish to {target}: {copied.stderr.strip()}; the published database is as it was"
        )
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return target.stat().st_size
