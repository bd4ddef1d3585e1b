"""Publishes the warehouse: `analytics.duckdb` becomes a copy of it in one step, with a view in `main` on each mart.

Analysts who have the old file open keep it; whoever opens it next gets the new one. Nobody waits for anybody.
"""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import duckdb

from dagster_project.settings import Settings

from .columns import identifier
from .database import (
    PUBLISHED_STORAGE,
    Connection,
    DatabaseError,
    is_of_the_machine,
    one_thread,
    quoted,
    transaction,
    value,
)
from .durable import in_the_way, put_in_place, require_files

T = TypeVar("T")


def is_published(connection: Connection, settings: Settings) -> bool:
    """Whether `analytics.duckdb` holds what the warehouse holds: each table as it was last built."""
    try:
        mode = stat.S_IMODE(settings.analytics_file.stat().st_mode)
    except OSError:
        return False
    if in_the_way(settings.analytics_file):
        return False
    if mode != _mode(settings):
        with suppress(
            OSError
        ):  # of an older release, or under another setting; some file systems have no modes
            _let_in(settings, settings.analytics_file)
    builds = """SELECT model, version, built_at FROM {0}core.builds
        UNION ALL SELECT 'compaction', version, NULL FROM {0}core.compactions"""
    try:
        connection.execute(f"ATTACH '{quoted(str(settings.analytics_file))}' AS published (READ_ONLY)")
    except duckdb.Error:
        return False  # whatever lies there is to be replaced
    try:
        differing = f"({builds.format('')} EXCEPT {builds.format('published.')})"
        if value(connection, f"SELECT count(*) FROM {differing}"):
            return False
        # Releases before the views published copies of the file.
        return bool(
            value(
                connection,
                "SELECT count(*) FROM duckdb_views() WHERE database_name = 'published' AND NOT internal",
            )
        )
    except duckdb.Error:
        return False
    finally:
        connection.execute("DETACH published")


def _mode(settings: Settings) -> int:
    return 0o640 if settings.warehouse.published_group else 0o600


def _let_in(settings: Settings, file: Path) -> None:
    """Whoever may read what is published: its own user, and the group that the settings name. Raises OSError."""
    if stat.S_IMODE(file.stat().st_mode) != _mode(settings):
        file.chmod(_mode(settings))
    if group := settings.warehouse.published_group:
        shutil.chown(file, group=group)
        folder = stat.S_IMODE(settings.data.stat().st_mode)
        if not folder & stat.S_IXOTH:  # to open a file, its folder must let through
            shutil.chown(settings.data, group=group)
            settings.data.chmod(folder | stat.S_IXGRP)


@dataclass(frozen=True)
class Outcome:
    """What runs came to. failed_at: only where none was good since."""

    good_at: datetime | None = None
    failed_at: datetime | None = None
    failed_step: str = ""


def last_outcome(settings: Settings) -> Outcome:
    """What the last runs came to, as they noted it beside what is published."""
    try:
        require_files(_note(settings))
        noted = json.loads(_note(settings).read_text(encoding="utf-8"))
        moments = {
            name: datetime.fromisoformat(noted[name]) for name in ("good_at", "failed_at") if noted.get(name)
        }
        return Outcome(**moments, failed_step=str(noted.get("failed_step", "")))
    except (OSError, ValueError, AttributeError, TypeError):
        return Outcome()


def note_outcome(settings: Settings, now: datetime, failed_step: str | None = None) -> None:
    """Write down that a run ended well, or at which step it failed. (Not why: errors may quote what they failed on.)"""
    good_at = last_outcome(settings).good_at if failed_step is not None else now
    noted = {"good_at": good_at.isoformat() if good_at else None}
    if failed_step is not None:
        noted |= {"failed_at": now.isoformat(), "failed_step": failed_step}
    target = _note(settings)
    part = target.with_suffix(".json.part")
    with suppress(OSError):  # a full disk has been told of already
        part.unlink(missing_ok=True)
        part.write_text(json.dumps(noted), encoding="utf-8")
        part.replace(target)


