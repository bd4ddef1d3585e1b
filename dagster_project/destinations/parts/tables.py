"""The tables that a destination keeps: `sql/ops/<destination>_*.sql`. A build makes them; so does a push where that was an
older one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from dagster_project.settings import project_root
from dagster_project.warehouse.columns import comments, definitions
from dagster_project.warehouse.database import Connection, transaction
from dagster_project.warehouse.models import Model, parse_model


def prepare(connection: Connection, destination: str) -> None:
    """Make the tables where an older build did not, and add the columns that they lack. No row is touched."""
    existing: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database() AND schema_name = 'ops'"
    ).fetchall():
        existing.setdefault(table, set()).add(column)
    lacking = [
        (model, columns)
        for model in _models(destination).values()
        if (columns := [c for c in model.columns if c.name not in existing.get(model.table, set())])
    ]
    if not lacking:
        return
    with transaction(connection):
        connection.execute("CREATE SCHEMA IF NOT EXISTS ops")
        for model, columns in lacking:
            if model.table not in existing:
                connection.execute(f"CREATE TABLE {model.name} ({definitions(columns)})")
                connection.execute(comments(model.name, {}, model.about))
            else:
                for column in columns:
                    connection.execute(f"ALTER TABLE {model.name} ADD COLUMN {definitions([column])}")
            connection.execute(comments(model.name, {c.name: c.about for c in columns}))


@cache
def _models(destination: str) -> Mapping[str, Model]:
    files = sorted((project_root() / "sql" / "ops").glob(f"{destination}_*.sql"))
    return {f.stem: parse_model(f"ops.{f.stem}", f.read_text(encoding="utf-8")) for f in files}
