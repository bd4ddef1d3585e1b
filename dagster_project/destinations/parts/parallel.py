"""Work in pieces, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .pace import MOST_IN_FLIGHT

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(items: Iterable[T], work: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Do some work on each, as many at a time as calls may be under way; in order, and never far ahead."""
    with ThreadPoolExecutor(MOST_IN_FLIGHT, thread_name_prefix="destination") as pool:
        waiting = []
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= 2 * MOST_IN_FLIGHT:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            for item, future in waiting:
                yield item, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
