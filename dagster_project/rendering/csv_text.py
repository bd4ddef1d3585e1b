"""CSV for people: safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

# A spreadsheet takes text that begins so for a formula, and would run what a stranger wrote; some take the wide forms
# of Asian keyboards, too.
_FORMULA = (*"=+-@\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n")


_AS_IT_IS = frozenset({int, float, bool, type(None)})
_PART = 64 * 1024  # characters that are handed out at once


def lines(batches: Iterable[tuple[list[str], list[tuple[Any, ...]]]], header: bool = True) -> Iterator[str]:
    """A header and a line for each row, in parts of bounded length, however long a value is."""
    waiting = io.StringIO()
    write = csv.writer(waiting).writerow

    def handed_out() -> str:
        text = waiting.getvalue()
        waiting.seek(0)
        waiting.truncate()
        return text

    for names, rows in batches:
        if header:
            write(names)
            header = False
        for row in rows:
            cells = [value if type(value) in _AS_IT_IS else cell(value) for value in row]
            if any(type(value) is str and len(value) > _PART for value in cells):
                yield handed_out()
                yield from _long_line(cells)
                continue
            write(cells)
            if waiting.tell() >= _PART:
                yield handed_out()
    if waiting.tell():
        yield handed_out()


def _long_line(cells: Sequence[Any]) -> Iterator[str]:
    """A row as Python's csv module writes it, which would copy a long value four times over."""
    for index, value in enumerate(cells):
        if index:
            yield ","
        text = "" if value is None else str(value)
        if not any(mark in text for mark in ',"\r\n'):
            yield from (text[start : start + _PART] for start in range(0, len(text), _PART))
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
