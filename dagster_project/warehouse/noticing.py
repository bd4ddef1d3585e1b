"""What a look at raw/ notices that is no error: files that were rewritten, delivered again, or are gone; folders misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from dagster_project.readers.files import FilePart

from .database import Connection
from .identity import File, Files, dated_folder
from .numbered import Path
from .registry import Folder, Warning

STAYS = "the path held file {} before, which stays loaded"
TAKEN_BACK = "the path held file {} before, which was withdrawn"


def rewritten(overwritten: Mapping[int, str], files: Files, new: Sequence[File]) -> Iterator[Warning]:
    """Files whose path holds another content now (overwritten: to that path), which is noted of what is new there."""
    for seq, path in overwritten.items():
        held = files.by_seq.get(seq)
        if held is None or not held.is_loaded or files.is_there(seq) or not _holds_records(held):
            continue
        for file in new:
            if file.path == path:
                file.note = STAYS.format(seq)
        yield Warning(
            "rewritten",
            path,
            f"{path} was rewritten: loaded besides what it held before",
            f"if the old content (file {seq}) is not to count: warehouse withdraw {seq}",
        )


def delivered_again(files: Files, replacing: Collection[str]) -> Iterator[Warning]:
    """Files that are gone from a dated folder into which another came. replacing: sources of which an older one goes."""
    here: dict[tuple[str, str], File] = {}
    for seq, paths in files.standing.items():
        file = files.by_seq.get(seq)
        for path in paths:
            if file is not None and (folder := dated_folder(path)):
                before = here.get((file.source, folder))
                here[file.source, folder] = file if before is None or before.file_seq < seq else before
    for file in files.by_seq.values():
        folder = dated_folder(file.path)
        other = here.get((file.source, folder)) if folder else None
        if other is None or other.file_seq < file.file_seq or other.first_seen_at == file.first_seen_at:
            continue
        seq = file.file_seq
        if file.is_loaded and file.source not in replacing and not files.is_there(seq):
            yield Warning(
                "delivered_again",
                f"file {seq}",
                f"{file.path} (file {seq}) is gone, and {other.path} came into {folder}: delivered again?",
                f"if what it held is not to count: warehouse withdraw {seq}",
            )


def misspelt(unknown: Iterable[str], folders: Iterable[Folder]) -> Iterator[Warning]:
    """Folders that are no source's, and nearly one's name. unknown: paths that no source reads."""
    names = {folder.name for folder in folders}
    tops = {name.split("/", 1)[0] for name in names}
    for top in sorted({path.split("/", 1)[0] for path in unknown if "/" in path} - tops):
        for near in difflib.get_close_matches(top.lower(), names, n=1, cutoff=0.7):
            yield Warning(
                "source_unknown",
                f"{top}/",
                f"{top}/ is no source's folder: what lies there is left alone",
                f"is {near}/ meant?",
            )


def emptied(paths: Iterable[Path]) -> Iterator[Warning]:
    """raw/ is there, and nothing in it any more. paths: as they were known."""
    if there := sum(not path.gone for path in paths):
        message = f"raw/ is empty: {there} files were there at the last run"
        yield Warning("gone", "raw/", message, "is the disk mounted?")


def gone_before_loaded_again(connection: Connection, pending: Iterable[FilePart]) -> Iterator[Warning]:
    """A rebuild or a withdrawal found them in raw/; the run that was to load them again does not."""
    coming = {part.file_seq for part in pending}
    rows = connection.execute(
        "SELECT file_seq, path FROM raw.files WHERE replay_position IS NOT NULL ORDER BY 1"
    )
    for seq, path in rows.fetchall():
        if seq not in coming:
            yield Warning(
                "gone",
                f"file {seq}",
                f"{path} (file {seq}) is to be loaded again, and is gone: none of its records count",
                f"put it back; or, if what it held is not to count: warehouse withdraw {seq}",
            )


def _holds_records(file: File) -> bool:
    return bool(file.bytes if file.end_byte is None else file.end_byte)
