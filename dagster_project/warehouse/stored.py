"""Raw tables that lie as Parquet files in a folder or bucket that a cluster sees, and not in `raw.duckdb`.

`raw.stored` says of which files such a table consists; the table itself is a view on them, so whoever reads it sees no
difference. A file has a name that never comes again, and is never written to once it is named there: what changes rows puts
new files in the place of old ones, in the transaction in which it changes all else. Files that no row names are left over from
a run that was killed, or from before a change; whoever opens the warehouse next removes them.

Whoever deletes or changes rows of a raw table does so by `delete`, `changing` and `appending`, wherever it lies.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from .columns import Column, definitions, identifier, names_of
from .database import Connection, DatabaseError, quoted, transaction, value
from .storage import Storage, copy, storage_at

if TYPE_CHECKING:
    from dagster_project.settings import Settings

_log = logging.getLogger(__name__)
SCHEMA = """
CREATE TABLE IF NOT EXISTS raw.storage (folder VARCHAR);
CREATE TABLE IF NOT EXISTS raw.stored (
    table_name VARCHAR, file VARCHAR, rows BIGINT, first_load BIGINT, last_load BIGINT);
"""
_OWNER = "owner.json"
INCOMING = "incoming"
# Small files become one: when so many of a table were written by as many loads.
_MOST_SMALL_FILES, _SMALL_ROWS = 32, 1_000_000
_ROWS_A_FILE = 4_000_000
# What may change a table of an older release: a statement changes the rows of one table, each by itself.
CHANGES = re.compile(r"\s*(?:ALTER TABLE(?: IF EXISTS)?|UPDATE|DELETE FROM) raw\.(\w+)\b")


class Table(Protocol):
    """A raw table, as far as it matters here."""

    @property
    def name(self) -> str: ...
    @property
    def columns(self) -> Sequence[Column]: ...


def storage_of(connection: Connection) -> Storage | None:
    """Where such tables lie; None: in `raw.duckdb`, as all others do."""
    kept = value(connection, "SELECT folder FROM raw.storage") if _is_prepared(connection) else None
    return None if kept is None else storage_at(kept)


def is_stored(connection: Connection, table: str) -> bool:
    return bool(
        value(
            connection,
            "SELECT count(*) FROM duckdb_views() WHERE database_name = 'raw' AND view_name = ?",
            [table],
        )
    )


def files_of(connection: Connection, table: str, since: int = 0) -> list[str]:
    """The files of a table; since: only those with loads after that one."""
    found = connection.execute(
        "SELECT file FROM raw.stored WHERE table_name = ? AND coalesce(last_load > ?, true) ORDER BY first_load, file",
        [table, since],
    ).fetchall()
    return [file for (file,) in found]


def copied_names(connection: Connection) -> dict[str, str]:
    """All files, by the names that they have in a backup."""
    if storage_of(connection) is None:
        return {}
    found = connection.execute("SELECT table_name, file FROM raw.stored ORDER BY ALL").fetchall()
    # Where a cluster wrote, a file's name is its folder's as well.
    return {f"stored/{table}/{'-'.join(file.split('/')[-2:])}": file for table, file in found}


def rows_since(connection: Connection, table: str, since: int) -> int:
    """How many rows the files have that may be of later loads."""
    return int(
        value(
            connection,
            "SELECT coalesce(sum(rows), 0) FROM raw.stored WHERE table_name = ? AND coalesce(last_load > ?, true)",
            [table, since],
        )
    )


# ---------------------------------------------------------------------------------------------------------
# Rows that come, change and go
# ---------------------------------------------------------------------------------------------------------


@contextmanager
def appending(connection: Connection, tables: Iterable[Table]) -> Iterator[None]:
    """A context, in a transaction, in which rows are inserted. These tables hold no others in there."""
    with changing(connection, [(table, "false") for table in tables]):
        yield


@contextmanager
def changing(connection: Connection, tables: Iterable[tuple[Table, str]]) -> Iterator[None]:
    """A context, in a transaction, in which rows are changed, deleted or inserted. tables: with conditions.

    A table that lies in files holds in there at least the rows under the condition, and all those that are in one file with
    one of them.
    """
    with ExitStack() as stack:
        for table, condition in tables:
            if is_stored(connection, table.name):
                stack.enter_context(_taken_out(connection, table, condition))
        yield


def delete(connection: Connection, table: Table, condition: str = "true") -> None:
    """Delete rows of a raw table, in a transaction."""
    if condition == "true" and is_stored(connection, table.name):
        connection.execute("DELETE FROM raw.stored WHERE table_name = ?", [table.name])
        _show(connection, table)
        return
    with changing(connection, [(table, condition)]):
        connection.execute(f"DELETE FROM raw.{table.name} WHERE {condition}")


@contextmanager
def _taken_out(connection: Connection, table: Table, condition: str) -> Iterator[None]:
    """The files that have rows under the condition, as a table; what it is then is written to new ones."""
    files = files_of(connection, table.name) if condition != "false" else []
    concerned: list[str] = []
    if files:
        concerned = [
            name
            for (name,) in connection.execute(
                f"SELECT DISTINCT filename FROM read_parquet([{_list(files)}], filename = true) WHERE {condition}"
            ).fetchall()
        ]
    connection.execute(f"DROP VIEW raw.{table.name}")
    connection.execute(f"CREATE TABLE raw.{table.name} ({definitions(table.columns)})")
    if concerned:
        connection.execute(f"INSERT INTO raw.{table.name} {_reading(table, concerned)}")
    yield
    connection.execute(
        "DELETE FROM raw.stored WHERE table_name = ? AND file IN (SELECT unnest(?::VARCHAR[]))",
        [table.name, concerned],
    )
    write(connection, table, f"raw.{table.name}")
    connection.execute(f"DROP TABLE raw.{table.name}")
    _compact(connection, table)
    _show(connection, table)


def write(connection: Connection, table: Table, rows: str) -> None:
    """Write rows to a new file of a table, in a transaction. rows: SQL to select from, with the table's columns."""
    if not value(connection, f"SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT 1)"):
        return
    file = new_file(connection, table.name)
    names = names_of(table.columns)
    connection.execute(
        f"COPY (SELECT {names} FROM {rows}) TO '{quoted(file)}' (FORMAT parquet, COMPRESSION zstd)"
    )
    add(connection, table.name, [file])


