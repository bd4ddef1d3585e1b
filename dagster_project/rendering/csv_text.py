"""CSV for people: safe to open in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

# A spreadsheet takes text that begins so for a formula, and would run what a stranger wrote; some take the wide forms
# of Asian keyboards, too.
_FORMULA = (*"=+-@\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n")


_PART = 64 * 1024  # characters that are handed out at once


def lines(batches: Iterable[tuple[list[str], list[tuple[Any, ...]]]], header: bool = True) -> Iterator[str]:
    """A header and a line for each row, in parts of bounded length, however long a value is."""
    waiting: list[str] = []
    length = 0
    for part in _parts(batches, header):
        waiting.append(part)
        length += len(part)
        if length >= _PART:
            yield "".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield "".join(waiting)


def _parts(batches: Iterable[tuple[list[str], list[tuple[Any, ...]]]], header_is_due: bool) -> Iterator[str]:
    for names, rows in batches:
        if header_is_due:
            yield from _line(names)
            header_is_due = False
        for row in rows:
            yield from _line(row)


def _line(row: Sequence[Any]) -> Iterator[str]:
    """A row as Python's csv module writes it, which would copy a long value four times over."""
    for index, value in enumerate(row):
        if index:
            yield ","
        text = cell(value)
        text = "" if text is None else text if isinstance(text, str) else str(text)
        if not any(mark in text for mark in ',"\r\n') and (text or len(row) > 1):
            yield text
            continue
        yield '"'
        for start in range(0, len(text), _PART):
            yield text[start : start + _PART].replace('"', '""')
        yield '"'
    yield "\r\n"


def cell(value: Any) -> Any:
    """A value as a spreadsheet may see it."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return "'" + value
    return value
