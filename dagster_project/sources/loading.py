"""How files become rows: one transaction a batch, every record accounted for.

`reading` turns files into rows that lie beside the warehouse, in this process or in others; `deciding` says which of them
stand; here that is moved into the raw tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from dagster_project.readers.files import FilePart
from dagster_project.rendering.progress import Steps
from dagster_project.settings import Settings, token_key
from dagster_project.spark.engine import engine_of
from dagster_project.warehouse import loaded_under, registry, storage, stored, tails
from dagster_project.warehouse.columns import comments, definitions
from dagster_project.warehouse.database import Connection, DatabaseError, append_rows, transaction

from . import RawTable, Source
from .erasures import Erasures
from .reading import Batch, Before, FileLoad, LoadContext, Loader, Read, read
from .workers import Workers, may_read

_BATCH_BYTES = 512 * 1024**2
_BATCH_FILES = 500
# What another process reads at once.
_SHARE_BYTES = 64 * 1024**2
_SHARE_FILES = 50


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
                create(connection, raw)


def create(connection: Connection, raw: RawTable) -> None:
    """Make a raw table in `raw.duckdb`."""
    connection.execute(
        f"CREATE TABLE raw.{raw.name} ({definitions(raw.columns)});"
        + comments(f"raw.{raw.name}", {c.name: c.about for c in raw.columns}, raw.about)
    )


def load(
    connection: Connection,
    settings: Settings,
    sources: Mapping[str, Source],
    pending: Sequence[FilePart],
    steps: Steps | None = None,
) -> dict[str, LoadSummary]:
    """Load files in the order given. Each batch is one transaction in `raw`. sources: by folder. Returns what was done, by it."""
    summaries: dict[str, LoadSummary] = {}
    erasures = Erasures(connection)
    batches = [
        _Files(sources[folder], batch)
        for folder, parts in groupby(pending, key=lambda part: part.source)
        for batch in _batches(list(parts), _BATCH_BYTES, _BATCH_FILES)
    ]
    key, engine = token_key(settings), engine_of(settings)

    def described(files: _Files, parts: Sequence[FilePart]) -> Batch:
        return Batch(files.source.folder, parts, _before(connection, parts), files.under(settings), key)

    elsewhere = _of_other_processes(connection, batches)
    with _readers(settings, sum(batches[n].bytes for n in elsewhere)) as workers:
        if not workers.count:
            elsewhere = set()
        reads = workers.read(
            described(batches[n], parts) for n in sorted(elsewhere) for parts in shares(batches[n].parts)
        )
        for n, files in enumerate(batches):
            first = registry.next_load_seq(connection)
            loader = files.source.loader(LoadContext(connection, files.under(settings), engine))
            if n in elsewhere:
                done = _collected(loader, reads, len(list(shares(files.parts))), first, files, steps)
            else:
                done = read(loader, described(files, files.parts), first, steps.next if steps else None)
            _decide(loader, done)
            kept = loaded_under.as_text(files.under(settings), files.source.folder)
            _store(connection, files.source, loader, done, erasures, first, kept)
            for table in loader.staging:
                table.clear()
            for rows in done.rows:
                storage.remove(rows)
            summary = summaries.setdefault(files.source.folder, LoadSummary())
            for one in (*done.unreadable, *done.loads):
                summary.add(one)
    return summaries


@dataclass(frozen=True)
class _Files:
    """What is loaded in one transaction."""

    source: Source
    parts: Sequence[FilePart]

    @property
    def bytes(self) -> int:
        return sum(part.end_byte - part.start_byte for part in self.parts)

    def under(self, settings: Settings) -> Settings:
        """The settings that they are loaded under: those of before, where they were loaded before."""
        return loaded_under.of_text(settings, self.parts[0].loaded_under)


def _readers(settings: Settings, size: int) -> Any:
    """Who reads so many bytes, beside this process: processes of this machine, or a cluster."""
    if settings.engine.kind == "local":
        return Workers(settings, size)
    from .on_spark import SparkReaders  # nothing of Spark's is needed otherwise

    return SparkReaders(settings, size)


def _of_other_processes(connection: Connection, batches: Sequence[_Files]) -> set[int]:
    """Which batches may be read by others, before what precedes them is loaded."""
    pending = {part.file_seq for files in batches for part in files.parts}
    return {
        n
        for n, files in enumerate(batches)
        if may_read(files.parts)
        # How much is loaded of a file is known when it is.
        and not pending & _before(connection, files.parts).keys()
    }


def _before(connection: Connection, parts: Sequence[FilePart]) -> dict[int, Before]:
    """What is loaded of the files that some go on from, and of those that these went on from.

    What is yet to be replayed counts as well: after a withdrawal it may come behind what goes on from it.
    """
    before: dict[int, Before] = {}
    wanted = {part.grown_from for part in parts if part.grown_from is not None}
    while wanted:
        found = connection.execute(
            """SELECT file_seq, (load_seq IS NOT NULL OR replay_position IS NOT NULL) AND withdrawn_at IS NULL,
            coalesce(end_byte, bytes), end_line, grown_from FROM raw.files WHERE file_seq IN (SELECT unnest(?::BIGINT[]))""",
            [sorted(wanted)],
        ).fetchall()
        before |= {row[0]: row[1:] for row in found}
        wanted = {row[4] for row in found if row[4] is not None} - before.keys()
    return before


def _collected(
    loader: Loader, reads: Iterator[Read], shares: int, first: int, files: _Files, steps: Steps | None
) -> Read:
    """What other processes read of a batch, under the numbers that it is loaded under."""
    done = Read()
    for _ in range(shares):
        share = next(reads)
        shift = first + len(done.loads) - 1
        for one in share.loads:
            one.renumber(shift)
        for staged, rows in zip(loader.staging, share.rows, strict=True):
            staged.stage(rows, shift)
        for one in (*share.loads, *share.unreadable):
            if steps is not None:
                steps.next(one.part.path)
        done.loads += share.loads
        done.unreadable += share.unreadable
        done.rows += share.rows
    return done


def _decide(loader: Loader, done: Read) -> None:
    """Decide over what was read; anew without files that it turns out cannot be read any more."""
    loader.decide(done.loads)
    while gone := [one for one in done.loads if one.error is not None]:
        for one in gone:
            one.rejects, one.repairs = [], []
            for table in loader.staging:
                table.drop_file(one)
        done.loads = [one for one in done.loads if one.error is None]
        done.unreadable += gone
        loader.decide(done.loads)


def _store(
    connection: Connection,
    source: Source,
    loader: Loader,
    done: Read,
    erasures: Erasures,
    first: int,
    kept: str,
) -> None:
    """Move what stands into the raw tables. kept: the settings that it was read under."""
    if erasures:
        for staged in loader.staging:
            staged.take_in()
    with transaction(connection):
        if erasures:
            for staged in loader.staging:
                for name in staged.tables:
                    erasures.keep_out(source, staged.table, name)
            for one in done.loads:
                erasures.blank(one.rejects, 6, 7)
                erasures.blank(one.repairs, 6)
        with stored.appending(connection, source.tables):
            loader.finish(done.loads)
            if erasures:
                erasures.sweep(source, first)
        _account(connection, done.loads, done.unreadable, kept)
        if erasures:
            erasures.blank_repairs(source, first)
        # What could not be read again changes no rows: nothing that follows from them is out of date.
        rows = [*(table.name for table in source.tables), "rejects", "repairs", "paths"] if done.loads else []
        registry.bump(connection, [*rows, "files"])


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
    # A half row that stands nowhere any more when its file is loaded again is what it was: refused, or waiting.
    half_row = "files.replay_byte < files.bytes AND c.tail IS NULL"
    refused = f"CAST(coalesce({half_row} AND files.tail = 'rejected', false) AS INTEGER)"
    connection.execute(f"""UPDATE raw.files SET load_seq = c.load_seq, loaded = c.loaded,
        records = c.records + {refused}, rejected = c.rejected + {refused},
        duplicates = c.duplicates, repaired = c.repaired, error = NULL,
        start_byte = c.start_byte, start_line = c.start_line, grown_from = c.grown_from,
        end_line = CASE WHEN c.end_line IS NOT NULL THEN c.end_line WHEN c.end_byte = files.bytes THEN files.lines
                   ELSE files.end_line END,
        end_byte = c.end_byte, end_sha256 = coalesce(c.end_sha256, files.end_sha256),
        tail = CASE WHEN {half_row} THEN files.tail ELSE c.tail END,
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


def _batches(parts: Sequence[FilePart], most_bytes: int, most_files: int) -> Iterator[list[FilePart]]:
    """Small files together, so that ten thousand of them do not mean ten thousand transactions; but only what is loaded
    under the same settings."""
    batch: list[FilePart] = []
    size = 0
    for part in parts:
        is_full = size + part.end_byte - part.start_byte > most_bytes or len(batch) >= most_files
        if batch and (is_full or part.loaded_under != batch[0].loaded_under):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += part.end_byte - part.start_byte
    if batch:
        yield batch


def shares(parts: Sequence[FilePart]) -> Iterator[Sequence[FilePart]]:
    """A batch in shares, each to be read by one process."""
    # One that goes on from another of them is read behind it.
    if {part.grown_from for part in parts} & {part.file_seq for part in parts}:
        yield parts
        return
    yield from _batches(parts, _SHARE_BYTES, _SHARE_FILES)
