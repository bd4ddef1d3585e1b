"""Processes that read raw files while this one decides and writes.

Each is a Python of its own that is handed batches over its standard input and answers with what it read, the rows in
Parquet files. It ends when its input does: with this process, however that ends.
"""

from __future__ import annotations

import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any

from dagster_project.readers.files import FilePart
from dagster_project.readers.raw_storage import LocalFile
from dagster_project.settings import Settings
from dagster_project.warehouse.database import DatabaseError, in_memory

from . import all_sources
from .reading import Batch, LoadContext, Read, read

# Below this, processes take longer to start than they save.
SMALLEST_BYTES = 300 * 1000**2
# How much may be read ahead of what is being loaded.
_AHEAD_BYTES = 1024**3
_MEMORY = "250MB"
# A process that has not answered after so long, and so long for each byte, never will.
_LONGEST_SECONDS, _SECONDS_A_BYTE = 900, 1 / 100_000
_START = "import sys; sys.path[:] = sys.argv[1:]; from dagster_project.sources.workers import serve; serve()"


def may_read(parts: Sequence[FilePart]) -> bool:
    """Whether files can be read by another process."""
    return all(isinstance(part.raw, LocalFile) for part in parts)


class Workers:
    """A context in which batches are read by other processes. count: how many; 0: they are not worth their start.

    size: how many bytes there are to read.
    """

    def __init__(self, settings: Settings, size: int, count: int | None = None) -> None:
        wanted = settings.engine.workers or os.cpu_count() or 1
        fitting = wanted if wanted > 1 and size >= SMALLEST_BYTES else 0
        self.count = fitting if count is None else count
        self._folder = settings.data / "tmp"
        if set(str(self._folder)) & set("*?[]{}"):
            self.count = 0  # DuckDB would take the names of what they write for patterns
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._processes: list[_Process] = []

    def __enter__(self) -> Workers:
        if self.count:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder = Path(mkdtemp(prefix="read-", dir=self._folder))
            self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="reader")
            try:
                for number in range(self.count):
                    self._processes.append(_Process(self._folder / str(number)))
                    self._free.put(self._processes[-1])
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.count:
            self._end()

    def _end(self) -> None:
        for process in self._processes:
            process.end()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    def read(self, batches: Iterable[Batch]) -> Iterator[Read]:
        """What was read of each batch, in their order; some are read ahead. Raises DatabaseError where a process failed."""
        waiting: deque[tuple[Future[Read], int]] = deque()
        ahead, following = 0, iter(batches)
        while True:
            while ahead < _AHEAD_BYTES or not waiting:
                batch = next(following, None)
                if batch is None:
                    break
                waiting.append((self._threads.submit(self._ask, batch), batch.bytes))
                ahead += batch.bytes
            if not waiting:
                return
            future, size = waiting.popleft()
            ahead -= size
            yield future.result()

    def _ask(self, batch: Batch) -> Read:
        process = self._free.get()
        try:
            return process.ask(batch)
        finally:
            self._free.put(process)


class _Process:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._batches = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, batch: Batch) -> Read:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._batches += 1
        limit = _LONGEST_SECONDS + batch.bytes * _SECONDS_A_BYTE
        try:
            pickle.dump((batch, self._folder / str(self._batches)), self._process.stdin)
            self._process.stdin.flush()
            if not select.select([self._process.stdout], [], [], limit)[0]:
                raise self._failed(batch, f"did not answer for {limit:,.0f} s")
            answer: Read | str = pickle.load(self._process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            self.end()
            code = self._process.returncode
            how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
            raise self._failed(batch, f"{how} (is there memory enough?)") from None
        if isinstance(answer, str):
            raise self._failed(batch, f"failed: {answer}")
        return answer

    def _failed(self, batch: Batch, how: str) -> DatabaseError:
        files = batch.parts[0].path + (f" and {len(batch.parts) - 1} more" if len(batch.parts) > 1 else "")
        return DatabaseError(
            f"the process that read {files} {how}. Run the same again: nothing is lost; with [engine] workers = 1 all is "
            "read in one process"
        )

    def end(self) -> None:
        """End the process now, whatever it does."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()


# ---------------------------------------------------------------------------------------------------------
# In the other process
# ---------------------------------------------------------------------------------------------------------


def serve() -> None:
    """Read what comes over standard input, answer on standard output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it, and ends it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    asked: queue.SimpleQueue[tuple[Batch, Path]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    while True:
        batch, folder = asked.get()
        try:
            answer: Any = _read(batch, folder)
        except Exception as error:  # whatever it is, it is told where people see it
            answer = f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers)
        answers.flush()


def _listen(asked: queue.SimpleQueue[tuple[Batch, Path]]) -> None:
    with suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            asked.put(pickle.load(sys.stdin.buffer))
    os._exit(0)


def _read(batch: Batch, folder: Path) -> Read:
    folder.mkdir()
    source = next(source for source in all_sources() if source.folder == batch.source)
    with in_memory(_MEMORY, folder / "tmp") as connection:
        loader = source.loader(LoadContext(connection, batch.settings))
        done = read(loader, batch, 1)
        for number, table in enumerate(loader.staging):
            rows = folder / f"{number}.parquet"
            table.write(rows)
            done.rows.append(rows)
    return done
