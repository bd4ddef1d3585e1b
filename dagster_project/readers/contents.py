"""What a raw file holds, its bytes unpacked, read once: its hash, and what tells whether it is another file grown."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import IO, Any

from .files import PACKED, UnreadableFile, format_of, open_content
from .raw_storage import RawFile

# Given the head of a content, the lengths of the beginnings that are of interest.
Lengths = Callable[[str], Collection[int]]
_CHUNK = 1 << 22
# Files that begin alike this far are compared further; short ones always.
HEAD = 1024
_WIDE = {b"\xff\xfe": b"\n\0", b"\xfe\xff": b"\0\n"}  # UTF-16: the byte order mark, and how its lines end


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a content. lines: ends of lines in there. is_cut: it ends where a line does. line_at: where its
    last line begins."""

    sha256: str
    lines: int
    is_cut: bool
    line_at: int


@dataclass(frozen=True, slots=True)
class Content:
    """head: the hash of its first bytes. prefixes: the beginnings that were asked for, by their length.

    tail: the beginning before a last line that has no end, and its length; None where the last line has one.
    packed_sha256: the hash of the file itself, where that was asked for. error: why it could not be unpacked; the rest
    is then of the file itself, and `head` is empty.
    """

    sha256: str
    bytes: int
    lines: int = 0
    head: str = ""
    prefixes: Mapping[int, Prefix] = field(default_factory=dict)
    tail: tuple[int, Prefix] | None = None
    packed_sha256: str | None = None
    error: str | None = None


def read_content(
    path: str,
    file: RawFile,
    lengths: Lengths = lambda _: (),
    *,
    wants_packed: bool = False,
) -> Content:
    """Read a file from its beginning to the end that it had when it was listed. Raises OSError.

    lengths: given the head, the lengths of the beginnings that are of interest.
    """
    kind = format_of(path)
    if not kind.endswith(PACKED):
        with file.open() as stream:
            return _read(_Limited(stream, file.stamp.bytes), kind, lengths)
    try:
        with file.open() as stream:
            raw = _Limited(stream, file.stamp.bytes, hashlib.sha256() if wants_packed else None)
            with open_content(raw, kind, file.stamp.bytes) as unpacked:  # type: ignore[arg-type]
                content = _read(unpacked, kind, lengths)
            if raw.digest is None:
                return content
            while raw.read(_CHUNK):
                pass
            return replace(content, packed_sha256=raw.digest.hexdigest())
    except UnreadableFile as error:
        with file.open() as stream:
            content = _read(_Limited(stream, file.stamp.bytes), "", lambda _: ())
        return replace(content, head="", packed_sha256=content.sha256, error=str(error), tail=None)


class ReadAhead:
    """A context in which the contents of large files are read by threads, in the order in which they will be asked for.

    Hashing leaves Python to others, so it takes as many cores as there are threads. What is asked for with further lengths
    than it was read with is read again.
    """

    def __init__(self, files: Iterable[tuple[str, RawFile, Lengths]], threads: int) -> None:
        self._files, self._threads = iter(files), threads
        self._read: dict[str, tuple[Future[Content], dict[str, set[int]]]] = {}

    def __enter__(self) -> ReadAhead:
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="hash")
        for _ in range(self._threads):
            self._go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _go_on(self) -> None:
        for path, file, lengths in islice(self._files, 1):
            asked: dict[str, set[int]] = {}
            self._read[path] = (
                self._pool.submit(read_content, path, file, partial(_noted, asked, lengths)),
                asked,
            )

    def content(self, path: str, file: RawFile, lengths: Lengths) -> Content:
        """As `read_content` has it. Raises OSError."""
        if path not in self._read:
            return read_content(path, file, lengths)
        future, asked = self._read.pop(path)
        self._go_on()
        content = future.result()
        further = (length for head, known in asked.items() for length in lengths(head) if length not in known)
        if any(length <= content.bytes for length in further):
            return read_content(path, file, lengths)
        return content


def _noted(asked: dict[str, set[int]], lengths: Lengths, head: str) -> set[int]:
    asked[head] = set(lengths(head))
    return asked[head]


class _Limited:
    """The first bytes of a stream, as many as its file had when it was listed; hashed, if so wished."""

    def __init__(self, stream: IO[bytes], size: int, digest: Any = None) -> None:
        self._stream, self._left, self.digest = stream, size, digest

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        if self.digest is not None:
            self.digest.update(data)
        return data


