"""What HubSpot has not acknowledged yet, from what is published alone: for looking, without the warehouse's lock.

The plan (planner.py) is what a push goes by; it also knows what HubSpot would refuse, and which records are skipped.
"""

from __future__ import annotations

import duckdb

from dagster_project.settings import HubspotSettings
from dagster_project.warehouse.database import Connection
from dagster_project.warehouse.models import bare

from .errors import HubspotError
from .files import outbound_file
from .keys import keys_of
from .values import kind_of, text_of


def pending_query(
    published: Connection, object_type: str, options: HubspotSettings | None = None
) -> tuple[str, list[str]]:
    """A query for id, key, property, acknowledged and value of each value that differs, and the properties' names.

    It runs on what is published.

    Raises HubspotError where the SELECT in sql/outbound/ cannot be used.
    """
    by = keys_of(options or HubspotSettings())[object_type]
    file = outbound_file(object_type)
    try:
        selected = bare(file.read_text(encoding="utf-8"))
        columns = [(row[0], row[1]) for row in published.execute(f"DESCRIBE ({selected}\n)").fetchall()]
    except (OSError, duckdb.Error) as error:
        raise HubspotError(f"sql/outbound/{file.name}: {error}") from error
    names = {name for name, _ in columns}
    id_, key = next((one for one in by.ids if one in names), by.ids[0]), by.property
    sent = [
        (f'"{name}"', kind)
        for name, kind in columns
        if name not in (*by.ids, key, "last_seen_at") and kind_of(kind)
    ]
    if not sent or not {id_, key} <= names:
        raise HubspotError(f"sql/outbound/{file.name} does not select {id_}, {key} and something to send")
    texts = ", ".join(f"{text_of(name, kind)} AS {name}" for name, kind in sent)
    query = f"""
        SELECT v.id, v.key, v.property, l.value AS acknowledged, v.value
        FROM (
            UNPIVOT (SELECT {id_} AS id, {key} AS key, {texts} FROM ({selected}\n) WHERE {key} IS NOT NULL)
            ON {", ".join(name for name, _ in sent)} INTO NAME property VALUE value
        ) AS v
        LEFT JOIN (
            SELECT key, property, arg_max(value, acknowledged_at) AS value FROM ops.hubspot_ledger
            WHERE object = '{object_type}' GROUP BY key, property
        ) AS l ON l.key = v.key AND l.property = v.property
        WHERE v.value IS DISTINCT FROM l.value AND (v.value <> '' OR l.value IS NOT NULL)"""
    return query, [name.strip('"') for name, _ in sent]
