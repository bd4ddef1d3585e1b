"""Lines to files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .calls import Call


def write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def join_lines(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def mix_lines(lines: Sequence[bytes], extra: Sequence[bytes]) -> list[bytes]:
    """`extra` strewn evenly among `lines`, both in their order."""
    mixed: list[bytes] = []
    done = 0
    for n, line in enumerate(extra, start=1):
        upto = n * len(lines) // (len(extra) + 1)
        mixed += [*lines[done:upto], line]
        done = upto
    return [*mixed, *lines[done:]]


def chunks_of(calls: Sequence[Call], size: int) -> Iterator[Sequence[Call]]:
    for start in range(0, len(calls), size):
        yield calls[start : start + size]
