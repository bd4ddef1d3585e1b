"""Where large tables lie that a cluster sees: a folder, or a bucket. All that touches their files does so by this.

A file is called by its whole address, as `raw.stored` has it and as DuckDB reads it. In a bucket it is there when all of it is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Set
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .durable import sync

if TYPE_CHECKING:
    from .database import Connection

_SCHEME = "s3"


def storage_at(address: str) -> Storage:
    """What a setting names, or an address in there."""
    return Bucket(address) if "://" in address else Storage(address)


class Storage:
    """A folder. address: without a slash at its end."""

    is_bucket = False

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") if self.is_bucket else str(Path(address))

    def file(self, *names: str) -> str:
        return "/".join([self.address, *names])

    def is_there(self) -> bool:
        """Whether it is there at all, be it empty. Raises OSError where that cannot be told."""
        return Path(self.address).is_dir()

    def files(self, folder: str) -> list[str]:
        """The files in a folder."""
        return sorted(str(file) for file in Path(folder).iterdir() if file.is_file())

    def tidy(self, named: Set[str]) -> None:
        """Remove all files but these and those at the top. Whoever is kept from it leaves it to the next run."""
        where = Path(self.address)
        for path, _, files in os.walk(where, topdown=False):
            left = len(files)
            for name in files:
                file = os.path.join(path, name)
                if file not in named and Path(path) != where:
                    with suppress(OSError):
                        os.unlink(file)
                        left -= 1
            if not left and Path(path).parent != where and Path(path) != where:
                with suppress(OSError):
                    os.rmdir(path)

    def has(self, file: str) -> bool:
        return Path(file).is_file()

    def read(self, file: str) -> bytes:
        """Raises OSError."""
        return Path(file).read_bytes()

    def write(self, file: str, content: bytes) -> None:
        """Raises OSError."""
        Path(file).write_bytes(content)

    def make_room(self, file: str) -> None:
        """Make the folder that a file is to be in."""
        Path(file).parent.mkdir(parents=True, exist_ok=True)

    def keep(self, file: str) -> None:
        """Make sure that a file that was written stays, whatever happens to the machine."""
        sync(Path(file))

    def take_in(self, local: Path, file: str) -> None:
        """Copy a file of this machine's to here. Raises OSError."""
        self.make_room(file)
        shutil.copyfile(local, file)

    def hand_out(self, file: str, target: Path) -> None:
        """Copy a file from here to this machine. Raises OSError."""
        shutil.copyfile(file, target)

    def remove(self, file: str) -> None:
        """Raises OSError."""
        os.unlink(file)

    def remove_below(self, folder: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def of_cluster(self, file: str) -> str:
        """A file or folder as Spark calls it."""
        return f"file://{file}"

    def attach(self, connection: Connection) -> None:
        """Let DuckDB read and write here."""


class Bucket(Storage):
    """A folder in a bucket. Credentials come from the environment, here and on the cluster's workers alike."""

    is_bucket = True

    def __init__(self, address: str) -> None:
        from dagster_project.settings import (
            own_store,
        )  # imports more than a worker that is looked at may have

        super().__init__(address)
        # What this process was told of where the store is goes along to the workers.
        self._url = f"{_SCHEME}://{urlsplit(address).netloc}?{own_store()}"

    @property
    def filesystem(self) -> Any:
        return _filesystem(self._url)

    @staticmethod
    def key(file: str) -> str:
        """A file as pyarrow calls it."""
        return file.removeprefix(f"{_SCHEME}://")

    def is_there(self) -> bool:
        from pyarrow import fs

        found = self.filesystem.get_file_info(urlsplit(self.address).netloc)
        return bool(found.type != fs.FileType.NotFound)

    def _below(self, folder: str) -> tuple[list[str], list[str]]:
        """All files below a folder, and all folders."""
        from pyarrow import fs

        below = fs.FileSelector(self.key(folder), recursive=True, allow_not_found=True)
        found: dict[Any, list[str]] = {fs.FileType.File: [], fs.FileType.Directory: []}
        for one in self.filesystem.get_file_info(below):
            found[one.type].append(f"{_SCHEME}://{one.path.rstrip('/')}")
        return sorted(found[fs.FileType.File]), sorted(found[fs.FileType.Directory])

    def files(self, folder: str) -> list[str]:
        return self._below(folder)[0]

    def tidy(self, named: Set[str]) -> None:
        def is_deep(address: str) -> bool:
            return "/" in address.removeprefix(f"{self.address}/")

        with suppress(OSError):
            files, folders = self._below(self.address)
            for file in files:
                if file not in named and is_deep(file):
                    remove(file)
            # pyarrow leaves an empty object for each folder.
            for folder in filter(is_deep, folders):
                if not any(file.startswith(f"{folder}/") for file in named):
                    self.remove_below(folder)

    def has(self, file: str) -> bool:
        from pyarrow import fs

        return bool(self.filesystem.get_file_info(self.key(file)).type == fs.FileType.File)

    def read(self, file: str) -> bytes:
        with self.filesystem.open_input_stream(self.key(file), compression=None) as stream:
            return bytes(stream.read())

    def write(self, file: str, content: bytes) -> None:
        with self.filesystem.open_output_stream(self.key(file), compression=None) as stream:
            stream.write(content)

    def make_room(self, file: str) -> None:
        pass  # a bucket has no folders

    def keep(self, file: str) -> None:
        pass  # whoever wrote it was told that it is kept

    def take_in(self, local: Path, file: str) -> None:
        with (
            local.open("rb") as source,
            self.filesystem.open_output_stream(self.key(file), compression=None) as target,
        ):
            shutil.copyfileobj(source, target, 1 << 22)

    def hand_out(self, file: str, target: Path) -> None:
        with (
            self.filesystem.open_input_stream(self.key(file), compression=None) as source,
            target.open("wb") as copied,
        ):
            shutil.copyfileobj(source, copied, 1 << 22)

    def remove(self, file: str) -> None:
        self.filesystem.delete_file(self.key(file))

    def remove_below(self, folder: str) -> None:
        with suppress(OSError):
            self.filesystem.delete_dir(self.key(folder))

    def of_cluster(self, file: str) -> str:
        return file

    def attach(self, connection: Connection) -> None:
        if _SCHEME in connection.list_filesystems():
            return
        from fsspec.implementations.arrow import ArrowFSWrapper

        known: dict[str, Any] = {}

        class Arrow(ArrowFSWrapper):  # type: ignore[misc]
            """Asks once for each file: DuckDB would a dozen times, and none is ever written to again."""

            protocol = _SCHEME

            def info(self, path: str, **given: Any) -> Any:
                if path not in known:
                    known[path] = super().info(path, **given)
                return known[path]

            def modified(self, path: str) -> Any:
                return self.info(path)["mtime"]

        connection.register_filesystem(Arrow(self.filesystem))


@cache
def _filesystem(url: str) -> Any:
    from pyarrow import fs

    return fs.FileSystem.from_uri(url)[0]


def remove(file: Path | str) -> None:
    """Remove a file, wherever it lies. What cannot be removed is left over for `tidy`."""
    with suppress(OSError):
        storage_at(str(file)).remove(str(file))


def copy(file: str, target: Path) -> None:
    """Copy a file from where it lies to this machine. Raises OSError."""
    storage_at(file).hand_out(file, target)
