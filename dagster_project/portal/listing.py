"""A table to page through: a query, how its columns look, and which of them can be narrowed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import exports, names
from .asking import Ask, Csv, View
from .columns import Column, of_query

PAGE = 100
_BATCH = 2_000
_LONGEST = 5_000  # characters of a value on a page; a download has all of it
_CHOICES = 200  # values that are offered to choose from


@dataclass(frozen=True)
class Listing:
    """query: a SELECT, without order; with a column `row`, the number of its row in the table whose values may be long,
    it is downloaded in bounded memory (exports.py). All of its columns are shown, but for those that it hides; looks: how, where
    type and name say too little (columns.py); order: SQL over these columns, always the whole of it; facets: columns to
    narrow down by; choices: their values, where they are known without asking; takes: what else an address may say.
    """

    title: str
    about: str
    query: str
    order: str
    looks: Mapping[str, str] = field(default_factory=dict)
    hides: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, list[str]] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    narrows: tuple[str, ...] = ()  # columns that an address may narrow down by, without a choice on the page

    def page(self, ask: Ask) -> View:
        test, given = self._test(ask)
        count = ask.rows.value(f"SELECT count(*) FROM ({self.query}) WHERE {test}", **given)
        number, pages = ask.page(count, PAGE)
        rows = ask.rows(
            f"SELECT {self._shortened(ask)} FROM ({self.query}) WHERE {test} ORDER BY {self.order} "
            f"LIMIT {PAGE} OFFSET {(number - 1) * PAGE}",
            **given,
        )
        columns = self._columns(ask)
        return View(
            "listing.html",
            self.title,
            {
                "listing": self,
                "columns": columns,
                "rows": rows,
                "names": names.of(ask, rows, [(column.name, look) for column, look in columns]),
                "count": count,
                "page": number,
                "pages": pages,
                "facets": {name: self._choices(ask, name) for name in self.facets},
                "chosen": {name: ask.get(name) for name in self.facets},
                "extra": [(name, value) for name, value in ask.pairs if name not in (*self.facets, "page")],
                "download": ask.here(page=None, format="csv"),
            },
        )

    def answer(self, ask: Ask) -> View | Csv:
        """A page, or with `format=csv` all of it."""
        ask.only(*self.facets, *self.narrows, *self.takes, "page", "format")
        return self._download(ask) if "csv" in (ask.form, ask.get("format")) else self.page(ask)

    def _shortened(self, ask: Ask) -> str:
        """All columns; of long texts what a page has room for."""
        names = []
        for column in of_query(ask, self.query).values():
            look = self.looks.get(column.name, column.look)
            is_long = column.kind == "string" and look in ("raw", "long", "text", "code", "bad")
            names.append(f"left({column.sql}, {_LONGEST}) AS {column.sql}" if is_long else column.sql)
        return ", ".join(names)

    def label(self, column: str) -> str:
        return self.labels.get(column) or Column(column, "VARCHAR").label

    def _columns(self, ask: Ask) -> list[tuple[Column, str]]:
        """What is shown, and how it looks."""
        return [
            (column, self.looks.get(column.name, column.look))
            for column in of_query(ask, self.query).values()
            if column.name not in (*self.hides, exports.ROW)
        ]

    def _download(self, ask: Ask) -> Csv:
        test, given = self._test(ask)
        every = of_query(ask, self.query)
        shown = {column.name: column for column, look in self._columns(ask) if look != "token"}
        name = ask.path.strip("/").replace("/", "_")
        if exports.ROW in every:
            return Csv(name, lambda rows: exports.in_order(rows, self.query, test, self.order, shown, given))
        names = ", ".join(column.sql for column in shown.values())
        query = f"SELECT {names} FROM ({self.query}) WHERE {test} ORDER BY {self.order}"
        return Csv(name, lambda rows: rows.batches(query, _BATCH, **given))

    def _test(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        """Which rows an address wants. Only facets are asked for, by their own names."""
        given: dict[str, Any] = {
            name: ask.get(name) for name in (*self.facets, *self.narrows) if ask.get(name)
        }
        return " AND ".join(f"CAST({name} AS VARCHAR) = ${name}" for name in given) or "TRUE", given

    def _choices(self, ask: Ask, name: str) -> list[str]:
        if name in self.choices:
            return self.choices[name]
        found = ask.rows(
            f"SELECT DISTINCT CAST({name} AS VARCHAR) AS choice FROM ({self.query}) "
            f"WHERE {name} IS NOT NULL ORDER BY 1 LIMIT {_CHOICES}"
        )
        choices = [row["choice"] for row in found]
        chosen = ask.get(name)
        return choices if not chosen or chosen in choices else [*choices, chosen]
