"""What readers read (a part of a raw file), what they yield (records with their position), and how they fail."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import zstandard

if TYPE_CHECKING:
    from .raw_storage import RawFile

BOM = b"\xef\xbb\xbf"
PACKED = (".gz", ".zst")  # endings of formats that are unpacked
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MOST_PACKED = 2
_CHUNK = 1 << 22
# How files begin that are no text, whatever their ending says.
_ENDINGS = {"gzip": ".gz", "Zstandard": ".zst"}
_NO_TEXT = {
    _GZIP: "gzip: end its name in .gz",
    _ZSTD: "Zstandard: end its name in .zst",
    b"PK\x03\x04": "a ZIP archive or a workbook",
    b"PAR1": "Parquet: end its name in .parquet",
    b"\xd0\xcf\x11\xe0": "an old Office document: save it as CSV",
    b"\x89PNG": "a picture",
    b"%PDF": "PDF",
}
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BEGINNING = 4096
# Hostile archives: JSON and CSV compress to a tenth, rarely to a hundredth.
_MOST_RATIO = 300
_ALWAYS_UNPACKED = 128 * 1024**2
# A record of more characters is no record; its text is kept as far as rejected text is kept.
LONGEST_RECORD = 64 * 1024**2


class UnreadableFile(Exception):
    """The file as a whole cannot be read; nothing of it is loaded. The text says why."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A raw file, or the part of one that was added since it was last loaded. All bytes are those of its content, unpacked.

    file_seq: its number in order O. path: below raw/, with `/`. start_byte, start_line: what precedes the part
    (0, 0 for a whole file). end_byte: where it ends. received: the date of its folder, if any. first_seen: UTC.
    size, sha256: what its content must begin with to be what was numbered. is_final: a last record without an end is
    refused; else it waits for its end. grown_from: the file whose content precedes the part. tail_byte, tail_sha256: where
    a last line without an end begins, and the hash of what precedes it. unreadable: why its content could not be unpacked
    when it was numbered: how long it is, is not known then. loaded_under: the settings that it was loaded under before,
    where it is loaded again.
    """

    file_seq: int
    source: str
    path: str
    raw: RawFile
    start_byte: int
    start_line: int
    end_byte: int
    received: date | None
    first_seen: datetime
    size: int
    sha256: str
    is_final: bool = False
    grown_from: int | None = None
    tail_byte: int | None = None
    tail_sha256: str | None = None
    unreadable: str | None = None
    loaded_under: str | None = None

    @property
    def file(self) -> Path:
        """Where its bytes are, while it is at hand."""
        return self.raw.path

    def local_copy(self) -> AbstractContextManager[None]:
        """A context in which it can be read. Raises UnreadableFile if the file is no longer what was numbered."""
        return self.raw.local_copy(self._is_what_was_numbered)

    def hash_of(self, size: int) -> str:
        """The hash of how its content begins. To be called while it is at hand."""
        digest = hashlib.sha256()
        with open_bytes(replace(self, start_byte=0, end_byte=size)) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _is_what_was_numbered(self, raw: IO[bytes]) -> bool:
        digest, left = hashlib.sha256(), self.size
        with open_content(raw, self.format, self.file.stat().st_size) as stream:
            while left and (chunk := stream.read(min(_CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
        return digest.hexdigest() == self.sha256

    @property
    def format(self) -> str:
        """The ending that tells the format: `jsonl`, `jsonl.gz`, `csv`, …"""
        return format_of(self.path)


@dataclass(slots=True)
class Record:
    """One record at its position. value is what was read, or None where `bad` says why nothing could be.

    raw gives the record's text as it came, when it is needed. is_table: that are the cells of a row, those that hold
    credentials hidden. unfinished: how many bytes at the end of the file it takes
    where the file seems to end in the middle of it; 0: it is whole.
    """

    line: int
    element: int
    value: Any
    raw: Callable[[], str]
    repairs: list[tuple[str, str]] = field(default_factory=list)
    bad: str | None = None
    bad_reason: str = "bad_json"
    is_table: bool = False
    unfinished: int = 0


def format_of(path: str) -> str:
    name = path.rsplit("/", 1)[-1].lower()
    parts = name.split(".")
    if name.startswith(".") or len(parts) < 2:
        return ""
    return ".".join(parts[-2:]) if parts[-1] in ("gz", "zst") and len(parts) > 2 else parts[-1]


@contextmanager
def open_bytes(part: FilePart) -> Iterator[IO[bytes]]:
    """The part's bytes, unpacked. Raises UnreadableFile, also while it is being read."""
    with (
        _explained(),
        part.file.open("rb") as raw,
        open_content(raw, part.format, part.file.stat().st_size) as stream,
    ):
        if part.format.endswith(PACKED):
            beginning = stream.peek(_BEGINNING)[:_BEGINNING]  # type: ignore[attr-defined]
            if beginning.startswith((_GZIP, _ZSTD)):
                raise UnreadableFile(
                    f"wrong format: it was packed more than {_MOST_PACKED} times, with gzip or Zstandard: pack it once"
                )
            _require_text(beginning, part.format)
            skip(stream, part.start_byte)
        else:
            _require_text(raw.read(_BEGINNING), part.format)
            raw.seek(part.start_byte)
        yield io.BufferedReader(_Limited(stream, part.end_byte - part.start_byte), 1 << 20)


