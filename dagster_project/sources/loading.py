"""How a batch of files becomes rows: one transaction a batch, every record accounted for.

A source's loader reads files into temporary tables (`Incoming`), and `finish` moves what stands into the raw
tables. What is common to all sources - places, rejects, repairs, unreadable files, counts - is here.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from typing import Any

from dagster_project.readers.files import FilePart, Record, UnreadableFile
from dagster_project.readers.redact import HIDDEN, names_credential, redact, redact_words
from dagster_project.readers.values import WHOLE_FLOAT, start_of, time_of
from dagster_project.rendering.progress import Steps
from dagster_project.settings import Settings, token_key
from dagster_project.warehouse import loaded_under, registry, tails
from dagster_project.warehouse.columns import comments, definitions
from dagster_project.warehouse.database import Connection, DatabaseError, append_rows, transaction
from dagster_project.warehouse.pseudonyms import keyed_hash, replace_values

from . import RawColumn, RawTable, Source
from .erasures import Erasures
from .lookalikes import LookAlikes

_BATCH_BYTES = 512 * 1024**2
_BATCH_FILES = 500
_FLUSH_ROWS = 50_000


@dataclass
class FileLoad:
    """One file on its way in, and the account of its records.

    end_…: where what is loaded of its content ends. end_line, end_sha256 are None where they are what they were when it
    was numbered. waits: what stands behind that is the beginning of a record.
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
    alike: LookAlikes = field(default_factory=LookAlikes)
    rejects: list[tuple[Any, ...]] = field(default_factory=list)
    repairs: list[tuple[Any, ...]] = field(default_factory=list)
    # Fields in which whole numbers are written as floats: the place of the first, and how many there are.
    _whole_floats: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def redacted(self, text: str) -> str:
        """Text from a record, without what must not be kept."""
        return redact(text, tokens=self.hides_tokens)

    def told(self, text: str) -> str:
        """A message about a record, without what must not be kept."""
        return redact_words(text, tokens=self.hides_tokens)

    def place(self, record: Record) -> tuple[int, int, int, int]:
        return self.load_seq, self.part.file_seq, record.line, record.element

    def reject(self, record: Record, reason: str, detail: str | None = None, *, waits: bool = False) -> None:
        self.rejected += not waits
        self.rejects.append(
            (
                self.load_seq,
                self.part.source,
                *self.place(record)[1:],
                reason,
                detail and self.told(detail),
                self.told(record.raw()) if record.is_table else self.redacted(record.raw()),
                waits,
            )
        )

    def unfinished(self, record: Record) -> None:
        """The file ends in the middle of a record: that is no part of what is loaded. It is refused now, or waits."""
        self.end_byte = self.part.end_byte - record.unfinished if record.line > 1 else 0
        self.end_line = record.line - 1
        self.waits = not self.part.is_final
        self.records += not self.waits
        self.reject(record, record.bad_reason, record.bad, waits=self.waits)

    def repair(self, record: Record, repairs: Iterable[tuple[str, str]]) -> None:
        """List what was changed in a record that counts."""
        rows = []
        for what, detail in repairs:
            if what == WHOLE_FLOAT:
                line, element, count = self._whole_floats.get(detail, (record.line, record.element, 0))
                self._whole_floats[detail] = (line, element, count + 1)
            else:
                rows.append((record.line, record.element, what, detail))
        self._list(rows)

    def repair_file(self, line: int, what: str, detail: str) -> None:
        """List what was changed in the file as a whole, at the line where it is first seen."""
        self._list([(line, 1, what, detail)])

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
            (self.load_seq, self.part.source, self.part.file_seq, line, element, what, self.told(detail))
            for line, element, what, detail in rows
        ]


class Incoming:
    """The rows of a batch, in temporary tables: one that rows are added to in bulk, and whole files' own.

    table: the raw table that they are for. columns: where they are others than the table's.
    """

    def __init__(
        self, connection: Connection, table: RawTable, columns: Sequence[RawColumn] | None = None
    ) -> None:
        self.connection, self.table, self.name = connection, table, f"incoming_{table.name}"
        self._rows: list[tuple[Any, ...]] = []
        self._files: dict[int, FileLoad] = {}
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.name} ({definitions(columns or table.columns)})"
        )

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        append_rows(self.connection, self.name, self._rows)
        self._rows = []

    def table_of(self, load: FileLoad) -> str:
        """The name of a file's own table: the columns without the place, then `is_odd`; a row a line."""
        return f"{self.name}_{load.load_seq}"

    def adopt(self, load: FileLoad) -> None:
        """Count the rows of a file's own table in, but for those that are odd."""
        self._files[load.load_seq] = load

    def drop_file(self, load: FileLoad) -> None:
        """Take back what was added of one file."""
        self.flush()
        self.connection.execute(f"DELETE FROM {self.name} WHERE load_seq = ?", [load.load_seq])
        self._drop_table(load)
        self._files.pop(load.load_seq, None)

    @property
    def tables(self) -> list[str]:
        """The tables that hold its rows. Values in them may be changed; rows keep their places."""
        return [self.name, *(self.table_of(load) for load in self._files.values())]

    @property
    def all(self) -> str:
        """All rows, as SQL to select from."""
        files = (
            f"""SELECT {load.load_seq}, {load.part.file_seq}, rowid + {load.part.start_line + 1}, 1, * EXCLUDE (is_odd)
            FROM {self.table_of(load)} WHERE NOT is_odd"""
            for load in self._files.values()
        )
        return f"({' UNION ALL '.join([f'FROM {self.name}', *files])})"

    def clear(self) -> None:
        for load in self._files.values():
            self._drop_table(load)
        self._files = {}
        self.connection.execute(f"DROP TABLE {self.name}")

    def _drop_table(self, load: FileLoad) -> None:
        self.connection.execute(f"DROP TABLE IF EXISTS {self.table_of(load)}")


