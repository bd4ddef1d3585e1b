"""The reading stage by itself: every file that other processes may read is read, nothing is decided or stored.

`python -m benchmarks.reading RAW PROCESSES` prints how long it took, without the hashing that numbers files.
"""

from __future__ import annotations

import sys
import time
from itertools import groupby
from pathlib import Path

from dagster_project.pipeline.nightly import utc_now
from dagster_project.readers.raw_storage import LocalFolder
from dagster_project.settings import Settings, load_settings
from dagster_project.sources import all_sources, loading
from dagster_project.sources.reading import Batch
from dagster_project.sources.workers import Workers, may_read
from dagster_project.warehouse import discovery, registry
from dagster_project.warehouse.database import open_warehouse


def main(raw: Path, count: int) -> None:
    settings = load_settings()
    batches = _batches(raw, settings)
    start = time.perf_counter()
    with Workers(settings, 0, count) as workers:
        files = records = 0
        for done in workers.read(iter(batches)):
            files += len(done.loads)
            records += sum(one.records for one in done.loads)
            for rows in done.rows:
                rows.unlink()
    print(f"{files} files, {records:,} records, {time.perf_counter() - start:.2f} s")


def _batches(raw: Path, settings: Settings) -> list[Batch]:
    sources = {source.folder: source for source in all_sources()}
    with open_warehouse(settings) as connection:
        registry.prepare(connection)
        loading.prepare(connection, sources.values())
        found = discovery.discover(
            connection, LocalFolder(raw), [s.as_folder for s in sources.values()], utc_now()
        )
    return [
        Batch(folder, share, {}, settings, None)
        for folder, parts in groupby(found.pending, key=lambda part: part.source)
        for share in loading.shares(list(parts))
        if may_read(share)
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
