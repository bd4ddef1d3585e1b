"""A published warehouse whose outbound SELECTs are the test's own, and pushes from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
from harness import hearing

from dagster_project.destinations import hubspot
from dagster_project.destinations.hubspot import Plan, PushResult, files
from dagster_project.destinations.parts import tables
from dagster_project.settings import Settings, project_root
from dagster_project.warehouse.database import open_warehouse, transaction
from dagster_project.warehouse.publish import publish

Row = dict[str, Any]
TEXT = {
    "company_id": "VARCHAR",
    "user_id": "VARCHAR",
    "last_seen_at": "TIMESTAMP",
    "domain": "VARCHAR",
    "email": "VARCHAR",
}


class Desk:
    """Rows are what the outbound SELECTs return; columns that a test does not name are API counts."""

    def __init__(self, folder: Path, **hubspot_settings: Any) -> None:
        self.folder = folder
        self.root = folder / "project"
        (self.root / "sql" / "outbound").mkdir(parents=True, exist_ok=True)
        (self.root / "sql" / "cohorts").mkdir(exist_ok=True)
        self.settings = self.with_settings(**hubspot_settings)

    def with_settings(self, **hubspot_settings: Any) -> Settings:
        self.settings = Settings.model_validate(
            {"data": self.folder / "data", "raw": self.folder / "raw", "hubspot": hubspot_settings}
        )
        return self.settings

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
        with open_warehouse(self.settings) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS marts; CREATE SCHEMA IF NOT EXISTS core")
            listed = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
            connection.execute(f"CREATE OR REPLACE TABLE marts.{object_type}_out ({listed})")
            if isinstance(rows, str):
                connection.execute(f"INSERT INTO marts.{object_type}_out BY NAME {rows}")
            else:
                with transaction(connection):
                    for row in rows:
                        connection.execute(
                            f"INSERT INTO marts.{object_type}_out ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                            list(row.values()),
                        )
            tables.prepare(connection, "hubspot")
            publish(connection, self.settings)
        self.select(object_type, f"SELECT * FROM marts.{object_type}_out -- the mapping\n")

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
        file = self.settings.analytics_file if published else self.settings.warehouse_file
        with duckdb.connect(str(file), read_only=True) as connection:
            relation = connection.sql(f"FROM {name}")
            return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

    def ledger(self) -> dict[tuple[str, str], str]:
        return {(row["key"], row["property"]): row["value"] for row in self.table("ops.hubspot_ledger")}


def use_project_of(desk: Desk) -> None:
    """Read outbound SELECTs and cohorts from the test's folder, in this process, for good."""
    files.project_root = lambda: desk.root  # type: ignore[attr-defined]


__all__ = ["Desk", "project_root", "use_project_of"]
