"""What a disk may hold after a power cut, from a record of what was asked of it (`recorder.c`).

Of a file: what was there at its last sync, and of each later write all, nothing, or some first sectors; in any order, as a
later one may be there without an earlier one. Of names: a file system keeps their changes in order, so a first part of
them is there: at least up to the last sync of a folder, or to the creation of a file that was synced.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("<IIIIQQ")
_SECTOR = 512


@dataclass(frozen=True)
class Record:
    """kind: c(reated), w(ritten), t(runcated), s(ynced), r(enamed), l(inked), u(nlinked), m(ade), d(irectory removed)."""

    kind: str
    path: str
    other: str
    offset: int
    data: bytes


def read(file: Path) -> list[Record]:
    records, blob, at = [], memoryview(file.read_bytes()), 0
    while at < len(blob):
        kind, path, other, _, offset, size = _HEAD.unpack_from(blob, at)
        at += _HEAD.size
        names = bytes(blob[at : at + path + other]).decode()
        at += path + other
        held = size if chr(kind) == "w" else 0
        records.append(Record(chr(kind), names[:path], names[path:], offset, bytes(blob[at : at + held])))
        at += held
    return records


@dataclass
class _Inode:
    durable: bytearray = field(default_factory=bytearray)
    since: list[Record] = field(default_factory=list)


class Disk:
    """A folder's files as a night found them, and all that was asked since."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first = {
            str(path): _Inode(bytearray(path.read_bytes())) for path in folder.glob("*") if path.is_file()
        }
        self.now = dict(self.first)
        self.names: list[tuple[Record, _Inode | None]] = []
        self.sure = 0  # how many changes of names are on the disk for sure
        self.made: dict[int, int] = {}

    def take(self, record: Record) -> None:
        if record.kind == "s":
            inode = self.now.get(record.path)
            if inode is None:
                self.sure = len(self.names)  # a folder
                return
            for change in inode.since:
                _apply(inode.durable, change, len(change.data))
            inode.since = []
            self.sure = max(self.sure, self.made.get(id(inode), 0))
        elif record.kind in "wt":
            if (inode := self.now.get(record.path)) is not None:
                inode.since.append(record)
        else:
            inode = _Inode() if record.kind == "c" else None
            self.names.append((record, inode))
            if inode is not None:
                self.made[id(inode)] = len(self.names)
            _rename(self.now, record, inode)

    def after_a_cut(self, dice: random.Random) -> dict[str, bytes]:
        """One of the states that the power may leave, by path."""
        names = dict(self.first)
        for record, inode in self.names[: dice.randint(self.sure, len(self.names))]:
            _rename(names, record, inode)
        kept = dice.choice([0.0, 0.5, 0.9, 1.0])
        return {path: _what_is_left(inode, dice, kept) for path, inode in names.items()}


def _rename(names: dict[str, _Inode], record: Record, inode: _Inode | None) -> None:
    if record.kind == "c" and inode is not None:
        names[record.path] = inode
    elif record.kind == "u":
        names.pop(record.path, None)
    elif record.kind in "rl" and record.path in names:
        names[record.other] = names[record.path]
        if record.kind == "r":
            del names[record.path]


def _what_is_left(inode: _Inode, dice: random.Random, kept: float) -> bytes:
    content = bytearray(inode.durable)
    for change in inode.since:
        if dice.random() < kept:
            _apply(content, change, len(change.data))
        elif change.data and dice.random() < 0.3:  # torn
            _apply(content, change, dice.randrange(0, len(change.data) + 1, _SECTOR))
    return bytes(content)


def _apply(content: bytearray, change: Record, length: int) -> None:
    if change.kind == "t":
        del content[change.offset :]
        content.extend(bytes(max(0, change.offset - len(content))))
    elif length:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + length] = change.data[:length]


def states(
    folder: Path, records: Sequence[Record], moments: Sequence[int], dice: random.Random
) -> Iterator[tuple[int, dict[str, bytes]]]:
    """What may be left after cuts behind each of some records. folder: as it was before the first of them."""
    disk, wanted = Disk(folder), set(moments)
    for number, record in enumerate(records, 1):
        disk.take(record)
        if number in wanted:
            yield number, disk.after_a_cut(dice)
