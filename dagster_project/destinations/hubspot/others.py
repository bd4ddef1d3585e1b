"""Values that others wrote in HubSpot: they are not cleared, nor overwritten where only an empty field is filled."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dagster_project.warehouse.database import Connection, append_rows

from .api import Api
from .keys import Key
from .lookup import by_id, in_batches, side_by_side
from .preflight import Property
from .values import are_same


class OthersValues:
    """Of one plan: fills plan_others_values (`sql/compared.sql`). api None: offline, nobody is asked."""

    def __init__(
        self, connection: Connection, api: Api | None, portal_id: int | None, keys: Mapping[str, Key]
    ) -> None:
        self.connection, self.api, self.portal_id, self.keys = connection, api, portal_id, keys

    def leave(self, object_type: str, properties: Mapping[str, Property]) -> None:
        """What would be cleared must be ours still, and what fills only an empty field must be empty: HubSpot is asked,
        a read a hundred records."""
        if self.api is None:
            return
        rows = self.connection.execute(
            """
            SELECT hubspot_id, key, property, old, only_if_empty FROM plan_changes
            WHERE object = ? AND hubspot_id IS NOT NULL AND (value = '' OR only_if_empty) ORDER BY ALL""",
            [object_type],
        ).fetchall()
        others: list[tuple[str, str, str, str | None, bool]] = []
        names = sorted({row[2] for row in rows})
        ids = list(dict.fromkeys(row[0] for row in rows))
        by_record: dict[str, list[tuple[str, str, str | None, bool]]] = {}
        for hubspot_id, *rest in rows:
            by_record.setdefault(hubspot_id, []).append(tuple(rest))
        api, key = self.api, self.keys[object_type]
        for batch, found in side_by_side(in_batches(ids), lambda b: by_id(api, key, b, names, refused={})):
            for hubspot_id in batch:
                record = found.get(hubspot_id)
                for text, name, old, only_if_empty in by_record[hubspot_id]:
                    held = record.properties.get(name) if record else None
                    prop = properties[name]
                    if only_if_empty and held:
                        others.append((object_type, text, name, held, False))
                    elif not only_if_empty and not are_same(old or "", held, prop.type, prop.field_type):
                        others.append((object_type, text, name, held, True))
        append_rows(self.connection, "plan_others_values", others)
        self.connection.execute(
            """
            DELETE FROM plan_changes AS c USING plan_others_values AS o
            WHERE o.object = c.object AND o.key = c.key AND o.property = c.property AND o.object = ?""",
            [object_type],
        )

    def remember(self, now: datetime) -> None:
        """What others wrote is not ours to clear, and not looked at again where only an empty field is filled."""
        self.connection.execute(
            """
            DELETE FROM ops.hubspot_ledger AS l USING plan_others_values AS o
            WHERE o.was_ours AND l.portal_id IS NOT DISTINCT FROM ? AND o.object = l.object AND o.key = l.key
              AND o.property = l.property""",
            [self.portal_id],
        )
        self.connection.execute(
            """
            INSERT INTO ops.hubspot_kept (portal_id, object, id, key, property, value, seen_at)
            SELECT ?, o.object, s.id, o.key, o.property, o.held, ?
            FROM plan_others_values o LEFT JOIN plan_sendable s USING (object, key) WHERE NOT o.was_ours""",
            [self.portal_id, now],
        )
