"""One night on this machine and on a Spark cluster of 127.0.0.1, side by side: CPU seconds, wall, and that tables are equal.

python -m benchmarks.spark --events 1200000 --workers 1 2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dagster_project.standins.spark import Cluster, missing

_NIGHT = """
import json, resource, sys, time
from datetime import date, datetime
from pathlib import Path
from dagster_project.pipeline import nightly
from dagster_project.settings import Settings
from dagster_project.warehouse.database import open_warehouse
given = json.loads(sys.argv[1])
settings = Settings.model_validate({**given, "data": Path(given["data"]), "raw": Path(given["raw"])})
began = time.monotonic()
now = datetime(2026, 11, 22, 3)
with open_warehouse(settings) as connection:
    nightly.load_new_files(connection, settings, now=now)
    loaded = time.monotonic()
    nightly.build_tables(connection, settings, as_of=date(2026, 11, 21), now=now)
    wall = time.monotonic() - began
    cpu = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    tables = {}
    for (name,) in connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'warehouse' AND schema_name = 'marts' ORDER BY 1"
    ).fetchall():
        names = [r[0] for r in connection.execute(f"DESCRIBE marts.{name}").fetchall() if r[1] != "BIGINT[]"]
        hashed = ", ".join(f'"{n}"' for n in names)
        tables[name] = str(connection.execute(
            f"SELECT count(*), sum(hash({hashed})), bit_xor(hash({hashed})) FROM marts.{name}").fetchall())
print(json.dumps({"cpu": cpu, "wall": wall, "load_wall": loaded - began, "tables": tables}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_200_000, help="API calls (default: %(default)s)")
    parser.add_argument("--local", type=int, nargs="+", default=[1, 2], help="workers here (default: 1 2)")
    parser.add_argument("--workers", type=int, nargs="+", default=[2], help="of the cluster (default: 2)")
    options = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as name:
        folder = Path(name)
        raw = folder / "raw"
        days = 10
        subprocess.run(
            [
                *(sys.executable, "-m", "dagster_project.standins.sample", str(raw), "--bulk"),
                *("--days", str(days), "--companies", str(max(16, options.events // 1000))),
                *("--events-per-day", str(options.events // days)),
            ],
            check=True,
        )
        size = sum(file.stat().st_size for file in raw.rglob("*") if file.is_file())
        print(f"{options.events:,} API calls, {size / 1e6:,.0f} MB raw", flush=True)
        nights = {n: _night(folder / f"here-{n}", raw, {"workers": n}) for n in options.local}
        for n, night in nights.items():
            print(f"local, {n} worker(s): {night['cpu']:.1f} CPU s, {night['wall']:.1f} s", flush=True)
        here = nights[options.local[0]]
        for workers in options.workers:
            with Cluster(folder / f"cluster-{workers}", workers) as cluster:
                began = cluster.cpu_seconds()
                storage = folder / f"storage-{workers}"
                storage.mkdir()
                engine = {"kind": "spark", "remote": cluster.remote, "storage": str(storage)}
                there = _night(folder / f"there-{workers}", raw, engine)
                cpu = cluster.cpu_seconds() - began
            equal = "equal tables" if there["tables"] == here["tables"] else "DIFFERENT TABLES"
            print(
                f"Spark, {workers} worker(s): {cpu:.1f} CPU s there and {there['cpu']:.1f} here, "
                f"{(cpu + there['cpu']) / here['cpu']:.1f} times the local one, {there['wall']:.1f} s; {equal}",
                flush=True,
            )


def _night(folder: Path, raw: Path, engine: dict[str, Any]) -> dict[str, Any]:
    settings = {"data": str(folder), "raw": str(raw), "engine": engine}
    done = subprocess.run(
        [sys.executable, "-c", _NIGHT, json.dumps(settings)], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
