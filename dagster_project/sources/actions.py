"""Custom actions: `raw/actions/` to `raw.actions`. As API calls, with a key space and time rules of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster_project.readers import json_records
from dagster_project.readers.files import Record
from dagster_project.readers.values import id_in, is_future, no_time, start_of, time_of

from . import FIRST_LOAD, POSITION, RawColumn, RawTable, Source, typed
from .deciding import KEY, KEY_FIRST, KEY_LAST, key_numbers
from .events import ANONYMOUS_ID, EVENT_COLUMNS, find_duplicates, insert_new, key_of
from .reading import FileLoad, LoadContext, Loader, StagingTable, objects, received

ACTIONS = RawTable(
    "actions",
    "Custom actions, deduplicated.",
    [
        *EVENT_COLUMNS,
        RawColumn("action_name", "VARCHAR", "its name; null: it has none", names_anybody="text"),
        ANONYMOUS_ID,
    ],
    retained_by="event_at",
    is_large=True,
)
ACTION_KEYS = RawTable(
    "action_keys",
    "Hashes of the keys by which actions are told apart.",
    [KEY_FIRST, FIRST_LOAD, KEY_LAST],
    is_large=True,
)
# An action without a time came when it was received.
_QUERY = """WITH texts AS (
    SELECT *, request."time" AS time, plain_time(received_at) AS received
    FROM parsed
), timed AS (
    SELECT *, CASE WHEN time IS NULL THEN coalesce(received, $arrived) ELSE plain_time(time) END AS event_at
    FROM texts
)
SELECT key_first(nullif(transaction_id, '')) AS key_first, key_last(nullif(transaction_id, '')) AS key_last, event_at,
    nullif(company_id, '') AS company_id, nullif(user_id, '') AS user_id, nullif(session_token, '') AS session_token,
    json_extract_string(action_name, '$') AS action_name, nullif(anonymous_id, '') AS anonymous_id,
    event_at IS NULL OR late(event_at, received, $latest) OR (received_at IS NOT NULL AND received IS NULL)
    OR unsure_id(transaction_id) OR unsure_id(company_id) OR unsure_id(user_id) OR unsure_id(session_token)
    OR unsure_id(anonymous_id)
    OR NOT coalesce(starts_with(CAST(action_name AS VARCHAR), '"'), true)
    OR (coalesce(transaction_id, '') = '' AND request.headers IS NOT NULL) AS needs_slow_path
FROM timed
"""
READINGS = (
    typed.Reading(
        """transaction_id VARCHAR, received_at VARCHAR, company_id VARCHAR, user_id VARCHAR, session_token VARCHAR,
        anonymous_id VARCHAR, action_name JSON, request STRUCT("time" VARCHAR, headers JSON)""",
        _QUERY,
    ),
)


class ActionLoader(Loader):
    def __init__(self, context: LoadContext) -> None:
        self.connection, self.engine = context.connection, context.engine
        self.rows = StagingTable(context.connection, ACTIONS, [*POSITION, *KEY, *ACTIONS.own_columns])
        self.staging = [self.rows]

    def read(self, load: FileLoad) -> None:
        folder = load.part.received
        arrived = start_of(folder) if folder else load.part.first_seen
        slow_lines = typed.read(self.connection, load, self.rows, READINGS, {"arrived": arrived})
        if slow_lines is None:
            records = json_records.read(load.part, exact=False)
        else:
            records = json_records.read_lines(load.part, slow_lines, exact=False)
        for record, value in objects(load, records):
            self._accept(load, record, value)

    def _accept(self, load: FileLoad, record: Record, value: dict[str, Any]) -> None:
        request = value.get("request") if isinstance(value.get("request"), dict) else {}
        assert isinstance(request, dict)
        received_date, received_at = received(load, value)
        if request.get("time") is None:
            # Some SDKs leave the time to the server: when it arrived is the best that is known.
            at = received_at or load.part.first_seen
        else:
            given = time_of(request["time"])
            if given is None:
                load.reject(record, "bad_time", no_time("request.time", request["time"]))
                return
            at = given
        if is_future(at, received_date, load.part.first_seen):
            load.reject(
                record, "future", f"request.time {at.isoformat()} is past the received date by more than 24 h"
            )
            return
        repairs = list(record.repairs)
        name = value.get("action_name")
        self.rows.add(
            (
                *load.position(record),
                *key_numbers(key_of(value, request, repairs)),
                at,
                id_in(value, "company_id", repairs),
                id_in(value, "user_id", repairs),
                id_in(value, "session_token", repairs),
                name if isinstance(name, str) else None,
                id_in(value, "anonymous_id", repairs),
            )
        )
        load.repair(record, repairs)

    def decide(self, loads: Sequence[FileLoad]) -> None:
        find_duplicates(self.engine, self.connection, self.rows, "raw.action_keys", loads)

    def finish(self, loads: Sequence[FileLoad]) -> None:
        insert_new(self.engine, self.connection, self.rows, ACTIONS, ACTION_KEYS)


SOURCE = Source(
    folder="actions",
    formats=json_records.FORMATS,
    tables=[ACTIONS, ACTION_KEYS],
    loader=ActionLoader,
)
