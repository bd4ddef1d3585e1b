"""Which file a content is: one that is known, one that grew, or a new one. Plain data in, decisions out; no database.

A file is its content, unpacked, within its source. docs/data.md ("The same file") has the rules in words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

from dagster_project.readers.contents import HEAD, Content
from dagster_project.readers.files import PACKED, format_of

_GROWING = frozenset({"json", "jsonl", "ndjson", "csv"})
_DATED = re.compile(r"(?:dt|date)=(\d{4}-\d\d-\d\d)")


@dataclass(slots=True)
class File:
    """A row of raw.files, as far as identity goes.

    end_byte, end_line, end_sha256: what was loaded of its content, from its beginning. tail: `waits` or `rejected`, of a
    last record without an end behind that. grown_from: the file that its beginning is.
    """

    file_seq: int
    source: str
    path: str
    sha256: str | None = None
    bytes: int | None = None
    start_byte: int = 0
    start_line: int = 0
    received_date: date | None = None
    first_seen_at: datetime | None = None
    error: str | None = None
    note: str | None = None
    lines: int | None = None
    head: str | None = None
    tail_byte: int | None = None
    tail_sha256: str | None = None
    grown_from: int | None = None
    packed_sha256: str | None = None
    load_seq: int | None = None
    end_byte: int | None = None
    end_line: int | None = None
    end_sha256: str | None = None
    tail: str | None = None
    withdrawn_at: datetime | None = None
    replay_path: str | None = None

    @property
    def is_loaded(self) -> bool:
        return self.load_seq is not None and self.withdrawn_at is None

    @property
    def is_packed_of_old(self) -> bool:
        """Whether an older release numbered it: by the hash of the packed file, not of what it unpacks to."""
        return self.sha256 is not None and self.head is None and format_of(self.path).endswith(PACKED)

    @property
    def may_begin_another(self) -> bool:
        """Whether another content may be this one grown: it is loaded, or will be in this run."""
        return (
            self.sha256 is not None and self.withdrawn_at is None and (self.is_loaded or self.error is None)
        )

    @property
    def beginnings(self) -> list[tuple[int, str]]:
        """How a content that is this one grown begins: length and hash. Of what is not loaded yet, what it may come to."""
        assert self.sha256 is not None
        assert self.bytes is not None
        whole = (self.bytes, self.sha256)
        if self.end_sha256 is not None and self.end_byte is not None:
            return [(self.end_byte, self.end_sha256)] if self.end_byte else [whole]
        if self.is_loaded or self.tail_byte is None or self.tail_sha256 is None:
            return [whole]
        return [whole, (self.tail_byte, self.tail_sha256)] if self.tail_byte else [whole]


@dataclass(frozen=True, slots=True)
class Growth:
    """A content is `base` grown: what is new of it begins at start_byte, behind start_line lines.

    cuts_base: the base was loaded by an older release together with its half-written last line, which begins there.
    """

    base: File
    start_byte: int
    start_line: int
    cuts_base: bool = False


def grows(path: str) -> bool:
    """Whether a file's format is one that is added to: lines, packed or not."""
    return unpacked_format(path) in _GROWING


def unpacked_format(path: str) -> str:
    kind = format_of(path)
    for ending in PACKED:
        kind = kind.removesuffix(ending)
    return kind


def received_date(path: str) -> date | None:
    """The last `dt=` or `date=` folder of a path that is a valid date."""
    for part in reversed(path.split("/")[:-1]):
        if match := _DATED.fullmatch(part):
            try:
                return date.fromisoformat(match[1])
            except ValueError:
                continue
    return None


def dated_folder(path: str) -> str | None:
    """The folder of a path, up to the last that has a date."""
    parts = path.split("/")[:-1]
    for count in range(len(parts), 0, -1):
        if received_date("/".join([*parts[:count], ""])) and _DATED.fullmatch(parts[count - 1]):
            return "/".join(parts[:count])
    return None


