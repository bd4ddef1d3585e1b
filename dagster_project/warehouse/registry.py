"""The registry of raw files: what is new, in which order it was first seen, what has become of each.

Lives in `raw.duckdb`. A file is its content: the same bytes under another name are no new file. `raw/` is
only read here.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime

from dagster_project.readers.files import FilePart, format_of
from dagster_project.readers.places import Place, RawFile, Stamp
from dagster_project.settings import SettingsError

from . import continuity
from .database import Connection, append_rows, transaction, value

_log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS raw.files (
    file_seq BIGINT, load_seq BIGINT, source VARCHAR, path VARCHAR, sha256 VARCHAR, bytes BIGINT,
    start_byte BIGINT, start_line BIGINT, received_date DATE, first_seen_at TIMESTAMP,
    records BIGINT, loaded BIGINT, duplicates BIGINT, rejected BIGINT, repaired BIGINT,
    error VARCHAR, note VARCHAR, replay_position BIGINT, replay_path VARCHAR, end_byte BIGINT);
CREATE TABLE IF NOT EXISTS raw.paths (
    path VARCHAR, source VARCHAR, bytes BIGINT, mtime_ns BIGINT, ctime_ns BIGINT,
    sha256 VARCHAR, file_seq BIGINT, loaded_seq BIGINT);
CREATE TABLE IF NOT EXISTS raw.rejects (
    load_seq BIGINT, source VARCHAR, file_seq BIGINT, line BIGINT, element BIGINT,
    reason VARCHAR, detail VARCHAR, raw VARCHAR);
CREATE TABLE IF NOT EXISTS raw.repairs (
    load_seq BIGINT, source VARCHAR, file_seq BIGINT, line BIGINT, element BIGINT, what VARCHAR, detail VARCHAR);
CREATE TABLE IF NOT EXISTS raw.erasures (
    entity VARCHAR, id_hash VARCHAR, erased_at TIMESTAMP, rows_removed BIGINT, run VARCHAR);
CREATE TABLE IF NOT EXISTS raw.erasure_key (key BLOB);
CREATE TABLE IF NOT EXISTS raw.token_key (fingerprint VARCHAR);
CREATE TABLE IF NOT EXISTS raw.versions (name VARCHAR, version BIGINT);
"""
_NEW_FILE = (
    "file_seq",
    "source",
    "path",
    "sha256",
    "bytes",
    "start_byte",
    "start_line",
    "received_date",
    "first_seen_at",
    "error",
    "note",
)
_GROWING = frozenset({"json", "jsonl", "ndjson", "csv"})
_DATED = re.compile(r"(?:dt|date)=(\d{4}-\d\d-\d\d)")
_CHUNK = 1 << 22


class MissingFiles(Exception):
    """A full rebuild needs files whose bytes are gone from `raw/`. Names each."""


@dataclass(frozen=True)
class Folder:
    """A source as the registry sees it: its folder below raw/ and the formats it reads.

    replaces: a file written over an older one at the same path takes its place (CRM exports).
    """

    name: str
    formats: frozenset[str]
    replaces: bool = False


@dataclass(frozen=True)
class _Known:
    """A path as it was when it was last looked at, and the last file that was loaded from it."""

    bytes: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    sha256: str | None = None
    file_seq: int | None = None
    loaded_seq: int | None = None
    loaded_bytes: int | None = None
    loaded_sha256: str | None = None

    def looks_like(self, stamp: Stamp) -> bool:
        return (self.bytes, self.mtime_ns, self.ctime_ns) == (stamp.bytes, stamp.mtime_ns, stamp.ctime_ns)


_UNKNOWN = _Known()


@dataclass
class Discovery:
    """What a look at raw/ found. unknown: paths whose folder or format is not known."""

    pending: list[FilePart] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    new_files: int = 0
    known_files: int = 0
    warnings: list[str] = field(default_factory=list)


def prepare(connection: Connection) -> None:
    connection.execute(_SCHEMA)


def fingerprint(place: Place, folders: Sequence[Folder]) -> str:
    """A hash of what discovery compares: paths, sizes and times of the files that a source reads. Opens none."""
    digest = hashlib.sha256()
    for path, file in place.listing().files.items():
        if folder_of(path, folders):
            with suppress(OSError):  # gone since it was listed, or unreadable
                stamp = file.stamp
                digest.update(f"{path}\0{stamp.bytes} {stamp.mtime_ns} {stamp.ctime_ns}\0".encode())
    return digest.hexdigest()


def folder_of(path: str, folders: Iterable[Folder]) -> Folder | None:
    """The source that reads a path; None where its folder or format is not known."""
    for folder in folders:
        if path.startswith(folder.name + "/"):
            return folder if format_of(path) in folder.formats else None
    return None


