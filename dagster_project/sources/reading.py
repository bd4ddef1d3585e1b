"""Reading: a batch of raw files in; typed rows, rejects, repairs and counts out. A pure function.

It knows the files, their numbers and dates, and the settings; no other batch, no table of the warehouse. So it runs in any
process (`workers`), and its rows lie in temporary tables or Parquet files until it is decided over them (`deciding`).
What is common to all sources - positions, rejects, repairs, unreadable files, counts - is here, however long: what a file
came to must be told alike whoever read it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from dagster_project.readers.files import FilePart, Record, UnreadableFile
from dagster_project.readers.mentions import forms_of
from dagster_project.readers.redact import HIDDEN, names_credential, redact, redact_words
from dagster_project.readers.values import WHOLE_FLOAT, start_of, time_of
from dagster_project.settings import Settings
from dagster_project.warehouse.columns import definitions, identifier
from dagster_project.warehouse.database import Connection, append_rows, quoted, value
from dagster_project.warehouse.engine import Engine, Local, Rows
from dagster_project.warehouse.pseudonyms import keyed_hash, replace_values

from . import RawColumn, RawTable
from .lookalikes import LookAlikes

_FLUSH_ROWS = 50_000
_SHORTEST_TOKEN = 4
# Types that Parquet keeps as they are; all others go as text.
_KEPT = {"BIGINT", "INTEGER", "BOOLEAN", "VARCHAR", "TIMESTAMP", "DATE", "DOUBLE", "BLOB"}


@dataclass
class FileLoad:
    """One file on its way in, and the account of its records.

    end_…: where what is loaded of its content ends. end_line, end_sha256 are None where they are what they were when it
    was numbered. waits: what stands behind that is the beginning of a record. by_line: each of its lines is one value.
    """

    part: FilePart
    load_seq: int
    hides_tokens: bool = False
    records: int = 0
    duplicates: int = 0
    rejected: int = 0
    repaired: int = 0
    error: str | None = None
    end_byte: int = 0
    end_line: int | None = None
    end_sha256: str | None = None
    waits: bool = False
    by_line: bool = False
    alike: LookAlikes = field(default_factory=LookAlikes)
    rejects: list[tuple[Any, ...]] = field(default_factory=list)
    repairs: list[tuple[Any, ...]] = field(default_factory=list)
    # Fields in which whole numbers are written as floats: the position of the first, and how many there are.
    _whole_floats: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def redacted(self, text: str) -> str:
        """Text from a record, without what must not be kept."""
        return redact(text, tokens=self.hides_tokens)

    def redacted_message(self, text: str) -> str:
        """A message about a record, without what must not be kept."""
        return redact_words(text, tokens=self.hides_tokens)

    def position(self, record: Record) -> tuple[int, int, int, int]:
        return self.load_seq, self.part.file_seq, record.line, record.element

    def reject(self, record: Record, reason: str, detail: str | None = None, *, waits: bool = False) -> None:
        self.rejected += not waits
        self.rejects.append(
            (
                self.load_seq,
                self.part.source,
                *self.position(record)[1:],
                reason,
                detail and self._without_token(record, self.redacted_message(detail)),
                self._without_token(
                    record,
                    self.redacted_message(record.raw()) if record.is_table else self.redacted(record.raw()),
                ),
                waits,
            )
        )

    def _without_token(self, record: Record, text: str) -> str:
        """Its own token may stand in a record once more, in an address, say."""
        token = record.value.get("session_token") if isinstance(record.value, dict) else None
        if self.hides_tokens and token is not None and len(str(token)) >= _SHORTEST_TOKEN:
            for form in sorted(forms_of(str(token)), key=len, reverse=True):
                text = text.replace(form.decode("utf-8", "replace"), HIDDEN)
        return text

    def unfinished(self, record: Record) -> None:
        """The file ends in the middle of a record: that is no part of what is loaded. It is refused now, or waits."""
        self.end_byte = self.part.end_byte - record.unfinished if record.line > 1 else 0
        self.end_line = record.line - 1
        self.waits = not self.part.is_final
        self.records += not self.waits
        self.reject(record, record.bad_reason, record.bad, waits=self.waits)

    def repair(self, record: Record, repairs: Iterable[tuple[str, str]]) -> None:
        """List what was changed in a record that counts."""
        self.repair_at(record.line, record.element, repairs)

    def repair_at(self, line: int, element: int, repairs: Iterable[tuple[str, str]]) -> None:
        """The same of the record at a position."""
        rows = []
        for what, detail in repairs:
            if what == WHOLE_FLOAT:
                first = self._whole_floats.get(detail, (line, element, 0))
                self._whole_floats[detail] = (*first[:2], first[2] + 1)
            else:
                rows.append((line, element, what, detail))
        self._list(rows)

    def repair_file(self, line: int, what: str, detail: str) -> None:
        """List what was changed in the file as a whole, at the line where it is first seen."""
        self._list([(line, 1, what, detail)])

    def renumber(self, shift: int) -> None:
        """Give it the number that it is loaded under, once that is known."""
        self.load_seq += shift
        self.rejects = [(row[0] + shift, *row[1:]) for row in self.rejects]
        self.repairs = [(row[0] + shift, *row[1:]) for row in self.repairs]

    def close(self) -> None:
        """What is listed once a file, when all of it was read."""
        for name, (line, element, count) in self._whole_floats.items():
            values = "1 whole number is" if count == 1 else f"{count} whole numbers are"
            self._list([(line, element, WHOLE_FLOAT, f"{name}: {values} written as floats")])
        self._whole_floats = {}
        self._hide_neighbours()

    def _hide_neighbours(self) -> None:
        """Of a record that is broken over several lines, each is a reject: a credential's name may stand on one, and its
        value on another."""
        run: list[int] = []
        for index, reject in enumerate([*self.rejects, None]):
            goes_on = reject is not None and reject[5] in ("bad_json", "not_object")
            if goes_on and reject and run and reject[3] - self.rejects[run[-1]][3] <= 1:
                run.append(index)
                continue
            if len(run) > 1 and any(names_credential(self.rejects[n][7]) for n in run):
                for n in run:
                    self.rejects[n] = (*self.rejects[n][:7], HIDDEN, *self.rejects[n][8:])
            run = [index] if goes_on else []

    def _list(self, rows: Sequence[tuple[int, int, str, str]]) -> None:
        self.repaired += bool(rows)
        self.repairs += [
            (
                self.load_seq,
                self.part.source,
                self.part.file_seq,
                line,
                element,
                what,
                self.redacted_message(detail),
            )
            for line, element, what, detail in rows
        ]


class StagingTable:
    """The rows of a batch, in temporary tables: one that rows are added to in bulk, and whole files' own; and in Parquet
    files that another process wrote.

    table: the raw table that they are for. columns: where they are others than the table's. has_macros: the connection has
    what the fast path needs.
    """

    def __init__(
        self, connection: Connection, table: RawTable, columns: Sequence[RawColumn] | None = None
    ) -> None:
        self.connection, self.table, self.name = connection, table, f"incoming_{table.name}"
        self.columns = columns or table.columns
        self.has_macros = False
        self._rows: list[tuple[Any, ...]] = []
        self._files: dict[int, FileLoad] = {}
        self._staged: list[tuple[Path | str, int]] = []
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {self.name} ({definitions(self.columns)})")

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        append_rows(self.connection, self.name, self._rows)
        self._rows = []

    def table_of(self, load: FileLoad) -> str:
        """The name of a file's own table: the columns without the position, then `needs_slow_path`; a row a line."""
        return f"{self.name}_{load.load_seq}"

    def adopt(self, load: FileLoad) -> None:
        """Count the rows of a file's own table in, but for those that need the slow path."""
        self._files[load.load_seq] = load

    def drop_file(self, load: FileLoad) -> None:
        """Take back what was added of one file."""
        self.flush()
        self.take_in()
        self.connection.execute(f"DELETE FROM {self.name} WHERE load_seq = ?", [load.load_seq])
        self._drop_table(load)
        self._files.pop(load.load_seq, None)

    def write(self, file: Path | str) -> None:
        """Write all rows to a Parquet file."""
        self.flush()
        columns = ", ".join(
            name if column.type in _KEPT else f"CAST({name} AS VARCHAR) AS {name}"
            for column in self.columns
            for name in [identifier(column.name)]
        )
        self.connection.execute(
            f"COPY (SELECT {columns} FROM {self.all}) TO '{quoted(str(file))}' (FORMAT parquet)"
        )

    def stage(self, file: Path | str, shift: int) -> None:
        """Count in the rows of a Parquet file. shift: from the load_seq in there to the one that they are loaded under."""
        self._staged.append((file, shift))

    def take_in(self) -> None:
        """Move the rows of Parquet files into the table, so that they can be changed."""
        if self._staged:
            self.connection.execute(f"INSERT INTO {self.name} {' UNION ALL '.join(self._of_files())}")
            self._staged = []

    def _of_files(self) -> list[str]:
        columns = ", ".join(
            f"CAST({identifier(column.name)} AS {column.type})" for column in self.columns[1:]
        )
        return [
            f"SELECT load_seq + {shift}, {columns} FROM read_parquet('{quoted(str(file))}')"
            for file, shift in self._staged
        ]

    @property
    def tables(self) -> list[str]:
        """The tables that hold its rows, but for those in Parquet files. Values in them may be changed; rows keep their
        positions."""
        return [self.name, *(self.table_of(load) for load in self._files.values())]

    @property
    def all(self) -> str:
        """All rows, as SQL to select from."""
        files = (
            f"""SELECT {load.load_seq}, {load.part.file_seq}, rowid + {load.part.start_line + 1}, 1, * EXCLUDE (needs_slow_path)
            FROM {self.table_of(load)} WHERE NOT needs_slow_path"""
            for load in self._files.values()
        )
        return f"({' UNION ALL '.join([f'FROM {self.name}', *files, *self._of_files()])})"

    @property
    def rows(self) -> Rows:
        """All rows, for whoever decides over them."""
        self.flush()
        # A cluster sees the Parquet files only.
        is_all = not self._files and not value(
            self.connection, f"SELECT count(*) FROM (SELECT 1 FROM {self.name} LIMIT 1)"
        )
        return Rows(self.all, tuple(self._staged) if is_all else ())

    def clear(self) -> None:
        for load in self._files.values():
            self._drop_table(load)
        self._files = {}
        self.connection.execute(f"DROP TABLE {self.name}")

    def _drop_table(self, load: FileLoad) -> None:
        self.connection.execute(f"DROP TABLE IF EXISTS {self.table_of(load)}")


