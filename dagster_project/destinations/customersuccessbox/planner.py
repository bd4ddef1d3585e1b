"""The plan: of each day's total, what CustomerSuccessBox was not told yet. Made of tables; asks nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from dagster_project.destinations.parts.errors import DestinationError
from dagster_project.destinations.parts.published import chunks, published, select
from dagster_project.settings import Settings, project_root
from dagster_project.warehouse.database import Connection, value

KEYS = ("account_id", "user_id", "product_id", "module_id", "feature_id")
KEY = ", ".join(KEYS)
_NEEDED = (*KEYS, "total")
_SHOWN = 1_000

# What is refused for good, or was over, is no news until there is more of it. (A key that was not accepted, a wrong address
# or an outage says nothing of a total.)
_PLAN = f"""
CREATE OR REPLACE TEMP TABLE csb_plan AS
WITH wanted AS (
    SELECT day, {KEY}, CAST(least(sum(total), {2**63 - 1}) AS BIGINT) AS total, max(timestamp) AS timestamp
    FROM csb_selected
    -- Pseudonyms of erased ones are nobody that CustomerSuccessBox knows.
    WHERE NOT starts_with(account_id, 'erased:') AND NOT starts_with(user_id, 'erased:')
    GROUP BY ALL
), told AS (
    SELECT day, {KEY},
        CAST(sum(CASE WHEN state IN ('sent', 'unknown') THEN total ELSE 0 END) AS BIGINT) AS total,
        -- What it was that the last entry could not tell.
        arg_max(CASE WHEN state = 'day_over' OR state = 'refused' AND regexp_full_match(code, '2..|400|409|410|413|422')
            THEN total ELSE -1 END, entry) AS held_back
    FROM ops.csb_ledger GROUP BY ALL
), differences AS (
    SELECT w.*, coalesce(t.total, 0) AS told, w.total - coalesce(t.total, 0) AS adds, t.held_back
    FROM wanted AS w LEFT JOIN told AS t USING (day, {KEY})
), repeats AS (
    SELECT day, {KEY}, total AS adds, entry FROM ops.csb_ledger WHERE $retries AND state = 'unknown' AND day = $today
)
SELECT d.day, {", ".join(f"d.{k}" for k in KEYS)}, d.adds, d.timestamp, d.told, CAST(NULL AS BIGINT) AS entry,
    d.day <> $today AS is_over
FROM differences AS d WHERE d.adds > 0 AND d.adds IS DISTINCT FROM d.held_back AND d.day <= $today
UNION ALL
SELECT r.day, {", ".join(f"r.{k}" for k in KEYS)}, r.adds, w.timestamp, 0, r.entry, false
FROM repeats AS r LEFT JOIN wanted AS w USING (day, {KEY})
ORDER BY ALL"""


@dataclass
class Plan:
    """today: the GMT day. rows: the first of what would be sent: day, ids, what is added, what was told before.

    over: totals of days that are over; they are listed, and never sent. ahead: totals that are less now than what was told
    (files were withdrawn, say): that cannot be taken back. seconds: how long it takes at the pace of the settings.
    """

    today: date
    digest: str
    calls: int
    over: int
    ahead: int
    unknown: int
    seconds: float
    rows: list[tuple[Any, ...]] = field(default_factory=list)


def make(connection: Connection, settings: Settings, today: date, *, retry_unknown: bool) -> Plan:
    """Fill the temporary table csb_plan. Raises DestinationError where the SELECT cannot be used."""
    with published(connection, settings):
        _select(connection)
    connection.execute(_PLAN, {"today": today, "retries": retry_unknown})
    digest = hashlib.sha256()
    for rows in in_order(connection, "true"):
        for row in rows:
            digest.update(repr(row).encode())
    calls, over = connection.execute(
        "SELECT count(*) FILTER (NOT is_over), count(*) FILTER (is_over) FROM csb_plan"
    ).fetchall()[0]
    ahead = value(
        connection,
        f"""WITH told AS (
                SELECT day, {KEY}, sum(total) AS told FROM ops.csb_ledger WHERE state = 'sent' AND day = ? GROUP BY ALL
            ), now AS (SELECT day, {KEY}, sum(total) AS total FROM csb_selected GROUP BY ALL)
            SELECT count(*) FROM told LEFT JOIN now USING (day, {KEY}) WHERE coalesce(total, 0) < told""",
        [today],
    )
    unknown = value(
        connection, "SELECT count(*) FROM ops.csb_ledger WHERE state = 'unknown' AND day = ?", [today]
    )
    shown = connection.execute(
        f"SELECT day, {KEY}, adds, told, is_over FROM csb_plan ORDER BY rowid LIMIT {_SHOWN}"
    ).fetchall()
    seconds = calls / settings.customersuccessbox.calls_per_second
    return Plan(today, digest.hexdigest()[:16], calls, over, ahead, unknown, seconds, shown)


def in_order(connection: Connection, condition: str, size: int = 10_000) -> Iterator[list[Any]]:
    """The plan's rows in pieces: day, ids, adds, timestamp, entry (of the ledger, where it is told once more)."""
    query = f"SELECT day, {KEY}, adds, timestamp, entry FROM csb_plan WHERE {condition} ORDER BY rowid"
    return chunks(connection, query, size=size)


def _select(connection: Connection) -> None:
    """What the SELECT says, as csb_selected, in the types that are sent."""
    file = project_root() / "sql" / "outbound" / "customersuccessbox_features.sql"
    columns = dict(select(connection, file, "csb_given"))
    lacking = [name for name in _NEEDED if name not in columns]
    more = [name for name in columns if name not in (*_NEEDED, "day", "timestamp")]
    if lacking or more:
        said = [f"it lacks {', '.join(lacking)}"] if lacking else []
        said += [f"it has {', '.join(more)}, which CustomerSuccessBox does not take"] if more else []
        raise DestinationError(f"sql/outbound/{file.name}: {'; '.join(said)}")
    if not columns["total"].endswith(("INT", "INTEGER")):
        raise DestinationError(
            f"sql/outbound/{file.name}: total is {columns['total']}: CAST it to BIGINT there"
        )
    text = ", ".join(
        f"coalesce(CAST({k} AS VARCHAR), '') AS {k}"
        if k in ("product_id", "module_id")
        else f"CAST({k} AS VARCHAR) AS {k}"
        for k in KEYS
    )
    day = "coalesce(CAST(day AS DATE), as_of)" if "day" in columns else "as_of"
    at = "CAST(timestamp AS TIMESTAMP)" if "timestamp" in columns else "CAST(NULL AS TIMESTAMP)"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE csb_selected AS
            SELECT {day} AS day, {text}, total, {at} AS timestamp FROM csb_given, published.marts.as_of
            WHERE account_id IS NOT NULL AND user_id IS NOT NULL AND feature_id IS NOT NULL AND total > 0"""
    )
