"""Fuzzing of the readers: files made from a kept corpus, what is odd about each, and how many an hour.

    .venv/bin/python tests/fuzzing.py --seconds 3600 --seed 1     # says how many it tried; what is new is kept in tests/corpus/

A file must end in records or in UnreadableFile, in no time to speak of; each record at a place behind the one before; the
same at a second reading; and what `read_content` hashes must be what is read. What a file makes the readers say (reasons,
repairs, errors, without their values) are its signs: a file with a sign that was not met before joins the corpus, and
others are made from it. A file that breaks a rule is kept as `tests/corpus/broken-…`: it is run by `make test` from then on.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import zstandard

from dagster_project.readers import json_records, table_records
from dagster_project.readers.contents import read_content
from dagster_project.readers.csv_records import Columns
from dagster_project.readers.files import FilePart, UnreadableFile
from dagster_project.readers.raw_storage import LocalFile

CORPUS = Path(__file__).parent / "corpus"
FORMATS = ("jsonl", "json", "csv", "jsonl.gz", "csv.zst", "xlsx", "zip", "parquet")
_SECONDS = 20  # that one small file may take
_LARGEST = 4096
_CSV = Columns(needed=[("account_id",), ("user_id",)], fields=("account_id", "user_id", "total"))
_TOKENS = [
    *(
        b'"',
        b"'",
        b"\\",
        b"\\u",
        b"\\ud83d",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b";",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\x80",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"null",
        b"NaN",
        b"-Infinity",
    ),
    *(
        b"1e999",
        b"0.1e-400",
        b"12345678901234567890123",
        b"42.0",
        b'{"a":',
        b"[[",
        b"]]",
        b'""',
        b'"""',
        b"sep=;\n",
        b"true",
    ),
    *(
        b"account_id,user_id,total\n",
        b'="1"',
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"PK\x03\x04",
        b"PAR1",
        b" " * 70,
        b"[" * 300,
    ),
]


