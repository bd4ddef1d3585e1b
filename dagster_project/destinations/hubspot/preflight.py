"""Before anything is sent: does every column have a property that exists, is writable and has the same type?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .api import KEYS, Api, Json
from .errors import NotAllowed, Refused
from .values import ACCEPTED, MADE, kind_of

_UNWRITABLE = ("object_coordinates", "json")
_SENSITIVE = ("sensitive", "highly_sensitive")


@dataclass(frozen=True)
class Property:
    """A property of the account. obstacle: why it cannot be written to; None: it can."""

    name: str
    label: str
    type: str
    field_type: str
    group: str
    options: Mapping[str, str]  # value to label
    external_options: bool
    has_unique_value: bool
    obstacle: str | None

    @property
    def definition(self) -> str:
        """A hash of all that decides whether a value fits."""
        parts = (self.type, self.field_type, *sorted(self.options), self.external_options, self.obstacle)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Column:
    """A column of an outbound SELECT, and its DuckDB type."""

    name: str
    type: str


@dataclass(frozen=True)
class LeftOut:
    """A column that is not sent, and why. The other columns go on."""

    object: str
    column: str
    reason: str


def load_properties(api: Api, object_type: str, wanted: Iterable[str]) -> dict[str, Property]:
    """The account's properties by name. Sensitive ones are asked for only where a wanted one is not found."""
    found = {p.name: p for p in map(_property, api.properties(object_type)) if p.name}
    for sensitivity in _SENSITIVE:
        if set(wanted) <= set(found):
            break
        try:
            more = api.properties(object_type, sensitivity)
        except (NotAllowed, Refused):
            continue  # most tokens may not see them
        for one in map(_property, more):
            found.setdefault(one.name, one)
    return found


def check(
    object_type: str, columns: Sequence[Column], properties: Mapping[str, Property]
) -> tuple[list[Column], list[LeftOut]]:
    """The columns that can be sent, and those that are left out. Without a usable key none can be."""
    key = KEYS[object_type]
    left_out: list[LeftOut] = []
    usable: list[Column] = []
    if reason := _obstacle(Column(key, "VARCHAR"), properties):
        left_out.append(
            LeftOut(object_type, key, f"{reason}; without it nothing can be sent to {object_type}")
        )
    for column in columns:
        reason = _obstacle(column, properties)
        if reason:
            left_out.append(LeftOut(object_type, column.name, reason))
        else:
            usable.append(column)
    return ([] if any(one.column == key for one in left_out) else usable), left_out


def _obstacle(column: Column, properties: Mapping[str, Property]) -> str | None:
    kind = kind_of(column.type)
    found = properties.get(column.name)
    if found is not None and found.obstacle:
        return found.obstacle
    if kind is None:
        return f"HubSpot has nothing for the type {column.type}; cast it in the SELECT"
    if found is None:
        return f"HubSpot has no property of this name; `warehouse hubspot-init` makes it as {MADE[kind][0]}"
    if found.type not in ACCEPTED[kind]:
        hint = (
            "; cast it in the SELECT"
            if found.type in ("string", "number", "bool", "date", "datetime")
            else ""
        )
        return f"a {kind} does not fit a property of type {found.type}{hint}"
    return None


def _property(body: Json) -> Property:
    metadata = body.get("modificationMetadata")
    kind = str(body.get("type") or "")
    obstacle = None
    if body.get("archived"):
        obstacle = "the property is archived in HubSpot"
    elif body.get("calculated"):
        obstacle = "HubSpot calculates the property"
    elif isinstance(metadata, dict) and metadata.get("readOnlyValue"):
        obstacle = "the property is read-only in HubSpot"
    elif kind in _UNWRITABLE:
        obstacle = f"properties of type {kind} cannot be written"
    options: list[Any] = body.get("options") or []
    return Property(
        name=str(body.get("name") or ""),
        label=str(body.get("label") or ""),
        type=kind,
        field_type=str(body.get("fieldType") or ""),
        group=str(body.get("groupName") or ""),
        options={
            str(o["value"]): str(o.get("label") or o["value"])
            for o in options
            if isinstance(o, dict) and o.get("value") is not None
        },
        external_options=bool(body.get("externalOptions")),
        has_unique_value=bool(body.get("hasUniqueValue")),
        obstacle=obstacle,
    )
