"""Parquet files in a bucket, read and written by Python on a cluster's workers.

Spark itself has no class for `s3://` unless whoever runs it has added one; pyarrow, which reading needs anyway, has. What
these functions import is there on every worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from dagster_project.warehouse.storage import Bucket

_ROWS = 100_000  # that are handed on at once


def read(spark: Any, bucket: Bucket, files: Sequence[str], taken: Sequence[str]) -> Any:
    """Columns of files, as a relation: a task a file."""
    import pyarrow as pa
    from pyarrow import parquet

    of_file = parquet.read_schema(bucket.key(files[0]), filesystem=bucket.filesystem)
    nulls = {name: pa.nulls(1, of_file.field(name).type) for name in taken}
    wanted = spark.createDataFrame(pa.table(nulls)).schema
    # `range` gives a task a row; a table that is divided does not.
    return spark.range(0, len(files), 1, len(files)).mapInArrow(
        partial(_read, bucket, list(files), list(taken)), wanted
    )


def _read(bucket: Bucket, files: Sequence[str], taken: Sequence[str], rows: Iterable[Any]) -> Iterator[Any]:
    from pyarrow import parquet

    for batch in rows:
        for number in batch.column(0).to_pylist():
            with parquet.ParquetFile(bucket.key(files[number]), filesystem=bucket.filesystem) as file:
                for found in file.iter_batches(_ROWS, columns=list(taken)):
                    yield found.select(taken)


def write(rows: Any, bucket: Bucket, folder: str) -> list[str]:
    """Write a relation to files of a folder, one for each task. Returns those that count; others are left over."""
    written = rows.mapInArrow(partial(_write, bucket, folder), "file string").collect()
    return sorted(row.file for row in written)


def _write(bucket: Bucket, folder: str, rows: Iterable[Any]) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    # Of its own, so that a task which is tried again writes another.
    file, writer = f"{folder}/{uuid4().hex}.parquet", None
    for batch in rows:
        if batch.num_rows:
            writer = writer or parquet.ParquetWriter(
                bucket.key(file), batch.schema, filesystem=bucket.filesystem, compression="zstd"
            )
            writer.write_batch(batch)
    if writer is not None:
        writer.close()
        yield pa.RecordBatch.from_pydict({"file": [file]})