def _kind_of(path: str) -> str:
    """Its format, by one name for those that are read alike."""
    return re.sub(r"^(jsonl|ndjson)", "json", format_of(path))


def received_date(path: str) -> date | None:
    """The last `dt=` or `date=` folder of a path that is a valid date."""
    for part in reversed(path.split("/")[:-1]):
        if match := _DATED.fullmatch(part):
            try:
                return date.fromisoformat(match[1])
            except ValueError:
                continue
    return None


def discover(
    connection: Connection,
    place: Place,
    folders: Sequence[Folder],
    now: datetime,
) -> Discovery:
    """Number what is new below raw/, and say what is to be loaded, in order O. Commits to `raw`.

    Raises PlaceError, with nothing touched.
    """
    found = Discovery()
    known = {
        row[0]: _Known(*row[1:])
        for row in connection.execute("""
            SELECT p.path, p.bytes, p.mtime_ns, p.ctime_ns, p.sha256, p.file_seq, p.loaded_seq, f.bytes, f.sha256
            FROM raw.paths p LEFT JOIN raw.files f ON f.file_seq = p.loaded_seq""").fetchall()
    }
    by_content: dict[tuple[str, str], tuple[int, bool]] = {
        (row[0], row[1]): (row[2], row[3])
        for row in connection.execute("""
            SELECT source, sha256, min(file_seq), bool_or(load_seq IS NOT NULL) FROM raw.files
            WHERE sha256 IS NOT NULL GROUP BY ALL""").fetchall()
    }
    unreadable = {
        row[0] for row in connection.execute("SELECT path FROM raw.files WHERE sha256 IS NULL").fetchall()
    }
    next_seq: int = value(connection, "SELECT coalesce(max(file_seq), 0) + 1 FROM raw.files")

    listing = place.listing()
    files = listing.files
    found.warnings += listing.troubles
    new_files: list[tuple[object, ...]] = []
    new_paths: list[tuple[object, ...]] = []
    retried: list[tuple[object, ...]] = []
    completed: list[_HalfLine] = []
    for path, file in files.items():
        folder = folder_of(path, folders)
        if folder is None:
            found.unknown.append(path)
            continue
        before = known.get(path, _UNKNOWN)
        grows = format_of(path) in _GROWING and not folder.replaces
        try:
            stamp = file.stamp
            if before.sha256 and before.looks_like(stamp):
                found.known_files += 1
                continue
            _log.debug("hashing %s", path)
            content = _hash(file, stamp.bytes, (before.loaded_bytes or 0) if grows else 0)
        except OSError as error:
            if path in unreadable:
                found.known_files += 1  # listed already
                continue
            reason = f"{type(error).__name__}: {error.strerror}"
            new_files.append(
                (next_seq, folder.name, path, None, None, 0, 0, received_date(path), now, reason, None)
            )
            if before is _UNKNOWN:
                new_paths.append((path, folder.name, None, None, None, None, next_seq, None))
            next_seq += 1
            found.new_files += 1
            continue
        # What may still be written to without looking different is read again next time.
        mtime_ns = stamp.mtime_ns if stamp.settled else None
        entry = (path, folder.name, content.size, mtime_ns, stamp.ctime_ns, content.sha256)
        same = by_content.get((folder.name, content.sha256))
        if same is not None:
            found.known_files += 1
            new_paths.append((*entry, same[0], same[0] if same[1] else before.loaded_seq))
            continue
        if before.sha256 is None and before.file_seq is not None:
            # It could not be read when it was first seen; its number is kept.
            retried.append((content.sha256, content.size, before.file_seq))
            by_content[(folder.name, content.sha256)] = (before.file_seq, False)
            new_paths.append((*entry, before.file_seq, None))
            continue
        start_byte = start_line = 0
        note = None
        if before.loaded_seq is not None:
            grew = grows and content.prefix == before.loaded_sha256
            half = _half_line(connection, before.loaded_seq, content) if grew else None
            if grew and (content.prefix_ends_line or half):
                start_byte, start_line = content.last_line_at, content.prefix_lines
                note = f"goes on where file {before.loaded_seq} ended"
                completed += [half] if half else []
            elif not folder.replaces and before.loaded_bytes:
                note = f"the path held file {before.loaded_seq} before, which stays loaded"
                found.warnings.append(f"{path} was rewritten: loaded besides what it held before")
        new_files.append(
            (
                next_seq,
                folder.name,
                path,
                content.sha256,
                content.size,
                start_byte,
                start_line,
                received_date(path),
                now,
                None,
                note,
            )
        )
        by_content[(folder.name, content.sha256)] = (next_seq, False)
        new_paths.append((*entry, next_seq, before.loaded_seq))
        next_seq += 1
        found.new_files += 1

    if new_files or new_paths:
        with transaction(connection):
            append_rows(connection, "raw.files", new_files, columns=_NEW_FILE)
            for sha256, size, file_seq in retried:
                connection.execute(
                    "UPDATE raw.files SET sha256 = ?, bytes = ? WHERE file_seq = ?", [sha256, size, file_seq]
                )
            for half in completed:
                half.withdraw(connection)
            gone = [row[0] for row in new_paths]
            connection.execute("DELETE FROM raw.paths WHERE path IN (SELECT unnest(?::VARCHAR[]))", [gone])
            append_rows(connection, "raw.paths", new_paths)
            # What could not be read once, and can be now, is told of by its new row.
            readable = [row[0] for row in new_paths if row[5] is not None]
            connection.execute(
                "DELETE FROM raw.files WHERE sha256 IS NULL AND path IN (SELECT unnest(?::VARCHAR[]))",
                [readable],
            )
            bump(connection, ["files", "paths", *(["rejects"] if completed else [])])
    _follow_moved(connection, files)
    _note_vanished(connection, files)
    found.pending = pending(connection, files)
    return found