def _chunks(stream: Any) -> Iterator[bytes]:
    head = stream.read(HEAD)
    while len(head) < HEAD and (more := stream.read(HEAD - len(head))):
        head += more
    yield head
    while chunk := stream.read(_CHUNK):
        while len(chunk) < _CHUNK and (more := stream.read(_CHUNK - len(chunk))):
            chunk += more
        yield chunk  # but for the last of an even length: no character of UTF-16 is torn


class _Ends:
    """Where lines end in a chunk. In UTF-16 the bytes of an end may also stand astride two characters: those are none."""

    def __init__(self, chunk: bytes, newline: bytes) -> None:
        self._chunk, self._wide = chunk, None if len(newline) == 1 else list(_wide_ends(chunk, newline))

    def count(self, start: int, stop: int) -> int:
        """How many lines end behind `start`, up to `stop`."""
        if self._wide is None:
            return self._chunk.count(b"\n", start, stop)
        return bisect_right(self._wide, stop) - bisect_right(self._wide, start)

    def last(self, stop: int) -> int:
        """Where the last line ends, up to `stop`; 0 where none does."""
        if self._wide is None:
            return self._chunk.rfind(b"\n", 0, stop) + 1
        before = bisect_right(self._wide, stop)
        return self._wide[before - 1] if before else 0


def _wide_ends(chunk: bytes, newline: bytes) -> Iterator[int]:
    at = chunk.find(newline)
    while at >= 0:
        if at % 2 == 0:
            yield at + 2
        at = chunk.find(newline, at + 1)


def _read(stream: Any, kind: str, lengths: Callable[[str], Collection[int]]) -> Content:
    digest = hashlib.sha256()
    done = lines = returns = 0
    head, marks, newline = "", [], b"\n"
    prefixes: dict[int, Prefix] = {}
    last_line = 0, Prefix(digest.hexdigest(), 0, is_cut=True, line_at=0)
    before = b""  # what precedes what is looked at: an end of a line, perhaps
    for chunk in _chunks(stream):
        if done == 0:
            head = hashlib.sha256(chunk).hexdigest()
            marks = sorted(length for length in lengths(head) if length > 0)
            newline = _WIDE.get(chunk[:2], b"\n")
        found = _Ends(chunk, newline)
        view, start = memoryview(chunk), 0
        if done in prefixes:  # it ends where the chunk before it did
            prefixes[done] = _cut(prefixes[done], chunk, newline)
        cuts = {mark - done for mark in marks if done < mark <= done + len(chunk)}
        last = found.last(len(chunk))
        if last:
            cuts.add(last)
        for cut in sorted(cuts):
            digest.update(view[start:cut])
            lines += found.count(start, cut)
            returns += chunk.count(b"\r", start, cut) if kind.startswith("csv") and not lines else 0
            before = (before + bytes(view[max(start, cut - 2) : cut]))[-2:]
            start = cut
            here = digest.copy().hexdigest()
            if done + cut in marks:
                ends = before.endswith(newline) or (before.endswith(b"\r") and bool(returns) and not lines)
                at = found.last(cut)
                line_at = done + at if at else last_line[0]
                prefix = Prefix(here, lines or returns, ends, line_at)
                prefixes[done + cut] = _cut(prefix, chunk[cut : cut + 2], newline)
            if cut == last:
                last_line = done + cut, Prefix(here, lines, True, done + cut)
        digest.update(view[start:])
        lines += found.count(start, len(chunk))
        returns += chunk.count(b"\r", start) if kind.startswith("csv") and not lines else 0
        before = (before + bytes(view[max(start, len(chunk) - 2) :]))[-2:]
        done += len(chunk)
    ends = last_line[0] == done or (before.endswith(b"\r") and bool(returns) and not lines)
    return Content(digest.hexdigest(), done, lines or returns, head, prefixes, None if ends else last_line)


def _cut(prefix: Prefix, behind: bytes, newline: bytes) -> Prefix:
    """The beginning also ends where a line does if what follows begins with the end of one."""
    follows = behind.startswith((newline, newline.replace(b"\n", b"\r")))
    return replace(prefix, is_cut=prefix.is_cut or follows)
