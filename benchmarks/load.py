"""Whole runs of the warehouse, against the floor and against what a user would pick instead, in the same session.

Each step is a process of its own, measured by the operating system when it ends. Printed: what each step costs, also in
proportion to a bare typed DuckDB scan of the same files; what peers need for the same first load, and whether they come
to the same tables; how cost grows with the data; and which targets are met.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dagster_project.standins.sample.bulk import TOKENS

from . import data, peers
from .measuring import Measured, measure, median

SCAN, FIRST, IMPORT, EMPTY, NIGHT = (
    "bare typed scan",
    "first load",
    "import dagster",
    "nothing new",
    "1 % more API calls",
)
_DATABASES = ("raw.duckdb", "warehouse.duckdb", "analytics.duckdb")


@dataclass
class Scale:
    """The first load of a multiple of the data."""

    calls: int
    first: Measured
    bytes: dict[str, int]

    @property
    def cpu_a_million(self) -> float:
        return self.first.cpu / self.calls * 1e6


@dataclass
class Findings:
    """All that one session measured."""

    records: int = 0
    megabytes: float = 0.0
    steps: dict[str, Measured] = field(default_factory=dict)
    peers: dict[str, peers.Outcome | str] = field(default_factory=dict)  # a text says why one was left out
    scales: dict[int, Scale] = field(default_factory=dict)
    reading: dict[int, Measured] = field(default_factory=dict)  # by the number of processes


@dataclass(frozen=True)
class Target:
    name: str
    measured: str
    limit: str
    is_met: bool | None  # None: not measured


def main() -> None:
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 130)
    folder = Path(tempfile.mkdtemp(prefix="warehouse-bench-"))
    try:
        # A peer's copies take about three times the room of the data.
        data.check_space(
            folder, options.events * max(*options.scales, 4 if options.peers else 1), options.shape
        )
        found = _measure(folder, options, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    targets = _targets(found)
    for table in (_steps_table(found, options.runs), _peers_table(found), _scales_table(found)):
        console.print(table)
    if found.reading:
        console.print(_reading_table(found))
    console.print(_targets_table(targets))
    if options.json:
        options.json.write_text(json.dumps(_as_json(found, targets, options), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--events", type=int, default=2_000_000, help="API calls to generate (default 2,000,000)"
    )
    parser.add_argument("--companies", type=int, help="default: one for each 1,000 API calls")
    parser.add_argument(
        "--tokens",
        choices=TOKENS,
        default=TOKENS[0],
        help="whose session tokens API calls carry (default: %(default)s)",
    )
    parser.add_argument(
        "--wide", action="store_true", help="API calls of 2 to 20 KB, with 100 keys of metadata"
    )
    parser.add_argument(
        "--workers",
        type=lambda text: [int(count) for count in text.split(",")],
        default=[],
        metavar="COUNTS",
        help="measure the reading stage by itself with so many processes, say 1,2,4 (default: not)",
    )
    parser.add_argument("--runs", type=int, default=3, help="how often each step is measured (default 3)")
    parser.add_argument(
        "--scales",
        type=lambda text: sorted({1, *map(int, text.split(","))}),
        default=[1, 4],
        help="multiples of the data for peak memory and growth (default 1,4; 1,4,16 takes long, and with the default "
        "--events some 35 GB of disk)",
    )
    parser.add_argument(
        "--peers",
        type=_peers,
        default=list(peers.PEERS),
        metavar="NAMES",
        help=f"of {','.join(peers.PEERS)} (default: all that can be had), or none",
    )
    parser.add_argument(
        "--peer-runs", type=int, default=1, help="how often each peer is measured (default 1)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    if min(options.events, options.runs, options.peer_runs, *options.scales, *options.workers) < 1:
        parser.error("--events, --runs, --peer-runs, --scales and --workers must be 1 or more")
    options.shape = data.Shape(options.tokens, options.wide)
    options.companies = options.companies or max(options.events // 1000, 1)
    return options


def _peers(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    if unknown := set(names) - set(peers.PEERS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: no such peer")
    return names


# ---------------------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------------------


def _measure(folder: Path, options: argparse.Namespace, console: Console) -> Findings:
    found = Findings()
    console.print(f"generating {options.events:,} API calls over {data.DAYS} days")
    raw, more = folder / "raw", folder / "more"
    data.history(raw, options.events, options.companies, options.shape)
    data.night(more, options.events // 100, options.companies, options.shape)
    found.records, found.megabytes = data.records(raw), data.size(raw) / 1e6
    console.print("warming up")
    _run(folder / "warm", more)()
    sessions = []
    for number in range(1, options.runs + 1):
        console.print(f"measuring the steps, {number} of {options.runs}")
        sessions.append(dict(_steps(folder, raw, more)))
        if number == 1:
            stored = _stored(folder / "loaded")
    found.steps = {name: median([session[name] for session in sessions]) for name in sessions[0]}
    found.scales[1] = Scale(options.events, found.steps[FIRST], stored)
    for count in options.workers:
        console.print(f"measuring the reading stage with {count} processes")
        found.reading[count] = median([_reading(folder, raw, count) for _ in range(options.runs)])
    for name in options.peers:
        console.print(f"measuring {name}")
        found.peers[name] = _peer(name, folder, options.peer_runs)
    shutil.rmtree(raw)
    for factor in options.scales:
        if factor > 1:
            console.print(f"measuring {factor} times the data")
            found.scales[factor] = _scale(
                folder / "scale", options.events * factor, options.companies * factor, options.shape
            )
    return found


def _run(folder: Path, raw: Path, days_later: int = 0) -> Callable[[], Measured]:
    """A night of a warehouse in this folder."""
    as_of = data.END + timedelta(days=days_later)
    environment = {
        "WAREHOUSE_DATA": str(folder),
        "WAREHOUSE_RAW": str(raw),
        "DAGSTER_HOME": "",
        "WAREHOUSE_CONFIG": "",
    }
    command = [sys.executable, "-m", "dagster_project.cli", "run", "--as-of", str(as_of)]
    return lambda: measure(command, environment)


def _steps(folder: Path, raw: Path, more: Path) -> Iterator[tuple[str, Measured]]:
    """Each step once. The next round begins with the same raw files."""
    warehouse = folder / "data"
    shutil.rmtree(warehouse, ignore_errors=True)
    scan = Path(__file__).with_name("bare_scan.py")
    yield SCAN, measure([sys.executable, str(scan), str(raw)], {})
    yield FIRST, _run(warehouse, raw)()
    # Kept for the peers, and for the size that it is before the next night.
    shutil.copytree(warehouse, folder / "loaded", dirs_exist_ok=True)
    yield IMPORT, measure([sys.executable, "-c", "import dagster"], {})
    yield EMPTY, _run(warehouse, raw)()
    arrived = raw / "events" / "more"
    shutil.copytree(more / "events", arrived)
    yield NIGHT, _run(warehouse, raw, days_later=1)()
    shutil.rmtree(arrived)


def _stored(warehouse: Path) -> dict[str, int]:
    return {name: (warehouse / name).stat().st_size for name in _DATABASES}


def _peer(name: str, folder: Path, runs: int) -> peers.Outcome | str:
    try:
        outcomes = [
            peers.first_load(
                name, folder / "raw", folder / "peer", str(data.END), folder / "loaded" / "analytics.duckdb"
            )
            for _ in range(runs)
        ]
    except peers.LeftOut as why:
        return str(why)
    finally:
        shutil.rmtree(folder / "peer", ignore_errors=True)
    return peers.Outcome(
        median([outcome.cost for outcome in outcomes]), max(outcome.differing for outcome in outcomes)
    )


def _reading(folder: Path, raw: Path, count: int) -> Measured:
    """What the processes that read cost, by themselves: nothing is decided or written."""
    shutil.rmtree(folder / "reading", ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.reading", str(raw), str(count)]
    return measure(command, {"WAREHOUSE_DATA": str(folder / "reading"), "WAREHOUSE_CONFIG": ""})


def _scale(folder: Path, calls: int, companies: int, shape: data.Shape) -> Scale:
    try:
        data.history(folder / "raw", calls, companies, shape)
        first = _run(folder / "data", folder / "raw")()
        return Scale(calls, first, _stored(folder / "data"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------
# Targets
# ---------------------------------------------------------------------------------------------------------


def _targets(found: Findings) -> list[Target]:
    steps, scales = found.steps, found.scales
    scan = steps[FIRST].cpu / steps[SCAN].cpu
    night = (steps[NIGHT].cpu - steps[EMPTY].cpu) / steps[FIRST].cpu
    empty = steps[EMPTY].cpu / steps[IMPORT].cpu
    peak = max(scale.first.peak_mb for scale in scales.values())
    largest = max(scales)
    growth = max(
        scales[n].cpu_a_million / scales[1].cpu_a_million - 1 for n in scales if n > 1 or largest == 1
    )
    ran = {name: outcome.cost for name, outcome in found.peers.items() if isinstance(outcome, peers.Outcome)}
    ahead = [
        name for name, cost in ran.items() if cost.cpu > steps[FIRST].cpu and cost.wall > steps[FIRST].wall
    ]
    behind = sorted(set(ran) - set(ahead))
    return [
        Target("(a) first load / bare scan, CPU", f"{scan:.1f} ×", "5 ×", scan <= 5),
        Target(
            "(b) 1 % more, beyond nothing new, of the first load's CPU", f"{night:.1%}", "3 %", night <= 0.03
        ),
        Target("(c) nothing new / import dagster, CPU", f"{empty:.1f} ×", "3 ×", empty <= 3),
        Target(f"(d) peak memory, up to {largest} ×", f"{peak / 1024:.2f} GB", "2 GB", peak <= 2048),
        Target(
            f"(e) CPU per million API calls, up to {largest} ×, against 1 ×",
            f"{growth:+.0%}" if largest > 1 else "not measured",
            "+10 %",
            growth <= 0.1 if largest > 1 else None,
        ),
        Target(
            "(f) ahead of every peer, CPU and wall",
            f"behind {', '.join(behind)}"
            if behind
            else f"ahead of {', '.join(ahead)}"
            if ahead
            else "not measured",
            "every peer",
            not behind if ran else None,
        ),
    ]


# ---------------------------------------------------------------------------------------------------------
# Showing
# ---------------------------------------------------------------------------------------------------------


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _steps_table(found: Findings, runs: int) -> Table:
    table = _table(
        f"{found.records:,} records, {found.megabytes:,.0f} MB, {os.cpu_count()} cores, median of {runs}",
        *("step", "wall s", "CPU s", "CPU / bare scan", "wall / bare scan", "records a second", "peak MB"),
    )
    scan = found.steps[SCAN]
    for name, m in found.steps.items():
        speed = f"{found.records / m.wall:,.0f}" if name in (SCAN, FIRST) else ""
        ratios = (f"{m.cpu / scan.cpu:.2f}", f"{m.wall / scan.wall:.2f}")
        table.add_row(name, f"{m.wall:.2f}", f"{m.cpu:.2f}", *ratios, speed, f"{m.peak_mb:,.0f}")
    return table


def _reading_table(found: Findings) -> Table:
    table = _table("the reading stage by itself", "processes", "wall s", "CPU s", "peak MB", "efficiency")
    fewest = min(found.reading)
    for count, m in sorted(found.reading.items()):
        efficiency = found.reading[fewest].wall * fewest / (m.wall * count)
        table.add_row(str(count), f"{m.wall:.2f}", f"{m.cpu:.2f}", f"{m.peak_mb:,.0f}", f"{efficiency:.0%}")
    return table


def _peers_table(found: Findings) -> Table:
    table = _table(
        "first load by peers", "peer", "wall s", "CPU s", "peak MB", "CPU / ours", "wall / ours", "tables"
    )
    ours = found.steps[FIRST]
    table.add_row(
        "the warehouse", f"{ours.wall:.2f}", f"{ours.cpu:.2f}", f"{ours.peak_mb:,.0f}", "1.00", "1.00", ""
    )
    for name, outcome in found.peers.items():
        if isinstance(outcome, str):
            table.add_row(name, *[""] * 5, f"left out: {outcome}")
            continue
        m = outcome.cost
        ratios = (f"{m.cpu / ours.cpu:.2f}", f"{m.wall / ours.wall:.2f}")
        table.add_row(name, f"{m.wall:.2f}", f"{m.cpu:.2f}", f"{m.peak_mb:,.0f}", *ratios, outcome.verdict)
    return table


def _scales_table(found: Findings) -> Table:
    names = [name.removesuffix(".duckdb") for name in _DATABASES]
    table = _table(
        f"growth; CPU s and MB of {', '.join(_DATABASES)} per million API calls",
        *("scale", "API calls", "wall s", "CPU s", "CPU s / million", "peak MB"),
        *(f"{name} MB" for name in names),
    )
    for factor, scale in found.scales.items():
        table.add_row(
            f"{factor} ×",
            f"{scale.calls:,}",
            f"{scale.first.wall:.1f}",
            f"{scale.first.cpu:.1f}",
            f"{scale.cpu_a_million:.1f}",
            f"{scale.first.peak_mb:,.0f}",
            *(f"{count / scale.calls:.1f}" for count in scale.bytes.values()),
        )
    return table


def _targets_table(targets: list[Target]) -> Table:
    table = _table("targets", "target", "measured", "limit", "")
    for target in targets:
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: "-"}[target.is_met]
        table.add_row(target.name, target.measured, target.limit, verdict)
    return table


def _as_json(found: Findings, targets: list[Target], options: argparse.Namespace) -> dict[str, object]:
    given = {name: str(v) if isinstance(v, Path) else v for name, v in vars(options).items()}
    return {
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "options": given,
        **asdict(found),
        "targets": [asdict(target) for target in targets],
    }


if __name__ == "__main__":
    main()
