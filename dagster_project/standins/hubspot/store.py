"""What the account holds: records with their keys, merges, lists. Nothing here knows of HTTP.

The caller holds ``Store.lock`` around every call. Long, since records, keys, merges and lists change one another under that
one lock: what a merge does to each is seen in one place.
"""

from __future__ import annotations

import hashlib
import random
import threading
from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import values
from .built_in import company_schema, contact_schema, custom_schema, deal_schema
from .errors import Json, Problem, RowError, bad_request, invalid, not_found
from .objects import ObjectType, Record
from .options import Options
from .schema import Property, unknown_id_property
from .values import as_id, iso, normal_key, split_multi

FIRST_ID = 171_591_000_001
_MAX_SHARED = 200_000


@dataclass
class Plan:
    """One checked row, ready to be written: the values by property, and the record it changes, if any."""

    values: list[tuple[Property, str]]
    record: Record | None = None


@dataclass
class Segment:
    id: int
    name: str
    type_id: str
    processing: str
    created: int
    members: dict[int, int] = field(default_factory=dict)
    updated: int = 0

    def as_json(self) -> Json:
        return {
            "listId": str(self.id),
            "listVersion": 1,
            "name": self.name,
            "objectTypeId": self.type_id,
            "processingStatus": "COMPLETE",
            "processingType": self.processing,
            "createdAt": iso(self.created),
            "updatedAt": iso(self.updated),
            "size": len(self.members),
        }