def new_file(connection: Connection, table: str) -> str:
    """A name that never comes again."""
    where = storage_of(connection)
    assert where is not None
    file = where.file(table, f"{uuid4().hex}.parquet")
    where.make_room(file)
    return file


def add(connection: Connection, table: str, files: Sequence[str]) -> None:
    """Count files in that were written for a table. `show` is to follow."""
    for file in files:
        storage_at(file).keep(file)
    connection.execute(
        f"""INSERT INTO raw.stored
        SELECT ?, filename, count(*), min(load_seq), max(load_seq)
        FROM read_parquet([{_list(files)}], filename = true) GROUP BY filename""",
        [table],
    )


def show(connection: Connection, tables: Iterable[Table]) -> None:
    """Let the tables consist of the files that are theirs now."""
    for table in tables:
        if is_stored(connection, table.name):
            _show(connection, table)


def _show(connection: Connection, table: Table) -> None:
    files = files_of(connection, table.name)
    connection.execute(f"CREATE OR REPLACE VIEW raw.{table.name} AS {_reading(table, files)}")


def _reading(table: Table, files: Sequence[str]) -> str:
    if not files:
        nulls = ", ".join(f"CAST(NULL AS {c.type}) AS {identifier(c.name)}" for c in table.columns)
        return f"SELECT {nulls} WHERE false"
    return f"SELECT {names_of(table.columns)} FROM read_parquet([{_list(files)}])"


def _list(files: Iterable[str]) -> str:
    return ", ".join(f"'{quoted(file)}'" for file in files)


