"""Alert rules: each file `sql/alerts/<name>.sql` is a query for what should be known now, a company or a user a row.

What it finds that was not open is opened, what it finds no more is closed; the history of both is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta

from dagster_project.warehouse.build import Build, BuildError
from dagster_project.warehouse.database import Connection, value
from dagster_project.warehouse.models import ModelError
from dagster_project.warehouse.python_models import PythonModel

from .queries import Query, queries

_TABLE = "marts.alerts"
_OPEN = "closed_at IS NULL AND (rule, entity, id)"


def rules() -> list[Query]:
    return [query for query in queries("alerts") if not query.is_empty]


class Alerts:
    obeys = None

    def reads(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for rule in rules():
            found |= rule.reads
        return found

    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(f"{r.name} {r.text}" for r in rules()).encode()).hexdigest()

    def build(self, work: Build) -> set[str]:
        connection = work.connection
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE alerts_found (rule VARCHAR, entity VARCHAR, id VARCHAR, detail VARCHAR)"
        )
        for rule in rules():
            _find(connection, rule)
        # A clock that stands or was put back does not mix up the order of what was found.
        last = value(connection, f"SELECT max(greatest(opened_at, closed_at)) FROM {_TABLE}")
        now = work.now if last is None else max(work.now, last + timedelta(microseconds=1))
        counts = [
            value(connection, statement, {"now": now} if "$now" in statement else None)
            for statement in (
                f"UPDATE {_TABLE} SET closed_at = $now WHERE {_OPEN} NOT IN (SELECT (rule, entity, id) FROM alerts_found)",
                f"""UPDATE {_TABLE} AS a SET detail = f.detail FROM alerts_found AS f
                    WHERE a.closed_at IS NULL AND a.rule = f.rule AND a.entity = f.entity AND a.id = f.id
                      AND a.detail IS DISTINCT FROM f.detail""",
                f"""INSERT INTO {_TABLE} (rule, entity, id, opened_at, detail)
                    SELECT rule, entity, id, $now, detail FROM alerts_found
                    WHERE (rule, entity, id) NOT IN (SELECT (rule, entity, id) FROM {_TABLE} WHERE closed_at IS NULL)
                    ORDER BY ALL""",
            )
        ]
        return {_TABLE} if any(counts) else set()


MODEL: PythonModel = Alerts()


def _find(connection: Connection, rule: Query) -> None:
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE alerts_now AS {rule.of_this_build}")
    except Exception as error:
        raise BuildError(f"{rule.file}: {error}") from error
    columns = {row[0] for row in connection.execute("DESCRIBE alerts_now").fetchall()}
    entities = [entity for entity in ("company", "user") if f"{entity}_id" in columns]
    if len(entities) != 1 or columns - {f"{entities[0]}_id", "detail"}:
        raise ModelError(
            f"{rule.file}: it selects {', '.join(sorted(columns))}; it must be company_id or user_id, and at most `detail`"
        )
    (entity,) = entities
    detail = "CAST(min(detail) AS VARCHAR)" if "detail" in columns else "CAST(NULL AS VARCHAR)"
    connection.execute(
        f"""INSERT INTO alerts_found SELECT ?, ?, {entity}_id, {detail} FROM alerts_now
        WHERE {entity}_id IS NOT NULL GROUP BY {entity}_id""",
        [rule.name, entity],
    )
