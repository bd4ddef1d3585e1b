"""The raw files that whole runs are measured on: invented, seeded, and with some calls sent twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

from dagster_project.standins.sample.bulk import TOKENS

END = date(2026, 11, 21)
DAYS = 30

# One call of so many is sent again, as an SDK does that got no answer.
_RETRIED = 200

# Room that a load takes for each API call: its raw files, and the databases with their copy.
_BYTES_A_CALL, _BYTES_A_WIDE_CALL = 1_000, 12_000


@dataclass(frozen=True)
class Shape:
    """What API calls are like. tokens: whose they carry, as the generator has it. wide: of 2 to 20 KB."""

    tokens: str = TOKENS[0]
    wide: bool = False


USUAL = Shape()


def history(folder: Path, calls: int, companies: int, shape: Shape = USUAL) -> None:
    """A month of everything, with about so many API calls."""
    per_day = max(calls // DAYS, 1)
    _generate(folder, shape, days=DAYS, end=END, companies=companies, events_per_day=per_day, seed=7)
    for file in sorted((folder / "events").rglob("*.jsonl")):
        with file.open("rb") as lines, file.with_name(f"{file.stem}-again.jsonl").open("wb") as again:
            again.writelines(islice(lines, 0, None, _RETRIED))


def night(folder: Path, calls: int, companies: int, shape: Shape = USUAL) -> None:
    """The day after, of API calls only."""
    day_after = END + timedelta(days=1)
    _generate(folder, shape, days=1, end=day_after, companies=companies, events_per_day=max(calls, 1), seed=8)
    for other in folder.iterdir():
        if other.name != "events":
            shutil.rmtree(other)


def records(folder: Path) -> int:
    return sum(_lines(file) for file in folder.rglob("*.jsonl"))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def check_space(folder: Path, calls: int, shape: Shape) -> None:
    """Raises SystemExit where the disk has no room to load so many API calls."""
    needed, free = (
        calls * (_BYTES_A_WIDE_CALL if shape.wide else _BYTES_A_CALL),
        shutil.disk_usage(folder).free,
    )
    if needed > free:
        raise SystemExit(
            f"This takes some {needed / 1e9:.1f} GB below {folder.parent}, which has {free / 1e9:.1f} GB free. Ask for "
            "less (--events, --scales, --peers), or set TMPDIR to a folder on a larger disk."
        )


def _generate(folder: Path, shape: Shape, **given: object) -> None:
    """In a process of its own: a child's peak memory counts from what its parent held."""
    options = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    options += ["--tokens", shape.tokens, *(["--wide"] if shape.wide else [])]
    subprocess.run(
        [sys.executable, "-m", "dagster_project.standins.sample", str(folder), "--bulk", *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))
