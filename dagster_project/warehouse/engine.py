"""Who does the heavy half: this process, or a cluster. What both must be able to do, and this process's way of doing it.

Small things are done here in either case: a night without much news does not wait for a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from . import stored
from .columns import Column, names_of
from .database import Connection, one_thread, value

if TYPE_CHECKING:
    from .models import Model

_PLACE = "load_seq, line, element"
_MANY_ROWS = 122_880  # a row group of DuckDB's


@dataclass(frozen=True)
class Rows:
    """Rows to read. sql: to select from, here. files: Parquet files that hold all of them and that a cluster sees; to the
    load_seq in there a number is added."""

    sql: str
    files: Sequence[tuple[Path | str, int]] = field(default=())


class Engine(Protocol):
    """kind: as the settings name it."""

    kind: str

    def select(
        self,
        connection: Connection,
        query: str,
        columns: Sequence[Column],
        table: str,
        relations: Mapping[str, tuple[Rows, Sequence[str]]],
    ) -> None:
        """Make a temporary table of what a query gives. relations: what it reads, with the columns that it takes."""

    def insert(
        self, connection: Connection, table: stored.Table, rows: Rows, without: str, only: str = "true"
    ) -> None:
        """Insert the table's columns of rows, but for those at positions that a temporary table holds. In a transaction."""

    def sums(self, connection: Connection, model: Model, since: int, given: Mapping[str, object]) -> str:
        """What a model's query gives over the loads after that one, as SQL to select from."""


class Local:
    """This process, by DuckDB."""

    kind = "local"

    def select(
        self,
        connection: Connection,
        query: str,
        columns: Sequence[Column],
        table: str,
        relations: Mapping[str, tuple[Rows, Sequence[str]]],
    ) -> None:
        for name, (rows, taken) in relations.items():
            connection.execute(
                f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT {', '.join(taken)} FROM {rows.sql}"
            )
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}")
        for name in relations:
            connection.execute(f"DROP VIEW {name}")

    def insert(
        self, connection: Connection, table: stored.Table, rows: Rows, without: str, only: str = "true"
    ) -> None:
        found = connection.execute(f"SELECT 1 FROM {without} LIMIT 1").fetchall()
        stands = f"ANTI JOIN {without} USING ({_PLACE})" if found else ""
        many = value(connection, f"SELECT count(*) FROM {rows.sql}") >= _MANY_ROWS
        with one_thread(connection) if many else nullcontext():
            connection.execute(
                f"INSERT INTO raw.{table.name} SELECT {names_of(table.columns)} FROM {rows.sql} {stands} WHERE {only}"
            )

    def sums(self, connection: Connection, model: Model, since: int, given: Mapping[str, object]) -> str:
        return f"({model.query})"
