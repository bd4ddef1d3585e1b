"""Meters: each file `sql/meters/<name>.sql` is a query for what companies used, by day. It is summed up by the periods of their
subscriptions, and by calendar months where a day is in no such period.

A period that is over is closed. If its quantity is another later, that is a row in `ops.meter_adjustments`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from dagster_project.warehouse.build import Build, BuildError
from dagster_project.warehouse.columns import literal
from dagster_project.warehouse.database import value
from dagster_project.warehouse.functions import written_out
from dagster_project.warehouse.models import ModelError
from dagster_project.warehouse.python_models import PythonModel

from .queries import Query, queries

_USAGE, _ADJUSTMENTS = "marts.meter_usage", "ops.meter_adjustments"
_CLOSED, _THROUGH = "core.meter_closed", "core.meters_closed_through"
_COLUMNS = {"company_id", "day", "quantity"}
_WHOLE = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
_KEY = "meter, company_id, subscription_id, period_start"


def meters() -> list[Query]:
    return [query for query in queries("meters") if not query.is_empty]


class Meters:
    obeys = None

    def reads(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for meter in meters():
            found |= meter.reads
        return found

    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(f"{m.name} {m.text}" for m in meters()).encode()).hexdigest()

    def build(self, work: Build) -> set[str]:
        connection = work.connection
        connection.execute(f"CREATE OR REPLACE TEMP TABLE metered AS FROM {_USAGE} LIMIT 0")
        for meter in meters():
            _count(work, meter)
        changed = _keep_closed(work)
        news = value(
            connection,
            f"SELECT count(*) FROM ((FROM metered EXCEPT FROM {_USAGE}) UNION ALL (FROM {_USAGE} EXCEPT FROM metered))",
        )
        if news:
            connection.execute(f"DELETE FROM {_USAGE}")
            connection.execute(f"INSERT INTO {_USAGE} BY NAME FROM metered ORDER BY {_KEY}")
            changed.add(_USAGE)
        return changed


MODEL: PythonModel = Meters()


def _count(work: Build, meter: Query) -> None:
    """Adds what a meter counted to the temporary table metered. Raises ModelError and BuildError, which name its file."""
    connection = work.connection
    try:
        found = f"FROM ({meter.of_this_build}) WHERE company_id IS NOT NULL AND day <= ?"
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE metered_daily AS SELECT * {found}",
            [work.as_of],
        )
    except Exception as error:
        raise BuildError(f"{meter.file}: {error}") from error
    types = {row[0]: row[1] for row in connection.execute("DESCRIBE metered_daily").fetchall()}
    if set(types) != _COLUMNS or types["day"] != "DATE" or not _WHOLE.fullmatch(types["quantity"]):
        told = ", ".join(f"{name} {kind}" for name, kind in types.items())
        raise ModelError(
            f"{meter.file}: it selects {told}; it must be company_id, day (a DATE) and quantity (whole numbers: CAST them AS "
            "BIGINT, in a unit that is small enough)"
        )
    _, said = meter.header(("quota",))
    keys = [key.strip() for key in said.get("quota", "").split(",") if key.strip()]
    connection.execute(
        written_out(f"""
        INSERT INTO metered BY NAME
        WITH daily AS (
            SELECT company_id, day, saturating_sum(quantity) AS quantity FROM metered_daily GROUP BY ALL
        ), in_periods AS (
            -- A period in which nothing was used is there, too.
            SELECT p.company_id, p.subscription_id, p.first_day AS period_start, p.last_day AS period_end,
                   saturating_sum(coalesce(d.quantity, 0)) AS quantity
            FROM core.subscription_periods AS p
            LEFT JOIN daily AS d ON d.company_id = p.company_id AND d.day BETWEEN p.first_day AND p.last_day
            WHERE p.first_day <= $as_of
            GROUP BY ALL
        ), in_months AS (
            SELECT company_id, CAST(NULL AS VARCHAR) AS subscription_id,
                   CAST(date_trunc('month', day) AS DATE) AS period_start, last_day(day) AS period_end,
                   saturating_sum(quantity) AS quantity
            FROM daily AS d
            WHERE NOT EXISTS (
                FROM core.subscription_periods AS p
                WHERE p.company_id = d.company_id AND d.day BETWEEN p.first_day AND p.last_day
            )
            GROUP BY ALL
        )
        SELECT $meter AS meter, u.*, coalesce({_quota("s.metadata", keys)}, {_quota("c.metadata", keys)}) AS quota,
               CAST(u.quantity AS DOUBLE) / nullif(quota, 0) AS share, u.period_end < $as_of AS is_closed
        FROM (FROM in_periods UNION ALL FROM in_months) AS u
        LEFT JOIN core.subscription_metadata AS s ON s.subscription_id = u.subscription_id
        LEFT JOIN core.company_metadata AS c ON c.company_id = u.company_id"""),
        {"meter": meter.name, "as_of": work.as_of},
    )


def _quota(metadata: str, keys: list[str]) -> str:
    """An expression for the first of the keys under which there is a number that is none below 0. `a.b`: b within a."""
    found = []
    for key in keys:
        path = "$" + "".join('."' + part.replace('"', '\\"') + '"' for part in key.split("."))
        number = f"TRY_CAST(json_extract_string({metadata}, {literal(path)}) AS DOUBLE)"
        found.append(f"CASE WHEN {number} >= 0 AND isfinite({number}) THEN {number} END")
    return f"coalesce({', '.join([*found, 'NULL'])})"


def _keep_closed(work: Build) -> set[str]:
    """Compares what is closed with what it came to at the last build, and keeps what it comes to now.

    Periods that end later than this build looks (an earlier `--as-of`) are left as they were.
    """
    connection = work.connection
    names = [meter.name for meter in meters()]
    for table in (_CLOSED, _THROUGH):  # of one that is gone; should it come again, it begins anew
        connection.execute(f"DELETE FROM {table} WHERE meter NOT IN (SELECT unnest(?::VARCHAR[]))", [names])
    given = {"as_of": work.as_of}
    moved = value(
        connection,
        f"""
        INSERT INTO {_ADJUSTMENTS} BY NAME
        SELECT $run AS run, $now AS found_at, {", ".join(f"coalesce(n.{c}, b.{c}) AS {c}" for c in ("meter", "company_id"))},
               coalesce(n.subscription_id, b.subscription_id) AS subscription_id,
               coalesce(n.period_start, b.period_start) AS period_start, coalesce(n.period_end, b.period_end) AS period_end,
               coalesce(b.quantity, 0) AS quantity_before, coalesce(n.quantity, 0) AS quantity_after,
               CASE WHEN n.period_end = b.period_end OR (coalesce(n.subscription_id, b.subscription_id) IS NULL)
                   THEN 'usage' ELSE 'period' END AS reason
        FROM (FROM {_CLOSED} WHERE period_end < $as_of) AS b
        FULL JOIN metered AS n ON n.meter = b.meter AND n.company_id = b.company_id
            AND n.subscription_id IS NOT DISTINCT FROM b.subscription_id AND n.period_start = b.period_start
        LEFT JOIN {_THROUGH} AS t ON t.meter = n.meter
        WHERE (b.meter IS NOT NULL OR n.period_end <= t.day)
          AND quantity_before <> quantity_after
          -- One that a look back left open is compared when it is closed again.
          AND (b.meter IS NOT NULL OR n.is_closed)
        ORDER BY ALL""",
        {**given, "run": work.run_id, "now": work.now},
    )
    closed = f"SELECT {_KEY}, period_end, quantity FROM metered WHERE is_closed"
    news = value(
        connection,
        f"""SELECT count(*) FROM (
            ({closed} EXCEPT SELECT {_KEY}, period_end, quantity FROM {_CLOSED})
            UNION ALL (SELECT {_KEY}, period_end, quantity FROM {_CLOSED} WHERE period_end < $as_of EXCEPT {closed}))""",
        given,
    )
    if news:
        connection.execute(f"DELETE FROM {_CLOSED} WHERE period_end < ?", [work.as_of])
        connection.execute(f"INSERT INTO {_CLOSED} ({_KEY}, period_end, quantity) {closed} ORDER BY ALL")
    through = "(SELECT unnest(?::VARCHAR[]) AS meter, CAST(? AS DATE) - 1 AS day)"
    later = value(
        connection,
        f"""SELECT count(*) FROM {through} AS n LEFT JOIN {_THROUGH} AS t ON t.meter = n.meter
        WHERE t.day IS NULL OR t.day < n.day""",
        [names, work.as_of],
    )
    if later:
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE through AS
            SELECT n.meter, greatest(n.day, t.day) AS day FROM {through} AS n LEFT JOIN {_THROUGH} AS t ON t.meter = n.meter""",
            [names, work.as_of],
        )
        connection.execute(f"DELETE FROM {_THROUGH}")
        connection.execute(f"INSERT INTO {_THROUGH} FROM through")
    return {table for table, is_new in ((_ADJUSTMENTS, moved), (_CLOSED, news), (_THROUGH, later)) if is_new}