def _note(settings: Settings) -> Path:
    return settings.data / "last_run.json"


def publish(connection: Connection, settings: Settings) -> int:
    """Replace `analytics.duckdb` atomically. Returns its size in bytes. Raises DatabaseError."""
    target = settings.analytics_file
    part = target.with_suffix(".duckdb.part")
    log = part.with_name(f"{part.name}.wal")
    try:
        require_files(target)
        for left in (part, log):
            left.unlink(missing_ok=True)
        try:
            _write(connection, settings.warehouse_file, part)
        except duckdb.Error as error:
            if not is_of_the_machine(error):
                raise
            raise OSError(str(error).partition("\n")[0]) from error
        # Left by a client that opened the published file for writing; it would be applied to the new one.
        target.with_name(f"{target.name}.wal").unlink(missing_ok=True)
        with suppress(*([] if settings.warehouse.published_group else [OSError])):
            _let_in(settings, part)
        put_in_place(part, target)
    except OSError as error:
        for left in (part, log):
            with suppress(OSError):
                left.unlink(missing_ok=True)
        raise DatabaseError(
            f"cannot publish to {target}: {error}; what is published is as it was. See to it (is the disk full?) and "
            "run again: nothing is lost"
        ) from error
    return target.stat().st_size


_NEW = "publication"
_GROUP = 122_880  # rows of a group of DuckDB's
_SMALL = 32 << 20  # bytes; up to this, writing anew takes less than a second


def _write(connection: Connection, source: Path, file: Path) -> None:
    """Make a new file with all that the warehouse holds, and the views.

    Not simply a copy of the warehouse's file: after nights in which tables shrank, DuckDB 2.0 counts blocks behind the
    end of that, which DuckDB before 1.4 may not open; and a good part of it may be free. But writing a large one anew
    takes long, so that is done where there is a reason.
    """
    connection.execute("CHECKPOINT")
    name = str(value(connection, "SELECT current_database()"))
    if (
        source.stat().st_size > _SMALL
        and _is_sound(connection, name, source)
        and not _empty_lists(connection)
    ):
        # In a process of its own: closing the file in this one would drop DuckDB's lock on it.
        copied = subprocess.run(
            ["cp", "--", str(source), str(file)], capture_output=True, text=True, check=False
        )
        if copied.returncode:
            raise OSError(copied.stderr.strip() or f"cp ended with {copied.returncode}")
        _within(connection, name, file, _complete)
        if _within(connection, name, file, lambda cursor: _is_sound(cursor, _NEW, file)):
            return
        file.unlink()
    _within(connection, name, file, lambda cursor: _copy(cursor, name))


def _copy(connection: Connection, name: str) -> None:
    """Write all that the warehouse holds into the new file, and see to it that DuckDB 1.0 reads columns of lists.

    Where no row of a table has an element in such a column, DuckDB 2.0 leaves out the part that holds the elements, and 1.0
    stops there ("field id mismatch"; 1.1 and newer do not mind). One row with an element, deleted again, keeps the part; nobody
    sees the row. Rows are stored in groups, and what is added later may begin one: so that row comes first, with the others
    in one statement. Of a table with more rows than one group has, 1.0 may still not read such a column.
    """
    empty = _empty_lists(connection)
    if not empty:
        connection.execute(f"COPY FROM DATABASE {name} TO {_NEW}")
    else:
        connection.execute(f"COPY FROM DATABASE {name} TO {_NEW} (SCHEMA)")
        tables = connection.execute(
            """SELECT format('{}.{}', schema_name, table_name) FROM duckdb_tables()
            WHERE database_name = ? AND NOT internal ORDER BY ALL""",
            [name],
        ).fetchall()
        with transaction(connection):
            for (table,) in tables:
                columns = empty.get(table, [])
                elements = ", ".join(f"[NULL] AS {column}" for column in columns)
                first = f"SELECT {elements} UNION ALL BY NAME " if columns else ""
                with one_thread(connection) if columns else nullcontext():
                    connection.execute(f"INSERT INTO {_NEW}.{table} BY NAME {first}FROM {name}.{table}")
        connection.execute(f"CHECKPOINT {_NEW}")
        for table, columns in empty.items():
            connection.execute(f"DELETE FROM {_NEW}.{table} WHERE len({columns[0]}) > 0")
    _complete(connection)


