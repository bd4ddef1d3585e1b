"""CSV for people: safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

# A spreadsheet takes text that begins so for a formula, and would run what a stranger wrote; some take the wide forms
# of Asian keyboards, too.
_FORMULA = (*"=+-@\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n")


def lines(batches: Iterable[tuple[list[str], list[tuple[Any, ...]]]]) -> Iterator[str]:
    """A header and a line for each row, some at a time."""
    header_is_due = True
    for names, rows in batches:
        text = io.StringIO()
        writer = csv.writer(text)
        if header_is_due:
            writer.writerow(names)
            header_is_due = False
        writer.writerows([cell(value) for value in row] for row in rows)
        if text.tell():
            yield text.getvalue()


def cell(value: Any) -> Any:
    """A value as a spreadsheet may see it."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return "'" + value
    return value
