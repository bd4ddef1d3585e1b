"""Loads again what was loaded: all of it (a full rebuild), or what a withdrawal concerns.

What is to be replayed is noted in `raw.files`, so a crash in the middle is no harm: the next load goes on with it, in
the order, with the numbers and in the parts in which it was loaded before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dagster_project.readers.contents import Content, read_content
from dagster_project.readers.raw_storage import RawFile, RawStorage

from . import continuity, loaded_under, stored
from .database import Connection, append_rows, transaction, value
from .discovery import folder_of
from .identity import File, Files
from .numbered import Path, read_files, read_paths
from .registry import Folder, bump, note_token_key


class MissingFiles(Exception):
    """Files that are to be loaded again are gone from `raw/`. Names each."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where the content of a file is now, and what that begins with: how many bytes, and their hash."""

    path: str
    bytes: int
    sha256: str


def forget_loaded(
    connection: Connection,
    storage: RawStorage,
    folders: Sequence[Folder],
    tables: Iterable[stored.Table],
    sums: Iterable[str],
    fingerprint: str | None = None,
    *,
    apply_settings: bool = False,
) -> int:
    """Begin a full rebuild: check that every loaded file's bytes are in raw/, then mark all as not loaded.

    Returns how many. The next load replays them in the order in which they were loaded before, also after a
    crash. sums: what is kept of dropped rows, which goes as well. fingerprint: of the key by which tokens are hashed then.
    apply_settings: each is loaded under what is set then, not under what it was loaded under. Raises MissingFiles or
    RawStorageError, with nothing touched.
    """
    replacing = [f.name for f in folders if f.replaces]
    rows = connection.execute(
        """
        SELECT f.file_seq, f.source IN (SELECT unnest(?::VARCHAR[])) AND p.file_seq IS NULL AS replaced
        FROM raw.files f LEFT JOIN (SELECT DISTINCT loaded_seq AS file_seq FROM raw.paths) p ON p.file_seq = f.file_seq
        WHERE (f.load_seq IS NOT NULL OR f.replay_position IS NOT NULL) AND f.withdrawn_at IS NULL
        ORDER BY f.load_seq NULLS LAST, f.replay_position""",
        [replacing],
    ).fetchall()
    found = locate(connection, storage, folders, [seq for seq, _ in rows])
    # An export that a newer one replaced: nothing of it shows.
    replaced = [seq for seq, is_replaced in rows if is_replaced and seq not in found]
    _require([seq for seq, is_replaced in rows if not is_replaced], found, connection)
    built = continuity.newest_generation(connection)
    with transaction(connection):
        for table in tables:
            stored.delete(connection, table)
        for name in (*sums, "raw.lookalikes"):
            connection.execute(f"DELETE FROM {name}")
        # What was said of an export that a newer one replaced stays said.
        with half_rows_kept(connection, found):
            for listed in ("rejects", "repairs"):
                connection.execute(
                    f"DELETE FROM raw.{listed} WHERE file_seq NOT IN (SELECT unnest(?::BIGINT[]))", [replaced]
                )
        if value(connection, "SELECT fingerprint FROM raw.token_key") != fingerprint:
            bump(connection, ["erased"])  # the tokens as they were
        note_token_key(connection, fingerprint)
        mark(connection, found, [seq for seq, _ in rows if seq in found])
        if apply_settings:
            loaded_under.apply_now(connection)
        bump(connection, ["generation", "files", "lookalikes"])
        # Also none that any table was built from: this may be a new raw.duckdb, or an older one.
        connection.execute(
            "UPDATE raw.versions SET version = greatest(version, ?) WHERE name = 'generation'", [built + 1]
        )
    return len(found)


def _require(wanted: Iterable[int], found: Mapping[int, Found], connection: Connection) -> None:
    missing = [seq for seq in wanted if seq not in found]
    if missing:
        paths = connection.execute(
            "SELECT path FROM raw.files WHERE file_seq IN (SELECT unnest(?::BIGINT[])) ORDER BY file_seq",
            [missing],
        ).fetchall()
        raise MissingFiles(
            "a full rebuild needs every loaded file in raw/; gone or changed: "
            + ", ".join(path for (path,) in paths)
            + ". Put them back, take them out of what is loaded (`warehouse withdraw --gone`), or run without --full"
        )


def mark(connection: Connection, found: Mapping[int, Found], order: Sequence[int]) -> None:
    """Note that these files are not loaded and are to be replayed in this order. To be called in a transaction."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE replay (file_seq BIGINT, position BIGINT, path VARCHAR, bytes BIGINT, sha256 VARCHAR)"
    )
    rows = [
        (seq, position, found[seq].path, found[seq].bytes, found[seq].sha256)
        for position, seq in enumerate(order)
    ]
    append_rows(connection, "replay", rows)
    connection.execute("""UPDATE raw.files SET load_seq = NULL, replay_position = r.position, replay_path = r.path,
        replay_byte = r.bytes, replay_sha256 = r.sha256
        FROM replay r WHERE r.file_seq = files.file_seq""")


@contextmanager
def half_rows_kept(connection: Connection, found: Mapping[int, Found]) -> Iterator[None]:
    """Rejects may be deleted: those of half rows which stand nowhere any more stay, as they cannot be read again."""
    shorter = connection.execute(
        "SELECT file_seq, bytes FROM raw.files WHERE tail IS NOT NULL OR end_byte < bytes"
    ).fetchall()
    gone = [seq for seq, size in shorter if seq in found and found[seq].bytes < size]
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE half_rows AS SELECT r.* FROM raw.rejects AS r JOIN raw.files AS f USING (file_seq)
        WHERE r.line = f.end_line + 1 AND f.file_seq IN (SELECT unnest(?::BIGINT[]))""",
        [gone],
    )
    yield
    connection.execute("INSERT INTO raw.rejects FROM half_rows; DROP TABLE half_rows")


