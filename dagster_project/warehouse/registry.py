"""The registry of raw files: what is new, in which order it was first seen, what has become of each.

Lives in `raw.duckdb`. A file is its content: the same bytes under another name are no new file. `raw/` is
only read here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from dagster_project.readers.files import FilePart, format_of

from .database import Connection, append_rows, transaction, value

_SCHEMA = """
CREATE TABLE IF NOT EXISTS raw.files (
    file_seq BIGINT, load_seq BIGINT, source VARCHAR, path VARCHAR, sha256 VARCHAR, bytes BIGINT,
    start_byte BIGINT, start_line BIGINT, received_date DATE, first_seen_at TIMESTAMP,
    records BIGINT, loaded BIGINT, duplicates BIGINT, rejected BIGINT, repaired BIGINT,
    error VARCHAR, note VARCHAR, replay_position BIGINT, replay_path VARCHAR);
CREATE TABLE IF NOT EXISTS raw.paths (
    path VARCHAR, source VARCHAR, bytes BIGINT, mtime_ns BIGINT, ctime_ns BIGINT,
    sha256 VARCHAR, file_seq BIGINT, loaded_seq BIGINT);
CREATE TABLE IF NOT EXISTS raw.rejects (
    load_seq BIGINT, source VARCHAR, file_seq BIGINT, line BIGINT, element BIGINT,
    reason VARCHAR, detail VARCHAR, raw VARCHAR);
CREATE TABLE IF NOT EXISTS raw.repairs (
    load_seq BIGINT, source VARCHAR, file_seq BIGINT, line BIGINT, element BIGINT, what VARCHAR, detail VARCHAR);
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

    @property
    def stat(self) -> tuple[int | None, int | None, int | None]:
        return self.bytes, self.mtime_ns, self.ctime_ns


_UNKNOWN = _Known()


@dataclass
class Discovery:
    """What a look at raw/ found."""

    pending: list[FilePart] = field(default_factory=list)
    new_files: int = 0
    known_files: int = 0
    warnings: list[str] = field(default_factory=list)


def prepare(connection: Connection) -> None:
    connection.execute(_SCHEMA)


def walk(root: Path) -> dict[str, Path]:
    """All files below raw/: their paths with `/`, in byte order, to where they are.

    A name that is not UTF-8 is spelled with escapes.
    """
    found: dict[bytes, Path] = {}
    base = os.fsencode(root)
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(base, followlinks=True):
        # A folder may be a link to elsewhere, and links may go in circles.
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        for name in files:
            file = os.path.join(folder, name)
            found[os.path.relpath(file, base).replace(os.sep.encode(), b"/")] = Path(os.fsdecode(file))
    return {path.decode("utf-8", "backslashreplace"): found[path] for path in sorted(found)}


def folder_of(path: str, folders: Iterable[Folder]) -> Folder | None:
    """The source that reads a path; None where its folder or format is not known."""
    for folder in folders:
        if path.startswith(folder.name + "/"):
            return folder if format_of(path) in folder.formats else None
    return None


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
    root: Path,
    folders: Sequence[Folder],
    now: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> Discovery:
    """Number what is new below raw/, and say what is to be loaded, in order O. Commits to `raw`."""
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

    files = walk(root)
    new_files: list[tuple[object, ...]] = []
    new_paths: list[tuple[object, ...]] = []
    retried: list[tuple[object, ...]] = []
    for path, file in files.items():
        folder = folder_of(path, folders)
        if folder is None:
            continue
        before = known.get(path, _UNKNOWN)
        grows = format_of(path) in _GROWING and not folder.replaces
        try:
            stat = file.stat()
            if before.sha256 and before.stat == (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns):
                found.known_files += 1
                continue
            progress(f"hashing {path}")
            content = _hash(file, stat.st_size, (before.loaded_bytes or 0) if grows else 0)
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
        entry = (path, folder.name, content.size, stat.st_mtime_ns, stat.st_ctime_ns, content.sha256)
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
            if grows and content.prefix == before.loaded_sha256 and content.prefix_ends_line:
                start_byte, start_line = before.loaded_bytes or 0, content.prefix_lines
                note = f"goes on where file {before.loaded_seq} ended"
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
            gone = [row[0] for row in new_paths]
            connection.execute("DELETE FROM raw.paths WHERE path IN (SELECT unnest(?::VARCHAR[]))", [gone])
            append_rows(connection, "raw.paths", new_paths)
            # What could not be read once, and can be now, is told of by its new row.
            readable = [row[0] for row in new_paths if row[5] is not None]
            connection.execute(
                "DELETE FROM raw.files WHERE sha256 IS NULL AND path IN (SELECT unnest(?::VARCHAR[]))",
                [readable],
            )
            bump(connection, ["files", "paths"])
    _note_vanished(connection, files)
    found.pending = pending(connection, files)
    return found


_VANISHED = "no longer in raw/"


def _note_vanished(connection: Connection, files: Mapping[str, Path]) -> None:
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


