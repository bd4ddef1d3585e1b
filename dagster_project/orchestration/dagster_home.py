"""Dagster's folder: its settings (`dagster.yaml`) are there, whole and of this release, and so is what they name.

Dagster is not imported here, and none of its databases is opened.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from dagster_project.settings import project_root
from dagster_project.warehouse.durable import keep_private, make_private, put_in_place, require_files

_log = logging.getLogger(__name__)
_SETTINGS = "dagster.yaml"
# What is opened here and by Dagster: in the place of one, a pipe would be waited for without an end.
_FILES = (
    *(_SETTINGS, f"{_SETTINGS}.torn", "opening.lock"),
    *("event_log.db", "index.db", "history/runs.db", "history/runs/index.db", "schedules/schedules.db"),
)
_BEING_MADE = 60  # seconds: another process makes it
_CONSOLIDATED = "ConsolidatedSqliteEventLogStorage"
_STORAGES = ("storage", "run_storage", "event_log_storage", "schedule_storage")
# A storage of ours, which older releases named: our classes, of which nothing is left.
_OURS = re.compile(
    r"^(?:run|event_log|schedule)_storage:[^\n]*\n(?:[ \t]+[^\n]*\n)*?[ \t]+module: dagster_project\.event_log\n"
    r"(?:[ \t]+[^\n]*\n)*",
    re.MULTILINE,
)
_STORAGE = re.compile(r"^event_log_storage:[^\n]*\n(?:[ \t]+[^\n]*\n)*", re.MULTILINE)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """One process at a time: two that make Dagster's databases at once damage them."""
    with (home / "opening.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_ready(home: Path) -> None:
    """Make the folder and its settings where they are missing or torn, and bring them to this release. Raises OSError.

    Records of releases before this one could hold rows of people. They are removed whole; the list of runs stays, and
    which schedules are on.
    """
    keep_private()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_private(home)
    require_files(*(home / name for name in _FILES), *(home / "alive").glob("*"))
    _set_aside_torn(home / "event_log.db")
    if _settled(home) == _text(home) and not _old_records(home):
        return
    with alone(home):
        if (settled := _settled(home)) != _text(home):
            _write(home / _SETTINGS, settled)
        for folder in _old_records(home):
            _log.info("removing %s: what Dagster recorded in it may hold rows of people", folder)
            shutil.rmtree(folder)


def _set_aside_torn(file: Path) -> None:
    """An event log that is empty, cut off or no database is put aside: a night goes on, a new one is made.

    It is what Dagster shows of earlier runs. Of other databases of Dagster's a person decides.
    """
    try:
        found = file.stat()
        size = found.st_size
        with file.open("rb") as stream:
            head = stream.read(100)
    except FileNotFoundError:
        return
    log = file.with_name(f"{file.name}-wal")
    pages, page = int.from_bytes(head[28:32]), int.from_bytes(head[16:18])
    is_whole = head.startswith(b"SQLite format 3\0") and (
        size >= pages * (65536 if page == 1 else page)
        or head[24:28] != head[92:96]  # it does not say how long it is
        or log.exists()
    )
    if is_whole or (not size and (log.exists() or time.time() - found.st_mtime < _BEING_MADE)):
        return
    _log.warning(
        "%s is torn: it is made anew, without what Dagster recorded of earlier runs; as it was: %s.torn",
        file,
        file.name,
    )
    os.replace(file, file.with_name(f"{file.name}.torn"))
    for left in (log, file.with_name(f"{file.name}-shm")):
        left.unlink(missing_ok=True)


def _text(home: Path) -> str | None:
    """What the settings say; None: there are none."""
    try:
        return (home / _SETTINGS).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _settled(home: Path) -> str:
    """What the settings should say: as they are, but for storages of older releases; the shipped ones where they are torn."""
    shipped = (project_root() / "deploy" / _SETTINGS).read_text(encoding="utf-8")
    text = _text(home)
    if text is None or not text.strip("\0 \n") or shipped.startswith(text):
        return shipped
    known = _parsed(text)
    if known is None:
        _log.warning(
            "%s is torn, or no YAML: it is made anew; as it was: %s.torn", home / _SETTINGS, _SETTINGS
        )
        shutil.copyfile(home / _SETTINGS, home / f"{_SETTINGS}.torn")
        return shipped
    without = _OURS.sub("", text)
    if without != text or not any(name in known for name in _STORAGES):
        storage = _STORAGE.search(shipped)
        assert storage is not None
        without = without.replace("dagster._core.storage.noop", "dagster.core.storage.noop")
        return f"{without.rstrip()}\n{storage[0]}"
    return text


def _parsed(text: str) -> dict[str, object] | None:
    try:
        known = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return known if isinstance(known, dict) else None


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.write_text(text, encoding="utf-8")
    put_in_place(part, file)


def _old_records(home: Path) -> list[Path]:
    """Folders of events and of what steps printed, which this release does not write to."""
    text = _text(home)
    if text is None or _CONSOLIDATED not in text:
        return []
    return [
        folder for folder in (home / "history/runs", *home.glob("storage/*/compute_logs")) if folder.is_dir()
    ]
