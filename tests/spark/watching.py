"""What a cluster is asked for, as tests want to know it: that it does the work however little there is, and did it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from dagster_project.sources import on_spark
from dagster_project.sources.reading import Batch, Read
from dagster_project.spark import engine


@contextmanager
def watched() -> Iterator[Counter[str]]:
    """A context in which a cluster does all that it can do. Counts what it did: shares read, tables made, tables written to."""
    did: Counter[str] = Counter()
    taken, fetch, write = on_spark.SparkReaders._taken, engine.Spark._fetch, engine.Spark.insert

    def taking(self: Any, batch: Batch, parts: Sequence[bytes]) -> Read:
        did["read"] += 1
        return taken(self, batch, parts)

    def fetching(self: Any, connection: Any, found: Any, columns: Any, table: str) -> None:
        did[table] += 1
        fetch(self, connection, found, columns, table)

    def inserting(self: Any, connection: Any, table: Any, rows: Any, *more: Any) -> None:
        did[table.name] += bool(rows.files)
        write(self, connection, table, rows, *more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(on_spark, "SMALLEST_BYTES", 0)
        patched.setattr(engine, "SMALLEST_ROWS", 0)
        patched.setattr(on_spark.SparkReaders, "_taken", taking)
        patched.setattr(engine.Spark, "_fetch", fetching)
        patched.setattr(engine.Spark, "insert", inserting)
        yield did
