"""Our own files and folders: they take another's place in one step, are still there after a power cut, are for nobody else
to read, and are never taken for what lies in their place."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def put_in_place(part: Path, target: Path) -> None:
    """Let a finished file or folder take its place, or another file's. Whoever has the old one open keeps it."""
    sync(part)
    os.replace(part, target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Make sure that a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_PRIVATE = 0o077
_ODD = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def keep_private() -> None:
    """What this process makes from now on is for its own user only: databases, logs, Dagster's storage, backups."""
    os.umask(_PRIVATE)


def make_private(*paths: Path) -> None:
    """Take from others what they may do with files that are there already. Whose they are, may leave them so."""
    for path in paths:
        try:
            mode = path.stat().st_mode
            if mode & _PRIVATE:
                path.chmod(stat.S_IMODE(mode) & ~_PRIVATE)
        except OSError:
            continue


def in_the_way(*files: Path) -> str | None:
    """What lies where one of our files should: a pipe would be waited for, without an end. None: a file, or nothing."""
    for file in files:
        try:
            mode = file.stat().st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            return f"{file} is {_ODD.get(stat.S_IFMT(mode), 'no file')}, where a file of ours belongs: move it away"
    return None


def require_files(*files: Path) -> None:
    """Raises OSError in words where something else lies in the way."""
    if wrong := in_the_way(*files):
        raise OSError(wrong)
