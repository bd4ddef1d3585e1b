"""What is remembered of a push: what HubSpot acknowledged, which record a key belongs to, what was refused.

The outbox says what became of each record while a push goes on; `settle` carries that over into the ledger. Both
are on disk, so a push that was killed is settled by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dagster_project.warehouse.database import Connection, append_rows, transaction, value

from .values import EXPLAINED

_BYTES = 800  # of a record at least
_AT_ONCE = 8_000_000  # bytes of properties, roughly: bounds what is unpacked at a time


@dataclass(frozen=True)
class Reject:
    """A refused value, or (property None) a refused record. is_final: the same is not tried again."""

    record: int
    property: str | None
    value: str | None
    code: str
    message: str
    correlation_id: str | None
    is_final: bool = True
    is_for_key: bool = False  # HubSpot does not take the key, whatever the rest is


def settle(connection: Connection, now: datetime) -> int:
    """Carry what HubSpot acknowledged from the outbox into the ledger. Returns how many records.

    Rows of the outbox that are settled are marked so; settling twice does nothing.
    """
    done, last = 0, -1
    waiting = "FROM ops.hubspot_outbox WHERE state = 'acknowledged'"
    size = value(connection, f"SELECT avg(strlen(CAST(properties AS VARCHAR))) {waiting}")
    at_once = int(_AT_ONCE // max(size or 0, _BYTES)) or 1
    while True:
        with transaction(connection):
            last = value(
                connection,
                f"SELECT max(record) FROM (SELECT record {waiting} AND record > ? ORDER BY record LIMIT ?)",
                [last, at_once],
            )
            if last is None:
                return done
            connection.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE push_settling AS
                SELECT o.record, o.portal_id, o.object, o.id, o.key, o.hubspot_id, o.properties, v.verified_at
                FROM (SELECT * {waiting} AND record <= ?) o LEFT JOIN ops.hubspot_records v
                    ON v.object = o.object AND v.key = o.key AND v.hubspot_id = o.hubspot_id
                   AND v.portal_id IS NOT DISTINCT FROM o.portal_id""",
                [last],
            )
            count = int(value(connection, "SELECT count(*) FROM push_settling"))
            for statement in _SETTLE:
                connection.execute(statement, {"now": now} if "$now" in statement else None)
        done += count


_SETTLE = (
    """CREATE OR REPLACE TEMP TABLE push_settling_values AS
       SELECT s.portal_id, s.object, s.id, s.key, s.hubspot_id, f.key AS property, f.value ->> '$' AS value
       FROM push_settling s, json_each(s.properties) f""",
    """INSERT INTO ops.hubspot_changes (push, object, id, key, hubspot_id, property, old, new, state, changed_at)
       SELECT (SELECT max(push) FROM ops.hubspot_pushes), s.object, s.id, s.key, s.hubspot_id, s.property, l.value, s.value,
              'acknowledged', $now
       FROM push_settling_values s LEFT JOIN ops.hubspot_ledger l
           ON l.object = s.object AND l.key = s.key AND l.property = s.property AND l.hubspot_id = s.hubspot_id
          AND l.portal_id IS NOT DISTINCT FROM s.portal_id""",
    # What another record acknowledged says nothing of this one: after a merge, say.
    """DELETE FROM ops.hubspot_ledger AS l USING push_settling AS s
       WHERE l.object = s.object AND l.key = s.key AND l.portal_id IS NOT DISTINCT FROM s.portal_id
         AND l.hubspot_id <> s.hubspot_id""",
    # What another profile had told this record was written over.
    """DELETE FROM ops.hubspot_ledger AS l USING push_settling AS s
       WHERE l.object = s.object AND l.hubspot_id = s.hubspot_id AND l.portal_id IS NOT DISTINCT FROM s.portal_id
         AND l.key <> s.key""",
    """DELETE FROM ops.hubspot_ledger AS l USING push_settling_values AS s
       WHERE l.object = s.object AND l.key = s.key AND l.property = s.property
         AND l.portal_id IS NOT DISTINCT FROM s.portal_id""",
    """INSERT INTO ops.hubspot_ledger (portal_id, object, id, key, hubspot_id, property, value, acknowledged_at)
       SELECT portal_id, object, id, key, hubspot_id, property, value, $now FROM push_settling_values""",
    """DELETE FROM ops.hubspot_records AS r USING push_settling AS s
       WHERE r.object = s.object AND r.key = s.key AND r.portal_id IS NOT DISTINCT FROM s.portal_id""",
    """INSERT INTO ops.hubspot_records (portal_id, object, id, key, hubspot_id, seen_at, verified_at)
       SELECT portal_id, object, id, key, hubspot_id, $now, verified_at FROM push_settling""",
    # What HubSpot took is no reject any more.
    """DELETE FROM ops.hubspot_rejects AS r USING push_settling_values AS s
       WHERE r.object = s.object AND r.key = s.key AND r.portal_id IS NOT DISTINCT FROM s.portal_id
         AND r.property = s.property""",
    """DELETE FROM ops.hubspot_rejects AS r USING push_settling AS s
       WHERE r.object = s.object AND r.key = s.key AND r.portal_id IS NOT DISTINCT FROM s.portal_id
         AND r.property IS NULL""",
    "UPDATE ops.hubspot_outbox SET state = 'settled' WHERE record IN (SELECT record FROM push_settling)",
)


