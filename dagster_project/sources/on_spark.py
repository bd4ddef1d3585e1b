"""Reading on a Spark cluster: what `workers` does on this machine, with a task of Spark's for each share of files.

The rows are left in the folder that all machines see, under names that never come again; the account of the files comes
back through Spark. What a task cannot read because of the machine that it is on is read by this process.
"""

from __future__ import annotations

import logging
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from dagster_project.settings import Settings
from dagster_project.spark.session import session, telling
from dagster_project.warehouse.database import in_memory
from dagster_project.warehouse.storage import Storage, storage_at

from . import all_sources
from .reading import Batch, LoadContext, Read, read

_log = logging.getLogger(__name__)
# Below this, asking a cluster takes longer than reading.
SMALLEST_BYTES = 16 * 1000**2
INCOMING = "incoming"
_MEMORY = "250MB"
_ANSWER = "share long, part int, answer binary"
_PART_BYTES = 1 << 20


class SparkReaders:
    """A context in which batches are read by a cluster. count: 0: there is too little to read.

    size: how many bytes there are to read.
    """

    def __init__(self, settings: Settings, size: int) -> None:
        self.settings, self.count = settings, int(size >= SMALLEST_BYTES)
        self._storage = storage_at(settings.engine.storage)
        self._folder = self._storage.file(INCOMING, uuid4().hex)

    def __enter__(self) -> SparkReaders:
        if self.count:
            self._storage.make_room(f"{self._folder}/rows")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._storage.remove_below(self._folder)

    def read(self, batches: Iterable[Batch]) -> Iterator[Read]:
        """What was read of each batch, in their order. Raises DatabaseError where the cluster failed."""
        asked = list(batches)
        if not asked:
            return
        files = sum(len(batch.parts) for batch in asked)
        with telling(self.settings, f"reading {files:,} file{'s' * (files != 1)}"):
            spark = session(self.settings)
            shares = [pickle.dumps(batch) for batch in asked]
            # `range` gives a task a row; a table that is divided does not.
            answers = spark.range(0, len(shares), 1, len(shares)).mapInArrow(
                partial(_read_shares, shares, self._storage, self._folder), _ANSWER
            )
            parts: list[bytes] = []
            taken = 0
            for row in answers.toLocalIterator(prefetchPartitions=True):
                if row.part == 0 and parts:
                    yield self._taken(asked[taken], parts)
                    taken, parts = taken + 1, []
                parts.append(bytes(row.answer))
            yield self._taken(asked[taken], parts)

    def _taken(self, batch: Batch, parts: Sequence[bytes]) -> Read:
        answer: Read | str = pickle.loads(b"".join(parts))
        if isinstance(answer, Read) and not answer.unreadable:
            return answer
        # A file that cannot be read, or a machine that cannot read it? Only what this one finds counts.
        here = read_share(batch, self._storage, self._folder)
        if isinstance(answer, str) or len(here.unreadable) < len(answer.unreadable):
            _log.warning(
                "the cluster could not read %s (%s): it was read here",
                batch.parts[0].path if isinstance(answer, str) else answer.unreadable[0].part.path,
                answer if isinstance(answer, str) else answer.unreadable[0].error,
            )
        return here


# ---------------------------------------------------------------------------------------------------------
# On the cluster
# ---------------------------------------------------------------------------------------------------------


def _read_shares(
    shares: Sequence[bytes], storage: Storage, folder: str, rows: Iterable[Any]
) -> Iterator[Any]:
    """What a task does: read the shares whose numbers it is handed."""
    import pyarrow as pa

    for batch in rows:
        for number in batch.column(0).to_pylist():
            try:
                answer: Read | str = read_share(pickle.loads(shares[number]), storage, folder)
            except Exception as error:  # whatever it is, this machine's trouble is not the files'
                answer = f"{type(error).__name__}: {error}"
            whole = pickle.dumps(answer)
            for part, start in enumerate(range(0, len(whole), _PART_BYTES)):
                yield pa.RecordBatch.from_arrays(
                    [
                        pa.array([number], pa.int64()),
                        pa.array([part], pa.int32()),
                        pa.array([whole[start : start + _PART_BYTES]], pa.binary()),
                    ],
                    names=["share", "part", "answer"],
                )


def read_share(batch: Batch, storage: Storage, folder: str) -> Read:
    """Read a share of files; leave its rows in a folder there, under names of their own."""
    source = next(source for source in all_sources() if source.folder == batch.source)
    with (
        tempfile.TemporaryDirectory() as scratch,
        in_memory(_MEMORY, Path(scratch)) as connection,
    ):
        loader = source.loader(LoadContext(connection, batch.settings))
        done = read(loader, batch, 1)
        for table in loader.staging:
            rows = f"{folder}/{table.name}-{uuid4().hex}.parquet"
            written = Path(scratch) / "rows.parquet" if storage.is_bucket else Path(rows)
            table.write(written)
            if storage.is_bucket:
                storage.take_in(written, rows)
            done.rows.append(rows)
    return done