class Loader:
    """Turns the files of one source into rows. Subclasses say how.

    staging: the temporary tables that `read` adds to.
    """

    staging: Sequence[StagingTable] = ()

    def read(self, load: FileLoad) -> None:
        """Read one file: add its rows, count its records. Raises UnreadableFile."""
        raise NotImplementedError

    def decide(self, loads: Sequence[FileLoad]) -> None:
        """Decide over what was read of the batch, and add to the accounts of its files what follows from that.

        A file that cannot be looked at any more is given its error, and no account is changed: without it, it is decided anew.
        """

    def finish(self, loads: Sequence[FileLoad]) -> None:
        """Move what stands of the batch into the raw tables."""
        raise NotImplementedError


@dataclass(frozen=True)
class LoadContext:
    """connection: to the warehouse, or to a database in memory where another process reads. engine: who decides."""

    connection: Connection
    settings: Settings
    engine: Engine = field(default_factory=Local)


# Of a file that a part goes on from: whether it is loaded, where what was loaded ends (bytes, lines), what it went on from.
Before = tuple[bool, int, int | None, int | None]


@dataclass(frozen=True)
class Batch:
    """Files to read. before: what was loaded of the files that they go on from. token_key: tokens become hashes by it."""

    source: str
    parts: Sequence[FilePart]
    before: Mapping[int, Before]
    settings: Settings
    token_key: bytes | None

    @property
    def bytes(self) -> int:
        return sum(part.end_byte - part.start_byte for part in self.parts)


