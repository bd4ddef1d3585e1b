"""Custom events: what `sql/outbound/hubspot_events.sql` says, told to HubSpot once each. Only where `[hubspot] events = true`.

An event is known to HubSpot by a uuid made of the account, its name and its id: of those that come twice within a year,
HubSpot keeps the first. So what it did not answer is sent again, and nothing comes twice.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from dagster_project.destinations.parts.published import quoted_name, select, utc_now
from dagster_project.warehouse.database import Connection, append_rows, transaction

from . import scripts
from .api import BATCH, Api, Json
from .errors import HubspotError, NotAllowed, OutcomeUnknown, Refused, Unavailable
from .files import EVENTS, outbound_file
from .lookup import in_batches
from .preflight import Column, LeftOut
from .values import kind_of, text_of

_log = logging.getLogger(__name__)
_NAMESPACE = uuid.UUID("6d2f5a0e-0c57-4c39-9f8e-2f4a5f1f6c11")
_NEEDED = ("event", "event_id", "company_id", "user_id", "occurred_at")
_PRIMARY = {"companies": "COMPANY", "contacts": "CONTACT"}
# The type of an event's property for a column of each kind.
_TYPES = {"number": "number", "date with time": "datetime"}
_TRIES = 4


@dataclass(frozen=True)
class Event:
    """One row of the SELECT, with the record that it is of."""

    event: str
    event_id: str
    object: str
    id: str
    key: str
    hubspot_id: str
    occurred_at: datetime
    properties: str


@dataclass(frozen=True)
class Definition:
    """An event as the SELECT has it. properties: name to type."""

    name: str
    object: str
    properties: Mapping[str, str]


def read(connection: Connection) -> dict[str, Definition]:
    """Run the SELECT on what is `published`: fills plan_selected_events. Returns the events that it names.

    Raises HubspotError where it cannot be used.
    """
    file = outbound_file(EVENTS)
    if not file.is_file():
        return {}
    _log.debug("reading the events to send")
    columns = [Column(*one) for one in select(connection, file, "plan_events_as_selected")]
    names = [one.name for one in columns]
    where = f"sql/outbound/{file.name}"
    if lacking := [name for name in _NEEDED if name not in names]:
        raise HubspotError(f"{where} does not select {', '.join(lacking)}: each event needs them")
    sent = [one for one in columns if one.name not in _NEEDED]
    for one in sent:
        if kind_of(one.type) is None and one.type != '"NULL"':
            raise HubspotError(f"{where}: {one.name}: an event has nothing for the type {one.type}; cast it")
    pairs = ", ".join(
        f"'{one.name}': {text_of(quoted_name(one.name), one.type)}" for one in sent if kind_of(one.type)
    )
    # (A property that is null is not sent: json_merge_patch drops it.)
    properties = f"CAST(json_merge_patch('{{}}'::JSON, to_json({{{pairs}}})) AS VARCHAR)" if pairs else "'{}'"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE plan_selected_events AS
        SELECT CAST(event AS VARCHAR) AS event, CAST(event_id AS VARCHAR) AS event_id,
               CASE WHEN company_id IS NULL THEN 'contacts' ELSE 'companies' END AS object,
               CAST(coalesce(company_id, user_id) AS VARCHAR) AS id,
               CAST(occurred_at AS TIMESTAMP) AS occurred_at, {properties} AS properties
        FROM plan_events_as_selected
        WHERE event IS NOT NULL AND event_id IS NOT NULL AND occurred_at IS NOT NULL
          AND (company_id IS NULL) <> (user_id IS NULL)""")
    types = {one.name: _TYPES.get(kind_of(one.type) or "", "string") for one in sent}
    found: dict[str, Definition] = {}
    for event, objects, held in connection.execute(
        """
        SELECT event, list(DISTINCT object), list_distinct(flatten(list(json_keys(properties))))
        FROM plan_selected_events GROUP BY event ORDER BY event"""
    ).fetchall():
        if len(objects) > 1:
            raise HubspotError(f"{where}: {event} is an event of companies and of contacts; name it twice")
        found[event] = Definition(event, objects[0], {name: types[name] for name in sorted(held)})
    return found


def compare(connection: Connection, portal_id: int | None, names: Iterable[str]) -> dict[str, int]:
    """Make `plan_events`: what HubSpot does not have yet, of these events. Returns how many of each."""
    scripts.run(connection, "events", {"portal_id": portal_id, "names": list(names)})
    return dict(
        connection.execute("SELECT event, count(*) FROM plan_events GROUP BY 1 ORDER BY 1").fetchall()
    )


def known_events(api: Api, wanted: Iterable[str], portal_id: int | None) -> dict[str, tuple[str, set[str]]]:
    """Of these events: their full name in HubSpot, and the names of their properties. Those that it lacks are not there."""
    found: dict[str, tuple[str, set[str]]] = {}
    held = api.event_definitions()
    for name in wanted:
        for one in held:
            full = str(one.get("fullyQualifiedName") or "")
            if full == f"pe{portal_id}_{name}" or one.get("name") == name:
                properties = one.get("properties")
                found[name] = (
                    full or name,
                    {str(p.get("name")) for p in properties if isinstance(p, dict)}
                    if isinstance(properties, list)
                    else set(),
                )
    return found


