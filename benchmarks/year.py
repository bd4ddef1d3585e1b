"""A year of nights: does a night cost what is new in it, or what has gathered before it? Do files stay small?

Each night a day's files (about 2,000 records of all sources) are put into raw/, and the night's steps are run in this
process. Once a month it is the real command instead, with Dagster. Prints a line a month: CPU seconds of a night by
step, file sizes, free space in them, and bytes a record. `--every 1` takes the command each night: a month of large nights is
`--nights 30 --every 1 --events 1000000 --companies 1000`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from dagster_project.pipeline import nightly
from dagster_project.settings import Settings
from dagster_project.standins.sample.generate import generate
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.publish import is_published, publish

from .measuring import Measured, measure

_END = date(2026, 11, 21)


@dataclass
class Month:
    """Measurements of the nights of a month: CPU seconds by step, of the command, and sizes at its end."""

    nights: list[dict[str, float]] = field(default_factory=list)
    number: int = 0
    command: float = 0.0
    wall: float = 0.0
    peak_mb: float = 0.0
    records: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    free: dict[str, float] = field(default_factory=dict)

    def median(self, step: str) -> float:
        return statistics.median(night[step] for night in self.nights) if self.nights else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--events", type=int, default=1500, help="API calls a night (default 1,500)")
    parser.add_argument("--companies", type=int, default=60)
    parser.add_argument("--every", type=int, default=30, help="nights from one line to the next (default 30)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="warehouse-year-"))
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        generate(
            folder / "drop",
            days=options.nights,
            companies=options.companies,
            events_per_day=options.events,
            seed=7,
            end=_END,
            clean=True,
            rows_per_file=500_000,
        )
        months = list(_months(folder, options.nights, options.every, console))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(_table(months))


def _months(folder: Path, nights: int, every: int, console: Console) -> Iterator[Month]:
    raw = folder / "data" / "raw"
    settings = Settings(data=folder / "data", raw=raw)
    month, records = Month(), 0
    for number in range(1, nights + 1):
        day = _END - timedelta(days=nights - number)
        records += _arrive(folder / "drop", raw, day)
        if number % every == 0:
            cost = _command(settings, day)
            month.number, month.command, month.wall, month.peak_mb = number, cost.cpu, cost.wall, cost.peak_mb
            month.records = records
            month.sizes, month.free = _sizes(settings), _free(settings)
            nights_cpu = sum(month.median(step) for step in ("load", "build", "publish"))
            megabytes = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in month.sizes.items())
            console.print(
                f"night {number}: {nights_cpu:.2f} CPU s a night, {month.command:.1f} the command, {megabytes}"
            )
            yield month
            month = Month()
        else:
            month.nights.append(_night(settings, day))


def _arrive(drop: Path, raw: Path, day: date) -> int:
    """Move what is there by this day into raw/, and say how many records it is."""
    count = 0
    for file in sorted(drop.rglob("*")):
        dated = file.parent.name.removeprefix("dt=") if "dt=" in file.parent.name else ""
        if file.is_file() and (not dated or date.fromisoformat(dated) <= day):
            target = raw / file.relative_to(drop)
            target.parent.mkdir(parents=True, exist_ok=True)
            count += file.read_bytes().count(b"\n")
            file.rename(target)
    return count


def _night(settings: Settings, day: date) -> dict[str, float]:
    """CPU seconds by step."""
    spent: dict[str, float] = {}
    start = _cpu()

    def lap(step: str) -> None:
        nonlocal start
        now = _cpu()
        spent[step], start = spent.get(step, 0) + now - start, now

    with open_warehouse(settings) as connection:
        nightly.load_new_files(connection, settings)
        lap("load")
        nightly.build_tables(connection, settings, as_of=day, run_id=str(day))
        lap("build")
        if not is_published(connection, settings):
            publish(connection, settings)
        lap("publish")
    lap("publish")  # closing writes what the log still holds
    return spent


def _command(settings: Settings, day: date) -> Measured:
    environment = {"WAREHOUSE_DATA": str(settings.data), "WAREHOUSE_RAW": "", "DAGSTER_HOME": ""}
    command = [sys.executable, "-m", "dagster_project.cli", "run", "--as-of", str(day)]
    return measure(command, environment)


def _cpu() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _sizes(settings: Settings) -> dict[str, int]:
    sizes = {
        file.stem: file.stat().st_size
        for file in (settings.raw_file, settings.warehouse_file, settings.analytics_file)
    }
    sizes["dagster"] = sum(f.stat().st_size for f in settings.dagster_home.rglob("*") if f.is_file())
    return sizes


def _free(settings: Settings) -> dict[str, float]:
    """The share of each file that holds nothing."""
    found = {}
    for file in (settings.raw_file, settings.analytics_file):
        with duckdb.connect(str(file), read_only=True) as connection:
            free, total = connection.execute(
                "SELECT free_blocks, total_blocks FROM pragma_database_size()"
            ).fetchall()[0]
        found[file.stem] = free / max(total, 1)
    return found


def _table(months: list[Month]) -> Table:
    table = Table(title="CPU seconds are medians of a night", title_justify="left")
    columns = (
        "to night",
        "records",
        "load",
        "build",
        "publish",
        "night",
        "`warehouse run`",
        "wall s",
        "peak MB",
    )
    for name in (*columns, "raw MB", "free", "warehouse MB", "free", "bytes a record", "dagster MB"):
        table.add_column(name, justify="right")
    for month in months:
        steps = [month.median(step) for step in ("load", "build", "publish")]
        stored = month.sizes["raw"] + month.sizes["warehouse"]
        table.add_row(
            str(month.number),
            f"{month.records:,}",
            *(f"{seconds:.2f}" for seconds in (*steps, sum(steps))),
            f"{month.command:.2f}",
            f"{month.wall:.2f}",
            f"{month.peak_mb:,.0f}",
            f"{month.sizes['raw'] / 1e6:.1f}",
            f"{month.free['raw']:.0%}",
            f"{month.sizes['warehouse'] / 1e6:.1f}",
            f"{month.free['analytics']:.0%}",
            f"{stored / month.records:.0f}",
            f"{month.sizes['dagster'] / 1e6:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