@dataclass
class Read:
    """What came of a batch: its files in their order, those that can be read numbered without a gap; and those that cannot.

    rows: Parquet files, one for each of the loader's `staging`; none where the rows are in its temporary tables.
    """

    loads: list[FileLoad] = field(default_factory=list)
    unreadable: list[FileLoad] = field(default_factory=list)
    rows: list[Path | str] = field(default_factory=list)


def read(
    loader: Loader, batch: Batch, first_load_seq: int, tell: Callable[[str], None] | None = None
) -> Read:
    """Read files into the loader's temporary tables: an error in there may end a statement, but no transaction.

    tell: is told each path before it is read.
    """
    done = Read()
    with _no_garbage_collection():
        for numbered in batch.parts:
            if tell is not None:
                tell(numbered.path)
            part = _goes_on(numbered, batch.before, done.loads)
            load_seq = first_load_seq + len(done.loads)
            one = FileLoad(
                part,
                load_seq,
                hides_tokens=batch.token_key is not None,
                end_byte=part.end_byte,
                alike=LookAlikes(field for table in loader.staging for field in table.table.ids),
            )
            _read(loader, one)
            if one.error is None:
                done.loads.append(one)
            else:
                one.rejects, one.repairs = [], []
                done.unreadable.append(one)
        for table in loader.staging:
            table.flush()
    if batch.token_key is not None:
        for staged in loader.staging:
            for name in staged.tables:
                _hide_in_paths(staged.connection, staged.table, name)
                for column, kind in staged.table.ids.items():
                    if kind == "token":
                        replace_values(staged.connection, name, column, partial(keyed_hash, batch.token_key))
    return done


