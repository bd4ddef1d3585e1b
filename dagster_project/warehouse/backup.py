"""Backups: both databases, as they are together, in a folder of their own; with the files of large tables that a cluster sees.

A folder is a whole backup or none: it gets its name when all of it is written, read back and listed in `backup.json`.
What is published is not in it, as it is a copy; neither are raw files and Dagster's storage.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from dagster_project.settings import Settings

from . import stored
from .database import hold, in_memory, open_warehouse, quoted, require_known_version, version_of_copy
from .durable import keep_private, put_in_place, require_files, sync
from .publish import publish
from .storage import copy, storage_at

_log = logging.getLogger(__name__)
_LIST = "backup.json"


class BackupError(Exception):
    """A backup cannot be made, or is none. The text says why, and what to do."""


def make(settings: Settings, folder: Path) -> int:
    """Copy both databases to a new folder. Returns their size in bytes. Raises BackupError, and leaves no folder."""
    if folder.exists() or folder.is_symlink():
        raise BackupError(f"{folder} is there already: name a new folder")
    if not settings.warehouse_file.exists():
        raise BackupError(f"there is no warehouse in {settings.data} yet")
    part = folder.with_name(f".{folder.name}.part")
    keep_private()
    try:
        shutil.rmtree(part, ignore_errors=True)  # of one that was killed
        part.mkdir(mode=0o700, parents=True)
        with hold(settings) as connection:
            if connection is None:
                raise BackupError(
                    "the databases cannot be read: nothing to make a backup of (see `warehouse run`)"
                )
            for file in _files(settings):
                _log.debug("copying %s", file.name)
                _copy(file, part / file.name)
            copies = [part / file.name for file in _files(settings)]
            for copied in copies:
                version_of_copy(copied)
            # Large tables that lie in files which a cluster sees.
            for name, stored_file in stored.copied_names(connection).items():
                _log.debug("copying %s", name)
                copies.append(part / name)
                copies[-1].parent.mkdir(parents=True, exist_ok=True)
                copy(stored_file, copies[-1])
        listed = {copied.relative_to(part).as_posix(): _hash(copied) for copied in copies}
        made = {"made_at": datetime.now(UTC).isoformat(timespec="seconds"), "sha256": listed}
        (part / _LIST).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
        for copied in (*copies, part / _LIST):
            sync(copied)
        _end(part, folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BackupError(
            f"no backup was made: {_reason(error)}. See to it, and run the same again"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sum((folder / name).stat().st_size for name in listed)


def _stored(folder: Path) -> dict[str, str]:
    """The files of a backup that lay where a cluster sees them, and where that was."""
    with in_memory("250MB", folder) as connection:
        connection.execute(f"ATTACH '{quoted(str(folder / 'raw.duckdb'))}' AS raw (READ_ONLY)")
        return stored.copied_names(connection)


def _end(part: Path, folder: Path) -> None:
    """Give it its name. Where it is not known to be on the disk, it does not keep that. Raises OSError."""
    try:
        put_in_place(part, folder)
    except OSError:
        if not part.exists():
            shutil.rmtree(folder)
        raise


def made_at(folder: Path) -> str:
    """When a backup was made. Raises BackupError where the folder holds none, or not all of it as it was."""
    try:
        require_files(folder / _LIST)
        made = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        wrong = [name for name, sha256 in made["sha256"].items() if _hash(folder / name) != sha256]
        at = str(made["made_at"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BackupError(f"{folder} holds no whole backup: {_reason(error)}") from error
    if wrong:
        raise BackupError(f"{folder}: {', '.join(wrong)} is not as it was written: take another backup")
    return at


def restore(settings: Settings, folder: Path) -> None:
    """Put a backup in the place of the databases, and publish it. Raises BackupError and DatabaseError.

    A crash in the middle leaves databases that do not belong together; a run refuses them, and the same again ends it.
    """
    made_at(folder)
    for file in _files(settings):
        require_known_version(file.name, version_of_copy(folder / file.name))
    try:
        with hold(settings):
            parts = {file: file.with_name(f"{file.name}.part") for file in _files(settings)}
            require_files(*(file.with_name(f"{file.name}.wal") for file in parts))
            for file, part in parts.items():
                part.unlink(missing_ok=True)
                _log.debug("copying %s", file.name)
                _copy(folder / file.name, part)
            for name, stored_file in _stored(folder).items():
                storage = storage_at(stored_file)
                if not storage.has(stored_file):
                    _log.debug("copying %s", name)
                    storage.take_in(folder / name, stored_file)
            for file, part in parts.items():
                # What was not yet written into the database that goes; it would be applied to the one that comes.
                file.with_name(f"{file.name}.wal").unlink(missing_ok=True)
                put_in_place(part, file)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BackupError(
            f"the backup is not restored: {_reason(error)}. See to it, and run the same again"
        ) from error
    with open_warehouse(settings) as connection:
        _log.debug("publishing analytics.duckdb")
        publish(connection, settings)


def _files(settings: Settings) -> tuple[Path, Path]:
    """The databases, in the order in which they are put back: a newer warehouse.duckdb with an older raw.duckdb is refused."""
    return settings.raw_file, settings.warehouse_file


def _copy(source: Path, target: Path) -> None:
    # In a process of its own: closing a database's file in this one would drop DuckDB's lock on it.
    subprocess.run(["cp", "--", str(source), str(target)], capture_output=True, text=True, check=True)


def _hash(file: Path) -> str:
    require_files(file)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr).strip()
    return (
        f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)
    )
