"""How things are drawn on the screen: tables, lists, what needs a person, what is going on. By the same few functions for
every command, so that they look alike at every width."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.status import Status as Spinner
from rich.table import Table

from dagster_project.orchestration.log import listening
from dagster_project.rendering import answers
from dagster_project.warehouse.database import Connection


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # whoever reads has seen enough (`| head`): see cli/root.py


# Where nobody told how wide the screen is (a log, a pipe), tables get the room they need.
console = _Screen(highlight=False, width=None if sys.stdout.isatty() else 160)
NARROW = 120  # characters of a screen
SEEN, PIPED, LONGEST = 60, 5_000, 200  # rows on a terminal, rows in a file, characters of a cell


@contextmanager
def progress() -> Iterator[None]:
    """A line that tells what is going on; on a terminal it is overwritten, in a log it is left out."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status("starting") as status, listening(_StatusLine(status)):
        yield


class _StatusLine(logging.Handler):
    """What is logged last, and a bar where it says how much of it is done."""

    def __init__(self, status: Spinner) -> None:
        super().__init__()
        self.status = status

    def emit(self, record: logging.LogRecord) -> None:
        shown: RenderableType = safe(record.getMessage())
        if (total := getattr(record, "total", 0)) > 1:
            line = Table.grid(padding=(0, 1))
            line.add_row(ProgressBar(total=total, completed=getattr(record, "done", 0), width=24), shown)
            shown = line
        self.status.update(shown)


def attend(line: str) -> None:
    console.print(f"[yellow]![/] {safe(line)}", soft_wrap=True)


def print_query(connection: Connection, title: str, query: str) -> None:
    print_answer(title, answers.ask(connection, query))


def print_answer(title: str, answer: answers.Answer) -> None:
    """A table that is readable at this width; nothing where there are no rows."""
    first = next(answer.batches, [])
    if first:
        whole = answers.Answer(answer.names, answer.types, itertools.chain([first], answer.batches))
        console.print(f"[bold]{title}[/]")
        for line in answers.as_table(whole, console.width, "`warehouse sql` shows them.", upright=0):
            console.print(line, markup=False, soft_wrap=True)


def print_counts(title: str, names: Sequence[str], objects: Mapping[str, object]) -> None:
    """What became of how many, a line an object; on a narrow screen a column an object."""
    counts = {name: [f"{getattr(of, n):,}" for n in names] for name, of in objects.items()}
    words = [name.replace("_", " ") for name in names]
    if console.width < NARROW:
        table = new_table(title, "", *(f">{name}" for name in counts))
        for word, *row in zip(words, *counts.values(), strict=True):
            table.add_row(word, *row)
    else:
        table = new_table(title, "object", *(f">{word}" for word in words))
        for name, row in counts.items():
            table.add_row(name, *row)
    console.print(table)


def print_some(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table of many rows, as far as a person reads; where no person looks on, nearly all of them, each in a line."""
    is_seen = console.is_terminal
    on = console if is_seen else Console(highlight=False, width=2000)
    most = SEEN if is_seen else PIPED
    table = new_table(title, *columns, longest=48 if is_seen else LONGEST)
    rows = iter(rows)
    for row in itertools.islice(rows, most):
        table.add_row(*(cell(one if one is None else str(one)[:LONGEST]) for one in row))
    if table.row_count:
        on.print(table)
    if next(rows, None) is not None:
        print_more(most)


def print_more(most: int) -> None:
    console.print(
        f"... and more than these {most:,}: `warehouse plan --csv FILE` writes every change to a file"
    )


def new_table(title: str, *columns: str, longest: int = 48) -> Table:
    """A table; a column whose name begins with `>` holds numbers. On a narrow screen it has no lines, and texts go on in the
    next line: nothing is cut off. The first column, which tells rows apart, stays whole, and so do numbers.
    """
    narrow = console.width < NARROW
    table = Table(title=title, title_justify="left", title_style="bold")
    if narrow:
        table.box, table.show_edge, table.pad_edge, table.padding = (
            box.SIMPLE_HEAD,
            False,
            False,
            (0, 1, 0, 0),
        )
    for index, column in enumerate(columns):
        is_number = column.startswith(">")
        table.add_column(
            column.removeprefix(">"),
            justify="right" if is_number else "left",
            overflow="fold" if narrow else "ellipsis",
            max_width=longest,
            no_wrap=is_number or not index,
        )
    return table


def cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else safe(str(value))


def safe(text: str) -> str:
    """Text from records, without what a terminal or rich would obey."""
    shown = "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in text)
    return shown.replace("[", "\\[")
