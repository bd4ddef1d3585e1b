"""API calls, as Moesif's SDKs send them: `raw/events/` to `raw.api_calls`.

Two ways in, one result: DuckDB's typed reader takes the plain records of a large JSON lines file; whatever it
could misread, and every small file, is read record by record in Python.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from dagster_project.readers import json_records
from dagster_project.readers.files import Record
from dagster_project.readers.values import (
    LARGEST_INTEGER,
    Repairs,
    id_in,
    id_of,
    is_future,
    no_time,
    noted_whole,
    time_of,
)
from dagster_project.warehouse.database import Connection
from dagster_project.warehouse.engine import Engine, Rows

from . import FIRST_LOAD, POSITION, RawColumn, RawTable, Source, typed
from .deciding import KEY, KEY_FIRST, KEY_LAST, decide, key_numbers
from .reading import FileLoad, LoadContext, Loader, StagingTable, objects, received

TRANSACTION_HEADER = "x-moesif-transaction-id"
# What API calls and actions have in common.
EVENT_COLUMNS = (
    *POSITION,
    RawColumn("event_at", "TIMESTAMP", "UTC"),
    RawColumn("company_id", "VARCHAR", "as the event says", holds="company", erases_row=True),
    RawColumn("user_id", "VARCHAR", "as the event says", holds="user"),
    RawColumn("session_token", "VARCHAR", "as the event says", holds="token"),
)
# Behind the columns of older releases, whose tables have it added there.
ANONYMOUS_ID = RawColumn("anonymous_id", "VARCHAR", "the browser's, as the event says", holds="anonymous")
LATENCY = RawColumn(
    "latency_us",
    "BIGINT",
    "from request.time to response.time; null: unusable, or loaded by an older release",
)
KEEPS_ROUTE = RawColumn("keeps_route", "BOOLEAN", 'loaded under [usage] routes = "all"')
# What is answered later than that, or before it was asked, is a clock's fault.
_LONGEST_LATENCY = timedelta(days=1)
API_CALLS = RawTable(
    "api_calls",
    "API calls, deduplicated; headers and bodies are not kept.",
    [
        *EVENT_COLUMNS,
        RawColumn("status", "INTEGER", "of the response; null: none"),
        RawColumn("weight", "BIGINT", "calls that it stands for (sampling)"),
        RawColumn("is_blocked", "BOOLEAN", "a rule blocked it"),
        # What cohorts over behaviour ask for.
        RawColumn("verb", "VARCHAR", "of failed calls (status 400 to 599); of all where keeps_route"),
        RawColumn("route", "VARCHAR", "path of the address, of the same calls", names_anybody="path"),
        ANONYMOUS_ID,
        LATENCY,
        KEEPS_ROUTE,
    ],
    retained_by="event_at",
    is_large=True,
)
API_CALL_KEYS = RawTable(
    "api_call_keys",
    "Hashes of the keys by which calls are told apart.",
    [KEY_FIRST, FIRST_LOAD, KEY_LAST],
    is_large=True,
)
# What the fast path takes of a call. A key in a header of another spelling needs the second reading.
_FIELDS = """transaction_id VARCHAR, received_at VARCHAR, company_id VARCHAR, user_id VARCHAR, session_token VARCHAR,
    anonymous_id VARCHAR, weight JSON, blocked_by VARCHAR,
    request STRUCT("time" VARCHAR, verb VARCHAR, uri VARCHAR, headers {headers}),
    response STRUCT(status JSON, "time" VARCHAR)"""
_QUERY = """WITH texts AS (
    SELECT *, plain_time(request."time") AS event_at, plain_time(received_at) AS received,
        response."time" AS answered_text, plain_time(response."time") AS answered_at,
        CAST(response.status AS VARCHAR) AS status_text, CAST(weight AS VARCHAR) AS weight_text,
        TRY_CAST(CAST(response.status AS VARCHAR) AS INTEGER) AS status,
        CASE WHEN CAST(weight AS VARCHAR) = '1' THEN 1 ELSE TRY_CAST(CAST(weight AS VARCHAR) AS BIGINT) END AS weight_number,
        coalesce(nullif(transaction_id, ''), {header}) AS key,
        request.verb AS verb, request.uri AS uri
    FROM parsed
)
SELECT key_first(key) AS key_first, key_last(key) AS key_last, event_at,
    nullif(company_id, '') AS company_id, nullif(user_id, '') AS user_id, nullif(session_token, '') AS session_token,
    status, coalesce(weight_number, 1) AS weight, coalesce(blocked_by, '') <> '' AS is_blocked,
    CASE WHEN {has_route} THEN verb END AS verb,
    CASE WHEN {has_route} THEN nullif(regexp_extract(
        uri, '^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)', 1), '') END AS route,
    nullif(anonymous_id, '') AS anonymous_id,
    CASE WHEN answered_at BETWEEN event_at AND event_at + INTERVAL 1 DAY
        THEN date_diff('microsecond', event_at, answered_at) END AS latency_us,
    {keeps_route} AS keeps_route,
    event_at IS NULL OR (answered_at IS NULL AND answered_text IS NOT NULL)
    OR late(event_at, received, $latest) OR (received_at IS NOT NULL AND received IS NULL)
    OR unsure_id(key) OR unsure_id(company_id) OR unsure_id(user_id) OR unsure_id(session_token)
    OR unsure_id(anonymous_id) OR unsure_id(blocked_by)
    -- A whole number that is written as one; weights of 16 digits and more may have to be cut.
    OR CASE WHEN weight_text = '1' THEN false
        ELSE coalesce(CAST(weight_number AS VARCHAR) <> weight_text OR weight_number <= 0
            OR weight_number >= 1000000000000000, weight_text IS NOT NULL) END
    OR coalesce(CAST(status AS VARCHAR) <> status_text, status_text IS NOT NULL)
    OR (coalesce({has_route}, false)
        AND NOT (coalesce(regexp_full_match(verb, '[A-Z]+'), true) AND coalesce(regexp_matches(uri, '^(/|https?://)'), true)))
    OR {unsure_key} AS needs_slow_path
