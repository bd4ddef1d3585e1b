"""What the plan's tables come to: counts, digest, and the rows that are shown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp

from dagster_project.warehouse.database import Connection, quoted

from .api import BATCH
from .plan import Counts

_ROWS = 10_000  # handed over at a time


def digest_of(connection: Connection, *, lists: bool, events: bool, associations: bool) -> str:
    """A hash of the writes in their order, hexadecimal."""
    digest = hashlib.sha256()
    queries = ["SELECT object, action, key, hubspot_id, properties FROM plan_planned ORDER BY record"]
    if lists:
        queries.append("SELECT * FROM plan_list_changes ORDER BY ALL")
    if events:
        queries.append("SELECT event, event_id FROM plan_events ORDER BY ALL")
    if associations:
        queries.append("SELECT contact_key, company_key FROM plan_associations ORDER BY ALL")
    for query in queries:
        cursor = connection.execute(query)
        while rows := cursor.fetchmany(_ROWS):
            for row in rows:
                digest.update(repr(row).encode())
    return digest.hexdigest()


def counts_of(connection: Connection, objects: Iterable[str]) -> dict[str, Counts]:
    result = {object_type: Counts() for object_type in objects}
    fields = {"create": "creates", "update": "updates"}
    for object_type, action, number in connection.execute(
        "SELECT object, action, count(*) FROM plan_planned GROUP BY ALL"
    ).fetchall():
        setattr(result[object_type], fields[action], number)
        result[object_type].calls += -(-number // BATCH)
    for name, query in _COUNTED.items():
        for object_type, number in connection.execute(query).fetchall():
            setattr(result[object_type], name, number)
    return result


def keep_rows(connection: Connection, data: Path) -> Path:
    """The rows in files of their own, so that they can be read when the warehouse is free again. Returns their folder."""
    folder = data / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    made = Path(mkdtemp(prefix="plan-", dir=folder))
    for name, query in _SHOWN.items():
        file = quoted(str(made / f"{name}.parquet"))
        connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    return made


_SHOWN = {
    "planned": "SELECT object, action, id, key, hubspot_id, properties, before FROM plan_planned ORDER BY record",
    "skips": "SELECT object, id, key, reason FROM plan_skips ORDER BY ALL",
    "refused": "SELECT object, id, key, property, value, code FROM plan_refused ORDER BY ALL",
}
_COUNTED = {
    "skipped": "SELECT object, count(*) FROM plan_skips GROUP BY 1",
    "rejected": "SELECT object, count(*) FROM plan_refused WHERE property IS NULL GROUP BY 1",
    "unchanged": """SELECT object, count(*) FROM plan_sendable ANTI JOIN plan_planned USING (object, key)
                    ANTI JOIN plan_held_back USING (object, key) GROUP BY 1""",
    "held_back": "SELECT object, count(DISTINCT key) FROM plan_held_back GROUP BY 1",
}
