"""What is remembered from one build to the next: tables of `core` that belong to the kernel.

`core.builds` holds what each table was built from, `core.changed_days` which days changed in which version,
`core.check_results` how the checks went, `core.column_lineage` where columns come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .columns import comments
from .database import Connection, append_rows, transaction

_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS core; CREATE SCHEMA IF NOT EXISTS marts; CREATE SCHEMA IF NOT EXISTS ops;
CREATE SCHEMA IF NOT EXISTS outbound;
CREATE TABLE IF NOT EXISTS core.builds (
    model VARCHAR, code VARCHAR, inputs VARCHAR, version BIGINT, through_load BIGINT, generation BIGINT,
    built_at TIMESTAMP, row_count BIGINT);
CREATE TABLE IF NOT EXISTS core.changed_days (model VARCHAR, day DATE, version BIGINT);
CREATE TABLE IF NOT EXISTS core.check_results (
    model VARCHAR, name VARCHAR, warns BOOLEAN, failures BIGINT, sample VARCHAR, inputs VARCHAR);
CREATE TABLE IF NOT EXISTS core.compactions (version BIGINT);
CREATE TABLE IF NOT EXISTS core.column_lineage (
    model VARCHAR, column_name VARCHAR, source_model VARCHAR, source_column VARCHAR);
CREATE TABLE IF NOT EXISTS core.pages (model VARCHAR, entity VARCHAR, draws VARCHAR[], grain VARCHAR[]);
"""
_ABOUT = {
    "core.column_lineage": "Which columns each column of a query is computed from.",
    "core.compactions": "When the files were last rewritten without what was erased.",
    "core.pages": "Which tables are shown on the portal's page of a company or user.",
    "core.builds": "What each table was last built from.",
    "core.changed_days": "Which days of a daily table changed in which version of it.",
    "core.check_results": "The last result of each check.",
}
_COLUMNS = {
    "core.builds": {
        "model": "schema.table",
        "code": "hash of the model file",
        "inputs": "versions of what it reads, JSON",
        "version": "counts the times its content changed",
        "through_load": "the last load_seq that is merged in",
        "generation": "of the raw rows; a full rebuild begins a new one",
        "built_at": "UTC",
        "row_count": "rows after the build",
    },
    "core.compactions": {"version": "counts the erasures that were done before"},
    "core.column_lineage": {
        "model": "schema.table",
        "column_name": "a column of it",
        "source_model": "schema.table that it is computed from",
        "source_column": "a column of that",
    },
    "core.pages": {
        "model": "schema.table",
        "entity": "company or user",
        "draws": "its measures that are drawn",
        "grain": "its key",
    },
    "core.changed_days": {
        "model": "schema.table",
        "day": "GMT day",
        "version": "version of the table, see core.builds",
    },
    "core.check_results": {
        "model": "schema.table",
        "name": "of the check",
        "warns": "true: a failure does not stop the build",
        "failures": "rows that should not be",
        "sample": "the first of them, JSON",
        "inputs": "its query's hash and the versions of what it read, JSON",
    },
}


@dataclass(frozen=True)
class TableState:
    """What a table was last built from: a row of `core.builds`."""

    code: str
    inputs: str
    version: int
    through_load: int | None
    generation: int
    row_count: int


@dataclass(frozen=True)
class CheckResult:
    """How a check went. inputs: what it was run on; while that is the same, so is the result."""

    model: str
    name: str
    warns: bool
    failures: int
    sample: str
    inputs: str = ""

    @property
    def passed(self) -> bool:
        return self.failures == 0


@dataclass
class Notes:
    """What is to be written down at the end of a build: rows by model. Several statements a table would be dear."""

    builds: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    check_results: dict[str, list[CheckResult]] = field(default_factory=dict)
    column_lineage: dict[str, list[tuple[str, str, str, str]]] = field(default_factory=dict)
    pages: dict[str, list[tuple[str, str, list[str], list[str]]]] = field(default_factory=dict)

    def built(self, model: str, state: TableState, at: datetime) -> None:
        self.builds[model] = (
            model,
            state.code,
            state.inputs,
            state.version,
            state.through_load,
            state.generation,
            at,
            state.row_count,
        )


def prepare(connection: Connection, standing: Iterable[str]) -> None:
    """Make the tables that are missing. standing: those that are there."""
    if not set(_COLUMNS) <= set(standing):
        with transaction(connection):
            connection.execute(_SCHEMA)
            for table, columns in _COLUMNS.items():
                connection.execute(comments(table, columns, _ABOUT[table]))


def table_states(connection: Connection) -> dict[str, TableState]:
    return {
        row[0]: TableState(*row[1:])
        for row in connection.execute(
            "SELECT model, code, inputs, version, through_load, generation, row_count FROM core.builds"
        ).fetchall()
    }


def raw_versions(connection: Connection) -> dict[str, int]:
    """How often the rows of each raw table changed, by `raw.<name>`."""
    found = connection.execute("SELECT name, version FROM raw.versions").fetchall()
    return {"raw.generation": 0, **{f"raw.{name}": version for name, version in found}}


def check_results(connection: Connection) -> dict[str, list[CheckResult]]:
    """The last results of the checks, by table."""
    found: dict[str, list[CheckResult]] = {}
    for row in connection.execute(
        "SELECT model, name, warns, failures, sample, coalesce(inputs, '') FROM core.check_results ORDER BY rowid"
    ).fetchall():
        found.setdefault(row[0], []).append(CheckResult(*row))
    return found


def forget_tables(connection: Connection, names: Iterable[str]) -> None:
    """Drop tables whose file is gone, and what was remembered of them."""
    for name in names:
        connection.execute(f"DROP TABLE IF EXISTS {name}")
        for table in ("builds", "changed_days", "check_results", "column_lineage", "pages"):
            connection.execute(f"DELETE FROM core.{table} WHERE model = ?", [name])


def write(connection: Connection, notes: Notes) -> None:
    """Write down what was built, from what, and how its checks went."""
    results = {
        model: [(r.model, r.name, r.warns, r.failures, r.sample, r.inputs) for r in of_model]
        for model, of_model in notes.check_results.items()
    }
    _replace(connection, "builds", {model: [row] for model, row in notes.builds.items()})
    _replace(connection, "check_results", results)
    _replace(connection, "column_lineage", notes.column_lineage)
    _replace(connection, "pages", notes.pages)
    if notes.builds:
        connection.execute(
            "UPDATE core.builds SET through_load = (SELECT coalesce(max(load_seq), 0) FROM raw.files) "
            "WHERE through_load IS NULL"
        )


def _replace(connection: Connection, table: str, rows: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
    if rows:
        connection.execute(
            f"DELETE FROM core.{table} WHERE model IN (SELECT unnest(?::VARCHAR[]))", [list(rows)]
        )
        append_rows(connection, f"core.{table}", [row for of_model in rows.values() for row in of_model])
