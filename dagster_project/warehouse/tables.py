"""Computed tables as their files declare them: made, given other columns, held against their queries."""

from __future__ import annotations

import re
from functools import cache

import duckdb

from .columns import Column, canonical_type, comments, definitions, identifier
from .context import Build, BuildError
from .database import Connection, parser, value
from .models import Model

_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\([\d, ]+\)|FLOAT|DOUBLE")
_TIME = re.compile(r"DATE|TIMESTAMP.*")


def standing_tables(connection: Connection) -> dict[str, list[tuple[str, str]]]:
    """The tables that are there, with names and types of their columns."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in connection.execute(
        "SELECT schema_name || '.' || table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() ORDER BY 1, column_index"
    ).fetchall():
        found.setdefault(table, []).append((column, kind))
    return found


def ensure(connection: Connection, model: Model, found: list[tuple[str, str]]) -> bool:
    """Make the table if it is missing or has other columns than its file says. Returns whether it is new.

    found: the columns that it has. Raises BuildError where history does not fit.
    """
    if found == [(c.name, c.type) for c in model.columns]:
        return False
    if found and model.is_history:
        _carry_over(connection, model, {name for name, _ in found})
        return False
    create(connection, model)
    return True


def create(connection: Connection, model: Model) -> None:
    connection.execute(f"CREATE OR REPLACE TABLE {model.name} ({definitions(model.columns)})")
    connection.execute(comments(model.name, {c.name: c.about for c in model.columns}, model.about))


def empty(work: Build, model: Model) -> None:
    """Take out all rows. Where its file changed, the table is made anew: its comments may have changed, too."""
    if model.name in work.states and work.is_new_code(model):
        create(work.connection, model)
    else:
        work.connection.execute(f"DELETE FROM {model.name}")


def count(connection: Connection, table: str) -> int:
    return int(value(connection, f"SELECT count(*) FROM {table}"))


def require_columns(work: Build, model: Model) -> None:
    """Raises BuildError where a model's query and its header do not agree about the columns. Names each."""
    try:
        described = work.connection.execute(f"DESCRIBE {model.query}", work.parameters(model)).fetchall()
    except duckdb.Error as error:
        raise BuildError(f"{model.name}: {error}") from error
    given = {row[0].lower(): (row[0], row[1]) for row in described}
    wanted = {column.name.lower(): column for column in model.columns}
    wrong = [
        f"the query gives {name}, which the header lacks"
        for key, (name, _) in given.items()
        if key not in wanted
    ]
    for key, column in wanted.items():
        if key not in given:
            wrong.append(f"the header has {column.name}, which the query does not give")
        elif not _fits(given[key][1], column):
            wrong.append(
                f"{column.name} is {column.type} in the header, and the query gives {given[key][1]}: CAST it there"
            )
    if len(described) != len(given):
        wrong.append("the query gives a name twice")
    if wrong:
        raise BuildError(f"{model.name}: {'; '.join(wrong)}")


def _fits(given: str, column: Column) -> bool:
    """Whether values of one type can be stored as another: DuckDB does so by itself, or both are numbers or times."""
    if given == column.type or any(
        all(kind.fullmatch(of) for of in (given, column.type)) for kind in (_NUMBER, _TIME)
    ):
        return True
    return column.type == "VARCHAR" or _casts(given, column.type)


@cache
def _casts(given: str, wanted: str) -> bool:
    query = f"SELECT can_cast_implicitly(CAST(NULL AS {given}), CAST(NULL AS {canonical_type(wanted)}))"
    return bool(parser().execute(query).fetchall()[0][0])


def _carry_over(connection: Connection, model: Model, found: set[str]) -> None:
    """Give a table that cannot be computed again the columns of its file, with the rows that it has."""
    columns = ", ".join(
        f"CAST({identifier(c.name)} AS {c.type}) AS {identifier(c.name)}"
        for c in model.columns
        if c.name in found
    )
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE carried AS SELECT {columns} FROM {model.name}")
    except duckdb.Error as error:
        raise BuildError(
            f"{model.name} is history, and its rows do not fit the columns of its file: {error}. Nothing was changed; "
            "give the column a new name, or add a step to warehouse/migrations.py"
        ) from error
    create(connection, model)
    connection.execute(f"INSERT INTO {model.name} BY NAME FROM carried")
