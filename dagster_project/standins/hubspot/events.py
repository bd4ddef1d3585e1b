"""Custom events: their definitions, and what was sent. Of two with one uuid, the first is kept."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from .errors import ApiError, Json, bad_request

_NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")
_SENT = {"eventName", "properties", "email", "objectId", "occurredAt", "utk", "uuid"}
_DEFINED = {
    "name",
    "label",
    "description",
    "primaryObject",
    "propertyDefinitions",
    "includeDefaultProperties",
}
_TYPES = {"string", "number", "enumeration", "datetime", "bool"}


class EventStore:
    """Of one account. ``occurrences`` by event and uuid, as they were sent."""

    def __init__(self, portal_id: int) -> None:
        self.portal_id = portal_id
        self.definitions: dict[str, Json] = {}
        self.occurrences: dict[tuple[str, str], Json] = {}

    def define(self, body: Json) -> Json:
        if unknown := set(body) - _DEFINED:
            raise bad_request(f"Unrecognized field {sorted(unknown)[0]}")
        name, label = body.get("name"), body.get("label")
        if not isinstance(label, str) or not label or not isinstance(name, str) or not _NAME.match(name):
            raise bad_request("Some required fields were not set: [label, name]")
        if body.get("primaryObject") not in ("CONTACT", "COMPANY", "DEAL", "TICKET"):
            raise bad_request("primaryObject is not valid")
        given = body.get("propertyDefinitions")
        if not isinstance(given, list) or not isinstance(body.get("includeDefaultProperties"), bool):
            raise bad_request(
                "Some required fields were not set: [propertyDefinitions, includeDefaultProperties]"
            )
        for one in given:
            if one.get("type") not in _TYPES or not one.get("label") or not _NAME.match(one.get("name", "")):
                raise bad_request(f"The property definition {one.get('name')} is not valid")
        full = f"pe{self.portal_id}_{name}"
        if full in self.definitions:
            raise ApiError(409, "OBJECT_ALREADY_EXISTS", f"An event named {name} already exists.")
        self.definitions[full] = {
            "id": str(len(self.definitions) + 1),
            "name": name,
            "fullyQualifiedName": full,
            "labels": {"singular": label},
            "primaryObject": body["primaryObject"],
            "properties": [
                {"name": one["name"], "type": one["type"], "label": one["label"]} for one in given
            ],
        }
        return self.definitions[full]

    def send(self, inputs: list[Json]) -> None:
        """All or none of them."""
        taken: dict[tuple[str, str], Json] = {}
        for one in inputs:
            if unknown := set(one) - _SENT:
                raise bad_request(f"Unrecognized field {sorted(unknown)[0]}")
            event = self.definitions.get(str(one.get("eventName")))
            if event is None:
                raise bad_request(f"There is no event named {one.get('eventName')}")
            self._check(event, one)
            taken.setdefault((event["fullyQualifiedName"], str(one.get("uuid"))), one)
        self.occurrences = {**taken, **self.occurrences}

    @staticmethod
    def _check(event: Json, one: Json) -> None:
        properties: Any = one.get("properties")
        if not isinstance(properties, dict) or not all(isinstance(v, str) for v in properties.values()):
            raise bad_request("properties must be texts")
        known = {held["name"] for held in event["properties"]}
        if unknown := set(properties) - known:
            raise bad_request(f"The event has no property {sorted(unknown)[0]}")
        if not (one.get("email") or one.get("objectId") or one.get("utk")):
            raise bad_request("One of email, objectId and utk is needed")
        try:
            if datetime.fromisoformat(str(one.get("occurredAt"))).tzinfo is None:
                raise ValueError("no zone")
        except ValueError:
            raise bad_request(f"occurredAt {one.get('occurredAt')} is no time") from None