def check(
    events: Mapping[str, Definition], known: Mapping[str, tuple[str, set[str]]]
) -> tuple[list[LeftOut], dict[str, str]]:
    """What cannot be sent, and the full names of the events that can."""
    left_out, names = [], {}
    for name, one in events.items():
        if name not in known:
            left_out.append(
                LeftOut(EVENTS, name, "HubSpot has no event of this name; `warehouse hubspot-init` makes it")
            )
            continue
        full, properties = known[name]
        if lacking := [p for p in one.properties if properties and p not in properties]:
            left_out.append(
                LeftOut(
                    EVENTS, name, f"the event has no property {', '.join(lacking)} in HubSpot; add it there"
                )
            )
        else:
            names[name] = full
    return left_out, names


def make_definition(api: Api, one: Definition, label: str, labels: Mapping[str, str]) -> str | None:
    """Make an event definition. Returns HubSpot's words where it does not want it."""
    body: Json = {
        "name": one.name,
        "label": label,
        "description": "Sent by the usage warehouse.",
        "primaryObject": _PRIMARY[one.object],
        "includeDefaultProperties": False,
        "propertyDefinitions": [
            {"name": name, "label": labels[name], "type": kind, "description": "", "options": []}
            for name, kind in one.properties.items()
        ],
    }
    for _ in range(_TRIES):
        try:
            api.create_event_definition(body)
        except OutcomeUnknown:
            continue
        except Refused as refused:
            if refused.status != 409 and "exist" not in str(refused).lower():
                return str(refused)
        return None
    return "HubSpot did not say whether it was made"


class Events:
    """Sends the events of one account."""

    def __init__(
        self, api: Api, connection: Connection, portal_id: int | None, names: Mapping[str, str]
    ) -> None:
        self.api, self.connection, self.portal_id, self.names = api, connection, portal_id, names
        self.left_out: list[LeftOut] = []

    def send(self) -> None:
        """Send what `plan_events` says, of the records that HubSpot has. Raises HubspotError where it does not go on."""
        rows = self.connection.execute(
            scripts.text_of("events_with_ids"), {"portal_id": self.portal_id}
        ).fetchall()
        events = [one for one in (Event(*row) for row in rows) if one.event in self.names]
        for number, batch in enumerate(in_batches(events, BATCH)):
            _log.debug("sending events: %d of %d", number * BATCH, len(events))
            try:
                self._send(batch)
            except NotAllowed as error:
                self._keep(batch, None, None)
                if error.status == 401:
                    raise
                self.left_out.append(LeftOut(EVENTS, "all of them", str(error)))
                return

    def _send(self, events: Sequence[Event]) -> None:
        """A call that is refused is halved until it is one event's."""
        self._keep(events, "sent", None)
        for attempt in range(_TRIES):
            try:
                self.api.send_events([self._body(one) for one in events])
                break
            except OutcomeUnknown as error:  # with the same uuid: HubSpot keeps the first
                if attempt == _TRIES - 1:
                    raise Unavailable(f"{error}: the events are sent again by the next push") from None
            except Refused as refused:
                if len(events) == 1:
                    self._keep(events, "rejected", str(refused))
                    return
                half = len(events) // 2
                self._send(events[:half])
                self._send(events[half:])
                return
        self._keep(events, "acknowledged", None)

    def _body(self, one: Event) -> Json:
        return {
            "eventName": self.names[one.event],
            "objectId": one.hubspot_id,
            "occurredAt": f"{one.occurred_at.isoformat(timespec='milliseconds')}Z",
            "properties": orjson.loads(one.properties),
            "uuid": self._uuid(one),
        }

    def _uuid(self, one: Event) -> str:
        return str(uuid.uuid5(_NAMESPACE, orjson.dumps([self.portal_id, one.event, one.event_id]).decode()))

    def _keep(self, events: Sequence[Event], state: str | None, message: str | None) -> None:
        """Write down what became of events. None: nothing, they were not sent."""
        now = utc_now()
        with transaction(self.connection):
            self.connection.execute(
                "CREATE OR REPLACE TEMP TABLE push_events (event VARCHAR, event_id VARCHAR)"
            )
            append_rows(self.connection, "push_events", [(one.event, one.event_id) for one in events])
            self.connection.execute(
                """
                DELETE FROM ops.hubspot_events AS h USING push_events AS p
                WHERE h.event = p.event AND h.event_id = p.event_id AND h.portal_id IS NOT DISTINCT FROM ?""",
                [self.portal_id],
            )
            append_rows(
                self.connection,
                "ops.hubspot_events",
                [
                    (
                        *(
                            self.portal_id,
                            one.event,
                            one.event_id,
                            one.object,
                            one.id,
                            one.key,
                            one.hubspot_id,
                        ),
                        *(one.occurred_at, one.properties, self._uuid(one), state, message, now),
                    )
                    for one in (events if state else ())
                ],
                [
                    *("portal_id", "event", "event_id", "object", "id", "key", "hubspot_id"),
                    *("occurred_at", "properties", "uuid", "state", "message", "sent_at"),
                ],
            )
