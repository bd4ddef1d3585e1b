"""Before anything is sent: does every column have a property that exists, is writable and has the same type?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .api import Api, Json
from .errors import NotAllowed, Refused
from .keys import Key
from .values import ACCEPTED, MADE, kind_of

_UNWRITABLE = ("object_coordinates", "json")
_YES = {"true", "yes", "y", "1", "on", "ja", "oui", "si", "sí", "sim"}
_NO = {"false", "no", "n", "0", "off", "nein", "non", "não"}
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
    created_at: datetime | None = None

    @property
    def values_by_label(self) -> dict[str, str]:
        """The values of options by what people see, in lower case, where that is one option's alone."""
        labels: dict[str, list[str]] = {}
        for option, label in self.options.items():
            labels.setdefault(label.strip().lower(), []).append(option)
        return {label: values[0] for label, values in labels.items() if len(values) == 1}

    @property
    def yes_no(self) -> tuple[str, str] | None:
        """The options that stand for true and false, where that is plain."""
        if self.type == "bool":
            return None
        said = {
            word: {
                o for o, label in self.options.items() if {o.strip().lower(), label.strip().lower()} & words
            }
            for word, words in (("yes", _YES), ("no", _NO))
        }
        if (
            len(said["yes"]) == len(said["no"]) == 1
            and said["yes"] != said["no"]
            and not self.external_options
        ):
            return next(iter(said["yes"])), next(iter(said["no"]))
        return None

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
    by: Key, columns: Sequence[Column], properties: Mapping[str, Property]
) -> tuple[list[Column], list[LeftOut]]:
    """The columns that can be sent, and those that are left out. Without a usable key none can be."""
    object_type, key = by.object, by.property
    left_out: list[LeftOut] = []
    usable: list[Column] = []
    reason = _obstacle(Column(key, "VARCHAR"), properties)
    if by.is_own and not reason and not properties[key].has_unique_value:
        reason = "records are matched by it, but its values are not unique in HubSpot (hasUniqueValue)"
    if reason:
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
    if kind == "boolean" and found.type == "enumeration":
        if found.yes_no:
            return None
        return f"a boolean, and none of the options is plainly yes or no: {', '.join(found.options) or 'there are none'}"
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
        created_at=_moment(body.get("createdAt")),
    )


def _moment(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