def _follow_moved(connection: Connection, files: Mapping[str, RawFile]) -> None:
    """A file that is still to be loaded is where its bytes are now, also when it was moved or got another ending."""
    rows = connection.execute("""
        SELECT f.file_seq, coalesce(f.replay_path, f.path), f.replay_path IS NOT NULL, list(p.path)
        FROM raw.files f JOIN raw.paths p ON p.file_seq = f.file_seq AND p.sha256 IS NOT NULL
        WHERE f.load_seq IS NULL AND f.sha256 IS NOT NULL GROUP BY ALL""").fetchall()
    moved = []
    for seq, path, replays, paths in rows:
        here = [found for found in paths if found in files]
        # What is replayed may be the beginning of what its path holds now.
        if here and path not in (files if replays else here):
            moved.append((seq, min(here), replays))
    if moved:
        with transaction(connection):
            for seq, path, replays in moved:
                if replays:
                    connection.execute("UPDATE raw.files SET replay_path = ? WHERE file_seq = ?", [path, seq])
                else:
                    connection.execute(
                        "UPDATE raw.files SET path = ?, received_date = ? WHERE file_seq = ?",
                        [path, received_date(path), seq],
                    )
            bump(connection, ["files"])


_VANISHED = "no longer in raw/"


def _note_vanished(connection: Connection, files: Mapping[str, RawFile]) -> None:
    """A file that could not be read and is gone wants nobody's attention any more."""
    rows = connection.execute(
        "SELECT file_seq, path, note IS NOT DISTINCT FROM ? FROM raw.files WHERE error IS NOT NULL",
        [_VANISHED],
    ).fetchall()
    changed = [
        (seq, None if noted else _VANISHED) for seq, path, noted in rows if (path not in files) != noted
    ]
    if changed:
        with transaction(connection):
            for seq, note in changed:
                connection.execute("UPDATE raw.files SET note = ? WHERE file_seq = ?", [note, seq])
            bump(connection, ["files"])


def pending(connection: Connection, files: Mapping[str, RawFile]) -> list[FilePart]:
    """The files that are numbered but not loaded and still stand at their path, in the order to load them:

    those of a full rebuild as they were loaded before, then the others in order O.
    """
    rows = connection.execute("""
        SELECT f.file_seq, f.source, coalesce(f.replay_path, f.path), f.start_byte, f.start_line,
               coalesce(f.end_byte, f.bytes), f.received_date, f.first_seen_at, f.bytes, f.sha256
        FROM raw.files f
        LEFT JOIN raw.paths p ON p.path = f.path AND p.file_seq = f.file_seq AND p.sha256 IS NOT NULL
        WHERE f.load_seq IS NULL AND f.sha256 IS NOT NULL AND coalesce(f.replay_path, p.path) IS NOT NULL
        ORDER BY f.replay_position NULLS LAST, f.file_seq""").fetchall()
    return [
        FilePart(seq, source, path, files[path], *rest) for seq, source, path, *rest in rows if path in files
    ]


