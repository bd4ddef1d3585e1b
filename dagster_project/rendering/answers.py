"""The answer to a query, as people or other programs read it: a table, CSV, JSON or Markdown.

A table keeps its values readable at any width: where the columns do not fit, rows stand one below the other, and of many
rows the first columns are shown, with the names of those that are left out.
"""

from __future__ import annotations

import itertools
import json
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.cells import cell_len, set_cell_size

from dagster_project.rendering import csv_text
from dagster_project.warehouse.database import Connection

_ROWS_SHOWN = 1_000
_UPRIGHT = 10  # up to so many rows stand one below the other where they are too wide
_WIDTHS = (60, 32, 20)  # the most that a column of text gets, tried in this order
_LONGEST = 2_000  # characters of a value in the upright form
_BATCH = 10_000
_GAP = "  "


@dataclass
class Answer:
    """types: DuckDB's. batches: the rows, some at a time."""

    names: list[str]
    types: list[str]
    batches: Iterator[list[tuple[Any, ...]]]


def ask(connection: Connection, query: str) -> Answer:
    """Raises duckdb.Error."""
    found = connection.execute(query)
    described = found.description or []
    return Answer(
        [d[0] for d in described], [str(d[1]) for d in described], iter(lambda: found.fetchmany(_BATCH), [])
    )


_HINT = "Name those you want, or write all to a file: --format csv --output FILE"


def as_table(answer: Answer, width: int, hint: str = _HINT, upright: int = _UPRIGHT) -> Iterator[str]:
    """Lines for a screen of this width.

    hint: what to do about columns that are left out. upright: up to so many rows stand one below the other instead.
    """
    rows = list(itertools.islice(itertools.chain.from_iterable(answer.batches), _ROWS_SHOWN + 1))
    more = len(rows) > _ROWS_SHOWN
    rows = rows[:_ROWS_SHOWN]
    shown = [[_text(value) for value in row] for row in rows]
    is_number = [
        all(
            isinstance(row[at], int | float | Decimal) and not isinstance(row[at], bool)
            for row in rows
            if row[at] is not None
        )
        for at in range(len(answer.names))
    ]
    natural = [
        max((cell_len(text) for text in (name, *(row[at] for row in shown))), default=0)
        for at, name in enumerate(answer.names)
    ]
    for most in _WIDTHS:
        widths = _widths(answer.names, natural, is_number, most)
        if _fits(widths, width):
            break
    else:
        if 0 < len(rows) <= upright:
            yield from _upright(answer.names, shown, width)
            return
        # Some columns are left out in any case: the others get the room that they need.
        widths = _widths(answer.names, natural, is_number, _WIDTHS[1])
    fitting = 0
    for fitting in range(len(widths), 0, -1):
        if _fits(widths[:fitting], width):
            break
    yield from _flat(answer.names[:fitting], shown, widths[:fitting], is_number, width)
    if len(rows) != 1:
        yield f"({'the first ' if more else ''}{len(rows):,} rows)"
    if left_out := answer.names[fitting:]:
        yield from textwrap.wrap(
            f"{len(left_out)} more {'column' if len(left_out) == 1 else 'columns'}: {', '.join(left_out)}. {hint}",
            width,
        )


def _widths(names: Sequence[str], natural: Sequence[int], is_number: Sequence[bool], most: int) -> list[int]:
    """Numbers and names are whole; text gets as much as it needs, but no more than `most`."""
    return [
        size if number else min(size, max(most, cell_len(name)))
        for name, size, number in zip(names, natural, is_number, strict=True)
    ]


def _fits(widths: Sequence[int], width: int) -> bool:
    return sum(widths) + len(_GAP) * (len(widths) - 1) <= width


def _flat(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    is_number: Sequence[bool],
    width: int,
) -> Iterator[str]:
    def line(cells: Sequence[str]) -> str:
        fitted = (
            _fit(text, size, to_the_right=number)
            for text, size, number in zip(cells, widths, is_number, strict=False)
        )
        return set_cell_size(_GAP.join(fitted), width).rstrip()

    yield line(names)
    yield _GAP.join("─" * size for size in widths)[:width]
    yield from map(line, rows)


def _upright(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Each row as lines of name and value."""
    room = max(map(cell_len, names))
    for number, row in enumerate(rows, 1):
        yield f"─── row {number} of {len(rows)} ".ljust(width, "─")
        for name, text in zip(names, row, strict=True):
            cut = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
            lines = textwrap.wrap(cut, max(width - room - len(_GAP), 12)) or [""]
            yield f"{set_cell_size(name, room)}{_GAP}{lines[0]}".rstrip()
            yield from (" " * (room + len(_GAP)) + line for line in lines[1:])


def _fit(text: str, size: int, *, to_the_right: bool) -> str:
    if cell_len(text) > size:
        return set_cell_size(text, size - 1) + "…"
    return " " * (size - cell_len(text)) + text if to_the_right else set_cell_size(text, size)


def _text(value: Any) -> str:
    """A value on a screen, without what a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        text = value.isoformat(sep=" ")
    elif isinstance(value, list):
        text = ", ".join(map(str, value))
    else:
        text = str(value)
    return "".join(
        c if c.isprintable() else " " if c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _as_csv(answer: Answer) -> Iterator[str]:
    named = False
    for text in csv_text.lines((answer.names, rows) for rows in answer.batches):
        named = True
        yield text
    if not named:
        yield from csv_text.lines([(answer.names, [])])


def _as_json(answer: Answer) -> Iterator[str]:
    """An array with an object a row, each in a line of its own."""
    before = "["
    for row in itertools.chain.from_iterable(answer.batches):
        fields = {
            name: _plain(value, type_)
            for name, value, type_ in zip(answer.names, row, answer.types, strict=True)
        }
        yield f"{before}\n{json.dumps(fields, ensure_ascii=False)}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _plain(value: Any, type_: str = "") -> Any:
    if type_ == "JSON" and isinstance(value, str):
        return json.loads(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date | datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | None) else str(value)


def _as_markdown(answer: Answer) -> Iterator[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |\n"

    yield line(answer.names)
    yield line(["---"] * len(answer.names))
    for row in itertools.chain.from_iterable(answer.batches):
        yield line([_text(value) for value in row])


WRITERS: dict[str, Callable[[Answer], Iterator[str]]] = {
    "csv": _as_csv,
    "json": _as_json,
    "markdown": _as_markdown,
}
