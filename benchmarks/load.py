"""Whole runs of the warehouse against a bare typed DuckDB scan of the same files, in the same session.

Prints a table: wall and CPU seconds and peak memory of each step, as medians, and each as a ratio to the bare
scan. Each step is a process of its own, measured by the operating system when it ends.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

_END = date(2026, 11, 21)
_DAYS = 30
_SCAN = """
import duckdb, glob, sys
root = sys.argv[1]
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
columns = {
    "events": '''{transaction_id: 'VARCHAR',
        request: 'STRUCT("time" TIMESTAMPTZ, headers STRUCT("x-moesif-transaction-id" VARCHAR))',
        response: 'STRUCT(status INTEGER)', session_token: 'VARCHAR', company_id: 'VARCHAR', user_id: 'VARCHAR',
        weight: 'BIGINT', blocked_by: 'VARCHAR'}''',
    "actions": "{request: 'STRUCT(\\"time\\" TIMESTAMPTZ)', action_name: 'VARCHAR', company_id: 'VARCHAR', user_id: 'VARCHAR'}",
    "companies": "{company_id: 'VARCHAR', session_token: 'VARCHAR', modified_time: 'TIMESTAMPTZ', metadata: 'JSON'}",
    "users": "{user_id: 'VARCHAR', company_id: 'VARCHAR', session_token: 'VARCHAR', modified_time: 'TIMESTAMPTZ',"
        " metadata: 'JSON'}",
    "features": "{account_id: 'VARCHAR', user_id: 'VARCHAR', feature_id: 'VARCHAR', module_id: 'VARCHAR', total: 'BIGINT'}",
}
for source, types in columns.items():
    files = glob.glob(f"{root}/{source}/**/*.jsonl", recursive=True)
    if files:
        connection.execute(f"CREATE TEMP TABLE t AS SELECT hash(COLUMNS(*)) FROM read_json($f, columns = {types}, "
                           "format = 'newline_delimited')", {"f": files})
        connection.execute("DROP TABLE t")
"""


@dataclass
class Measured:
    wall: float
    cpu: float
    peak_mb: float


def measure(command: list[str], environment: dict[str, str]) -> Measured:
    """Run a command to its end. Raises SystemExit with its output where it fails."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        child = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if child.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}:\n{output.read().decode()}")
    return Measured(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def median(runs: int, one: Callable[[], Measured]) -> Measured:
    found = [one() for _ in range(runs)]
    return Measured(
        *(
            statistics.median(values)
            for values in zip(*((m.wall, m.cpu, m.peak_mb) for m in found), strict=True)
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--events", type=int, default=2_000_000, help="API calls to generate (default 2,000,000)"
    )
    parser.add_argument("--companies", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3, help="how often each step is measured (default 3)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="warehouse-bench-"))
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        console.print(f"generating {options.events:,} API calls over {_DAYS} days")
        _generate(folder / "raw", options.companies, _DAYS, options.events // _DAYS, _END, seed=7)
        records = sum(_lines(file) for file in (folder / "raw").rglob("*.jsonl"))
        megabytes = sum(f.stat().st_size for f in (folder / "raw").rglob("*") if f.is_file()) / 1e6
        _more(folder / "more", options)
        rows = _steps(folder, options.runs, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = Table(
        title=f"{records:,} records, {megabytes:,.0f} MB, {os.cpu_count()} cores, median of {options.runs}",
        title_justify="left",
    )
    for column in ("step", "wall s", "CPU s", "CPU / bare scan", "records a second", "peak MB"):
        table.add_column(column, justify="left" if column == "step" else "right")
    scan = rows["bare typed scan"]
    for name, m in rows.items():
        whole = name in ("bare typed scan", "first load")
        table.add_row(
            name,
            f"{m.wall:.2f}",
            f"{m.cpu:.2f}",
            f"{m.cpu / scan.cpu:.2f}",
            f"{records / m.wall:,.0f}" if whole else "",
            f"{m.peak_mb:,.0f}",
        )
    console.print(table)


def _generate(folder: Path, companies: int, days: int, events_per_day: int, end: date, seed: int) -> None:
    """Make raw files, in a process of its own: a child's peak memory counts from what its parent held."""
    given = {"days": days, "companies": companies, "events-per-day": events_per_day, "end": end, "seed": seed}
    given["rows-per-file"] = 500_000
    options = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    subprocess.run(
        [sys.executable, "-m", "dagster_project.sample", str(folder), "--clean", *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))


def _more(folder: Path, options: argparse.Namespace) -> None:
    """A night of one percent more: the day after."""
    day_after = _END + timedelta(days=1)
    _generate(folder, options.companies, 1, max(options.events // 100, 200_001), day_after, seed=8)
    # No more than one percent of it is dropped in.
    for file in sorted((folder / "events").rglob("*.jsonl")):
        lines = file.read_bytes().splitlines(keepends=True)[: options.events // 100]
        file.write_bytes(b"".join(lines))


def _steps(folder: Path, runs: int, console: Console) -> dict[str, Measured]:
    data, raw = folder / "data", folder / "raw"
    environment = {
        "WAREHOUSE_DATA": str(data),
        "WAREHOUSE_RAW": str(raw),
        "DAGSTER_HOME": "",
        "WAREHOUSE_CONFIG": "",
    }
    warehouse = [sys.executable, "-m", "dagster_project.cli", "run", "--as-of", str(_END)]

    def first_load() -> Measured:
        shutil.rmtree(data, ignore_errors=True)
        return measure(warehouse, environment)

    rows: dict[str, Measured] = {}

    def step(name: str, one: Callable[[], Measured], times: int = runs) -> None:
        console.print(f"measuring: {name}")
        rows[name] = median(times, one)

    step("bare typed scan", lambda: measure([sys.executable, "-c", _SCAN, str(raw)], {}))
    step("first load", first_load)
    step("import dagster", lambda: measure([sys.executable, "-c", "import dagster"], {}))
    step("nothing new", lambda: measure(warehouse, environment))
    shutil.copytree(folder / "more" / "events", raw / "events", dirs_exist_ok=True)
    step("one percent more", lambda: measure(warehouse, environment), 1)
    return rows


if __name__ == "__main__":
    main()
