"""Downloads: rows as CSV, in bounded memory however many and however long they are.

Sorting whole rows would need memory for all of them. So first only their numbers are put in order, then the rows are
read by number, as many at once as are short enough. Downloads have a database connection of their own with a small
memory limit, as a large one must not take what the pages need, and a thread of their own: they take turns, a part
each. A row that is long waits in a file for a reader who is slow, not in memory; who reads nothing is dropped
(server.py).
"""

from __future__ import annotations

import asyncio
import codecs
import tempfile
import threading
import time
from array import array
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import Any

import duckdb
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dagster_project.rendering import csv_text

from .asking import Csv
from .columns import Column, quoted
from .published import Published, Rows

MEMORY = "250MB"
_AT_ONCE = 150
_WAIT_SECONDS = 60.0
_LONGEST_SECONDS = 3600.0
# Each reading of rows by number scans the table: so they are many, and may together be long.
_ROWS = 10_000
_BYTES = 8 * 1024**2  # a row alone may be longer
_LONG = 1024**2  # what waits in a file
_PART = 64 * 1024
ROW = "row"  # the column with a row's number, where a query has one

Batch = tuple[list[str], list[tuple[Any, ...]]]
_places = threading.BoundedSemaphore(_AT_ONCE)
_thread: RunVar[CapacityLimiter] = RunVar("_thread")


def in_order(
    rows: Rows, query: str, test: str, order: str, columns: Mapping[str, Column], given: dict[str, Any]
) -> Iterator[Batch]:
    """The rows of a query that pass a test, some at a time. query: has a column `row`, the number of the row in the
    table whose long values it shows; columns: those that are wanted.
    """
    ordered = f"SELECT {ROW} FROM ({query}) AS p WHERE {test} ORDER BY {order}"
    numbers = array("q")
    rows.connection.execute(ordered, given)
    while found := rows.connection.fetchmany(10_000):
        numbers.extend(row[0] for row in found)
    shown = ", ".join(quoted(name) for name in columns)
    texts = [
        f"coalesce(strlen(CAST({c.sql} AS VARCHAR)), 0)"
        for c in columns.values()
        if c.kind in ("string", "object")
    ]
    some = f"({query}) AS p WHERE {ROW} IN (SELECT unnest($rows::BIGINT[]))"
    # What else the query itself asks for (the cohort of whom it tells).
    kept = {name: value for name, value in given.items() if f"${name}" in query}

    def lengths(part: list[int]) -> dict[int, int] | None:
        """How many bytes each row has; None: they do not fit into memory together."""
        try:
            query = f"SELECT {ROW}, {' + '.join(texts) or 0} FROM {some}"
            return dict(rows.connection.execute(query, {**kept, "rows": part}).fetchall())
        except duckdb.OutOfMemoryException:
            return None

    def read(part: list[int]) -> Batch:
        rows.connection.execute(f"SELECT {ROW}, {shown} FROM {some}", {**kept, "rows": part})
        found = {row[0]: row[1:] for row in rows.connection.fetchall()}
        rows.connection.execute("SELECT 1").fetchall()  # a cursor keeps its last result in DuckDB's memory
        return list(columns), [found.pop(number) for number in part]

    yield list(columns), []
    for start in range(0, len(numbers), 10 * _ROWS):
        waiting = [list(numbers[start : start + 10 * _ROWS])]
        while waiting:
            part = waiting.pop()
            long = lengths(part) if len(part) > 1 else {part[0]: 0}
            if long is None:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
                continue
            together: list[int] = []
            size = 0
            for number in part:
                if together and (size + long[number] > _BYTES or len(together) == _ROWS):
                    yield read(together)
                    together, size = [], 0
                together.append(number)
                size += long[number]
            yield read(together)


class Download(Response):
    """Sent while it is read. Only so many at once: others wait for a while, and hold nothing meanwhile."""

    def __init__(self, answer: Csv, published: Published) -> None:
        super().__init__()
        self.answer = answer
        self.published = published

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        until = time.monotonic() + _WAIT_SECONDS
        # (No semaphore of asyncio's: that one belongs to one event loop.)
        while not _places.acquire(blocking=False):
            if time.monotonic() > until:
                busy = PlainTextResponse(
                    "Other downloads are going on. Try again in a minute.", 503, {"retry-after": "60"}
                )
                await busy(scope, receive, send)
                return
            await asyncio.sleep(0.1)
        text = self._text()
        try:
            # So that what is wrong with the query is said before anything is sent.
            first = await _in_turn(text)
            response = StreamingResponse(
                _parts(first, text),
                media_type="text/csv; charset=utf-8",
                headers={"content-disposition": f'attachment; filename="{self.answer.name}.csv"'},
            )
            await response(scope, receive, send)
        finally:
            _places.release()
            text.close()

    def _text(self) -> Generator[bytes, None, None]:
        until = time.monotonic() + _LONGEST_SECONDS
        with self.published.cursor() as cursor:
            yield codecs.BOM_UTF8  # without this mark, Excel takes UTF-8 for something else
            batches = self.answer.batches(Rows(cursor))
            header_is_due = True
            for names, rows in batches:
                if time.monotonic() > until:
                    raise TimeoutError("a download that took longer than an hour was given up")
                text = csv_text.lines([(names, rows)], header=header_is_due)
                header_is_due = False
                if _is_long(rows):
                    del rows  # what is long is in the file
                    yield from _by_file(text)
                else:
                    for part in text:
                        yield part.encode()


def _is_long(rows: list[tuple[Any, ...]]) -> bool:
    return sum(len(value) for row in rows for value in row if isinstance(value, str)) > _LONG


def _by_file(text: Iterator[str]) -> Iterator[bytes]:
    """A text by way of a file without a name, which is gone with whoever holds it."""
    with tempfile.TemporaryFile(buffering=0) as file:
        for part in text:
            file.write(part.encode())
        file.seek(0)
        while part_read := file.read(_PART):
            yield part_read


async def _parts(first: bytes | None, text: Iterator[bytes]) -> AsyncIterator[bytes]:
    part = first
    while part is not None:
        yield part
        part = await _in_turn(text)


async def _in_turn(text: Iterator[bytes]) -> bytes | None:
    """The next part, made when it is this download's turn: one thread makes the parts of all. None: there is none."""
    try:
        turn = _thread.get()
    except LookupError:
        turn = CapacityLimiter(1)
        _thread.set(turn)
    return await to_thread.run_sync(next, text, None, limiter=turn)