@dataclass
class Files:
    """All files that have a number, and where their contents stand.

    half_lines: of files that an older release loaded, the last line where it was refused for having no end.
    """

    by_seq: dict[int, File] = field(default_factory=dict)
    standing: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    half_lines: dict[int, int] = field(default_factory=dict)
    _by_content: dict[tuple[str, str], list[File]] = field(default_factory=lambda: defaultdict(list))
    _by_beginning: dict[tuple[str, int, str], list[File]] = field(default_factory=lambda: defaultdict(list))
    _lengths: dict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    _grown: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, file: File, *, grows: bool) -> None:
        self.by_seq[file.file_seq] = file
        if file.grown_from is not None:
            self._grown[file.grown_from].append(file.file_seq)
        if file.sha256 is None:
            return
        self._by_content[file.source, file.sha256].append(file)
        if grows and file.may_begin_another:
            for length, sha256 in file.beginnings:
                if length:
                    self._by_beginning[file.source, length, sha256].append(file)
                    self.expect(file.source, file.head, length)

    def expect(self, source: str, head: str | None, length: int) -> None:
        """Beginnings of this length are of interest in contents of this head."""
        if length:
            self._lengths[source, "" if head is None or length < HEAD else head].add(length)

    def lengths(self, source: str, head: str) -> Collection[int]:
        """The lengths of beginnings by which a content with this head could be one of the files grown."""
        return self._lengths[source, head] | self._lengths[source, ""]

    def same(self, source: str, path: str, sha256: str, returned: Collection[int]) -> File | None:
        """The known file that a content at a path is: it was moved, or is there a second time. None: it is new there.

        returned: withdrawn files that were gone before; when they come back they are new.
        """
        day = received_date(path)
        known = [f for f in self._by_content.get((source, sha256), ()) if f.file_seq not in returned]

        def rank(file: File) -> tuple[int, bool, int]:
            days = {received_date(at) for at in self.standing[file.file_seq]}
            if not days:  # its old path no longer holds it
                return 1, file.received_date != day, file.file_seq
            if day in days:
                return 0, False, file.file_seq
            return (2 if day is None or None in days else 3), False, file.file_seq

        best = min(known, key=rank, default=None)
        return best if best is not None and rank(best)[0] < 3 else None

    def growth(self, source: str, path: str, content: Content, held: int | None) -> Growth | None:
        """The file that a content is grown from. held: the file that the path held before."""
        day = received_date(path)
        found: list[tuple[tuple[int, bool, int, bool, int], Growth]] = []
        for length, prefix in content.prefixes.items():
            if length >= content.bytes:
                continue  # the same content, in a folder of another date
            for base in self._by_beginning.get((source, length, prefix.sha256), ()):
                growth = Growth(base, length, prefix.lines)
                if base.end_byte == 0 or not (prefix.is_cut or base.is_loaded or base.tail_byte):
                    growth = Growth(base, 0, 0)  # all that it held was the beginning of a record
                elif not prefix.is_cut:
                    if self.half_lines.get(base.file_seq) != prefix.lines + 1:
                        continue
                    growth = Growth(base, prefix.line_at, prefix.lines, cuts_base=True)
                days = {received_date(at) for at in self.standing[base.file_seq]} or {base.received_date}
                at_path = 2 * (base.file_seq == held) or int(base.path == path)
                was_loaded = base.is_loaded or base.replay_path is not None  # this run loads it again
                rank = (growth.start_byte, was_loaded, at_path, day in days, -base.file_seq)
                found.append((rank, growth))
        return max(found, key=lambda one: one[0], default=(None, None))[1]

    def is_there(self, file_seq: int) -> bool:
        """Whether a file's content is below raw/: by itself, or as the beginning of what it grew to."""
        return bool(self.standing.get(file_seq)) or any(
            self.is_there(s) for s in self._grown.get(file_seq, ())
        )

    def grown_from(self, file_seq: int) -> Iterable[File]:
        """The files that a file grew to, at once."""
        return [self.by_seq[seq] for seq in self._grown.get(file_seq, ())]
