"""Custom actions: `raw/actions/` to `raw.actions`. As API calls, with a key space and time rules of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster_project.readers import json_records
from dagster_project.readers.files import Record
from dagster_project.readers.values import id_of, is_future, time_of

from . import PLACE, Source
from .events import drop_duplicates, key_of
from .loading import FileLoad, Incoming, LoadContext, Loader, objects, received

COLUMNS = (
    "event_at TIMESTAMP, company_id VARCHAR, user_id VARCHAR, session_token VARCHAR, action_name VARCHAR"
)


class ActionLoader(Loader):
    def __init__(self, context: LoadContext) -> None:
        self.connection = context.connection
        self.rows = Incoming(context.connection, "incoming_actions", f"{PLACE}, key VARCHAR, {COLUMNS}")
        self.incoming = [self.rows]

    def read(self, load: FileLoad) -> None:
        for record, value in objects(load, json_records.read(load.part, exact=False)):
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
                load.reject(record, "bad_time", "request.time is no time")
                return
            at = given
        if is_future(at, received_date, load.part.first_seen):
            load.reject(
                record, "future", f"request.time {at.isoformat()} is past the received date by more than 24 h"
            )
            return
        load.repair(record, record.repairs)
        name = value.get("action_name")
        self.rows.add(
            (
                *load.place(record),
                key_of(value, request),
                at,
                id_of(value.get("company_id")),
                id_of(value.get("user_id")),
                id_of(value.get("session_token")),
                name if isinstance(name, str) else None,
            )
        )

    def finish(self, loads: Sequence[FileLoad]) -> None:
        drop_duplicates(self.connection, "incoming_actions", "action_keys", loads)
        self.connection.execute("INSERT INTO raw.actions SELECT * EXCLUDE (key) FROM incoming_actions")


SOURCE = Source(
    folder="actions",
    table="actions",
    about="Custom actions, deduplicated.",
    formats=json_records.FORMATS,
    tables={"actions": f"{PLACE}, {COLUMNS}", "action_keys": "key UHUGEINT"},
    loader=ActionLoader,
)