@contextmanager
def open_content(raw: IO[bytes], kind: str, size: int) -> Iterator[IO[bytes]]:
    """A file's content: its bytes, unpacked where its format is a packed one, and once more where it was packed twice.

    size: of the file as it is. Raises UnreadableFile, also while it is being read.
    """
    with _explained():
        if not kind.endswith(PACKED):
            yield raw
            return
        stream: IO[bytes] = _unpacked(raw, kind.endswith(".gz"), size)
        for _ in range(_MOST_PACKED - 1):
            mark = next((mark for mark in (_GZIP, _ZSTD) if stream.peek(4).startswith(mark)), None)  # type: ignore[attr-defined]
            if mark is None:
                break
            stream = _unpacked(stream, mark == _GZIP, size)
        yield stream


def _unpacked(raw: IO[bytes], is_gzip: bool, size: int) -> IO[bytes]:
    stream = gzip.GzipFile(fileobj=raw) if is_gzip else _WholeFrames(raw)
    return io.BufferedReader(_Unpacked(stream, size), 1 << 20)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, zstandard.ZstdError) as error:
        packed = "gzip" if isinstance(error, gzip.BadGzipFile) else "Zstandard"
        raise UnreadableFile(
            f"wrong format: not whole {packed} ({error}): if it was unpacked already, take {_ENDINGS[packed]} off its name"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{type(error).__name__}: {_plain(error)}") from error


def skip(stream: IO[bytes], size: int) -> None:
    """Go on in a stream that cannot seek."""
    while size and (skipped := stream.read(min(size, 1 << 20))):
        size -= len(skipped)


def _require_text(beginning: bytes, kind: str) -> None:
    """Raises UnreadableFile where a file is plainly something else: its lines would be nothing but rejects."""
    for mark, what in _NO_TEXT.items():
        if beginning.startswith(mark):
            raise UnreadableFile(f"wrong format: it is {what}")
    is_csv = kind.startswith("csv")
    if beginning.startswith(UTF_16):
        if not is_csv:
            raise UnreadableFile("wrong format: it is UTF-16: save it as UTF-8")
        return
    if (pairs := len(beginning) // 2) and beginning.count(0) * 3 > pairs:
        low, high = beginning[0::2].count(0), beginning[1::2].count(0)
        if max(low, high) * 3 > pairs and min(low, high) * 8 < max(low, high):
            raise UnreadableFile(
                "wrong format: it is UTF-16 without a byte order mark: save it as UTF-8"
                + (", or as UTF-16 with one" if is_csv else "")
            )
    if is_csv and beginning.removeprefix(BOM).lstrip()[:1] in (b"{", b"["):
        raise UnreadableFile("wrong format: it is JSON in a .csv: name it .jsonl or .json")


def _plain(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


class _Limited(io.RawIOBase):
    """The first `size` bytes of what follows: a file may grow while it is read."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._left = stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class _Unpacked(io.RawIOBase):
    """What a compressed file of `size` bytes unpacks to, as long as that is no bomb."""

    def __init__(self, stream: Any, size: int) -> None:
        self._stream, self._left = stream, most_unpacked(size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        done, view = 0, memoryview(buffer)
        # Not less than the beginning that is looked at, however small the pieces are in which it was packed.
        while done < min(_BEGINNING, len(view)) and (more := self._stream.readinto(view[done:])):
            done += more
        self._left -= done
        if self._left < 0:
            raise UnreadableFile(f"it unpacks to more than {_MOST_RATIO} times its size")
        return done


def most_unpacked(size: int) -> int:
    """How much a compressed file of `size` bytes may unpack to."""
    return max(_ALWAYS_UNPACKED, _MOST_RATIO * size)


class _WholeFrames(io.RawIOBase):
    """A Zstandard stream of one or more frames. One that ends inside a frame raises EOFError, as gzip does."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._ready, self._input = stream, memoryview(b""), b""
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._started = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            # A few bytes may unpack to megabytes at once.
            data = self._input or self._stream.read(1 << 11)
            self._input = b""
            if not data:
                if self._started and not self._frame.eof:
                    raise EOFError("compressed file ended before the end-of-stream marker was reached")
                return 0
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._started = True
            self._ready = memoryview(self._frame.decompress(data))
            if self._frame.eof:
                self._input = self._frame.unused_data
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size
