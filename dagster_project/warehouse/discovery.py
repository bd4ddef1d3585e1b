"""Looks at raw/: what is new, what grew, what was moved, what is gone. Numbers what is new, in `raw.files`.

A path whose size and times are known is not opened; any other is read once. `raw/` is only read here.
One module: what a path is follows from all that was looked at in the same night.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import IO

from dagster_project.readers.contents import Content, Lengths, ReadAhead, read_content
from dagster_project.readers.files import BOM, FilePart, UnreadableFile, format_of, open_content
from dagster_project.readers.json_text import BadJson, value_at
from dagster_project.readers.raw_storage import LocalFile, RawFile, RawStorage, Stamp

from . import noticing
from .database import Connection, value
from .identity import File, Growth, grows, received_date
from .numbered import Path, pending, read_files, read_paths, write
from .registry import Folder, Warning

_log = logging.getLogger(__name__)
# Files from this size on are hashed by so many threads, ahead of who asks.
_LARGE, _THREADS = 4 * 1024**2, 2
_LONGEST_LINE = 16 * 1024**2
_VANISHED = "no longer in raw/"


@dataclass
class Discovery:
    """What a look at raw/ found. unknown: paths whose folder or format is not known."""

    pending: list[FilePart] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    new_files: int = 0
    known_files: int = 0
    warnings: list[Warning] = field(default_factory=list)


@dataclass
class _Looked:
    """What stands at a path: its content, or why it cannot be read. content None: it is as it was."""

    folder: Folder
    stamp: Stamp | None
    content: Content | None = None
    unreadable: str | None = None


def fingerprint(storage: RawStorage, folders: Sequence[Folder]) -> str:
    """A hash of what discovery compares: paths, sizes and times of the files that a source reads. Opens none."""
    digest = hashlib.sha256()
    for path, file in storage.listing().files.items():
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


def discover(
    connection: Connection, storage: RawStorage, folders: Sequence[Folder], now: datetime
) -> Discovery:
    """Number what is new below raw/, and say what is to be loaded, in order O. Commits to `raw`.

    Raises RawStorageError, with nothing touched.
    """
    listing = storage.listing()
    look = _Look(connection, listing.files, folders, now)
    look.found.warnings += [
        Warning("trouble", trouble.split(" ", 1)[0], trouble) for trouble in listing.troubles
    ]
    look.read()
    look.assign()
    look.follow()
    look.warn()
    look.commit()
    look.found.pending = pending(connection, listing.files)
    look.found.warnings += noticing.gone_before_loaded_again(connection, look.found.pending)
    return look.found


class _Look:
    """One look at raw/, from what is known to what is to be written."""

    def __init__(
        self,
        connection: Connection,
        listed: Mapping[str, RawFile],
        folders: Sequence[Folder],
        now: datetime,
    ) -> None:
        self.connection, self.listed, self.folders, self.now = connection, listed, folders, now
        self.found = Discovery()
        self.paths = read_paths(connection)
        self.replacing = {folder.name for folder in folders if folder.replaces}
        self.files = read_files(connection, self.replacing)
        self.packed_of_old: dict[tuple[str, str], list[File]] = {}
        for file in self.files.by_seq.values():
            if file.is_packed_of_old:
                self.packed_of_old.setdefault((file.source, file.sha256 or ""), []).append(file)
        self.looked: dict[str, _Looked] = {}
        self.next_seq: int = value(connection, "SELECT coalesce(max(file_seq), 0) + 1 FROM raw.files")
        self.new: list[File] = []
        self.changed: dict[int, File] = {}  # known files of which something changed
        self.dropped: set[int] = set()
        self.written: dict[str, Path] = {}
        self.forgotten: set[str] = set()
        self.replaced: set[int] = set()  # files of which a path holds another content now
        self.overwritten: dict[int, str] = {}  # files to the path at which another content is now

    def read(self) -> None:
        """Look at every path, and read what is not known as it is."""
        self._old = {file.file_seq for files in self.packed_of_old.values() for file in files}
        # Read ahead are files of this machine only, large enough for it to matter.
        large = (
            (path, file, self._lengths(folder, path))
            for path, file in self.listed.items()
            if (folder := folder_of(path, self.folders))
            and isinstance(file, LocalFile)
            and not self._old
            and self._is_large(path, file)
        )
        with ReadAhead(large, _THREADS) as ahead:
            for path, file in self.listed.items():
                self._look(path, file, ahead)

    def _is_large(self, path: str, file: RawFile) -> bool:
        with suppress(OSError):
            return file.stamp.bytes >= _LARGE and not self._is_known(path, file.stamp)
        return False

    def _is_known(self, path: str, stamp: Stamp) -> bool:
        before = self.paths.get(path)
        return (
            before is not None
            and before.sha256 is not None
            and before.looks_like(stamp)
            and before.file_seq not in self._old
            and not before.gone
        )

    def _lengths(self, folder: Folder, path: str) -> Lengths:
        may_grow = grows(path) and not folder.replaces
        return partial(self.files.lengths, folder.name) if may_grow else _no_lengths

    def _look(self, path: str, file: RawFile, ahead: ReadAhead) -> None:
        folder = folder_of(path, self.folders)
        if folder is None:
            self.found.unknown.append(path)
            return
        try:
            stamp = file.stamp
            if self._is_known(path, stamp):
                self.looked[path] = _Looked(folder, stamp)
                return
            _log.debug("hashing %s", path)
            lengths = self._lengths(folder, path)
            content = (
                read_content(path, file, lengths, wants_packed=True)
                if self._old
                else ahead.content(path, file, lengths)
            )
        except OSError as error:
            self.looked[path] = _Looked(folder, None, unreadable=f"{type(error).__name__}: {error.strerror}")
            return
        self.looked[path] = _Looked(folder, stamp, content)
        if grows(path) and not folder.replaces:
            self.files.expect(folder.name, content.head, content.bytes)
            if content.tail is not None:
                self.files.expect(folder.name, content.head, content.tail[0])
        self._take_over(content, folder.name)

    def _take_over(self, content: Content, source: str) -> None:
        """An older release hashed packed files as they are: from now on it is known by its content."""
        if content.packed_sha256 is None or content.error is not None:
            return
        for file in self.packed_of_old.pop((source, content.packed_sha256), ()):
            file.packed_sha256 = file.sha256
            _describe(file, content)
            self.changed[file.file_seq] = file
            self.files.add(file, grows=grows(file.path) and source not in self.replacing)
            for path in self.paths.values():
                if path.file_seq == file.file_seq:
                    path.sha256 = content.sha256

    def assign(self) -> None:
        """Say which file each path holds; what is none of the known ones is numbered."""
        was_standing = {path.file_seq for path in self.paths.values() if not path.gone}
        returned = {
            seq for seq, file in self.files.by_seq.items() if file.withdrawn_at and seq not in was_standing
        }
        for path, looked in self.looked.items():
            before = self.paths.get(path)
            if before is None or before.file_seq is None or before.file_seq in returned:
                continue
            if looked.content is None or before.sha256 == looked.content.sha256:
                self.files.standing[before.file_seq].add(path)
            else:
                self.replaced.add(before.file_seq)
        unreadable = {f.path for f in self.files.by_seq.values() if f.sha256 is None}
        for path, looked in self.looked.items():
            before = self.paths.get(path)
            if looked.unreadable is not None:
                self._unreadable(path, looked, known=path in unreadable)
            elif looked.content is None:
                self.found.known_files += 1
            else:
                self._content(path, looked, looked.content, before, returned)

    def _unreadable(self, path: str, looked: _Looked, *, known: bool) -> None:
        if known:
            self.found.known_files += 1  # listed already
            return
        file = self._number(path, looked.folder.name)
        file.error = looked.unreadable
        self._add(file, looked.folder)
        if path not in self.paths:
            self.written[path] = Path(path, looked.folder.name, file_seq=file.file_seq)

    def _content(
        self, path: str, looked: _Looked, content: Content, before: Path | None, returned: Collection[int]
    ) -> None:
        folder, stamp = looked.folder, looked.stamp
        assert stamp is not None
        # What may still be written to without looking different is read again next time.
        mtime_ns = stamp.mtime_ns if stamp.final else None
        entry = Path(path, folder.name, stamp.bytes, mtime_ns, stamp.ctime_ns, content.sha256)
        entry.loaded_seq = before.loaded_seq if before else None
        self.written[path] = entry
        # What could not be read once, and can be now, is told of by its new row.
        self.dropped |= {
            f.file_seq for f in self.files.by_seq.values() if f.sha256 is None and f.path == path
        }
        if before and before.sha256 == content.sha256 and path in self.files.standing[before.file_seq or 0]:
            self.found.known_files += 1
            entry.file_seq = before.file_seq
            return
        same = self.files.same(folder.name, path, content.sha256, returned)
        if same is not None:
            self.found.known_files += 1
            entry.file_seq = same.file_seq
            if same.is_loaded:
                entry.loaded_seq = same.file_seq
            elif same.error is not None and content.error is None:
                # What could not be unpacked has an ending now by which it can be read.
                same.error = None
                _describe(same, content)
                self.changed[same.file_seq] = same
            self.files.standing[same.file_seq].add(path)
            return
        held = before.file_seq if before else None
        if before and before.sha256 is None and held in self.dropped:
            # It could not be read when it was first seen; its number is kept.
            file = self.files.by_seq[held]
            self.dropped.discard(file.file_seq)
            self.changed[file.file_seq] = file
            _describe(file, content)
            self.files.add(file, grows=grows(path) and not folder.replaces)
        else:
            file = self._number(path, folder.name)
            _describe(file, content)
            growth = (
                self.files.growth(folder.name, path, content, held)
                if grows(path) and not folder.replaces
                else None
            )
            if growth is not None and not self._is_array(path):
                self._grow(file, growth)
            elif held is not None and before and before.loaded_seq and not folder.replaces:
                self.overwritten[before.loaded_seq] = path
            self._add(file, folder)
        entry.file_seq = file.file_seq
        self.files.standing[file.file_seq].add(path)

    def _number(self, path: str, source: str) -> File:
        file = File(self.next_seq, source, path, received_date=received_date(path), first_seen_at=self.now)
        self.next_seq += 1
        self.found.new_files += 1
        return file

    def _grow(self, file: File, growth: Growth) -> None:
        base = growth.base
        file.start_byte, file.start_line, file.grown_from = (
            growth.start_byte,
            growth.start_line,
            base.file_seq,
        )
        file.note = f"goes on where file {base.file_seq} ended"
        if growth.cuts_base:
            base.end_byte, base.end_line, base.tail = growth.start_byte, growth.start_line, "rejected"
            self.changed[base.file_seq] = base

    def _is_array(self, path: str) -> bool:
        """Whether the file is one array over several lines: that is no JSON lines, and is not added to."""
        kind = format_of(path)
        if kind.startswith("csv"):
            return False
        file = self.listed[path]
        try:
            with file.open() as raw, open_content(raw, kind, file.stamp.bytes) as stream:
                first = _first_line(stream)
        except (OSError, UnreadableFile):
            return False
        if not first.startswith(b"["):
            return False
        try:
            value_at(first.decode("utf-8", "surrogateescape"), 0)  # behind it there may be other values
        except BadJson:
            return True
        return False

    def _add(self, file: File, folder: Folder) -> None:
        self.new.append(file)
        self.files.add(file, grows=grows(file.path) and not folder.replaces)

    def follow(self) -> None:
        """Note where files are now that are still to be loaded, and which paths are gone."""
        for seq, paths in self.files.standing.items():
            file = self.files.by_seq.get(seq)
            if not file or not paths or not file.sha256 or file.load_seq is not None or file.withdrawn_at:
                continue
            at = min(paths, key=lambda path: path.encode("utf-8", "surrogatepass"))
            if (
                file.replay_path is not None
            ):  # what is replayed may be the beginning of what its path holds now
                if file.replay_path not in self.listed:
                    file.replay_path = at
                    self.changed[seq] = file
            elif file.path not in paths:
                file.path, file.received_date = at, received_date(at)
                self.changed[seq] = file
        for file in self.files.by_seq.values():
            if file.error is not None and (file.path not in self.listed) != (file.note == _VANISHED):
                file.note = _VANISHED if file.path not in self.listed else None
                self.changed[file.file_seq] = file
        for path, entry in self.paths.items():
            if path in self.looked:
                continue
            if self._is_elsewhere(entry.file_seq) and (
                entry.loaded_seq in (None, entry.file_seq) or self._is_elsewhere(entry.loaded_seq)
            ):
                self.forgotten.add(path)  # where it was tells nothing any more
            elif not entry.gone:
                entry.gone = True
                self.written[path] = entry

    def _is_elsewhere(self, seq: int | None) -> bool:
        """Whether a file was moved, or replaced elsewhere."""
        return seq is not None and (bool(self.files.standing.get(seq)) or seq in self.replaced)

    def warn(self) -> None:
        """Name what was rewritten, what seems to have been delivered again, and what is gone."""
        look = self.found
        look.warnings += noticing.rewritten(self.overwritten, self.files, self.new)
        look.warnings += noticing.delivered_again(self.files, self.replacing)
        look.warnings += noticing.misspelt(look.unknown, self.folders)
        if not self.listed:
            look.warnings += noticing.emptied(read_paths(self.connection).values())

    def commit(self) -> None:
        """Write it down, in one transaction."""
        if not (self.new or self.written or self.changed or self.dropped or self.forgotten):
            return
        write(
            self.connection,
            new=self.new,
            changed=self.changed.values(),
            dropped=self.dropped,
            paths=self.written.values(),
            forgotten=self.forgotten,
        )


def _no_lengths(_: str) -> Collection[int]:
    return ()


def _describe(file: File, content: Content) -> None:
    file.sha256, file.bytes, file.lines, file.head = (
        content.sha256,
        content.bytes,
        content.lines,
        content.head,
    )
    if content.error is not None:
        file.error = content.error
    file.tail_byte, file.tail_sha256 = (
        (content.tail[0], content.tail[1].sha256) if content.tail else (None, None)
    )


def _first_line(stream: IO[bytes]) -> bytes:
    """The first line that is not blank, from its first character on; of a very long one the beginning."""
    data = b""
    while len(data) < _LONGEST_LINE and (more := stream.read(1 << 16)):
        data += more
        text = data.removeprefix(BOM).lstrip(b" \t\r\n")
        if b"\n" in text:
            return text.partition(b"\n")[0]
        if text and not text.startswith(b"["):
            return text
    return data.removeprefix(BOM).lstrip(b" \t\r\n")