def _compact(connection: Connection, table: Table) -> None:
    """Make one file of many small ones."""
    small = [
        file
        for (file,) in connection.execute(
            "SELECT file FROM raw.stored WHERE table_name = ? AND rows < ? ORDER BY first_load, file",
            [table.name, _SMALL_ROWS],
        ).fetchall()
    ]
    if len(small) < _MOST_SMALL_FILES:
        return
    connection.execute(
        "DELETE FROM raw.stored WHERE table_name = ? AND file IN (SELECT unnest(?::VARCHAR[]))",
        [table.name, small],
    )
    write(connection, table, f"({_reading(table, small)} ORDER BY load_seq)")


# ---------------------------------------------------------------------------------------------------------
# Tables of an older release
# ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _AsItIs:
    """A table with the columns that it happens to have."""

    name: str
    columns: Sequence[Column]


def upgrade(connection: Connection, step: str) -> None:
    """Take a step of `migrations`, in a transaction. Statements that change a table in files are done file by file."""
    of_files: dict[str, list[str]] = {}
    for statement in connection.extract_statements(step):
        changed = CHANGES.match(statement.query)
        if changed and is_stored(connection, changed[1]):
            of_files.setdefault(changed[1], []).append(statement.query)
        else:
            connection.execute(statement.query)
    for table, statements in of_files.items():
        _rewrite(connection, table, statements)


def _rewrite(connection: Connection, name: str, statements: Sequence[str]) -> None:
    """Put files with changed rows and columns in the place of all that a table has."""
    before = _as_it_is(connection, name)
    files = files_of(connection, name)
    connection.execute("DELETE FROM raw.stored WHERE table_name = ?", [name])
    connection.execute(f"DROP VIEW raw.{name}")
    # Without a row the statements are still needed for the columns.
    for few in [[file] for file in files] or [[]]:
        connection.execute(f"CREATE TABLE raw.{name} ({definitions(before.columns)})")
        if few:
            connection.execute(f"INSERT INTO raw.{name} {_reading(before, few)}")
        for statement in statements:
            connection.execute(statement)
        now = _as_it_is(connection, name)
        write(connection, now, f"raw.{name}")
        connection.execute(f"DROP TABLE raw.{name}")
    _show(connection, now)


def _as_it_is(connection: Connection, name: str) -> _AsItIs:
    described = connection.execute(f"DESCRIBE raw.{name}").fetchall()
    return _AsItIs(name, [Column(column, kind, "") for column, kind, *_ in described])


# ---------------------------------------------------------------------------------------------------------
# From one machine to a cluster's folder, and back
# ---------------------------------------------------------------------------------------------------------


def agree(
    connection: Connection,
    settings: Settings,
    tables: Sequence[Table],
    make: Callable[[Table], None],
) -> str | None:
    """Let the tables lie where the settings say. make: makes one in `raw.duckdb`. Returns what was done, for people.

    Raises DatabaseError, with nothing changed.
    """
    wanted = storage_at(settings.engine.storage) if settings.engine.kind == "spark" else None
    there = storage_of(connection)
    if wanted is not None:
        _require_place(wanted, settings)
        wanted.attach(connection)
    missing = [t for t in tables if wanted is not None and not is_stored(connection, t.name)]
    is_there = (wanted and wanted.address) == (there and there.address)
    if is_there and not missing:
        return None
    with transaction(connection):
        if there is not None and wanted is not None and not is_there:
            _move_files(connection, wanted)
        connection.execute("DELETE FROM raw.storage")
        if wanted is None:
            for table in tables:
                if is_stored(connection, table.name):
                    _give_back(connection, table, make)
            connection.execute("DELETE FROM raw.stored")
            done = "the raw tables lie in raw.duckdb again"
        else:
            connection.execute("INSERT INTO raw.storage VALUES (?)", [wanted.address])
            for table in tables:
                if is_stored(connection, table.name):
                    _show(connection, table)
                else:
                    _take_over(connection, table)
            done = f"the large raw tables lie in {wanted.address} now"
    tidy(connection)
    _log.info("%s", done)
    return done