class Broken(AssertionError):
    """A reader broke a rule."""


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def over(_: int, __: FrameType | None) -> None:
        raise Broken(f"it takes more than {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def signs_of(data: bytes, format: str, folder: Path) -> set[str]:
    """What the readers say of a file, without its values. Raises Broken."""
    file = folder / f"file.{format}"
    file.write_bytes(data)
    with _limit(_SECONDS):
        try:
            content = read_content(file.name, LocalFile(str(file)), lambda _: ())
            said = [_read(file, content.sha256, content.bytes) for _ in range(2)]
        except UnreadableFile as error:
            return {f"{format}: unreadable, {_plain(str(error))}"}
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
    if said[0] != said[1]:
        raise Broken("a second reading differs from the first")
    return {f"{format}: {sign}" for sign in said[0]}


def _read(file: Path, sha256: str, size: int) -> set[str]:
    part = FilePart(
        *(1, "features", file.name, LocalFile(str(file)), 0, 0, size, None),
        *(datetime(2026, 4, 1, tzinfo=UTC).replace(tzinfo=None), size, sha256),
    )
    notes: set[str] = set()
    if file.suffix in (".csv", ".zst", ".xlsx", ".zip"):
        records = table_records.read(
            part, _CSV, lambda _, what, __: notes.add(what), grows=file.suffix == ".csv"
        )
    elif file.suffix == ".parquet":
        from dagster_project.readers import parquet_records

        records = parquet_records.read(part)
    else:
        records = json_records.read(part, exact=True)
    kinds, last, count = set(notes), (0, 0), 0
    try:
        with part.local_copy():
            for record in records:
                at = record.line, record.element
                if at <= last:
                    raise Broken(f"a record at {at} comes after one at {last}")
                last, count = at, count + 1
                text = record.raw()
                text.encode()
                kinds.add(type(record.value).__name__)
                kinds |= {what for what, _ in record.repairs}
                if record.bad:
                    kinds.add(f"{record.bad_reason}: {_plain(record.bad)}")
                kinds.add("unfinished" if record.unfinished else "whole")
    except UnreadableFile as error:
        kinds.add(f"unreadable: {_plain(str(error))}")
    return kinds | {f"{min(count, 2)} records"}


def _plain(text: str) -> str:
    """A message without its values."""
    return re.sub(r"[^a-zA-Z ,:]+", "#", re.sub(r"'[^']*'|\"[^\"]*\"", "V", text))[:40]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def changed(dice: random.Random, corpus: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """A new file, made from one of the corpus."""
    format, data = dice.choice(corpus)
    packed = format.rpartition(".")[2]
    is_packed = packed in ("gz", "zst") and dice.random() < 0.8
    content = bytearray(_unpacked(data, packed) if is_packed else data)
    for _ in range(dice.choice([1, 1, 2, 4, 8])):
        at = dice.randint(0, len(content))
        how = dice.randrange(7)
        if how == 0 and content:
            content[min(at, len(content) - 1)] ^= 1 << dice.randrange(8)
        elif how == 1:
            content[at:at] = dice.choice(_TOKENS)
        elif how == 2:
            del content[at : at + dice.choice([1, 2, 8, 64])]
        elif how == 3:
            other = dice.choice(corpus)[1]
            start = dice.randint(0, len(other))
            content[at:at] = other[start : start + dice.randint(1, 64)]
        elif how == 4:
            content[at:] = b""
        elif how == 5:
            piece = content[at : at + dice.randint(1, 64)]
            content[at:at] = piece * dice.choice([1, 2, 20])
        else:
            content[at : at + 1] = dice.randbytes(dice.randint(1, 4))
    made = bytes(content[:_LARGEST])
    if is_packed:
        made = gzip.compress(made, mtime=0) if packed == "gz" else zstandard.compress(made)
    return dice.choice([format, format, format, dice.choice(FORMATS)]), made


def _unpacked(data: bytes, packed: str) -> bytes:
    try:
        if packed == "gz":
            return gzip.decompress(data)
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 20)
    except Exception:  # of the corpus, where it holds broken ones: those are changed as they are
        return data


def kept() -> list[tuple[str, bytes]]:
    """The corpus: format and bytes."""
    return [
        (file.name.partition(".")[2], file.read_bytes())
        for file in sorted(CORPUS.iterdir())
        if file.is_file()
    ]


def fuzz(seed: int, seconds: float, most: int, folder: Path, *, keeps: bool = False) -> tuple[int, int]:
    """Try files until the time is over, or so many. Returns how many, and how many with new signs. Raises Broken."""
    dice, corpus, started, tried = random.Random(seed), kept(), time.monotonic(), 0
    known = set().union(*(signs_of(data, format, folder) for format, data in corpus))
    found = 0
    while tried < most and time.monotonic() - started < seconds:
        format, data = changed(dice, corpus)
        tried += 1
        try:
            signs = signs_of(data, format, folder)
        except Broken as error:
            name = f"broken-{_hash(data)}.{format}"
            (CORPUS / name if keeps else folder / name).write_bytes(data)
            raise Broken(f"seed {seed}, file {tried}, {format}: {error}: {data[:300]!r}") from error
        if not signs <= known:
            known |= signs
            found += 1
            corpus.append((format, data))
            if keeps:
                (CORPUS / f"{_hash(data)}.{format}").write_bytes(data)
    return tried, found


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", action="store_true", help="files with new signs join tests/corpus/")
    given = options.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tried, found = fuzz(given.seed, given.seconds, 1 << 60, Path(folder), keeps=given.keep)
    hour = tried / (time.monotonic() - started) * 3600
    print(f"{tried:,} files, {hour:,.0f} an hour; {found} with new signs; {len(kept())} in the corpus")
    return 0


if __name__ == "__main__":
    sys.exit(main())
