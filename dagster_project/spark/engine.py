"""The heavy half on a Spark cluster: decisions over what it read, and sums over what it keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from dagster_project.settings import Settings
from dagster_project.warehouse import stored
from dagster_project.warehouse.columns import Column, definitions, identifier, names_of
from dagster_project.warehouse.database import Connection
from dagster_project.warehouse.engine import Engine, Local, Rows
from dagster_project.warehouse.models import Model
from dagster_project.warehouse.storage import Bucket, storage_at

from . import objects
from .session import session, telling

_log = logging.getLogger(__name__)
# Fewer new rows are summed up here sooner than a cluster is asked.
SMALLEST_ROWS = 1_000_000
# Types that Spark calls otherwise.
_KINDS = {"VARCHAR": "STRING"}


def engine_of(settings: Settings) -> Engine:
    """Who does the heavy half, as the settings say."""
    return Local() if settings.engine.kind == "local" else Spark(settings)


class Spark(Local):
    """A cluster, for what lies where it sees it; else this process."""

    kind = "spark"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def select(
        self,
        connection: Connection,
        query: str,
        columns: Sequence[Column],
        table: str,
        relations: Mapping[str, tuple[Rows, Sequence[str]]],
    ) -> None:
        if not any(rows.files for rows, _ in relations.values()):
            super().select(connection, query, columns, table, relations)
            return
        with telling(self.settings, f"deciding ({table})"), self._views() as views:
            for name, (rows, taken) in relations.items():
                views[name] = self._relation(connection, rows, taken)
            from .sql import carried  # takes long to import, and who does without a cluster does without

            found = self._run(carried(query, {}, {}))
            self._fetch(connection, found, columns, table)

    def insert(
        self, connection: Connection, table: stored.Table, rows: Rows, without: str, only: str = "true"
    ) -> None:
        if not rows.files:
            super().insert(connection, table, rows, without, only)
            return
        position = ("load_seq", "line", "element")
        folder = stored.new_file(connection, table.name).removesuffix(".parquet")
        with telling(self.settings, f"writing raw.{table.name}"), self._views() as views:
            taken = dict.fromkeys([*(column.name for column in table.columns), *position])
            views["incoming"] = self._relation(connection, rows, list(taken))
            views["refused"] = self._relation(connection, Rows(without), position)
            stands = self._run(
                f"SELECT {_names(table.columns)} FROM incoming LEFT ANTI JOIN refused "
                f"USING ({', '.join(position)}) WHERE {only}"
            )
            written = self._written(stands, folder)
        if written:
            stored.add(connection, table.name, written)

    def sums(self, connection: Connection, model: Model, since: int, given: Mapping[str, object]) -> str:
        (name,) = model.inputs
        table = name.removeprefix("raw.")
        is_there = name.startswith("raw.") and stored.is_stored(connection, table)
        if not is_there or stored.rows_since(connection, table, since) < max(SMALLEST_ROWS, 1):
            return super().sums(connection, model, since, given)
        files = stored.files_of(connection, table, since)
        with telling(self.settings, f"computing {model.name}"), self._views() as views:
            described = connection.execute(f"DESCRIBE raw.{table}").fetchall()
            views[table] = self._of_files(files, [name for name, *_ in described])
            from .sql import carried

            found = self._run(carried(model.query, {name: table}, given))
            self._fetch(connection, found, model.columns, "sums_of_cluster")
        return "sums_of_cluster"

    def _run(self, query: str) -> Any:
        return session(self.settings).sql(query)

    @contextmanager
    def _views(self) -> Iterator[_Views]:
        views = _Views()
        try:
            yield views
        finally:
            views.drop(self.settings)

    def _relation(self, connection: Connection, rows: Rows, taken: Sequence[str]) -> Any:
        spark = session(self.settings)
        names = [identifier(name) for name in taken]
        if rows.files:
            by_shift: dict[int, list[str]] = {}
            for file, shift in rows.files:
                by_shift.setdefault(shift, []).append(str(file))
            parts = [
                self._of_files(files, taken).selectExpr(
                    *(
                        f"load_seq + {shift} AS load_seq" if name == "load_seq" else f"`{name}`"
                        for name in taken
                    )
                )
                for shift, files in by_shift.items()
            ]
            whole = parts[0]
            for part in parts[1:]:
                whole = whole.union(part)
            return whole
        table = rows.sql.removeprefix("raw.")
        if rows.sql.startswith("raw.") and stored.is_stored(connection, table):
            files = stored.files_of(connection, table)
            if files:
                return self._of_files(files, taken)
        # All else is small: slots, names, what is refused.
        query = f"SELECT {', '.join(names)} FROM {rows.sql}"
        small = connection.sql(query).to_arrow_table()
        if small.num_rows:
            return spark.createDataFrame(small)
        kinds = connection.execute(f"DESCRIBE {query}").fetchall()
        nulls = ", ".join(f"CAST(NULL AS {_KINDS.get(kind, kind)}) AS `{name}`" for name, kind, *_ in kinds)
        return spark.sql(f"SELECT {nulls} WHERE false")

    def _of_files(self, files: Sequence[str], taken: Sequence[str]) -> Any:
        """Columns of Parquet files, as a relation of the cluster's."""
        spark, storage = session(self.settings), storage_at(files[0])
        if isinstance(storage, Bucket):
            return objects.read(spark, storage, files, taken)
        return spark.read.parquet(*map(storage.of_cluster, files)).select(*taken)

    def _written(self, rows: Any, folder: str) -> list[str]:
        """Let the cluster write rows to a folder that is not there yet. Returns the files."""
        storage = storage_at(folder)
        if isinstance(storage, Bucket):
            return objects.write(rows, storage, folder)
        rows.write.parquet(storage.of_cluster(folder), compression="zstd")
        return [file for file in storage.files(folder) if file.endswith(".parquet")]

    def _fetch(self, connection: Connection, found: Any, columns: Sequence[Column], table: str) -> None:
        """What the cluster gives, as a temporary table."""
        connection.register("from_cluster", found.toArrow())
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({definitions(columns)})")
            connection.execute(f"INSERT INTO {table} SELECT {names_of(columns)} FROM from_cluster")
        finally:
            connection.unregister("from_cluster")


class _Views(dict[str, Any]):
    """Temporary views of the session, by name."""

    def __setitem__(self, name: str, rows: Any) -> None:
        super().__setitem__(name, rows)
        rows.createOrReplaceTempView(name)

    def drop(self, settings: Settings) -> None:
        """Let go of them. That the cluster is gone is told by whoever needs it."""
        with suppress(Exception):
            for name in self:
                session(settings).catalog.dropTempView(name)


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(f"`{column.name}`" for column in columns)
