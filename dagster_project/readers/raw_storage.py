"""Where raw files lie, a folder on this machine or object storage, and how their bytes are read.

Knows neither formats nor databases. Nothing here writes to where raw files lie.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from dagster_project.settings import without_passwords

from .files import UnreadableFile

_CHUNK = 1 << 22
# Object storage tells times to the second: an object this young may change and look the same.
_YOUNG = timedelta(minutes=2)


class RawStorageError(Exception):
    """The raw storage as a whole cannot be read. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file is written to.

    final: False where it may be written to once more and have the same stamp.
    """

    bytes: int
    mtime_ns: int
    ctime_ns: int | None = None
    final: bool = True


class RawFile(ABC):
    """A file below raw/, as it was when it was listed. What cannot be read raises OSError.

    path: where its bytes are on this machine; an object's only while it is at hand.
    """

    path: Path

    @property
    @abstractmethod
    def stamp(self) -> Stamp:
        """Its stamp when it was listed."""

    @abstractmethod
    def open(self) -> IO[bytes]:
        """Its bytes, in their order."""

    @abstractmethod
    def local_copy(self, holds: Callable[[IO[bytes]], bool]) -> AbstractContextManager[None]:
        """A context in which `path` can be read. Raises UnreadableFile unless it is, before and after, as it was listed
        or still `holds` what was numbered: what is loaded is what was numbered."""


@dataclass
class Listing:
    """What lies in a raw storage: paths with `/`, in byte order, to the files. troubles: folders that cannot be read."""

    files: dict[str, RawFile] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)


class RawStorage(ABC):
    """name: for people."""

    name: str

    @abstractmethod
    def listing(self) -> Listing:
        """All that lies here, without reading any of it. Raises RawStorageError."""

    @abstractmethod
    def is_there(self) -> bool:
        """Whether it is there at all, be it empty. Raises RawStorageError."""

    @abstractmethod
    def tidy(self) -> None:
        """Remove what a crash left on this machine."""


_NO_BUCKET = "there is no such bucket; check WAREHOUSE_RAW"


def raw_storage_at(raw: Path | str, scratch: Path, links: Sequence[str] = ()) -> RawStorage:
    """What a setting names: a folder, or the address of a bucket. scratch: for objects at hand.

    links: folders outside it to which links in it may lead.
    """
    return LocalFolder(raw, links) if isinstance(raw, Path) else ObjectStore(raw, scratch)


class LocalFile(RawFile):
    def __init__(self, file: str) -> None:
        self._file = file
        self._stamp: Stamp | OSError
        try:
            self._stamp = self._look()
        except OSError as error:
            self._stamp = error

    @property
    def path(self) -> Path:  # type: ignore[override]
        return Path(self._file)

    @property
    def stamp(self) -> Stamp:
        if isinstance(self._stamp, OSError):
            raise self._stamp
        return self._stamp

    def open(self) -> IO[bytes]:
        return self.path.open("rb")

    @contextmanager
    def local_copy(self, holds: Callable[[IO[bytes]], bool]) -> Iterator[None]:
        before = self._look()
        if before != self._stamp:
            self._require(holds)
        yield
        if self._look() != before:
            self._require(holds)

    def _require(self, holds: Callable[[IO[bytes]], bool]) -> None:
        with self.open() as stream:
            if not holds(stream):
                raise UnreadableFile("it was written to while it was read")

    def _look(self) -> Stamp:
        found = os.stat(self._file)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a file but a pipe, a socket or a device")
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class LocalFolder(RawStorage):
    def __init__(self, root: Path, links: Sequence[str] = ()) -> None:
        self.root, self.name = root, str(root)
        self.allowed = [os.path.realpath(os.fsencode(folder)) for folder in (str(root), *links)]

    def is_there(self) -> bool:
        return self.root.is_dir()

    def _leads_away(self, entry: os.DirEntry[bytes]) -> str | None:
        """Where a link leads, if that is outside of all that may be read."""
        if not entry.is_symlink():
            return None
        target = os.path.realpath(entry.path)
        inside = any(
            target == folder or target.startswith(folder.rstrip(b"/") + b"/") for folder in self.allowed
        )
        return None if inside else _spelled(target)

    def listing(self) -> Listing:
        """A name that is not UTF-8 is spelled with escapes."""
        found: dict[bytes, LocalFile] = {}
        listing = Listing()
        folders = [(os.fsencode(self.root), b"")]
        seen: set[tuple[int, int]] = set()
        for folder, prefix in folders:
            try:
                here = os.stat(folder)
                # A folder may be a link to elsewhere, and links may go in circles.
                if (here.st_dev, here.st_ino) in seen:
                    continue
                seen.add((here.st_dev, here.st_ino))
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                if not prefix and not isinstance(error, FileNotFoundError):
                    raise RawStorageError(f"{self.root} cannot be read: {error.strerror}") from error
                if prefix:
                    listing.troubles.append(
                        f"{_spelled(prefix)} cannot be looked into ({error.strerror}): what lies there is not loaded"
                    )
                continue
            for entry in entries:
                if (target := self._leads_away(entry)) is not None:
                    listing.troubles.append(
                        f"{_spelled(prefix + entry.name)} is a link to {target}, outside of {self.root}, and is not "
                        "followed: what lies there is not loaded. Name the folder in [warehouse] raw_links if it is meant"
                    )
                elif _is_folder(entry):
                    folders.append((entry.path, prefix + entry.name + b"/"))
                else:
                    found[prefix + entry.name] = LocalFile(os.fsdecode(entry.path))
        listing.files = {_spelled(path): found[path] for path in sorted(found)}
        return listing

    def tidy(self) -> None:
        pass  # its files are at hand where they lie


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _spelled(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


class StoredObject(RawFile):
    def __init__(self, store: ObjectStore, key: str, stamp: Stamp) -> None:
        self._store, self._key, self._stamp = store, key, stamp
        self.path = store.scratch / hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def stamp(self) -> Stamp:
        return self._stamp

    def open(self) -> Any:
        return self._store.open(self._key)

    @contextmanager
    def local_copy(self, holds: Callable[[IO[bytes]], bool]) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.path.open("wb") as copy, self.open() as stream:
                left = self._stamp.bytes
                while left and (chunk := stream.read(min(_CHUNK, left))):
                    copy.write(chunk)
                    left -= len(chunk)
            with self.path.open("rb") as stream:
                if not holds(stream):
                    raise UnreadableFile("it was written to while it was read")
            yield
        finally:
            self.path.unlink(missing_ok=True)


class _Reading:
    """An object's bytes; if they cannot be had although the store answers, it is the object's fault."""

    def __init__(self, store: ObjectStore, stream: Any) -> None:
        self._store, self._stream = store, stream

    def read(self, size: int) -> bytes:
        with self._store.telling():
            return bytes(self._stream.read(size))

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


class ObjectStore(RawStorage):
    """A folder in a bucket, read by pyarrow: `s3://`, `gs://`, `abfs://`."""

    def __init__(self, url: str, scratch: Path) -> None:
        parts = urlsplit(url)
        # What follows `?` is for the library; it may name the machines of a private store.
        self.name = without_passwords(f"{parts.scheme}://{parts.netloc}{parts.path}")
        self.scratch = scratch / "objects"
        self._url = url
        self._fs: Any = None
        self._base = ""

    def listing(self) -> Listing:
        from pyarrow import fs  # takes long to import, and folders do without

        try:
            found = self._connected().get_file_info(
                fs.FileSelector(self._base, recursive=True, allow_not_found=True)
            )
            if not found:
                self._answer()
        except (OSError, ValueError) as error:
            raise self._explained(error) from error
        now = datetime.now(UTC)
        objects = {
            info.path.removeprefix(self._base + "/"): StoredObject(
                self,
                info.path,
                Stamp(info.size, info.mtime_ns or 0, None, now - info.mtime > _YOUNG),
            )
            for info in found
            if info.type == fs.FileType.File
        }
        in_order = sorted(objects, key=lambda path: path.encode("utf-8", "surrogatepass"))
        return Listing({path: objects[path] for path in in_order})

    def is_there(self) -> bool:
        from pyarrow import fs

        def is_found(path: str) -> bool:
            return bool(self._connected().get_file_info(path).type != fs.FileType.NotFound)

        try:
            if is_found(self._base):
                return True
            if not is_found(self._base.split("/")[0]):
                raise RawStorageError(f"{self.name} cannot be read: {_NO_BUCKET}. Nothing was touched.")
            return False
        except (OSError, ValueError) as error:
            raise self._explained(error) from error

    def open(self, key: str) -> Any:
        with self.telling():
            return _Reading(self, self._connected().open_input_stream(key, compression=None))

    @contextmanager
    def telling(self) -> Iterator[None]:
        """An object that cannot be read is its own trouble (OSError); a store that does not answer is everybody's."""
        try:
            yield
        except OSError as error:
            try:
                self._answer()
            except OSError as reason:
                raise self._explained(reason) from error
            raise OSError(errno.EIO, _first_line(error)) from error

    def tidy(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _connected(self) -> Any:
        if self._fs is None:
            from pyarrow import fs

            self._fs, base = fs.FileSystem.from_uri(self._url)
            self._base = base.rstrip("/")
        return self._fs

    def _answer(self) -> None:
        """Ask for the bucket. Raises OSError."""
        from pyarrow import fs

        bucket = self._base.split("/", 1)[0]
        if self._connected().get_file_info(bucket).type == fs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, f"there is no bucket {bucket}")

    def _explained(self, error: Exception) -> RawStorageError:
        said = _first_line(error)
        upper = said.upper()
        if "NO_SUCH_BUCKET" in upper or isinstance(error, FileNotFoundError) or "NOT FOUND" in upper:
            what = _NO_BUCKET
        elif "ACCESS_DENIED" in upper or "FORBIDDEN" in upper or "403" in upper or "INVALID_ACCESS" in upper:
            what = "no permission to list it; check the credentials in the environment"
        else:
            what = "check the network, the address and the credentials in the environment"
        return RawStorageError(
            f"{self.name} cannot be read: {what}. Nothing was touched. ({without_passwords(said)})"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