def _complete(connection: Connection) -> None:
    """Add to a copy of the warehouse what only the published file has."""
    connection.execute(f"USE {_NEW}")
    with transaction(connection):
        connection.execute("; ".join(_views(connection)))


def _is_sound(connection: Connection, database: str, file: Path) -> bool:
    """Whether every client reads the file, and not too much of it is free."""
    block, blocks, free = connection.execute(
        "SELECT block_size, total_blocks, free_blocks FROM pragma_database_size() WHERE database_name = ?",
        [database],
    ).fetchall()[0]
    return bool(block * blocks <= file.stat().st_size and free * 3 <= blocks)


def _within(connection: Connection, name: str, file: Path, do: Callable[[Connection], T]) -> T:
    """Do something with a file attached."""
    # With a search path of its own: a view finds its table by schema and name in whatever the file is attached as.
    cursor = connection.cursor()
    cursor.execute(f"ATTACH '{quoted(str(file))}' AS {_NEW} (STORAGE_VERSION '{PUBLISHED_STORAGE}')")
    try:
        result = do(cursor)
        cursor.execute(f"USE {name}")
        cursor.execute(f"DETACH {_NEW}")
        return result
    except BaseException:
        # Where the disk is full, it may not go in good order; then it goes with the connection.
        for statement in (f"USE {name}", f"DETACH {_NEW}"):
            with suppress(duckdb.Error):
                cursor.execute(statement)
        raise
    finally:
        cursor.close()


def _empty_lists(connection: Connection) -> dict[str, list[str]]:
    """Of tables that one group of DuckDB's rows holds: the columns of lists that have no element in any row."""
    lists: dict[str, list[str]] = {}
    for table, column in connection.execute(
        "SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns() "
        "WHERE database_name = current_database() AND NOT internal AND data_type LIKE '%[]'"
    ).fetchall():
        lists.setdefault(table, []).append(identifier(column))
    found = {}
    for table, columns in lists.items():
        # (It holds for null, too. A table without any row has no parts at all.)
        none = ", ".join(f"coalesce(max(len({column})), 0) = 0" for column in columns)
        rows, *empty = connection.execute(f"SELECT count(*), {none} FROM {table}").fetchall()[0]
        if 0 < rows < _GROUP and any(empty):
            found[table] = [name for name, is_empty in zip(columns, empty, strict=True) if is_empty]
    return found


def _views(connection: Connection) -> list[str]:
    """The statements for a view in `main` on each mart, with its comments: what tools and people see first."""
    marts = f"database_name = '{_NEW}' AND schema_name = 'marts'"
    tables = connection.execute(f"SELECT table_name, comment FROM duckdb_tables() WHERE {marts} ORDER BY 1")
    statements = []
    for table, comment in tables.fetchall():
        statements.append(f'CREATE VIEW main."{table}" AS SELECT * FROM marts."{table}"')
        statements.append(f"COMMENT ON VIEW main.\"{table}\" IS '{quoted(comment or '')}'")
    columns = connection.execute(
        f"SELECT table_name, column_name, comment FROM duckdb_columns() WHERE {marts} AND comment IS NOT NULL"
    )
    statements += [
        f'COMMENT ON COLUMN main."{table}"."{column}" IS \'{quoted(comment)}\''
        for table, column, comment in columns.fetchall()
    ]
    return statements