FROM texts
"""


@cache
def readings(keeps_routes: bool) -> tuple[typed.Reading, ...]:
    """How the fast path reads calls. keeps_routes: of all calls, not of failed ones only."""
    routes = {
        "has_route": "true" if keeps_routes else "status BETWEEN 400 AND 599",
        "keeps_route": str(keeps_routes).lower(),
    }
    return (
        typed.Reading(
            _FIELDS.format(headers=f'STRUCT("{TRANSACTION_HEADER}" VARCHAR)'),
            _QUERY.format(
                header=f'request.headers."{TRANSACTION_HEADER}"',
                unsure_key="coalesce(key, '') = ''",
                **routes,
            ),
        ),
        typed.Reading(
            _FIELDS.format(headers="JSON"),
            _QUERY.format(
                header=f"request.headers ->> '{TRANSACTION_HEADER}'",
                # Any other spelling of the header, or a second one.
                unsure_key=f"""(coalesce(transaction_id, '') = ''
                    AND coalesce(len(string_split(lower(CAST(request.headers AS VARCHAR)), '{TRANSACTION_HEADER}')), 1)
                        > CASE WHEN coalesce(key, '') = '' THEN 1 ELSE 2 END)""",
                **routes,
            ),
        ),
    )


_ROUTE = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)")


class ApiCallLoader(Loader):
    def __init__(self, context: LoadContext) -> None:
        self.connection, self.engine = context.connection, context.engine
        self.rows = StagingTable(context.connection, API_CALLS, [*POSITION, *KEY, *API_CALLS.own_columns])
        self.staging = [self.rows]
        self.keeps_routes = context.settings.usage.routes == "all"

    def read(self, load: FileLoad) -> None:
        slow_lines = typed.read(self.connection, load, self.rows, readings(self.keeps_routes))
        if slow_lines is None:
            records = json_records.read(load.part, exact=False)
        else:
            records = json_records.read_lines(load.part, slow_lines, exact=False)
        for record, value in objects(load, records):
            self._accept(load, record, value)

    def _accept(self, load: FileLoad, record: Record, value: dict[str, Any]) -> None:
        request = _object(value.get("request"))
        at = time_of(request.get("time"))
        if at is None:
            load.reject(record, "bad_time", no_time("request.time", request.get("time")))
            return
        received_date, _ = received(load, value)
        if is_future(at, received_date, load.part.first_seen):
            load.reject(
                record, "future", f"request.time {at.isoformat()} is past the received date by more than 24 h"
            )
            return
        repairs = list(record.repairs)
        weight = weight_of(value.get("weight"), repairs)
        status = _status(value.get("response"), repairs)
        has_route = self.keeps_routes or (status is not None and 400 <= status <= 599)
        self.rows.add(
            (
                *load.position(record),
                *key_numbers(key_of(value, request, repairs)),
                at,
                id_in(value, "company_id", repairs),
                id_in(value, "user_id", repairs),
                id_in(value, "session_token", repairs),
                status,
                weight,
                _is_blocked(value.get("blocked_by")),
                _text(request.get("verb")) if has_route else None,
                route_of(request.get("uri")) if has_route else None,
                id_in(value, "anonymous_id", repairs),
                _latency(at, value.get("response")),
                self.keeps_routes,
            )
        )
        load.repair(record, repairs)

    def decide(self, loads: Sequence[FileLoad]) -> None:
        find_duplicates(self.engine, self.connection, self.rows, "raw.api_call_keys", loads)

    def finish(self, loads: Sequence[FileLoad]) -> None:
        insert_new(self.engine, self.connection, self.rows, API_CALLS, API_CALL_KEYS)


def find_duplicates(
    engine: Engine, connection: Connection, rows: StagingTable, keys: str, loads: Sequence[FileLoad]
) -> None:
    """Find and count the rows whose key came earlier, by O, in this batch or in any before. keys: the table of those."""
    connection.execute(f"""CREATE OR REPLACE TEMP TABLE incoming_keys AS
        SELECT load_seq, line, element, key_first, key_last FROM {rows.all} WHERE key_first IS NOT NULL""")
    incoming = Rows("incoming_keys", rows.rows.files)
    decide(engine, connection, "duplicates", "duplicates", incoming=incoming, known=keys)
    counts = dict(
        connection.execute("SELECT load_seq, count(*) FROM duplicates GROUP BY load_seq").fetchall()
    )
    for load in loads:
        load.duplicates += counts.get(load.load_seq, 0)


def insert_new(
    engine: Engine, connection: Connection, rows: StagingTable, table: RawTable, keys: RawTable
) -> None:
    """Insert the rows that are no duplicates; remember their keys."""
    engine.insert(connection, table, rows.rows, "duplicates")
    incoming = Rows("incoming_keys", rows.rows.files)
    engine.insert(connection, keys, incoming, "duplicates", "key_first IS NOT NULL")


def key_of(value: dict[str, Any], request: dict[str, Any], repairs: Repairs) -> str | None:
    """What makes two records the same event: `transaction_id`, else the request header; None if neither is there."""
    own = id_in(value, "transaction_id", repairs)
    if own is not None:
        return own
    headers = _object(request.get("headers"))
    name: str | None = TRANSACTION_HEADER
    if id_of(headers.get(TRANSACTION_HEADER)) is None:
        others = (k for k in reversed(headers) if k.lower() == TRANSACTION_HEADER)
        name = next((k for k in others if id_of(headers[k]) is not None), None)
    return None if name is None else id_of(noted_whole(headers[name], TRANSACTION_HEADER, repairs))


def weight_of(weight: object, repairs: Repairs) -> int:
    """The number of calls a record stands for (sampling)."""
    if isinstance(weight, float):
        if not weight.is_integer() or weight <= 0:
            return 1
        weight = noted_whole(weight, "weight", repairs)
    if isinstance(weight, bool) or not isinstance(weight, int) or weight <= 0:
        return 1
    if weight > LARGEST_INTEGER:
        repairs.append(("weight_clamped", f"weight {str(weight)[:40]} is taken as 2^53"))
        return LARGEST_INTEGER
    return weight


def route_of(uri: object) -> str | None:
    """The path of an address, without host, query and fragment (they may hold keys)."""
    match = _ROUTE.match(uri) if isinstance(uri, str) else None
    route = match[1] if match else ""
    if not route.startswith("/"):
        # An address without its scheme: what precedes the host may be a name and a password.
        route = route.partition("/")[0].rpartition("@")[2] + route[len(route.partition("/")[0]) :]
    return route or None


def _status(response: object, repairs: Repairs) -> int | None:
    status = _object(response).get("status")
    if isinstance(status, float) and abs(status) < 2**31:
        status = noted_whole(status, "response.status", repairs)
    if isinstance(status, bool) or not isinstance(status, int):
        return None
    return status if -(2**31) <= status < 2**31 else None


def _latency(at: datetime, response: object) -> int | None:
    answered_at = time_of(_object(response).get("time"))
    if answered_at is None or not timedelta(0) <= answered_at - at <= _LONGEST_LATENCY:
        return None
    return (answered_at - at) // timedelta(microseconds=1)


def _is_blocked(value: object) -> bool:
    return not (value is None or value is False or (isinstance(value, str) and not value.strip()))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


SOURCE = Source(
    folder="events",
    formats=json_records.FORMATS,
    tables=[API_CALLS, API_CALL_KEYS],
    loader=ApiCallLoader,
)