def _hide_in_paths(connection: Connection, table: RawTable, name: str) -> None:
    """A record's own token does not stay in its path, where tokens are hashed."""
    for column in table.columns:
        for token, kind in table.ids.items():
            if column.names_anybody == "path" and kind == "token":
                path = identifier(column.name)
                connection.execute(
                    f"""UPDATE {name} SET {path} = replace(replace({path}, {token}, ':id'), url_encode({token}), ':id')
                    WHERE length({token}) >= {_SHORTEST_TOKEN}
                      AND (contains({path}, {token}) OR contains({path}, url_encode({token})))"""
                )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Records make no cycles, and looking for some again and again is dear."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read(loader: Loader, load: FileLoad) -> None:
    try:
        if load.part.unreadable is not None:
            raise UnreadableFile(load.part.unreadable)
        with load.part.local_copy():
            loader.read(load)
            load.close()
            if load.end_byte not in (load.part.end_byte, load.part.tail_byte):
                load.end_sha256 = load.part.hash_of(load.end_byte)
            elif load.end_byte == load.part.tail_byte:
                load.end_sha256 = load.part.tail_sha256
            elif load.end_byte == load.part.size:
                load.end_sha256 = load.part.sha256
    except (UnreadableFile, OSError) as error:
        load.error = str(error)
        for table in loader.staging:
            table.drop_file(load)


def _goes_on(part: FilePart, before: Mapping[int, Before], loads: Sequence[FileLoad]) -> FilePart:
    """The part behind what was loaded of the file that it was grown from.

    That file may turn out to end before a record without an end, or not to be readable: then it is what precedes it.
    """
    base = part.grown_from
    while base is not None:
        one = next((load for load in loads if load.part.file_seq == base), None)
        if one is not None:
            end_byte, end_line, further = one.end_byte, one.end_line, one.part.grown_from
        else:
            is_loaded, end_byte, end_line, further = before[base]
            if not is_loaded:
                base = further
                continue
        if end_byte == part.start_byte:
            return replace(part, grown_from=base)
        if end_byte < part.start_byte:
            return replace(part, start_byte=end_byte, start_line=end_line or 0, grown_from=base)
        base = further
    return replace(part, start_byte=0, start_line=0, grown_from=None)


def objects(load: FileLoad, records: Iterable[Record]) -> Iterator[tuple[Record, dict[str, Any]]]:
    """The records that are JSON objects; the others are counted and rejected."""
    for record in records:
        if record.unfinished:
            load.unfinished(record)
            continue
        load.records += 1
        if record.bad is not None:
            load.reject(record, record.bad_reason, record.bad)
        elif not isinstance(record.value, dict):
            load.reject(record, "not_object", f"the record is {_kind(record.value)}")
        else:
            load.alike.look(record.line - load.part.start_line, record.value)
            yield record, record.value


def received(load: FileLoad, value: dict[str, Any]) -> tuple[date | None, datetime | None]:
    """The received date of a record, and the same as a moment: its own `received_at`, else its folder's date."""
    own = time_of(value.get("received_at"))
    if own is not None:
        return own.date(), own
    folder = load.part.received
    return (folder, start_of(folder)) if folder else (None, None)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "a boolean", str: "a string", list: "an array"}.get(type(value), "a number")