def forget_loaded(
    connection: Connection,
    place: Place,
    folders: Sequence[Folder],
    tables: Iterable[str],
    fingerprint: str | None = None,
) -> int:
    """Begin a full rebuild: check that every loaded file's bytes are in raw/, then mark all as not loaded.

    Returns how many. The next load replays them in the order in which they were loaded before, also after a
    crash. fingerprint: of the key by which tokens are hashed then. Raises MissingFiles or PlaceError, with nothing touched.
    """
    replacing = [f.name for f in folders if f.replaces]
    rows = connection.execute(
        """
        SELECT f.file_seq, f.source, f.path, f.bytes, f.sha256,
               f.source IN (SELECT unnest(?::VARCHAR[])) AND p.file_seq IS NULL AS replaced
        FROM raw.files f LEFT JOIN (SELECT DISTINCT loaded_seq AS file_seq FROM raw.paths) p ON p.file_seq = f.file_seq
        WHERE f.load_seq IS NOT NULL OR f.replay_position IS NOT NULL
        ORDER BY f.load_seq NULLS LAST, f.replay_position""",
        [replacing],
    ).fetchall()
    paths_of: dict[tuple[str, str], list[str]] = {}
    files = place.listing().files
    for path in files:
        folder = folder_of(path, folders)
        if folder:
            paths_of.setdefault((folder.name, _kind_of(path)), []).append(path)
    hashes: dict[str, dict[int, str]] = {}
    wanted: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        wanted.setdefault((row[1], _kind_of(row[2])), set()).add(row[3])

    def holds(path: str, key: tuple[str, str], size: int, sha256: str) -> bool:
        if path not in hashes:
            hashes[path] = _prefix_hashes(files[path], wanted[key])
        return hashes[path].get(size) == sha256

    replay: list[tuple[int, int, str]] = []
    missing: list[str] = []
    replaced: list[int] = []
    for seq, source, path, size, sha256, is_replaced in rows:
        key = (source, _kind_of(path))
        here = paths_of.get(key, [])
        places = [path, *(p for p in here if p != path)] if path in here else here
        at = next((p for p in places if holds(p, key, size, sha256)), None)
        if at is not None:
            replay.append((seq, len(replay), at))
        elif is_replaced:
            replaced.append(seq)  # an export that a newer one replaced: nothing of it shows
        else:
            missing.append(path)
    if missing:
        raise MissingFiles(
            "a full rebuild needs every loaded file in raw/; gone or changed: "
            + ", ".join(missing)
            + ". Put them back, or run without --full"
        )
    built = continuity.newest_generation(connection)
    with transaction(connection):
        connection.execute(
            "CREATE OR REPLACE TABLE raw.replay (file_seq BIGINT, position BIGINT, path VARCHAR)"
        )
        for table in tables:
            connection.execute(f"DELETE FROM {table}")
        # What was said of an export that a newer one replaced stays said.
        for table in ("rejects", "repairs"):
            connection.execute(
                f"DELETE FROM raw.{table} WHERE file_seq NOT IN (SELECT unnest(?::BIGINT[]))", [replaced]
            )
        if value(connection, "SELECT fingerprint FROM raw.token_key") != fingerprint:
            bump(connection, ["erased"])  # the tokens as they were
        _note_token_key(connection, fingerprint)
        append_rows(connection, "raw.replay", replay)
        connection.execute("""UPDATE raw.files SET load_seq = NULL, replay_position = r.position, replay_path = r.path
            FROM raw.replay r WHERE r.file_seq = files.file_seq""")
        connection.execute("DROP TABLE raw.replay")
        bump(connection, ["generation", "files"])
        # Also none that any table was built from: this may be a new raw.duckdb, or an older one.
        connection.execute(
            "UPDATE raw.versions SET version = greatest(version, ?) WHERE name = 'generation'", [built + 1]
        )
    return len(replay)


def require_token_key(connection: Connection, fingerprint: str | None) -> None:
    """Make sure that what is loaded has its tokens as they would be loaded now. fingerprint: of the key; None: as they are.

    Raises SettingsError.
    """
    if not value(
        connection, "SELECT count(*) FROM raw.files WHERE load_seq IS NOT NULL OR replay_position IS NOT NULL"
    ):
        _note_token_key(connection, fingerprint)
        return
    before = value(connection, "SELECT fingerprint FROM raw.token_key")
    if before == fingerprint:
        return
    if fingerprint is None:
        wrong = "privacy.hash_tokens = false, but the tokens that are loaded are hashes: set it to true"
    elif before is None:
        wrong = "privacy.hash_tokens = true, but the tokens that are loaded are no hashes: set it to false"
    else:
        wrong = "WAREHOUSE_TOKEN_KEY is another key than the one by which the loaded tokens were hashed: set the old one"
    raise SettingsError(f"{wrong}, or load all files again with `warehouse run --full`. Nothing was touched")


