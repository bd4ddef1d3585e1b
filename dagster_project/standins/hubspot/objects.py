"""The records of one object type, with the index of their keys. Nothing here knows of HTTP.

A record is its id, two timestamps and a flat list of values addressed by the property's slot; short values are shared
between records. That keeps 110,000 records with 25 values each in a few hundred MB at most.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from .errors import Json
from .schema import Schema
from .values import as_id, iso, normal_key, split_multi

_MAX_PENDING = 50_000
_NO_SLOT = 1 << 30  # no record has so many values
_SHOWN = {
    "contacts": ("email", "firstname", "lastname"),
    "companies": ("domain", "name"),
    "deals": ("dealname", "dealstage", "pipeline", "amount", "closedate"),
}

# Read from the record's own facts, not from its values.
COMPUTED = frozenset(
    {
        *("hs_object_id", "createdate", "lastmodifieddate", "hs_lastmodifieddate", "hs_merged_object_ids"),
        *("hs_email_domain", "num_associated_contacts"),
    }
)


class Record:
    """One contact or company. ``values`` may be shorter than the schema has slots."""

    __slots__ = ("archived", "created", "id", "updated", "values")

    def __init__(self, record_id: int, now: int) -> None:
        self.id = record_id
        self.created = now
        self.updated = now
        self.archived: int | None = None
        self.values: list[str | None] = []

    def get(self, slot: int) -> str | None:
        return self.values[slot] if slot < len(self.values) else None

    def set(self, slot: int, value: str | None) -> None:
        if slot >= len(self.values):
            self.values.extend([None] * (slot + 1 - len(self.values)))
        self.values[slot] = value

    def copy(self) -> Record:
        twin = Record(self.id, self.created)
        twin.updated, twin.archived, twin.values = self.updated, self.archived, list(self.values)
        return twin


class ObjectType:
    """Schema, records, the index of their key, and what search has not seen yet. key "": neither email nor domain, as of
    deals."""

    def __init__(self, name: str, singular: str, type_id: str, key: str, more: str, schema: Schema) -> None:
        self.name, self.singular, self.type_id = name, singular, type_id
        self.key, self.more = key, more
        self.unique_key = name == "contacts"
        self.joint = ";" if self.unique_key else "; "
        self.modified = "lastmodifieddate" if self.unique_key else "hs_lastmodifieddate"
        self.shown = _SHOWN.get(name, ())
        self.always = ("createdate", "hs_object_id", self.modified)
        self.schema = schema
        self.records: dict[int, Record] = {}
        self.archived: dict[int, Record] = {}
        self.ids: list[int] = []
        self.index: dict[str, tuple[int, ...]] = {}
        self.unique: dict[str, dict[str, int]] = {}
        self.merged: dict[int, int] = {}
        self.sources: dict[int, list[int]] = {}
        self.pending: deque[tuple[float, int, Record | None]] = deque(maxlen=_MAX_PENDING)
        self.key_slot = schema.properties[key].slot if key else _NO_SLOT
        self.more_slot = schema.properties[more].slot if more else _NO_SLOT

    def resolve(self, record_id: int) -> int:
        while record_id in self.merged:
            record_id = self.merged[record_id]
        return record_id

    def find(self, text: str) -> Record | None:
        """A live record by its id; an id that was merged away leads to the record that is left."""
        return self.records.get(self.resolve(as_id(text)))

    def by_key(self, text: str) -> list[Record]:
        """Records with this email or domain, primary or additional."""
        return [self.records[i] for i in self.index.get(normal_key(text), ())]

    def keys(self, record: Record) -> list[str]:
        first = record.get(self.key_slot)
        return [*([first] if first else []), *split_multi(record.get(self.more_slot))]

    def value(self, record: Record, name: str) -> str | None:
        """A property's value for reading; some are not stored but follow from the record."""
        prop = self.schema.properties.get(name)
        if prop is None:
            return None
        if name not in COMPUTED:
            return record.get(prop.slot)
        if name == "hs_object_id":
            return str(record.id)
        if name == "createdate":
            return iso(record.created)
        if name == self.modified:
            return iso(record.updated)
        if name == "hs_merged_object_ids":
            return ";".join(map(str, self.sources.get(record.id, ()))) or None
        if name == "hs_email_domain":
            return (record.get(self.key_slot) or "").rpartition("@")[2] or None
        return "0" if name == "num_associated_contacts" else None

    def public(self, record: Record, names: list[str] | None = None, nulls: bool = True) -> Json:
        """The record as the API shows it: the asked properties that exist, and always id and dates."""
        known = self.schema.properties
        wanted = list(dict.fromkeys([*(self.shown if names is None else names), *self.always]))
        shown = {name: self.value(record, name) for name in wanted if name in known}
        body: Json = {
            "id": str(record.id),
            "properties": shown if nulls else {k: v for k, v in shown.items() if v is not None},
            "createdAt": iso(record.created),
            "updatedAt": iso(record.updated),
            "archived": record.archived is not None,
        }
        if record.archived is not None:
            body["archivedAt"] = iso(record.archived)
        return body

    def page(self, after: int, limit: int, archived: bool) -> tuple[list[Record], bool]:
        """Up to ``limit`` records with an id above ``after``, and whether there are more."""
        ids = sorted(self.archived) if archived else self.ids
        source = self.archived if archived else self.records
        found: list[Record] = []
        for index in range(bisect_right(ids, after), len(ids)):
            record = source.get(ids[index])
            if record is not None:
                if len(found) == limit:
                    return found, True
                found.append(record)
        return found, False
