"""A table to page through: a query, how its columns look, and which of them can be narrowed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster_project import csv_text

from .asking import Ask, Csv, View
from .columns import Column, of_query

PAGE = 100
_BATCH = 2_000
_CHOICES = 200  # values that are offered to choose from


@dataclass(frozen=True)
class Listing:
    """query: a SELECT, without order. All of its columns are shown, but for those that it hides; looks: how, where
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

    def page(self, ask: Ask) -> View:
        test, given = self._test(ask)
        count = ask.rows.value(f"SELECT count(*) FROM ({self.query}) WHERE {test}", **given)
        number, pages = ask.page(count, PAGE)
        rows = ask.rows(
            f"SELECT * FROM ({self.query}) WHERE {test} ORDER BY {self.order} "
            f"LIMIT {PAGE} OFFSET {(number - 1) * PAGE}",
            **given,
        )
        return View(
            "listing.html",
            self.title,
            {
                "listing": self,
                "columns": self._columns(ask),
                "rows": rows,
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
        ask.only(*self.facets, *self.takes, "page", "format")
        return self._download(ask) if ask.get("format") == "csv" else self.page(ask)

    def label(self, column: str) -> str:
        return self.labels.get(column) or Column(column, "VARCHAR").label

    def _columns(self, ask: Ask) -> list[tuple[Column, str]]:
        """What is shown, and how it looks."""
        return [
            (column, self.looks.get(column.name, column.look))
            for column in of_query(ask, self.query).values()
            if column.name not in self.hides
        ]

    def _download(self, ask: Ask) -> Csv:
        test, given = self._test(ask)
        shown = ", ".join(column.sql for column, look in self._columns(ask) if look != "token")
        query = f"SELECT {shown} FROM ({self.query}) WHERE {test} ORDER BY {self.order}"
        return Csv(
            ask.path.strip("/").replace("/", "_"), csv_text.lines(ask.rows.batches(query, _BATCH, **given))
        )

    def _test(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        """Which rows an address wants. Only facets are asked for, by their own names."""
        given: dict[str, Any] = {name: ask.get(name) for name in self.facets if ask.get(name)}
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
