"""What is known of files and paths, as `raw.files` and `raw.paths` have it: read and written, and what is to be loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

from dagster_project.readers.files import FilePart
from dagster_project.readers.raw_storage import RawFile, Stamp

from .database import Connection, append_rows, transaction
from .identity import File, Files, grows
from .registry import bump


@dataclass(slots=True)
class Path:
    """A row of raw.paths: a path as it was when it was last looked at, and the file that it held.

    loaded_seq: the last file that was loaded from it. gone: nothing is there any more.
    """

    path: str
    source: str
    bytes: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    sha256: str | None = None
    file_seq: int | None = None
    loaded_seq: int | None = None
    gone: bool = False

    def looks_like(self, stamp: Stamp) -> bool:
        return (self.bytes, self.mtime_ns, self.ctime_ns) == (stamp.bytes, stamp.mtime_ns, stamp.ctime_ns)


_FILE = tuple(f.name for f in fields(File))
_PATH = tuple(f.name for f in fields(Path))


def read_files(connection: Connection, replacing: Collection[str]) -> Files:
    """All files that have a number. replacing: sources in which no file grows."""
    files = Files()
    rows = connection.execute(f"SELECT {', '.join(_FILE)} FROM raw.files ORDER BY file_seq").fetchall()
    for row in rows:
        file = File(*row)
        files.add(file, grows=grows(file.path) and file.source not in replacing)
    if any(f.is_loaded and f.end_sha256 is None for f in files.by_seq.values()):
        files.half_lines = dict(
            connection.execute("""
                SELECT file_seq, max(line) FROM raw.rejects JOIN raw.files AS f USING (file_seq)
                WHERE f.end_sha256 IS NULL AND f.end_byte IS NULL
                GROUP BY file_seq""").fetchall()
        )
    return files


def read_paths(connection: Connection) -> dict[str, Path]:
    columns = ", ".join("coalesce(gone, false)" if name == "gone" else name for name in _PATH)
    return {row[0]: Path(*row) for row in connection.execute(f"SELECT {columns} FROM raw.paths").fetchall()}


def write(
    connection: Connection,
    *,
    new: Sequence[File],
    changed: Iterable[File],
    dropped: Collection[int],
    paths: Iterable[Path],
    forgotten: Collection[str],
) -> None:
    """Write down what a look at raw/ found, in one transaction. dropped: numbers of files. forgotten: paths."""
    written = list(paths)
    numbers = {file.file_seq for file in new}
    with transaction(connection):
        _update_files(
            connection, [f for f in changed if f.file_seq not in numbers and f.file_seq not in dropped]
        )
        connection.execute(
            "DELETE FROM raw.files WHERE file_seq IN (SELECT unnest(?::BIGINT[]))", [sorted(dropped)]
        )
        append_rows(connection, "raw.files", [astuple(file) for file in new], columns=_FILE)
        gone = [*(path.path for path in written), *forgotten]
        connection.execute("DELETE FROM raw.paths WHERE path IN (SELECT unnest(?::VARCHAR[]))", [gone])
        append_rows(connection, "raw.paths", [astuple(path) for path in written], columns=_PATH)
        bump(connection, ["files", "paths"])


def _update_files(connection: Connection, files: Sequence[File]) -> None:
    if not files:
        return
    columns = [name for name in _FILE if name not in ("file_seq", "load_seq", "withdrawn_at")]
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE changed_files AS SELECT {', '.join(_FILE)} FROM raw.files LIMIT 0"
    )
    append_rows(connection, "changed_files", [astuple(file) for file in files])
    connection.execute(
        f"UPDATE raw.files SET {', '.join(f'{c} = n.{c}' for c in columns)} FROM changed_files AS n "
        "WHERE n.file_seq = files.file_seq"
    )


def pending(connection: Connection, files: Mapping[str, RawFile]) -> list[FilePart]:
    """The files that are numbered but not loaded and still stand at their path, in the order to load them:

    those of a full rebuild as they were loaded before, then the others in order O.
    """
    rows = connection.execute("""
        SELECT f.file_seq, f.source, coalesce(f.replay_path, f.path) AS path, f.start_byte, f.start_line,
               CASE WHEN f.replay_path IS NULL THEN f.bytes
                    WHEN f.tail IS NULL THEN coalesce(f.end_byte, f.replay_byte)
                    ELSE f.replay_byte END AS end_byte,
               f.received_date AS received, f.first_seen_at AS first_seen,
               coalesce(f.replay_byte, f.bytes) AS size, coalesce(f.replay_sha256, f.sha256) AS sha256,
               coalesce(f.tail = 'rejected', false) AS is_final, f.grown_from, f.tail_byte, f.tail_sha256,
               CASE WHEN f.head = '' THEN f.error END AS unreadable,
               CASE WHEN f.replay_position IS NOT NULL THEN f.loaded_under END AS loaded_under
        FROM raw.files f
        LEFT JOIN raw.paths p ON p.path = f.path AND p.file_seq = f.file_seq AND p.sha256 IS NOT NULL
        WHERE f.load_seq IS NULL AND f.withdrawn_at IS NULL AND f.sha256 IS NOT NULL
          AND coalesce(f.replay_path, p.path) IS NOT NULL
        ORDER BY f.replay_position NULLS LAST, f.file_seq""")
    names = [column[0] for column in rows.description]
    found = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
    return [FilePart(raw=files[part["path"]], **part) for part in found if part["path"] in files]