class Store:
    """Both object types and the lists. ``clock`` gives seconds since 1970; ids and seeds are reproducible."""

    def __init__(self, options: Options, seed: int, clock: Callable[[], float]) -> None:
        self.options = options
        self.clock = clock
        self.random = random.Random(seed)
        self.lock = threading.RLock()
        now = self.now()
        contacts = ObjectType(
            "contacts", "contact", "0-1", "email", "hs_additional_emails", contact_schema(options, now)
        )
        companies = ObjectType(
            "companies", "company", "0-2", "domain", "hs_additional_domains", company_schema(options, now)
        )
        self.contacts, self.companies = contacts, companies
        others = [
            ObjectType("deals", "deal", "0-3", "", "", deal_schema(options, now)),
            *(
                ObjectType(name, name, f"2-{1001 + i}", "", "", custom_schema(options, name, now))
                for i, name in enumerate(options.custom_objects)
            ),
        ]
        self.types = (contacts, companies, *others)
        self._types = {key: kind for kind in self.types for key in (kind.name, kind.singular, kind.type_id)}
        self.lists: dict[int, Segment] = {}
        self.associations: set[tuple[str, str, str, str]] = set()  # object and record, of both ends
        self._next_id = FIRST_ID
        self._next_list = 1
        self._shared: dict[str, str] = {}

    def now(self) -> int:
        return int(self.clock() * 1000)

    def type(self, name: str) -> ObjectType:
        try:
            return self._types[name.lower()]
        except KeyError:
            raise bad_request(f"Unable to infer object type from: {name}") from None

    # checking

    def id_property(self, kind: ObjectType, name: Any, *, for_update: bool = False) -> str:
        """Whether a record can be named by this property; refuses the call if not."""
        prop = kind.schema.properties.get(name) if isinstance(name, str) else None
        if prop is not None and name != "hs_object_id":
            if kind.unique_key and name == kind.key:
                if not for_update or self.options.update_by_email:
                    return prop.name
            elif prop.unique:
                return prop.name
        raise unknown_id_property(str(name), prop is not None, kind.type_id)

    def lookup(self, kind: ObjectType, text: str, id_property: str | None) -> Record | None:
        if id_property is None:
            return kind.find(text)
        if id_property == kind.key:
            found = kind.by_key(text)
            return found[0] if found else None
        record_id = kind.unique.get(id_property, {}).get(text)
        return None if record_id is None else kind.records.get(record_id)

    def plan(
        self,
        kind: ObjectType,
        given: Any,
        record: Record | None,
        claimed: dict[tuple[str, str], int],
        row: int,
        rules: bool,
    ) -> Plan | RowError:
        """Checks one row. ``claimed`` holds the unique values that earlier rows of this call take."""
        if not isinstance(given, dict):
            raise bad_request("Invalid input JSON: properties must be an object")
        problems: list[Problem] = []
        ready: list[tuple[Property, str]] = []
        properties = kind.schema.properties
        for name, raw in given.items():
            prop = properties.get(name)
            if prop is None:
                problems.append(kind.schema.unknown(name))
                continue
            if not isinstance(raw, str):
                raw = self._scalar(name, raw)
            outcome = values.check(prop, raw, None if record is None else record.get(prop.slot))
            if isinstance(outcome, Problem):
                problems.append(outcome)
                continue
            broken = None
            if rules and outcome:
                for rule in kind.schema.rules.get(name, {}).values():
                    broken = broken or values.check_rule(rule, prop, outcome)
            if broken:
                problems.append(broken)
            else:
                ready.append((prop, outcome))
        if problems:
            return invalid(problems)
        mine: list[tuple[str, str]] = []
        for prop, value in ready:
            if not value or not (prop.unique or (kind.unique_key and prop.name == kind.key)):
                continue
            holder = self.lookup(kind, value, prop.name)
            if holder is not None and holder is not record:
                return self._conflict(kind, prop, value, str(holder.id))
            if claimed.get((prop.name, value), row) != row:
                error = self._conflict(kind, prop, value, None)
                error.twin = claimed[prop.name, value]
                return error
            mine.append((prop.name, value))
        claimed.update(dict.fromkeys(mine, row))
        return Plan(ready, record)

    def _scalar(self, name: str, raw: Any) -> str:
        if self.options.json_scalars and isinstance(raw, (bool, int, float)):
            return str(raw).lower() if isinstance(raw, bool) else repr(raw)
        raise bad_request(f"Invalid input JSON: the value of property {name} is not a string")

    @staticmethod
    def _conflict(kind: ObjectType, prop: Property, value: str, existing: str | None) -> RowError:
        if kind.unique_key and prop.name == kind.key:
            message = "Contact already exists."
        else:
            message = f"Another {kind.singular} already has the value {value} for property {prop.name}."
        error = RowError(409, "CONFLICT", message)
        if existing is not None:
            name_holder(error, existing)
        return error

    # writing

    def write(self, kind: ObjectType, plan: Plan, record_id: int | None = None) -> Record:
        """Carries out one checked row and returns the record."""
        now = self.now()
        record = plan.record
        if record is None:
            record = self._new_record(kind, now, record_id)
            self._lag(kind, record.id, None)
        else:
            self._lag(kind, record.id, record)
        rekeyed = any(prop.slot == kind.key_slot for prop, _ in plan.values)
        before = kind.keys(record) if rekeyed else []
        for prop, value in plan.values:
            old = record.get(prop.slot)
            if prop.name == "lifecyclestage" and _goes_back(prop, old, value):
                continue
            if prop.unique and prop.slot != kind.key_slot:
                taken = kind.unique.setdefault(prop.name, {})
                if old is not None:
                    taken.pop(old, None)
                if value:
                    taken[value] = record.id
            elif prop.slot == kind.key_slot:
                self._new_key(kind, record, old, value)
            record.set(prop.slot, self._share(value) if value else None)
        if rekeyed:
            self._reindex(kind, record, before)
        record.updated = max(now, record.updated)
        if plan.record is None and kind is self.contacts and self.options.companies_from_contacts:
            self._make_company_of(record)
        return record

    def _make_company_of(self, contact: Record) -> None:
        domain = (contact.get(self.contacts.key_slot) or "").rpartition("@")[2]
        if domain and not self.companies.by_key(domain):
            prop = self.companies.schema.properties["domain"]
            self.write(self.companies, Plan([(prop, domain)]))

    def _new_record(self, kind: ObjectType, now: int, record_id: int | None = None) -> Record:
        if record_id is None:
            while any(self._next_id in one.records or self._next_id in one.archived for one in self.types):
                self._next_id += 1  # there is one of an export
            record_id = self._next_id
            self._next_id += self.random.randint(1, 9)
        record = Record(record_id, now)
        kind.records[record.id] = record
        insort(kind.ids, record.id)
        return record

    @staticmethod
    def _new_key(kind: ObjectType, record: Record, old: str | None, new: str) -> None:
        """An additional email or domain that becomes the primary one changes places with it."""
        more = split_multi(record.get(kind.more_slot))
        if new in more:
            more = [key for key in more if key != new] + ([old] if old else [])
            record.set(kind.more_slot, kind.joint.join(more) or None)

    @staticmethod
    def _reindex(kind: ObjectType, record: Record, before: list[str]) -> None:
        after = kind.keys(record)
        for key in before:
            if key not in after:
                left = tuple(i for i in kind.index.get(key, ()) if i != record.id)
                if left:
                    kind.index[key] = left
                else:
                    kind.index.pop(key, None)
        for key in after:
            holders = kind.index.get(key, ())
            if record.id not in holders:
                kind.index[key] = (*holders, record.id)

    def archive(self, kind: ObjectType, text: str) -> bool:
        """Moves a record to the recycling bin; False if there is none of that id."""
        record = kind.find(text)
        if record is None:
            return False
        self._lag(kind, record.id, record)
        self._drop(kind, record)
        record.archived = self.now()
        kind.archived[record.id] = record
        return True

    def _drop(self, kind: ObjectType, record: Record) -> None:
        keys = kind.keys(record)
        del kind.records[record.id]
        for key in keys:
            left = tuple(i for i in kind.index.get(key, ()) if i != record.id)
            if left:
                kind.index[key] = left
            else:
                kind.index.pop(key, None)
        for name, taken in kind.unique.items():
            prop = kind.schema.properties.get(name) or kind.schema.archived[name]
            value = record.get(prop.slot)
            if value is not None and taken.get(value) == record.id:
                del taken[value]

    def merge(self, object_type: str, winner: str | int, loser: str | int, *, new_id: bool = False) -> str:
        """Merges two records as a person would in HubSpot; returns the id that both ids now lead to.

        The winner's values stay, its gaps are filled from the loser, the loser's keys become additional ones.
        With ``new_id`` the result is a third id.
        """
        with self.lock:
            kind = self.type(object_type)
            first, second = kind.find(str(winner)), kind.find(str(loser))
            if first is None or second is None or first is second:
                raise not_found(f"Cannot merge {winner} and {loser}")
            keys = list(dict.fromkeys([*kind.keys(first), *kind.keys(second)]))
            filled = [
                (prop, value)
                for prop in kind.schema.properties.values()
                if prop.slot not in (kind.key_slot, kind.more_slot)
                and (value := first.get(prop.slot) or second.get(prop.slot))
            ]
            gone = [second, first] if new_id else [second]
            for record in gone:
                self._lag(kind, record.id, record)
                self._drop(kind, record)
            result = self.write(kind, Plan(filled, None if new_id else first))
            before = kind.keys(result)
            if kind.key:
                result.set(kind.key_slot, keys[0] if keys else None)
                result.set(kind.more_slot, kind.joint.join(keys[1:]) or None)
            self._reindex(kind, result, before)
            for record in gone:
                kind.merged[record.id] = result.id
            lineage = [i for r in (first, second) for i in kind.sources.get(r.id, ())]
            kind.sources[result.id] = sorted({*lineage, first.id, second.id})
            for segment in self.lists.values():
                if segment.type_id == kind.type_id:
                    segment.members = {kind.resolve(i): at for i, at in segment.members.items()}
            return str(result.id)

    def _lag(self, kind: ObjectType, record_id: int, before: Record | None) -> None:
        """Remembers what search still shows of a record that is about to change."""
        if self.options.search_lag > 0:
            now = self.clock()
            while kind.pending and kind.pending[0][0] <= now:
                kind.pending.popleft()
            kind.pending.append((now + self.options.search_lag, record_id, before.copy() if before else None))

    def settle(self) -> None:
        """Makes every write so far findable by search at once."""
        with self.lock:
            for kind in self.types:
                kind.pending.clear()

    def _share(self, text: str) -> str:
        if len(text) > 24:
            return text
        if len(self._shared) >= _MAX_SHARED:
            self._shared.clear()
        return self._shared.setdefault(text, text)

    # lists

    def create_list(self, body: Json) -> Segment:
        name, type_id, processing = (body.get(k) for k in ("name", "objectTypeId", "processingType"))
        if not isinstance(name, str) or not name.strip():
            raise bad_request("A list needs a name")
        if type_id not in ("0-1", "0-2"):
            raise bad_request(f"objectTypeId {type_id} is not valid")
        if processing not in ("MANUAL", "SNAPSHOT", "DYNAMIC"):
            raise bad_request(f"processingType {processing} is not valid")
        if any(segment.name.lower() == name.lower() for segment in self.lists.values()):
            raise bad_request(f"List name '{name}' is already used.", sub_category="ILS.DUPLICATE_LIST_NAMES")
        now = self.now()
        segment = Segment(self._next_list, name, str(type_id), str(processing), now, updated=now)
        self._next_list += 1
        self.lists[segment.id] = segment
        return segment

    def segment(self, text: str) -> Segment:
        found = self.lists.get(as_id(text))
        if found is None:
            raise not_found(f"List does not exist with ID {text}.")
        return found

    def change_members(self, text: str, add: list[str], remove: list[str]) -> Json:
        segment = self.segment(text)
        if segment.processing == "DYNAMIC":
            raise bad_request(f"Members of the dynamic list {text} cannot be changed by hand.")
        kind = self.type(segment.type_id)
        now = self.now()
        added: list[str] = []
        removed: list[str] = []
        missing: list[str] = []
        for record_id in add:
            record = kind.find(record_id)
            if record is None:
                missing.append(record_id)
            elif record.id not in segment.members:
                segment.members[record.id] = now
                added.append(str(record.id))
        for record_id in remove:
            known = kind.resolve(as_id(record_id))
            if segment.members.pop(known, None) is not None:
                removed.append(str(known))
            elif kind.find(record_id) is None:
                missing.append(record_id)
        segment.updated = now
        return {"recordsIdsAdded": added, "recordIdsRemoved": removed, "recordIdsMissing": missing}

    # for tests and for trying

    def put(
        self,
        object_type: str,
        properties: dict[str, str],
        *,
        created: float | None = None,
        record_id: int | None = None,
    ) -> str:
        """Places one record past the API: read-only keys such as ``hs_additional_emails`` may be given, and its id."""
        with self.lock:
            kind = self.type(object_type)
            more = properties.get(kind.more)
            plain = {name: value for name, value in properties.items() if name != kind.more}
            plan = self.plan(kind, plain, None, {}, 0, rules=False)
            if isinstance(plan, RowError):
                raise plan.as_call()
            record = self.write(kind, plan, record_id)
            if kind.pending and kind.pending[-1][1] == record.id:
                kind.pending.pop()
            if more:
                keys = kind.keys(record)
                record.set(kind.more_slot, kind.joint.join(normal_key(key) for key in split_multi(more)))
                self._reindex(kind, record, keys)
            if created is not None:
                record.created = record.updated = int(created * 1000)
            return str(record.id)

    def add_property(self, object_type: str, name: str, kind: str = "string", **more: Any) -> Property:
        """A custom property in one line; the group ``api_analytics`` comes with it."""
        with self.lock:
            schema = self.type(object_type).schema
            if "api_analytics" not in schema.groups:
                schema.create_group({"name": "api_analytics", "label": "API Analytics"})
            usual = {
                "string": "text",
                "number": "number",
                "bool": "booleancheckbox",
                "enumeration": "select",
                "date": "date",
                "datetime": "date",
                "phone_number": "phonenumber",
            }
            body = {
                "name": name,
                "label": name,
                "type": kind,
                "fieldType": usual[kind],
                "groupName": "api_analytics",
                **more,
            }
            if kind == "bool" and "options" not in more:
                body["options"] = [{"label": "Yes", "value": "true"}, {"label": "No", "value": "false"}]
            return schema.create(body, self.now())

    def seed(self, companies: int = 0, contacts: int = 0, seed: int = 0, duplicate_domains: int = 0) -> None:
        """Made-up companies and contacts. Every tenth has an additional key; ``duplicate_domains`` of the
        companies repeat the domain of the one before."""
        rng = random.Random(seed)
        first = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Ken", "Radia", "Donald", "Frances", "Linus")
        last = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Thompson", "Perlman", "Knuth", "Allen")
        with self.lock:
            base, start = len(self.companies.ids), len(self.contacts.ids)
            day = self.clock() - 400 * 86_400
            for number in range(base, base + companies):
                repeated = base < number <= base + duplicate_domains
                domain = f"company{base if repeated else number}.example"
                company = {
                    "domain": domain,
                    "name": f"Company {number}",
                    "lifecyclestage": "customer",
                    "numberofemployees": str(rng.randint(1, 5000)),
                }
                if number % 10 == 3:
                    company["hs_additional_domains"] = f"company{number}-alt.example"
                self.put("companies", company, created=day + number)
            for number in range(start, start + contacts):
                home = number % max(1, base + companies)
                contact = {
                    "email": f"user{number}@company{home}.example",
                    "firstname": rng.choice(first),
                    "lastname": rng.choice(last),
                    "company": f"Company {home}",
                }
                if number % 10 == 3:
                    contact["hs_additional_emails"] = f"user{number}.alt@company{home}.example"
                self.put("contacts", contact, created=day + number)

    def snapshot(self, object_type: str) -> dict[str, dict[str, str]]:
        """Every live record's stored values by id: to compare two states of the account."""
        with self.lock:
            kind = self.type(object_type)
            return {str(record.id): dict(self._stored(kind, record)) for record in kind.records.values()}

    def fingerprint(self) -> str:
        """A digest of all stored values, lists and keys, whatever the ids and the order of writing."""
        with self.lock:
            rows = [
                repr((kind.name, sorted(self._stored(kind, record))))
                for kind in self.types
                for record in kind.records.values()
            ]
            rows += [repr((s.name, len(s.members))) for s in self.lists.values()]
        return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()

    @staticmethod
    def _stored(kind: ObjectType, record: Record) -> Iterator[tuple[str, str]]:
        for name, prop in kind.schema.properties.items():
            value = record.get(prop.slot)
            if value is not None:
                yield name, value


def _goes_back(prop: Property, old: str | None, new: str) -> bool:
    """A lifecycle stage only goes forward; a write that would set it back is answered 2xx and left out."""
    stages = [option["value"] for option in prop.options]
    return bool(new) and old in stages and new in stages and stages.index(new) < stages.index(old)


def name_holder(error: RowError, existing: str) -> None:
    """Completes a conflict with the id of the record that holds the value."""
    error.message += f" Existing ID: {existing}"
    error.context["existingId"] = [existing]
