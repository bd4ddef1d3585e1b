"""Takes files back: the next run is as if they had never been loaded.

Their rows go, with the keys and slots that they brought first. Files that were loaded after them and may have lost
something to them (duplicates, slots), and files that were read as going on from them, are loaded again, in their order
and with their numbers. So what is loaded then is what a warehouse would hold that never saw the withdrawn files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from dagster_project.readers.contents import read_content
from dagster_project.readers.raw_storage import RawFile, RawStorage
from dagster_project.warehouse import numbered, registry, replay, retention, stored, tails
from dagster_project.warehouse.database import Connection, transaction, value
from dagster_project.warehouse.identity import Files, Growth, grows
from dagster_project.warehouse.noticing import STAYS, TAKEN_BACK
from dagster_project.warehouse.replay import Found

from . import FIRST_LOAD, Source, all_sources

_LIMITS = ("feature_limit", "module_limit")


class CannotWithdraw(Exception):
    """Nothing was withdrawn. The text says why, and what to do."""


@dataclass(frozen=True)
class Loaded:
    """A loaded file, as far as its withdrawal goes. load_seq 0: it is to be loaded again, and is gone."""

    file_seq: int
    source: str
    path: str
    load_seq: int
    records: int
    loaded: int
    duplicates: int
    grown_from: int | None


@dataclass
class Withdrawal:
    """files: those that are taken back. again: those that are loaded again for it, and where they are. bases: what those that
    went on from a file that is taken back go on from then; none: they are loaded whole. whole: sources of which everything
    is loaded again."""

    files: list[Loaded] = field(default_factory=list)
    again: list[Loaded] = field(default_factory=list)
    found: dict[int, Found] = field(default_factory=dict)
    bases: dict[int, Growth | None] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)


def look(connection: Connection, storage: RawStorage, names: Sequence[str], *, gone: bool) -> Withdrawal:
    """What a withdrawal would take back. names: paths below raw/, or numbers of files. gone: all whose content is gone.

    Raises CannotWithdraw and RawStorageError, with nothing touched.
    """
    loaded = [
        Loaded(*row)
        for row in connection.execute("""
            SELECT file_seq, source, path, coalesce(load_seq, 0), records, loaded, duplicates, grown_from
            FROM raw.files WHERE (load_seq IS NOT NULL OR replay_position IS NOT NULL) AND withdrawn_at IS NULL
            ORDER BY load_seq""").fetchall()
    ]
    folders = [source.as_folder for source in all_sources()]
    if replay.locate(connection, storage, folders, [file.file_seq for file in loaded if not file.load_seq]):
        raise CannotWithdraw("files wait to be loaded again: run `warehouse run` first")
    chosen = _named(connection, loaded, names)
    if gone:
        there = replay.locate(connection, storage, folders, [file.file_seq for file in loaded])
        lost, before = {f.file_seq for f in loaded if f.file_seq not in there}, None
        # An export that a withdrawn one had replaced stands again, and may be gone as well.
        while chosen != before:
            before = chosen
            chosen = chosen | (lost - _replaced(connection, loaded, chosen))
    plan = Withdrawal([file for file in loaded if file.file_seq in chosen])
    again: set[int] = set()
    for source in all_sources():
        again |= _again(connection, source, [f for f in loaded if f.source == source.folder], chosen, plan)
    plan.again = [file for file in loaded if file.file_seq in again]
    plan.found = replay.locate(connection, storage, folders, [file.file_seq for file in plan.again])
    missing = [file.path for file in plan.again if file.file_seq not in plan.found]
    if missing:
        raise CannotWithdraw(
            "what is withdrawn may be why records of these files were no news, so they are to be loaded again, and are "
            f"no longer in raw/: {', '.join(missing)}. Put them back, or withdraw them, too. Nothing was touched"
        )
    orphans = [file for file in plan.again if file.grown_from in chosen]
    if orphans:
        listed = storage.listing().files
        for file in orphans:
            at = plan.found[file.file_seq].path
            plan.bases[file.file_seq] = _other_base(connection, file, at, listed[at], chosen)
    return plan


def _other_base(
    connection: Connection, file: Loaded, path: str, raw: RawFile, chosen: Collection[int]
) -> Growth | None:
    """What a file goes on from where the one that it went on from was never there."""
    older = Files()
    for other in numbered.read_files(connection, ()).by_seq.values():
        if other.source == file.source and other.file_seq < file.file_seq and other.file_seq not in chosen:
            older.add(other, grows=grows(other.path))
    content = read_content(path, raw, partial(older.lengths, file.source))
    # It may be the beginning of what stands there now; or that may be its beginning, where its end stands nowhere any more.
    size: int = value(connection, f"SELECT bytes FROM raw.files WHERE file_seq = {file.file_seq}")
    prefixes = {length: prefix for length, prefix in content.prefixes.items() if length < size}
    return older.growth(file.source, file.path, replace(content, bytes=size, prefixes=prefixes), None)


def _named(connection: Connection, loaded: Iterable[Loaded], names: Sequence[str]) -> set[int]:
    by_seq = {file.file_seq: file for file in loaded}
    chosen: set[int] = set()
    for name in names:
        below = name.endswith("/")  # all that a folder holds, or held
        found = {
            seq
            for seq, file in by_seq.items()
            if (file.path.startswith(name) if below else file.path == name)
        }
        rows = connection.execute(
            f"SELECT file_seq FROM raw.paths WHERE {'starts_with(path, ?)' if below else 'path = ?'}", [name]
        ).fetchall()
        for (held,) in rows:
            while held in by_seq:  # what the path holds now, with what that was grown from
                found.add(held)
                held = by_seq[held].grown_from
        if not found and name.isdecimal() and int(name) in by_seq:
            found = {int(name)}
        if not found:
            raise CannotWithdraw(
                f"{name} is no loaded file: name a path below raw/, a folder with a / at its end, or a file_seq, as ops.files "
                "has them. "
                "Nothing was touched"
            )
        chosen |= found
    return chosen


def _replaced(connection: Connection, loaded: Iterable[Loaded], chosen: Collection[int]) -> set[int]:
    """Exports that a newer one replaced, which is not taken back itself: nothing of them shows."""
    replacing = {source.folder for source in all_sources() if source.replaces}
    rest = [f for f in loaded if f.file_seq not in chosen]
    newest = {f.path: f.file_seq for f in sorted(rest, key=lambda f: f.file_seq)}
    stand = {
        newest.get(path) if seq in chosen else seq
        for path, seq in connection.execute("SELECT path, loaded_seq FROM raw.paths").fetchall()
    }
    return {f.file_seq for f in rest if f.source in replacing and f.file_seq not in stand}


def _again(
    connection: Connection,
    source: Source,
    loaded: Sequence[Loaded],
    chosen: Collection[int],
    plan: Withdrawal,
) -> set[int]:
    """The files of a source that are to be loaded again."""
    taken = [file for file in loaded if file.file_seq in chosen and file.load_seq]
    if not taken:
        return set()
    rest = [file for file in loaded if file.file_seq not in chosen and file.load_seq]
    remembering = [table.name for table in source.tables if FIRST_LOAD in table.columns]
    unknown = any(
        value(connection, f"SELECT count(*) FROM raw.{table} WHERE load_seq IS NULL") for table in remembering
    )
    sums = [
        table
        for raw in source.tables
        for table in retention.tables(connection, raw.name)
        if value(connection, f"SELECT count(*) FROM {table}")
    ]
    if unknown or sums:  # an older release did not note whose keys are whose; dropped rows are sums
        plan.whole.add(source.folder)
        return {file.file_seq for file in rest}
    later = [file for file in rest if file.load_seq > taken[0].load_seq]
    limited = value(
        connection,
        "SELECT count(*) FROM raw.rejects WHERE source = ? AND reason IN (SELECT unnest(?::VARCHAR[]))",
        [source.folder, list(_LIMITS)],
    )
    names = "feature_names" in remembering and value(connection, "SELECT count(*) FROM raw.feature_names")
    again = {file.file_seq for file in later if limited or names or file.duplicates}
    return again | {file.file_seq for file in rest if file.grown_from in chosen}


def carry_out(connection: Connection, plan: Withdrawal, now: datetime) -> None:
    """Take the files back, in one transaction. The next run loads again what is to be, and builds all tables anew."""
    withdrawn = [file.file_seq for file in plan.files]
    with transaction(connection):
        tails.remember(connection)
        tails.refuse_uncontinued(connection, withdrawn)
        changed: list[str] = []
        for source in all_sources():
            concerned = [f for f in (*plan.files, *plan.again) if f.source == source.folder]
            if concerned:
                changed += [table.name for table in source.tables]
                _delete(connection, source, concerned, whole=source.folder in plan.whole)
        loads = [file.load_seq for file in (*plan.files, *plan.again)]
        connection.execute(
            "DELETE FROM raw.lookalikes WHERE load_seq IN (SELECT unnest(?::BIGINT[]))", [loads]
        )
        both = [file.file_seq for file in (*plan.files, *plan.again)]
        with replay.half_rows_kept(connection, plan.found):
            for table in ("rejects", "repairs"):
                connection.execute(
                    f"DELETE FROM raw.{table} WHERE file_seq IN (SELECT unnest(?::BIGINT[]))", [both]
                )
        for seq, growth in plan.bases.items():
            base = growth.base.file_seq if growth else None
            connection.execute(
                "UPDATE raw.files SET grown_from = ?, start_byte = ?, start_line = ?, note = ? WHERE file_seq = ?",
                [
                    base,
                    growth.start_byte if growth else 0,
                    growth.start_line if growth else 0,
                    f"goes on where file {base} ended" if base else None,
                    seq,
                ],
            )
        replay.mark(connection, plan.found, [file.file_seq for file in plan.again])
        connection.execute(
            """UPDATE raw.files SET load_seq = NULL, records = NULL, loaded = NULL, duplicates = NULL, rejected = NULL,
            repaired = NULL, tail = NULL, replay_position = NULL, replay_path = NULL, replay_byte = NULL,
            replay_sha256 = NULL, withdrawn_at = ?, note = ?
            WHERE file_seq IN (SELECT unnest(?::BIGINT[]))""",
            [now, f"withdrawn {now:%Y-%m-%d}: as if never loaded", withdrawn],
        )
        for seq in withdrawn:  # what took its place is no news any more: a person has looked
            connection.execute(
                "UPDATE raw.files SET note = ? WHERE note = ?", [TAKEN_BACK.format(seq), STAYS.format(seq)]
            )
        connection.execute(
            """UPDATE raw.paths SET loaded_seq = (
                SELECT max(f.file_seq) FROM raw.files AS f
                WHERE f.path = paths.path AND f.withdrawn_at IS NULL AND (f.load_seq IS NOT NULL OR f.replay_path IS NOT NULL))
            WHERE loaded_seq IN (SELECT unnest(?::BIGINT[]))""",
            [withdrawn],
        )
        registry.bump(
            connection, [*changed, "rejects", "repairs", "files", "paths", "lookalikes", "generation"]
        )


def _delete(connection: Connection, source: Source, files: Sequence[Loaded], *, whole: bool) -> None:
    loads = [file.load_seq for file in files]
    for table in source.tables:
        if whole:
            stored.delete(connection, table)
            for sums in retention.tables(connection, table.name):
                connection.execute(f"DELETE FROM {sums}")
        else:
            stored.delete(connection, table, f"load_seq IN ({', '.join(map(str, loads))})")
    if "feature_slots" in {table.name for table in source.tables}:
        # A slot that a withdrawn file took first, and another uses, is the other's.
        for kind in ("feature", "module"):
            connection.execute(f"""INSERT INTO raw.feature_slots
                SELECT '{kind}', {kind}_id, min(load_seq) FROM raw.feature_events
                WHERE {kind}_id <> '' AND {kind}_id NOT IN (SELECT name FROM raw.feature_slots WHERE kind = '{kind}')
                GROUP BY {kind}_id""")
