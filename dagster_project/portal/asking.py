"""What a page is asked and what it answers. Pages know neither HTTP nor templates beyond this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from .published import Published, Rows

Pairs = list[tuple[str, str]]


def address(path: str, pairs: Pairs | None = None, **given: object) -> str:
    """An address of the portal. Whatever an id contains, it arrives as it is."""
    wanted = [*(pairs or []), *((name, str(value)) for name, value in given.items() if value is not None)]
    return f"{path}?{urlencode(wanted, quote_via=quote, safe='')}" if wanted else path


class NotHere(Exception):
    """There is no such page, or nobody with that id. The text is for people."""


class WrongAddress(Exception):
    """An address that asks for what cannot be. The text is for people."""


@dataclass
class Ask:
    """One question: where, with which parameters, to which database."""

    path: str
    pairs: Pairs
    rows: Rows
    published: Published
    form: str = "html"  # or json, csv

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.pairs if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def only(self, *names: str) -> None:
        """Raises WrongAddress where the address names something else: a filter that is misspelt excludes nobody."""
        for name, value in self.pairs:
            if name not in names:
                raise WrongAddress(
                    f"{name} = {value!r}: this page knows nothing of that name; it must be one of {', '.join(names)}"
                )

    def number(self, name: str, default: int, most: int = 1_000_000) -> int:
        text = self.get(name) or str(default)
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
            raise WrongAddress(f"{name} = {text!r}: must be a number from 1 to {most:,}")
        return int(text)

    def page(self, count: int, size: int) -> tuple[int, int]:
        """Which page of a list is asked for, and how many there are. Raises NotHere beyond the last."""
        pages = max(1, -(-count // size))
        page = self.number("page", 1)
        if page > pages:
            raise NotHere(f"This list has {pages} {'page' if pages == 1 else 'pages'}.")
        return page, pages

    def choice(self, name: str, choices: Mapping[str, Any] | tuple[str, ...], default: str) -> str:
        text = self.get(name) or default
        if text not in choices:
            raise WrongAddress(f"{name} = {text!r}: must be one of {', '.join(choices)}")
        return text

    def here(self, **changes: object) -> str:
        """This address with other parameters. None takes one away."""
        kept = [(key, value) for key, value in self.pairs if key not in changes]
        return address(self.path, kept, **changes)

    @cached_property
    def as_of(self) -> date | None:
        """The day at whose end all windows end; None: no run has said yet."""
        found: date | None = self.rows.value("SELECT as_of FROM marts.as_of")
        return found


@dataclass(frozen=True)
class View:
    """A page: a template and what it shows."""

    template: str
    title: str
    shows: dict[str, Any] = field(default_factory=dict)
    main: str | None = None  # of what it shows: the rows that are its table, for `.csv`


@dataclass(frozen=True)
class Moved:
    """The same page has a better address."""

    address: str


@dataclass(frozen=True)
class Csv:
    """A download. batches: column names and rows, some at a time, read while they are sent."""

    name: str
    batches: Callable[[Rows], Iterator[tuple[list[str], list[tuple[Any, ...]]]]]


Answer = View | Csv | Moved