class Loader:
    """Turns the files of one source into rows. Subclasses say how.

    incoming: the temporary tables that `read` adds to.
    """

    incoming: Sequence[Incoming] = ()

    def read(self, load: FileLoad) -> None:
        """Read one file: add its rows, count its records. Raises UnreadableFile."""
        raise NotImplementedError

    def finish(self, loads: Sequence[FileLoad]) -> None:
        """Move what stands of the batch into the raw tables."""
        raise NotImplementedError


@dataclass(frozen=True)
class LoadContext:
    connection: Connection
    settings: Settings


@dataclass
class LoadSummary:
    """What a load did, per source."""

    files: int = 0
    bytes: int = 0
    records: int = 0
    loaded: int = 0
    duplicates: int = 0
    rejected: int = 0
    repaired: int = 0
    unreadable: list[str] = field(default_factory=list)

    def merge(self, other: LoadSummary) -> None:
        for name in ("files", "bytes", "records", "loaded", "duplicates", "rejected", "repaired"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unreadable += other.unreadable

    def add(self, load: FileLoad) -> None:
        if load.error:
            self.unreadable.append(f"{load.part.path}: {load.error}")
            return
        self.files += 1
        self.bytes += load.part.end_byte - load.part.start_byte
        self.records += load.records
        self.loaded += load.records - load.duplicates - load.rejected
        self.duplicates += load.duplicates
        self.rejected += load.rejected
        self.repaired += load.repaired


def prepare(connection: Connection, sources: Iterable[Source]) -> None:
    """Make the raw tables that are missing. Raises DatabaseError where one has other columns than its source says."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = 'raw' "
        "ORDER BY table_name, column_index"
    ).fetchall():
        found.setdefault(table, {})[column] = kind
    missing = []
    for raw in (table for source in sources for table in source.tables):
        wanted = {column.name: column.type for column in raw.columns}
        if raw.name not in found:
            missing.append(raw)
        elif list(wanted.items()) != list(found[raw.name].items()):  # rows are inserted by position
            differing = dict(wanted.items() ^ found[raw.name].items()) or {"their order": ""}
            raise DatabaseError(
                f"raw.{raw.name} has other columns than its source says: {', '.join(sorted(differing))}. What is loaded "
                "needs a step in warehouse/migrations.py"
            )
    if missing:
        with transaction(connection):
            for raw in missing:
                connection.execute(
                    f"CREATE TABLE raw.{raw.name} ({definitions(raw.columns)});"
                    + comments(f"raw.{raw.name}", {c.name: c.about for c in raw.columns}, raw.about)
                )


def load(
    connection: Connection,
    settings: Settings,
    source: Source,
    parts: Sequence[FilePart],
    steps: Steps | None = None,
) -> LoadSummary:
    """Load files of one source, in the order given. Each batch is one transaction in `raw`."""
    summary = LoadSummary()
    erasures = Erasures(connection)
    key = token_key(settings)
    for batch in _batches(parts):
        load_seq = first = registry.next_load_seq(connection)
        under = loaded_under.of_text(settings, batch[0].loaded_under)
        kept = loaded_under.as_text(under, source.folder)
        loader = source.loader(LoadContext(connection, under))
        # Reading fills temporary tables only: an error in there may end a statement, but no transaction.
        loads: list[FileLoad] = []
        unreadable: list[FileLoad] = []
        with _no_garbage_collection():
            for numbered in batch:
                if steps is not None:
                    steps.next(numbered.path)
                part = _goes_on(connection, numbered, loads)
                one = FileLoad(
                    part,
                    load_seq,
                    hides_tokens=key is not None,
                    end_byte=part.end_byte,
                    alike=LookAlikes(field for table in loader.incoming for field in table.table.ids),
                )
                _read(loader, one)
                if one.error is None:
                    loads.append(one)
                    load_seq += 1
                else:
                    unreadable.append(one)
                    summary.add(one)
            for table in loader.incoming:
                table.flush()
        with transaction(connection):
            for incoming in loader.incoming:
                for name in incoming.tables:
                    for column, kind in incoming.table.ids.items():
                        if key and kind == "token":
                            replace_values(connection, name, column, partial(keyed_hash, key))
                    if erasures:
                        erasures.keep_out(source, incoming.table, name)
            if erasures:
                for one in loads:
                    erasures.blank(one.rejects, 6, 7)
                    erasures.blank(one.repairs, 6)
            loader.finish(loads)
            if erasures:
                erasures.sweep(source, first)
            _account(connection, loads, unreadable, kept)
            # What could not be read again changes no rows: nothing that follows from them is out of date.
            rows = [*(table.name for table in source.tables), "rejects", "repairs", "paths"] if loads else []
            registry.bump(connection, [*rows, "files"])
        for table in loader.incoming:
            table.clear()
        for one in loads:
            summary.add(one)
    return summary


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
        with load.part.at_hand():
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
        for table in loader.incoming:
            table.drop_file(load)


def _account(
    connection: Connection, loads: Sequence[FileLoad], unreadable: Sequence[FileLoad], kept: str
) -> None:
    for one in unreadable:
        connection.execute(
            "UPDATE raw.files SET error = ? WHERE file_seq = ?", [one.error, one.part.file_seq]
        )
    append_rows(connection, "raw.rejects", [row for load in loads for row in load.rejects])
    alike = [
        (one.load_seq, one.part.source, field, key, records)
        for one in loads
        for field, key, records in one.alike.found
    ]
    if alike:
        append_rows(connection, "raw.lookalikes", alike)
        registry.bump(connection, ["lookalikes"])
    append_rows(connection, "raw.repairs", [row for load in loads for row in load.repairs])
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE counted (file_seq BIGINT, load_seq BIGINT, records BIGINT, "
        "loaded BIGINT, duplicates BIGINT, rejected BIGINT, repaired BIGINT, start_byte BIGINT, start_line BIGINT, "
        "grown_from BIGINT, end_byte BIGINT, end_line BIGINT, end_sha256 VARCHAR, tail VARCHAR, loaded_under VARCHAR)"
    )
    append_rows(connection, "counted", [_counted(one, kept) for one in loads])
    connection.execute("""UPDATE raw.files SET load_seq = c.load_seq, records = c.records, loaded = c.loaded,
        duplicates = c.duplicates, rejected = c.rejected, repaired = c.repaired, error = NULL,
        start_byte = c.start_byte, start_line = c.start_line, grown_from = c.grown_from,
        end_line = CASE WHEN c.end_line IS NOT NULL THEN c.end_line WHEN c.end_byte = files.bytes THEN files.lines
                   ELSE files.end_line END,
        end_byte = c.end_byte, end_sha256 = coalesce(c.end_sha256, files.end_sha256), tail = c.tail,
        loaded_under = c.loaded_under,
        replay_position = NULL, replay_path = NULL, replay_byte = NULL, replay_sha256 = NULL
        FROM counted c WHERE c.file_seq = files.file_seq""")
    connection.execute(
        "UPDATE raw.paths SET loaded_seq = file_seq WHERE file_seq IN (SELECT file_seq FROM counted)"
    )
    tails.give_up_continued(connection)


def _counted(one: FileLoad, kept: str) -> tuple[Any, ...]:
    part = one.part
    tail = None if one.end_byte == part.end_byte else "waits" if one.waits else "rejected"
    return (
        *(part.file_seq, one.load_seq, one.records, one.records - one.duplicates - one.rejected),
        *(one.duplicates, one.rejected, one.repaired, part.start_byte, part.start_line, part.grown_from),
        *(one.end_byte, one.end_line, one.end_sha256, tail, kept),
    )


def _goes_on(connection: Connection, part: FilePart, loads: Sequence[FileLoad]) -> FilePart:
    """The part behind what was loaded of the file that it was grown from.

    That file may turn out to end before a record without an end, or not to be readable: then it is what precedes it.
    """
    base = part.grown_from
    while base is not None:
        one = next((load for load in loads if load.part.file_seq == base), None)
        if one is not None:
            end_byte, end_line, before = one.end_byte, one.end_line, one.part.grown_from
        else:
            is_loaded, end_byte, end_line, before = connection.execute(
                "SELECT load_seq IS NOT NULL AND withdrawn_at IS NULL, coalesce(end_byte, bytes), end_line, grown_from "
                "FROM raw.files WHERE file_seq = ?",
                [base],
            ).fetchall()[0]
            if not is_loaded:
                base = before
                continue
        if end_byte == part.start_byte:
            return replace(part, grown_from=base)
        if end_byte < part.start_byte:
            return replace(part, start_byte=end_byte, start_line=end_line or 0, grown_from=base)
        base = before
    return replace(part, start_byte=0, start_line=0, grown_from=None)


def _batches(parts: Sequence[FilePart]) -> Iterator[list[FilePart]]:
    """Small files together, so that ten thousand of them do not mean ten thousand transactions; but only what is loaded
    under the same settings."""
    batch: list[FilePart] = []
    size = 0
    for part in parts:
        is_full = size + part.end_byte - part.start_byte > _BATCH_BYTES or len(batch) >= _BATCH_FILES
        if batch and (is_full or part.loaded_under != batch[0].loaded_under):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += part.end_byte - part.start_byte
    if batch:
        yield batch


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


__all__ = [
    "FileLoad",
    "Incoming",
    "LoadContext",
    "LoadSummary",
    "Loader",
    "load",
    "objects",
    "received",
]
