"""Takes erased companies and users out of the computed tables.

What can be computed again is emptied, to be built from raw tables that know them no more; of what is kept as history,
the rows that name them go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .columns import literal
from .database import Connection, value
from .models import Model


def rows_naming(
    connection: Connection, models: Mapping[str, Model], ids: Mapping[str, Iterable[str]]
) -> dict[str, int]:
    """How many rows of each table that is kept name these ids. ids: company, user, email and domain."""
    _give(connection, ids)
    return {
        model.name: value(connection, f"SELECT count(*) FROM {model.name} WHERE {_names(model)}")
        for model in models.values()
        if model.is_history
    }


def forget(connection: Connection, models: Mapping[str, Model], ids: Mapping[str, Iterable[str]]) -> None:
    """Remove what names these ids. To be called in a transaction. The next build computes all else anew."""
    built = {
        f"{schema}.{table}"
        for schema, table in connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database()"
        ).fetchall()
    }
    _give(connection, ids)
    for model in (model for model in models.values() if model.name in built):
        if model.is_history or model.stamp:
            connection.execute(f"DELETE FROM {model.name} WHERE {_names(model)}")
        elif (
            model.inputs
        ):  # what reads nothing names nobody: the as-of day, by which an erase that was cut goes on
            connection.execute(f"DELETE FROM {model.name}")
        if not model.is_history:
            connection.execute("UPDATE core.builds SET code = '' WHERE model = ?", [model.name])
    if built:
        connection.execute("DELETE FROM core.check_results")


def _give(connection: Connection, ids: Mapping[str, Iterable[str]]) -> None:
    connection.execute("CREATE OR REPLACE TEMP TABLE forgotten (kind VARCHAR, id VARCHAR)")
    for kind, texts in ids.items():
        connection.execute("INSERT INTO forgotten SELECT ?, unnest(?::VARCHAR[])", [kind, sorted(texts)])


def _names(model: Model) -> str:
    """The condition under which a row of a table names a forgotten one: what its header says under `erases:`."""
    found = (
        f"({text}) IN (SELECT id FROM forgotten WHERE kind = {literal(kind)})" for kind, text in model.erases
    )
    return " OR ".join(found) or "false"
