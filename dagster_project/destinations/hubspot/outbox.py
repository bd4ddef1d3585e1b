"""The outbox: what is to be sent, and what has become of it so far. On disk, so that a crash loses nothing.

A record is `sent` before its call begins, and stays so until HubSpot's answer is understood. Whoever finds it in
that state knows only that it may have been carried out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from dagster_project.warehouse.database import Connection, append_rows, quoted, value

from .answers import Input
from .api import BATCH
from .keys import OBJECTS, Key, key_for

_AT_ONCE = 4 * BATCH


class Outbox:
    """The records of one account. Methods that write leave the transaction to the caller."""

    def __init__(
        self, connection: Connection, portal_id: int | None, keys: Mapping[str, Key] | None = None
    ) -> None:
        self.connection, self.portal_id = connection, portal_id
        self.keys = keys or {one: key_for(one) for one in OBJECTS}

    def fill(self) -> None:
        """Take what the planner planned."""
        self.connection.execute(
            """
            INSERT INTO ops.hubspot_outbox
                (record, portal_id, object, action, id, key, hubspot_id, properties, state, attempts)
            SELECT record + (SELECT coalesce(max(record), 0) FROM ops.hubspot_outbox), ?, object, action, id, key,
                   hubspot_id, properties, 'ready', 0
            FROM plan_planned""",
            [self.portal_id],
        )

    def clear(self) -> None:
        """Forget all but the records whose outcome is unknown."""
        self.connection.execute(
            "DELETE FROM ops.hubspot_outbox WHERE portal_id IS NOT DISTINCT FROM ? AND state <> 'sent'",
            [self.portal_id],
        )

    def holds(self, state: str) -> bool:
        return bool(
            value(
                self.connection,
                """
            SELECT count(*) > 0 FROM ops.hubspot_outbox WHERE state = ? AND portal_id IS NOT DISTINCT FROM ?""",
                [state, self.portal_id],
            )
        )

    def has_ready(self, halted: Collection[tuple[str, bool]]) -> bool:
        """Whether something can be sent. halted: object types, and whether their creates, that HubSpot takes none of."""
        found = self.connection.execute(
            """
            SELECT DISTINCT object, hubspot_id IS NULL FROM ops.hubspot_outbox
            WHERE state = 'ready' AND portal_id IS NOT DISTINCT FROM ?""",
            [self.portal_id],
        ).fetchall()
        return any(one not in halted for one in found)

    def awaits_companies(self, halted: Collection[tuple[str, bool]]) -> bool:
        """Whether a company is still to be made, or HubSpot has not answered yet whether it was."""
        open_states = "'sent'" if ("companies", True) in halted else "'sent', 'ready'"
        return bool(
            value(
                self.connection,
                f"""
            SELECT count(*) > 0 FROM ops.hubspot_outbox
            WHERE object = 'companies' AND hubspot_id IS NULL AND state IN ({open_states})
              AND portal_id IS NOT DISTINCT FROM ?""",
                [self.portal_id],
            )
        )

    def inputs(self, state: str, object_type: str, is_create: bool) -> Iterator[Input]:
        """The records in a state, in order; read piece by piece, so records may change their state meanwhile."""
        last = -1
        while rows := self.connection.execute(
            """
            SELECT record, key, hubspot_id, properties FROM ops.hubspot_outbox
            WHERE portal_id IS NOT DISTINCT FROM ? AND state = ? AND object = ? AND (hubspot_id IS NULL) = ? AND record > ?
            ORDER BY record LIMIT ?""",
            [self.portal_id, state, object_type, is_create, last, _AT_ONCE],
        ).fetchall():
            last = rows[-1][0]
            yield from (
                Input(record, key, hubspot_id, orjson.loads(properties))
                for record, key, hubspot_id, properties in rows
            )

    def mark_sent(self, inputs: Iterable[Input], now: datetime) -> None:
        self.connection.execute(
            f"""
            UPDATE ops.hubspot_outbox SET state = 'sent', attempts = attempts + 1, sent_at = ?
            WHERE {_among([one.record for one in inputs])}""",
            [now],
        )

    def mark(self, records: Sequence[int], state: str) -> None:
        if records:
            self.connection.execute(
                f"UPDATE ops.hubspot_outbox SET state = ? WHERE {_among(records)}", [state]
            )

    def acknowledge(self, acknowledged: Sequence[tuple[int, str]]) -> None:
        """Record numbers with the ids that HubSpot answered."""
        if acknowledged:
            self._update(
                "state = 'acknowledged', hubspot_id = n.hubspot_id", "hubspot_id VARCHAR", acknowledged
            )

    def retry_as_update(
        self, records: Sequence[tuple[int, str]], object_type: str, only_if_empty: Iterable[str] = ()
    ) -> None:
        """Records to create turned out to exist already: with which ids. only_if_empty: what may stand there already."""
        if records:
            gone = [self.keys[object_type].property, *only_if_empty]
            without_key = quoted(orjson.dumps(dict.fromkeys(gone)).decode())
            self._update(
                "action = 'update', hubspot_id = n.hubspot_id, "
                # Where only the key was to be sent, it is there already.
                f"state = CASE WHEN json_merge_patch(properties, '{without_key}') = '{{}}' THEN 'acknowledged' ELSE 'ready' END, "
                f"properties = json_merge_patch(properties, '{without_key}')",
                "hubspot_id VARCHAR",
                records,
            )

    def strip(self, names: Mapping[int, Sequence[str]]) -> None:
        """Take properties away from records."""
        if names:
            patches = [(record, orjson.dumps(dict.fromkeys(gone)).decode()) for record, gone in names.items()]
            self._update("properties = json_merge_patch(properties, n.patch)", "patch JSON", patches)

    def strip_all(self, object_type: str, name: str) -> None:
        """Take a property away from all records that are still to be sent; those that have nothing else are skipped."""
        patch = orjson.dumps({name: None}).decode()
        mine = "object = ? AND portal_id IS NOT DISTINCT FROM ? AND state = 'ready'"
        self.connection.execute(
            f"UPDATE ops.hubspot_outbox SET properties = json_merge_patch(properties, ?::JSON) WHERE {mine}",
            [patch, object_type, self.portal_id],
        )
        self.connection.execute(
            f"""
            UPDATE ops.hubspot_outbox SET state = 'column_left_out' WHERE {mine} AND CAST(properties AS VARCHAR) = '{{}}'""",
            [object_type, self.portal_id],
        )

    def keys_of(self, records: Iterable[int]) -> str:
        """A query for the objects and keys of records."""
        return f"SELECT (object, key) FROM ops.hubspot_outbox WHERE {_among(list(records))}"

    def plan_anew(self, records: Mapping[int, str | None], object_type: str) -> None:
        """Send everything of these records, to another record of HubSpot's (None: to a new one)."""
        key = quoted(self.keys[object_type].property)
        self._update(
            f"""state = 'ready', hubspot_id = n.hubspot_id,
                action = CASE WHEN n.hubspot_id IS NULL THEN 'create' ELSE 'update' END,
                properties = json_merge_patch(
                    CASE WHEN n.hubspot_id IS NULL THEN to_json(map(['{key}'], [key])) ELSE '{{}}'::JSON END,
                    (SELECT coalesce(to_json(map(
                         list(w.property ORDER BY w.property), list(w.value ORDER BY w.property))), '{{}}'::JSON)
                     FROM plan_wanted w WHERE w.object = hubspot_outbox.object AND w.key = hubspot_outbox.key
                       AND w.code IS NULL AND w.value <> ''
                       AND NOT (w.only_if_empty AND n.hubspot_id IS NOT NULL)))""",
            "hubspot_id VARCHAR",
            list(records.items()),
        )

    def _update(self, change: str, column: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE push_news (record BIGINT, {column})")
        append_rows(self.connection, "push_news", rows)
        self.connection.execute(
            f"UPDATE ops.hubspot_outbox SET {change} FROM push_news n WHERE hubspot_outbox.record = n.record"
        )


def _among(records: Sequence[int]) -> str:
    """A condition that reads only the part of the table in which the records are."""
    return f"record BETWEEN {min(records)} AND {max(records)} AND record IN ({', '.join(map(str, records))})"