def remember_matches(connection: Connection, portal_id: int | None, now: datetime) -> None:
    """Keep what HubSpot said of who is who (the planner's `resolved`), also where that is ambiguous."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE push_said AS
        SELECT DISTINCT m.object, p.id, m.key, m.hubspot_id FROM plan_matches m JOIN plan_resolved r USING (object, key, source)
        LEFT JOIN plan_profiles p ON p.object = m.object AND p.key = m.key AND p.rank = 1
        WHERE m.source = 2""")
    connection.execute(
        """
        DELETE FROM ops.hubspot_records AS r USING push_said AS s
        WHERE r.object = s.object AND r.key = s.key AND r.portal_id IS NOT DISTINCT FROM ?""",
        [portal_id],
    )
    connection.execute(
        """
        INSERT INTO ops.hubspot_records (portal_id, object, id, key, hubspot_id, seen_at, verified_at)
        SELECT $1, object, id, key, hubspot_id, $2, $2 FROM push_said""",
        [portal_id, now],
    )
    connection.execute(
        """
        UPDATE ops.hubspot_records SET verified_at = $2 FROM plan_verified v
        WHERE v.object = hubspot_records.object AND v.key = hubspot_records.key
          AND v.hubspot_id = hubspot_records.hubspot_id AND hubspot_records.portal_id IS NOT DISTINCT FROM $1""",
        [portal_id, now],
    )


def remember_preflight(connection: Connection, portal_id: int | None, now: datetime) -> None:
    """Replace what the preflight said of single values, and drop rejects of what is not wanted any more."""
    connection.execute(
        """
        DELETE FROM ops.hubspot_rejects WHERE portal_id IS NOT DISTINCT FROM ? AND (attempts = 0 OR NOT EXISTS (
            FROM plan_sendable s LEFT JOIN plan_wanted w
                ON w.object = s.object AND w.key = s.key AND w.property = hubspot_rejects.property
            WHERE s.object = hubspot_rejects.object AND s.key = hubspot_rejects.key
              AND (hubspot_rejects.property IS NULL OR w.value = hubspot_rejects.value)))""",
        [portal_id],
    )
    explained = " ".join(f"WHEN '{code}' THEN '{text}'" for code, text in EXPLAINED.items())
    connection.execute(
        f"""
        INSERT INTO ops.hubspot_rejects
            (object, id, key, hubspot_id, property, value, code, message, attempts, rejected_at, portal_id)
        SELECT object, id, key, hubspot_id, property, value, code, coalesce(said, CASE code {explained} END), 0, ?, ?
        FROM plan_refused""",
        [now, portal_id],
    )


def note_rejects(connection: Connection, rejects: list[Reject], now: datetime) -> None:
    """Keep what HubSpot refused; an older refusal of the same gives way, its attempts are counted on."""
    if not rejects:
        return
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE push_new_rejects (
            record BIGINT, property VARCHAR, value VARCHAR, code VARCHAR, message VARCHAR, correlation_id VARCHAR,
            is_final BOOLEAN, is_for_key BOOLEAN)""")
    append_rows(
        connection,
        "push_new_rejects",
        [
            (r.record, r.property, r.value, r.code, r.message, r.correlation_id, r.is_final, r.is_for_key)
            for r in rejects
        ],
    )
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE push_noted AS
        SELECT o.object, o.id, o.key, o.hubspot_id, n.property, n.value, n.code, n.message, n.correlation_id,
               o.attempts + coalesce(r.attempts, 0) AS attempts, o.portal_id,
               CASE WHEN NOT n.is_final THEN NULL WHEN n.is_for_key THEN 'key'
                    WHEN n.property IS NULL THEN md5(CAST(o.properties AS VARCHAR))
                    ELSE coalesce(p.definition, '') END AS attempted
        FROM push_new_rejects n
        JOIN ops.hubspot_outbox o ON o.record = n.record
        LEFT JOIN plan_properties p ON p.object = o.object AND p.name = n.property
        LEFT JOIN ops.hubspot_rejects r
            ON r.object = o.object AND r.key = o.key AND r.portal_id IS NOT DISTINCT FROM o.portal_id
            AND r.property IS NOT DISTINCT FROM n.property AND r.value IS NOT DISTINCT FROM n.value
        QUALIFY row_number() OVER (PARTITION BY n.record, n.property) = 1""")
    connection.execute("""
        DELETE FROM ops.hubspot_rejects AS r USING push_noted AS n
        WHERE r.object = n.object AND r.key = n.key AND r.portal_id IS NOT DISTINCT FROM n.portal_id
          AND r.property IS NOT DISTINCT FROM n.property""")
    connection.execute(
        """
        INSERT INTO ops.hubspot_rejects
            (object, id, key, hubspot_id, property, value, code, message, correlation_id, attempts, rejected_at,
             portal_id, attempted)
        SELECT object, id, key, hubspot_id, property, value, code, message, correlation_id, attempts, ?, portal_id, attempted
        FROM push_noted""",
        [now],
    )
    connection.execute(
        """
        INSERT INTO ops.hubspot_changes (push, object, id, key, hubspot_id, property, old, new, state, changed_at)
        SELECT (SELECT max(push) FROM ops.hubspot_pushes), n.object, n.id, n.key, n.hubspot_id, n.property, l.value, n.value,
               'rejected', ?
        FROM push_noted n LEFT JOIN ops.hubspot_ledger l
            ON l.object = n.object AND l.key = n.key AND l.property = n.property AND l.hubspot_id = n.hubspot_id
           AND l.portal_id IS NOT DISTINCT FROM n.portal_id""",
        [now],
    )