def locate(
    connection: Connection, storage: RawStorage, folders: Sequence[Folder], wanted: Sequence[int]
) -> dict[int, Found]:
    """Where in raw/ the contents of files are now: each by itself, or as the beginning of another. Raises RawStorageError."""
    search = _Search(connection, storage.listing().files, folders, wanted)
    for only_changed in (True, False):
        search.look(only_changed=only_changed)
        if not search.missing:
            break
    return search.found


class _Search:
    def __init__(
        self,
        connection: Connection,
        listed: Mapping[str, RawFile],
        folders: Sequence[Folder],
        wanted: Collection[int],
    ) -> None:
        replacing = {folder.name for folder in folders if folder.replaces}
        self.files: Files = read_files(connection, replacing)
        self.paths = read_paths(connection)
        self.wanted = [self.files.by_seq[seq] for seq in wanted]
        self.found: dict[int, Found] = {}
        self.listed: dict[str, tuple[str, RawFile]] = {}
        for path, file in listed.items():
            folder = folder_of(path, folders)
            if folder is not None:
                self.listed[path] = folder.name, file
        self.lengths: dict[str, set[int]] = {}
        for one in self.wanted:
            self.lengths.setdefault(one.source, set()).update(length for length, _ in _begins(one))
        self.read: set[str] = set()

    @property
    def missing(self) -> bool:
        return len(self.found) < len(self.wanted)

    def look(self, *, only_changed: bool) -> None:
        whole: dict[tuple[str, str], str] = {}
        beginnings: dict[tuple[str, int, str], str] = {}
        packed: dict[tuple[str, str], tuple[str, Content]] = {}
        descends: dict[int, str] = {}  # file to a path that holds it, as far as that is known without looking
        for path, (source, raw_file) in self.listed.items():
            held = self._untouched(path)
            if held is not None and only_changed:
                whole.setdefault((source, held.sha256 or ""), path)
                while held is not None and held.file_seq not in descends:
                    descends[held.file_seq] = path
                    held = self.files.by_seq.get(held.grown_from or 0)
                continue
            content = self._read(path, source, raw_file)
            if content is None:
                continue
            whole.setdefault((source, content.sha256), path)
            if content.packed_sha256 and content.error is None:
                packed.setdefault((source, content.packed_sha256), (path, content))
            beginnings.setdefault((source, content.bytes, content.sha256), path)
            for length, prefix in content.prefixes.items():
                beginnings.setdefault((source, length, prefix.sha256), path)
        for file in self.wanted:
            if file.file_seq in self.found:
                continue
            assert file.sha256 is not None
            assert file.bytes is not None
            at = self._own(file, whole.get((file.source, file.sha256)))
            if at is not None and not file.is_packed_of_old:
                self.found[file.file_seq] = Found(at, file.bytes, file.sha256)
                continue
            if file.is_packed_of_old and (there := packed.get((file.source, file.sha256))):
                self.found[file.file_seq] = Found(there[0], there[1].bytes, there[1].sha256)
                continue
            for length, sha256 in _begins(file):
                at = beginnings.get((file.source, length, sha256))
                if file.tail == "rejected" and length == file.bytes:  # with the record that has no end
                    if at is None and only_changed:
                        break  # one that was not looked at may hold it
                elif at is None:
                    at = descends.get(file.file_seq)
                if at is None and not length:
                    at = next((p for p, (source, _) in self.listed.items() if source == file.source), None)
                if at is not None:
                    self.found[file.file_seq] = Found(at, length, sha256)
                    break

    def _own(self, file: File, at: str | None) -> str | None:
        """The file's own path, where that holds it; else any."""
        entry = self.paths.get(file.path)
        is_there = file.path in self.listed and entry is not None and entry.sha256 == file.sha256
        return file.path if at is not None and is_there and entry and self._is_as_it_was(entry) else at

    def _is_as_it_was(self, entry: Path) -> bool:
        try:
            return not entry.gone and entry.looks_like(self.listed[entry.path][1].stamp)
        except OSError:
            return False

    def _untouched(self, path: str) -> File | None:
        """The file that a path holds, where its size and times say that it still does."""
        entry = self.paths.get(path)
        if entry is None or entry.file_seq is None or not self._is_as_it_was(entry):
            return None
        held = self.files.by_seq.get(entry.file_seq)
        return None if held is None or held.sha256 is None or held.is_packed_of_old else held

    def _read(self, path: str, source: str, file: RawFile) -> Content | None:
        lengths = self.lengths.get(source)
        if lengths is None or path in self.read:
            return None
        self.read.add(path)
        old = any(one.is_packed_of_old for one in self.wanted)
        try:
            return read_content(path, file, lambda _: lengths, wants_packed=old)
        except OSError:
            return None


def _begins(file: File) -> list[tuple[int, str]]:
    """What a content must begin with to hold all that was loaded of a file."""
    assert file.bytes is not None
    assert file.sha256 is not None
    whole = [(file.bytes, file.sha256)]
    if file.end_sha256 is None or file.end_byte is None:
        return whole
    # A record without an end, behind that, is rejected again where it still stands.
    return [*(whole if file.tail == "rejected" else []), (file.end_byte, file.end_sha256)]