def pending(connection: Connection, files: Mapping[str, Path]) -> list[FilePart]:
    """The files that are numbered but not loaded and still stand at their path, in the order to load them:

    those of a full rebuild as they were loaded before, then the others in order O.
    """
    rows = connection.execute("""
        SELECT f.file_seq, f.source, coalesce(f.replay_path, p.path), f.start_byte, f.start_line, f.bytes,
               f.received_date, f.first_seen_at
        FROM raw.files f
        LEFT JOIN (SELECT file_seq, min(path) AS path FROM raw.paths WHERE sha256 IS NOT NULL GROUP BY ALL) p
          ON p.file_seq = f.file_seq
        WHERE f.load_seq IS NULL AND f.sha256 IS NOT NULL AND coalesce(f.replay_path, p.path) IS NOT NULL
        ORDER BY f.replay_position NULLS LAST, f.file_seq""").fetchall()
    return [
        FilePart(seq, source, path, files[path], start, line, size, received, seen)
        for seq, source, path, start, line, size, received, seen in rows
        if path in files
    ]


def forget_loaded(
    connection: Connection, root: Path, folders: Sequence[Folder], tables: Iterable[str]
) -> int:
    """Begin a full rebuild: check that every loaded file's bytes are in raw/, then mark all as not loaded.

    Returns how many. The next load replays them in the order in which they were loaded before, also after a
    crash. Raises MissingFiles, with nothing touched.
    """
    replacing = [f.name for f in folders if f.replaces]
    rows = connection.execute(
        """
        SELECT f.file_seq, f.source, f.path, f.bytes, f.sha256,
               f.source IN (SELECT unnest(?::VARCHAR[])) AND p.file_seq IS NULL AS replaced
        FROM raw.files f LEFT JOIN (SELECT DISTINCT loaded_seq AS file_seq FROM raw.paths) p ON p.file_seq = f.file_seq
        WHERE f.load_seq IS NOT NULL ORDER BY f.load_seq""",
        [replacing],
    ).fetchall()
    paths_of: dict[tuple[str, str], list[str]] = {}
    files = walk(root)
    for path in files:
        folder = folder_of(path, folders)
        if folder:
            paths_of.setdefault((folder.name, format_of(path)), []).append(path)
    hashes: dict[str, dict[int, str]] = {}
    wanted: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        wanted.setdefault((row[1], format_of(row[2])), set()).add(row[3])

    def holds(path: str, key: tuple[str, str], size: int, sha256: str) -> bool:
        if path not in hashes:
            hashes[path] = _prefix_hashes(files[path], wanted[key])
        return hashes[path].get(size) == sha256

    replay: list[tuple[int, int, str]] = []
    missing: list[str] = []
    replaced: list[int] = []
    for seq, source, path, size, sha256, is_replaced in rows:
        key = (source, format_of(path))
        here = paths_of.get(key, [])
        places = [path, *(p for p in here if p != path)] if path in here else here
        place = next((p for p in places if holds(p, key, size, sha256)), None)
        if place is not None:
            replay.append((seq, len(replay), place))
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
    with transaction(connection):
        connection.execute(
            "CREATE OR REPLACE TABLE raw.replay (file_seq BIGINT, position BIGINT, path VARCHAR)"
        )
        for table in tables:
            connection.execute(f"DELETE FROM raw.{table}")
        # What was said of an export that a newer one replaced stays said.
        for table in ("rejects", "repairs"):
            connection.execute(
                f"DELETE FROM raw.{table} WHERE file_seq NOT IN (SELECT unnest(?::BIGINT[]))", [replaced]
            )
        append_rows(connection, "raw.replay", replay)
        connection.execute("""UPDATE raw.files SET load_seq = NULL, replay_position = r.position, replay_path = r.path
            FROM raw.replay r WHERE r.file_seq = files.file_seq""")
        connection.execute("DROP TABLE raw.replay")
        bump(connection, ["generation", "files"])
    return len(replay)


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
    sha256: str
    size: int
    prefix: str | None
    prefix_lines: int
    prefix_ends_line: bool


def _hash(file: Path, size: int, prefix_size: int) -> _Content:
    """The hash of a file's first `size` bytes, and what precedes `prefix_size` (0: no such question)."""
    digest = hashlib.sha256()
    prefix: str | None = None
    lines, left, last = 0, size, b""
    with file.open("rb") as stream:
        if 0 < prefix_size < size:
            todo = prefix_size
            while todo and (chunk := stream.read(min(_CHUNK, todo))):
                digest.update(chunk)
                lines += chunk.count(b"\n")
                last = chunk[-1:]
                todo -= len(chunk)
            prefix, left = digest.hexdigest(), size - prefix_size
        while left and (chunk := stream.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return _Content(digest.hexdigest(), size - left, prefix, lines, last == b"\n")


def _prefix_hashes(file: Path, sizes: set[int]) -> dict[int, str]:
    """The hash of the first n bytes of a file, for each n."""
    digest, done = hashlib.sha256(), 0
    result: dict[int, str] = {}
    try:
        with file.open("rb") as stream:
            for size in sorted(sizes):
                while done < size and (chunk := stream.read(min(_CHUNK, size - done))):
                    digest.update(chunk)
                    done += len(chunk)
                if done < size:
                    break
                result[size] = digest.hexdigest()
    except OSError:
        pass
    return result
