"""A published warehouse whose outbound SELECTs are the test's own, and pushes from it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from harness import hearing, rows_of

from dagster_project.destinations import hubspot
from dagster_project.destinations.hubspot import Plan, PushResult, files
from dagster_project.destinations.parts import tables
from dagster_project.settings import Settings, project_root
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.publish import publish

Row = dict[str, Any]
TEXT = {
    "company_id": "VARCHAR",
    "user_id": "VARCHAR",
    "last_seen_at": "TIMESTAMP",
    "domain": "VARCHAR",
    "email": "VARCHAR",
}


@cache
def _blank() -> Settings:
    """Databases with the tables of the push, empty. Made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="blank-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings = Settings.model_validate({"data": folder, "raw": folder / "raw"})
    with open_warehouse(settings) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS marts; CREATE SCHEMA IF NOT EXISTS core")
        tables.prepare(connection, "hubspot")
    return settings


class Desk:
    """Rows are what the outbound SELECTs return; columns that a test does not name are API counts.

    They are published when somebody asks for `settings` or `folder`, to look at them: all that a test gives, together. Where
    others know the folder, `at_once` publishes each.
    """

    at_once = False

    def __init__(self, folder: Path, **hubspot_settings: Any) -> None:
        self._unpublished: dict[str, tuple[dict[str, str], list[Row] | str]] = {}
        self._folder = folder
        self.root = folder / "project"
        (self.root / "sql" / "outbound").mkdir(parents=True, exist_ok=True)
        (self.root / "sql" / "cohorts").mkdir(exist_ok=True)
        self.with_settings(**hubspot_settings)

    def with_settings(self, **hubspot_settings: Any) -> None:
        self._settings = Settings.model_validate(
            {"data": self._folder / "data", "raw": self._folder / "raw", "hubspot": hubspot_settings}
        )

    @property
    def settings(self) -> Settings:
        self._publish()
        return self._settings

    @property
    def folder(self) -> Path:
        self._publish()
        return self._folder

    def select(self, object_type: str, query: str) -> None:
        (self.root / "sql" / "outbound" / f"hubspot_{object_type}.sql").write_text(query, encoding="utf-8")

    def publish(self, object_type: str, rows: Iterable[Row] | str, columns: Mapping[str, str]) -> None:
        """Publish these rows (or a query's) as what is to be sent to an object type; columns: name to DuckDB type."""
        types = {
            "company_id" if object_type == "companies" else "user_id": "VARCHAR",
            "last_seen_at": "TIMESTAMP",
            "domain" if object_type == "companies" else "email": "VARCHAR",
            **columns,
        }
        if object_type in self._unpublished:
            self._publish()
        self._unpublished[object_type] = types, rows if isinstance(rows, str) else list(rows)
        if self.at_once:
            self._publish()
        self.select(object_type, f"SELECT * FROM marts.{object_type}_out -- the mapping\n")

    def _publish(self) -> None:
        given, self._unpublished = self._unpublished, {}
        if not given:
            return
        if not self._settings.data.exists():
            self._settings.data.mkdir(mode=0o700)
            for name in (self._settings.warehouse_file.name, self._settings.raw_file.name):
                shutil.copy(_blank().data / name, self._settings.data / name)
        with open_warehouse(self._settings) as connection:
            for object_type, (types, rows) in given.items():
                table = f"marts.{object_type}_out"
                listed = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
                connection.execute(f"CREATE OR REPLACE TABLE {table} ({listed})")
                if isinstance(rows, str):
                    connection.execute(f"INSERT INTO {table} BY NAME {rows}")
                    continue
                for names, alike in groupby(rows, tuple):
                    values = [list(row.values()) for row in alike]
                    places = f"({', '.join('?' * len(names))})"
                    connection.execute(
                        f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join([places] * len(values))}",
                        [value for row in values for value in row],
                    )
            publish(connection, self._settings)

    def contacts(self, rows: Iterable[Row] | str, **columns: str) -> None:
        self.publish("contacts", rows, columns or {"api_calls": "BIGINT"})

    def companies(self, rows: Iterable[Row] | str, **columns: str) -> None:
        self.publish("companies", rows, columns or {"api_calls": "BIGINT"})

    def export(self, object_type: str, *rows: tuple[str, str, str]) -> None:
        """A CRM export: record id, match key, properties as JSON."""
        with open_warehouse(self.settings) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS core")
            connection.execute(f"""
                CREATE OR REPLACE TABLE core.crm_{object_type}
                    (record_id VARCHAR, match_key VARCHAR, name VARCHAR, properties VARCHAR)""")
            for record_id, key, properties in rows:
                connection.execute(
                    f"INSERT INTO core.crm_{object_type} VALUES (?, ?, NULL, ?)", [record_id, key, properties]
                )
            publish(connection, self.settings)

    def plan(self, **more: Any) -> Plan:
        return hubspot.make_plan(self.settings, **more)

    def push(self, tell: Callable[[str], None] = lambda _: None, **more: Any) -> PushResult:
        """Push, and check what must hold after every push. tell: is called with what is logged meanwhile."""
        with hearing(tell):
            result = hubspot.push(self.settings, live=True, **more)
        for tally in [*result.objects.values(), result.total]:
            assert tally.planned == tally.acknowledged + tally.rejected + tally.skipped, tally
        (last,) = self.table("ops.hubspot_pushes ORDER BY push DESC LIMIT 1")
        assert (
            last["planned"]
            == last["acknowledged"] + last["rejected"] + last["skipped"]
            == result.total.planned
        )
        assert last["calls"] == result.calls
        return result

    def table(self, name: str, published: bool = True) -> list[Row]:
        """Rows of a table as analysts see them."""
        settings = self.settings
        return rows_of(settings.analytics_file if published else settings.warehouse_file, f"FROM {name}")

    def ledger(self) -> dict[tuple[str, str], str]:
        return {(row["key"], row["property"]): row["value"] for row in self.table("ops.hubspot_ledger")}


def use_project_of(desk: Desk) -> None:
    """Read outbound SELECTs and cohorts from the test's folder, in this process, for good."""
    files.project_root = lambda: desk.root  # type: ignore[attr-defined]


__all__ = ["Desk", "project_root", "use_project_of"]
