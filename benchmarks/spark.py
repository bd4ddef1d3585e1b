"""Nights on this machine and on a Spark cluster of 127.0.0.1, side by side: CPU seconds, wall, and that tables are equal.

python -m benchmarks.spark --events 1200000 --workers 1 2
python -m benchmarks.spark --events 2000000 --local 1 --nights 2 --full
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dagster_project.standins.spark import Cluster, missing

from . import data

# Not compared: where tables lie, when a file was looked at, what was built from which version.
_NIGHT = """
import json, resource, sys, time
from datetime import date, datetime, timedelta
from pathlib import Path
from dagster_project.pipeline import nightly
from dagster_project.settings import Settings
from dagster_project.spark.session import operations
from dagster_project.warehouse.database import open_warehouse
given = json.loads(sys.argv[1])
settings = Settings.model_validate({**given["settings"], "data": Path(given["data"]), "raw": Path(given["raw"])})
began = time.monotonic()
now = datetime(2026, 11, 22, 3) + timedelta(days=given["number"])
with open_warehouse(settings) as connection:
    nightly.load_new_files(connection, settings, now=now, full=given["full"])
    loaded = time.monotonic()
    nightly.build_tables(connection, settings, as_of=date(2026, 11, 21), now=now)
    wall = time.monotonic() - began
    cpu = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    left_out = ("paths", "versions", "stored", "storage", "builds", "schema_version", "compactions", "erasure_key",
        "check_results", "changed_days")
    tables = {}
    for schema, name in connection.execute('''
        SELECT DISTINCT table_schema, table_name FROM (
            SELECT database_name || '.' || schema_name AS table_schema, table_name FROM duckdb_tables()
            UNION ALL SELECT database_name || '.' || schema_name, view_name FROM duckdb_views() WHERE NOT internal
        ) WHERE table_schema IN ('raw.main', 'warehouse.core', 'warehouse.marts', 'warehouse.ops')
        ORDER BY ALL''').fetchall():
        if name not in left_out:
            # Histograms are lists in no order.
            hashed = ", ".join(
                f'list_sort("{r[0]}")' if r[1] == "BIGINT[]" else f'"{r[0]}"'
                for r in connection.execute(f"DESCRIBE {schema}.{name}").fetchall()
            )
            tables[f"{schema}.{name}"] = str(connection.execute(
                f"SELECT count(*), sum(hash({hashed})), bit_xor(hash({hashed})) FROM {schema}.{name}").fetchall())
print(json.dumps({"cpu": cpu, "wall": wall, "asked": len(operations()), "tables": tables}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_200_000, help="API calls (default: %(default)s)")
    parser.add_argument(
        "--raw", type=Path, help="raw files that are there already (on the file system of TMPDIR), instead"
    )
    parser.add_argument("--local", type=int, nargs="+", default=[1, 2], help="workers here (default: 1 2)")
    parser.add_argument("--workers", type=int, nargs="*", default=[2], help="of the cluster (default: 2)")
    parser.add_argument("--nights", type=int, default=1, help="the files come in over so many (default: 1)")
    parser.add_argument("--full", action="store_true", help="a full rebuild after them")
    options = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as name:
        folder = Path(name)
        raw = options.raw
        if raw is None:
            raw = folder / "raw"
            data.check_space(folder, 4 * options.events, data.USUAL)
            data.history(raw, options.events, max(16, options.events // 1000))
        print(f"{data.records(raw / 'events'):,} API calls, {data.size(raw) / 1e6:,.0f} MB raw", flush=True)
        given = {"raw": raw, "nights": options.nights, "full": options.full}
        here: list[dict[str, Any]] = []
        for n in options.local:
            nights = list(_life(folder / f"here-{n}", {"engine": {"workers": n}}, **given))
            here = here or nights
            for night in nights:
                print(
                    f"local, {n} worker(s), {night['step']}: {night['cpu']:.1f} CPU s, {night['wall']:.1f} s",
                    flush=True,
                )
        for workers in options.workers:
            with Cluster(folder / f"cluster-{workers}", workers) as cluster:
                storage = folder / f"storage-{workers}"
                storage.mkdir()
                engine = {"kind": "spark", "remote": cluster.remote, "storage": str(storage)}
                life = _life(
                    folder / f"there-{workers}", {"engine": engine}, cpu=cluster.cpu_seconds, **given
                )
                for wanted, night in zip(here, life, strict=True):
                    _compare(workers, wanted, night)


def _compare(workers: int, here: dict[str, Any], there: dict[str, Any]) -> None:
    differing = sorted(
        name
        for name in {*here["tables"], *there["tables"]}
        if here["tables"].get(name) != there["tables"].get(name)
    )
    print(
        f"Spark, {workers} worker(s), {there['step']}: {there['cluster']:.1f} CPU s there and {there['cpu']:.1f} here, "
        f"{(there['cluster'] + there['cpu']) / here['cpu']:.1f} times the local one, {there['wall']:.1f} s, "
        f"{there['asked']} statements; "
        + (
            f"DIFFERENT TABLES: {', '.join(differing)}"
            if differing
            else f"{len(here['tables'])} tables equal"
        ),
        flush=True,
    )


def _life(
    folder: Path,
    settings: dict[str, Any],
    *,
    raw: Path,
    nights: int,
    full: bool,
    cpu: Callable[[], float] = lambda: 0.0,
) -> Iterator[dict[str, Any]]:
    """Nights, one process each; then a full rebuild. cpu: what a cluster has used so far."""
    own = folder / "raw"
    arriving = _by_night(raw, nights)
    for number in range(nights + full):
        for file in arriving[number] if number < nights else ():
            target = own / file.relative_to(raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, target)
        given = {
            **{"data": str(folder / "data"), "raw": str(own), "settings": settings},
            **{"number": number, "full": number == nights},
        }
        before = cpu()
        done = subprocess.run(
            [sys.executable, "-c", _NIGHT, json.dumps(given)], check=True, stdout=subprocess.PIPE, text=True
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        step = "full rebuild" if number == nights else f"night {number + 1}"
        yield {**found, "cluster": cpu() - before, "step": step}


def _by_night(raw: Path, nights: int) -> list[list[Path]]:
    """The files by the night in which they come: in the order of their days; what was sent again, the night after."""
    files = sorted(file for file in raw.rglob("*") if file.is_file())
    days = sorted({day for file in files for day in re.findall(r"\d{4}-\d\d-\d\d", str(file))})
    found: list[list[Path]] = [[] for _ in range(nights)]
    for file in files:
        dated = re.findall(r"\d{4}-\d\d-\d\d", str(file))
        number = days.index(dated[-1]) * nights // len(days) if dated else 0
        found[min(number + file.stem.endswith("-again"), nights - 1)].append(file)
    return found


if __name__ == "__main__":
    main()