def _note_token_key(connection: Connection, fingerprint: str | None) -> None:
    connection.execute("DELETE FROM raw.token_key")
    connection.execute("INSERT INTO raw.token_key VALUES (?)", [fingerprint])


def drop_rejects(connection: Connection, before: date) -> int:
    """Drop the rejects of files that were first seen before a day. The files' counts stay. Returns how many."""
    old = f"file_seq IN (SELECT file_seq FROM raw.files WHERE first_seen_at < DATE '{before.isoformat()}')"
    rows: int = value(connection, f"SELECT count(*) FROM raw.rejects WHERE {old}")
    if rows:
        with transaction(connection):
            connection.execute(f"DELETE FROM raw.rejects WHERE {old}")
            bump(connection, ["rejects"])
    return rows


def next_load_seq(connection: Connection) -> int:
    return int(value(connection, "SELECT coalesce(max(load_seq), 0) + 1 FROM raw.files"))


def bump(connection: Connection, names: Iterable[str]) -> None:
    """Note that these parts of `raw` changed: what is built from them is out of date."""
    for name in names:
        connection.execute(
            "INSERT INTO raw.versions SELECT ?, coalesce(max(version), 0) + 1 FROM raw.versions WHERE name = ?",
            [name, name],
        )
        connection.execute(
            "DELETE FROM raw.versions WHERE name = ? AND version < (SELECT max(version) FROM raw.versions WHERE name = ?)",
            [name, name],
        )


@dataclass(frozen=True)
class _Content:
    """prefix: the hash of what the file held when it was last loaded, where it held less; prefix_lines: the ends of
    lines in there; last_line_at: where the last of them is; goes_on: the last line goes on behind the prefix."""

    sha256: str
    size: int
    prefix: str | None
    prefix_lines: int
    prefix_ends_line: bool
    last_line_at: int
    goes_on: bool


def _hash(file: RawFile, size: int, prefix_size: int) -> _Content:
    """The hash of a file's first `size` bytes, and what precedes `prefix_size` (0: no such question)."""
    digest = hashlib.sha256()
    prefix: str | None = None
    lines = done = last_line_at = 0
    ends = [size]
    if 0 < prefix_size < size:
        ends.insert(0, prefix_size)
    goes_on = False
    with file.open() as stream:
        for end in ends:
            if end > prefix_size > 0:
                prefix = digest.hexdigest() if done == prefix_size else None
            while done < end and (chunk := stream.read(min(_CHUNK, end - done))):
                digest.update(chunk)
                if end < size:
                    lines += chunk.count(b"\n")
                    last_line_at = done + chunk.rfind(b"\n") + 1 if b"\n" in chunk else last_line_at
                elif done == prefix_size:
                    goes_on = chunk[:1] not in (b"\n", b"\r")
                done += len(chunk)
    return _Content(
        digest.hexdigest(), done, prefix, lines, last_line_at == prefix_size, last_line_at, goes_on
    )


@dataclass(frozen=True)
class _HalfLine:
    """A last line that was still being written when its file was loaded, and is whole now."""

    file_seq: int
    line: int
    at: int

    def withdraw(self, connection: Connection) -> None:
        """The file ends before it from now on; its line was no record."""
        connection.execute(
            "DELETE FROM raw.rejects WHERE file_seq = ? AND line = ?", [self.file_seq, self.line]
        )
        connection.execute(
            "UPDATE raw.files SET end_byte = ?, records = records - 1, rejected = rejected - 1 WHERE file_seq = ?",
            [self.at, self.file_seq],
        )


def _half_line(connection: Connection, file_seq: int, content: _Content) -> _HalfLine | None:
    """The last line of a loaded file that grew, if that line had no end, was no JSON, and now goes on."""
    half = _HalfLine(file_seq, content.prefix_lines + 1, content.last_line_at)
    if content.prefix_ends_line or not content.goes_on:
        return None
    was_refused = value(
        connection,
        "SELECT count(*) FROM raw.rejects WHERE file_seq = ? AND line = ? AND reason = 'bad_json'",
        [half.file_seq, half.line],
    )
    return half if was_refused == 1 else None


def _prefix_hashes(file: RawFile, sizes: set[int]) -> dict[int, str]:
    """The hash of the first n bytes of a file, for each n."""
    digest, done = hashlib.sha256(), 0
    result: dict[int, str] = {}
    with suppress(OSError), file.open() as stream:
        for size in sorted(sizes):
            while done < size and (chunk := stream.read(min(_CHUNK, size - done))):
                digest.update(chunk)
                done += len(chunk)
            if done < size:
                break
            result[size] = digest.hexdigest()
    return result
