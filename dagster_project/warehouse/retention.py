"""Drops old raw rows without a change to what is computed from them.

Tables that follow raw rows by merging keep the sums of all that was ever merged. Only when such a table is to be
computed anew would it miss the rows that are gone: so what they summed up to is kept, in the table's own columns,
beside the raw rows (`raw.dropped_<raw table>__<schema>_<table>`). A full rebuild begins without it, from the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import duckdb

from . import stored
from .columns import definitions, identifier
from .database import Connection, transaction, value
from .models import Model

_PREFIX = "dropped_"
DROPPED = "dropped"  # in raw.versions: the last load of which rows were dropped


class RetentionError(Exception):
    """Rows cannot be dropped, or a table cannot be computed without those that were. Says why, and what to do."""


def drop(
    connection: Connection, models: Mapping[str, Model], raw: stored.Table, by: str, before: date
) -> int:
    """Drop the rows of a raw table that are older than a day and merged into all that is computed from them.

    by: the column that says how old. Returns how many. Raises RetentionError, with nothing dropped.
    """
    table = raw.name
    readers = [model for model in models.values() if f"raw.{table}" in model.inputs]
    for model in readers:
        if model.rebuild != "merge" or model.inputs != (f"raw.{table}",):
            raise RetentionError(
                f"[retention] {table}_days: {model.name} reads raw.{table} and not by `rebuild: merge` alone, so it "
                "needs rows of all ages. Let it read sums, or set the retention to 0"
            )
    merged = _merged_through(connection, readers)
    old = f"{identifier(by)} < DATE '{before.isoformat()}' AND load_seq <= {merged}"
    rows: int = value(connection, f"SELECT count(*) FROM raw.{table} WHERE {old}")
    if not rows:
        return 0
    with transaction(connection):
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW rows_to_drop AS SELECT * FROM raw.{table} WHERE {old}"
        )
        for model in readers:
            kept = _table(table, model)
            connection.execute(f"CREATE TABLE IF NOT EXISTS {kept} ({definitions(model.columns)})")
            connection.execute(f"INSERT INTO {kept} BY NAME {_over(model, 'rows_to_drop')}", {"since": 0})
        # A warehouse.duckdb from before this, such as a backup, lacks these rows: see build.
        connection.execute(
            f"INSERT INTO raw.versions SELECT '{DROPPED}', max(load_seq) FROM rows_to_drop;"
            f"DELETE FROM raw.versions WHERE name = '{DROPPED}' AND version < "
            f"(SELECT max(version) FROM raw.versions WHERE name = '{DROPPED}')"
        )
        stored.delete(connection, raw, old)
    return rows


def dropped_sums(connection: Connection, model: Model) -> str | None:
    """The table with what a merged table's dropped rows summed up to, if any were dropped. Raises RetentionError."""
    for name in model.inputs:
        table = name.removeprefix("raw.")
        others = tables(connection, table)
        kept = _table(table, model)
        columns = (
            {row[0] for row in connection.execute(f"DESCRIBE {kept}").fetchall()} if kept in others else set()
        )
        if columns == {column.name for column in model.columns}:
            return kept
        if any(value(connection, f"SELECT count(*) FROM {other}") for other in others):
            raise RetentionError(
                f"{model.name} has columns that are to be computed from rows of raw.{table} which are dropped: "
                "run with --full, with all raw files in their place"
            )
    return None


def tables(connection: Connection, table: str = "") -> list[str]:
    """The tables that keep what dropped rows summed up to: of one raw table, or of all."""
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'raw' AND starts_with(table_name, ?) ORDER BY 1",
        [f"{_PREFIX}{table}__" if table else _PREFIX],
    ).fetchall()
    return [f"raw.{name}" for (name,) in found]


def _merged_through(connection: Connection, readers: Sequence[Model]) -> int:
    """The last load that is merged into all of these tables; 0 where one of them was not built yet."""
    try:
        merged, count = connection.execute(
            """SELECT min(through_load), count(*) FROM core.builds
               WHERE model IN (SELECT unnest(?::VARCHAR[])) AND generation =
                   (SELECT coalesce(max(version), 0) FROM raw.versions WHERE name = 'generation')""",
            [[model.name for model in readers]],
        ).fetchall()[0]
    except duckdb.CatalogException:
        return 0
    return merged if count == len(readers) else 0


def _table(table: str, model: Model) -> str:
    return f"raw.{_PREFIX}{table}__{model.schema}_{model.table}"


def _over(model: Model, table: str) -> str:
    """A model's query, over another table than the one that it reads."""
    import sqlglot  # takes long to import; only a night that drops rows needs it
    from sqlglot import exp

    tree = sqlglot.parse_one(model.query, dialect="duckdb")
    for found in tree.find_all(exp.Table):
        if found.db == "raw":
            found.replace(exp.to_table(table))
    return tree.sql(dialect="duckdb")