def _take_over(connection: Connection, table: Table) -> None:
    columns = {row[0] for row in connection.execute(f"DESCRIBE raw.{table.name}").fetchall()}
    assert columns == {column.name for column in table.columns}, table.name
    # By load, so that what is new can be told from the files' names alone.
    loads = connection.execute(
        f"SELECT load_seq, count(*) FROM raw.{table.name} GROUP BY ALL ORDER BY load_seq NULLS FIRST"
    ).fetchall()
    group: list[int | None] = []
    rows = 0
    for number, (load, count) in enumerate(loads, 1):
        group.append(load)
        rows += count
        if rows >= _ROWS_A_FILE or number == len(loads):
            first, last = group[0], group[-1]
            which = f"load_seq <= {last}" + (f" AND load_seq >= {first}" if first is not None else "")
            which = (
                f"({which}{' OR load_seq IS NULL' if first is None else ''})" if last is not None else "true"
            )
            write(connection, table, f"(FROM raw.{table.name} WHERE {which})")
            group, rows = [], 0
    connection.execute(f"DROP TABLE raw.{table.name}")
    _show(connection, table)


def _give_back(connection: Connection, table: Table, make: Callable[[Table], None]) -> None:
    files = files_of(connection, table.name)
    connection.execute(f"DROP VIEW raw.{table.name}")
    make(table)
    if files:
        connection.execute(f"INSERT INTO raw.{table.name} {_reading(table, files)}")


def _move_files(connection: Connection, wanted: Storage) -> None:
    """Copy the files to another place; the old ones are left for whoever looks there."""
    with TemporaryDirectory() as scratch:
        local = Path(scratch) / "moving"
        for table, file in connection.execute("SELECT table_name, file FROM raw.stored").fetchall():
            target = wanted.file(table, file.rpartition("/")[2])
            copy(file, local)
            wanted.take_in(local, target)
            connection.execute("UPDATE raw.stored SET file = ? WHERE file = ?", [target, file])


def _require_place(wanted: Storage, settings: Settings) -> None:
    """Raises DatabaseError where it is not there, or another warehouse's."""
    what = f"[engine] storage = '{wanted.address}'"
    owner = wanted.file(_OWNER)
    here = str(settings.data.resolve())
    try:
        if not wanted.is_there():
            raise DatabaseError(
                f"{what}: there is no such {'bucket' if wanted.is_bucket else 'folder. Is it mounted?'}. Make it, where all "
                "machines of the cluster see it"
            )
        if wanted.has(owner):
            other = json.loads(wanted.read(owner)).get("data")
            if other != here:
                raise DatabaseError(
                    f"{what} belongs to the warehouse in {other}, and this one is in {here}: name "
                    f"another folder; or, if the warehouse was moved, remove {owner}"
                )
        else:
            wanted.write(owner, (json.dumps({"data": here}) + "\n").encode())
    except (OSError, ValueError, AttributeError) as error:
        raise DatabaseError(f"{owner} cannot be read or written: {error}") from error


def attach(connection: Connection) -> None:
    """Let DuckDB read the tables where they lie. Raises DatabaseError."""
    where = storage_of(connection)
    if where is not None:
        try:
            where.attach(connection)
        except OSError as error:
            raise DatabaseError(f"{where.address}, where the large raw tables lie: {error}") from error


def tidy(connection: Connection) -> None:
    """Remove the files that no row names. With the lock held, nobody else needs them."""
    where = storage_of(connection)
    if where is None:
        return
    with suppress(OSError):
        if where.has(where.file(_OWNER)):
            where.tidy({file for (file,) in connection.execute("SELECT file FROM raw.stored").fetchall()})


def _is_prepared(connection: Connection) -> bool:
    return bool(
        value(
            connection,
            "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'raw' AND table_name = 'storage'",
        )
    )
