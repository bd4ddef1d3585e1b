"""What has become of each record of a push so far. The one place that writes to the outbox and the rejects meanwhile.

What is learned of records is collected and written down in one transaction (`written`), a few statements however
many records it is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from dagster_project.destinations.parts.published import utc_now
from dagster_project.settings import HubspotSettings
from dagster_project.warehouse.database import Connection, transaction, value

from .answers import Input, Problem
from .api import BATCH
from .keys import KEYS, OBJECTS, key_for, keys_of
from .ledger import Reject, note_rejects
from .outbox import Outbox
from .planner import Planner
from .preflight import LeftOut
from .values import are_same

# A record is sent this often while its outcome is unknown, in ever smaller calls: one of them may be poison.
_SIZES = (BATCH, BATCH, 10, 1)
# Refusals of a column's values, with none taken. High, as these rows may be the only bad ones: they are no fault of the
# column. But a bad column of a hundred thousand records must not cost as many calls.
_HOPELESS = 500
# In this order: object type, whether creates. Other objects follow.
_ORDER = (("companies", True), ("companies", False), ("contacts", False), ("contacts", True))


class Progress:
    """The records of one push to one account."""

    def __init__(
        self, connection: Connection, portal_id: int | None, options: HubspotSettings | None = None
    ) -> None:
        self.connection, self.portal_id = connection, portal_id
        self.options = options or HubspotSettings()
        self.keys = keys_of(self.options)
        self.outbox = Outbox(connection, portal_id, self.keys)
        self.planner: Planner | None = None  # its tables are there
        self.done = 0
        self.given_up = 0  # records that were tried as often as makes sense
        self.left_out: list[LeftOut] = []
        self.merged: set[tuple[str, str, str]] = set()  # object, key, the id that is left
        self._tries: Counter[int] = Counter()  # of records whose outcome was unknown
        self._errors: dict[int, Problem] = {}  # the last one of a record
        self._moved: set[int] = set()
        self._taken: dict[str, set[str]] = {object_type: set() for object_type in self.keys}
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._types: dict[tuple[str, str], tuple[str, str]] = {}
        self.halted: dict[
            tuple[str, bool], str
        ] = {}  # object, creates or updates, to why HubSpot takes none of them
        self._begin()

    def _begin(self) -> None:
        self._states: dict[int, str] = {}
        self._acknowledged: dict[int, str] = {}
        self._updates: dict[str, dict[int, str]] = {}
        self._moves: dict[str, dict[int, str | None]] = {}
        self._strips: dict[int, list[str]] = {}
        self._rejects: list[Reject] = []
        self._columns: list[tuple[str, str]] = []

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write down at the end what was learned within: all of it or nothing."""
        self._begin()
        with transaction(self.connection):
            yield
            self.outbox.acknowledge(list(self._acknowledged.items()))
            for object_type, ids in self._updates.items():
                selected = self.planner.selected.get(object_type) if self.planner else None
                marked = selected.only_if_empty if selected else ()
                self.outbox.retry_as_update(list(ids.items()), object_type, marked)
            for object_type, places in self._moves.items():
                assert self.planner is not None
                self.planner.want(f"(_object, _key) IN ({self.outbox.keys_of(places)})")
                self.outbox.plan_anew(places, object_type)
            self.outbox.strip(self._strips)
            for state in sorted(set(self._states.values())):
                self.outbox.mark([record for record, s in self._states.items() if s == state], state)
            note_rejects(self.connection, self._rejects, utc_now())
            for object_type, name in self._columns:
                self.outbox.strip_all(object_type, name)

    def load_types(self) -> None:
        self._types = {
            (o, name): (kind, field_type)
            for o, name, kind, field_type in self.connection.execute(
                "SELECT object, name, type, field_type FROM ops.hubspot_properties"
            ).fetchall()
        }

    def is_held(self, object_type: str, name: str, sent: str, found: object) -> bool:
        """Whether what HubSpot shows of a property is what was sent."""
        kind, field_type = self._types.get((object_type, name), (None, None))
        if name == self.keys[object_type].property:
            return True
        if object_type in OBJECTS and name == KEYS[object_type]:  # HubSpot writes them in its own way
            key = key_for(object_type)
            return found is not None and key.of(sent) == key.of(found)
        return are_same(sent, found, kind, field_type)

    # what calls are made of

    def calls(self, state: str = "ready") -> Iterator[tuple[str, list[Input]]]:
        """The records in a state, a hundred a call; what failed before in smaller ones.

        Contacts are made only when HubSpot has answered for every company that is to be made: there are accounts that
        make companies from contacts' domains by themselves.
        """
        others = [one for one in self.keys if one not in OBJECTS]
        for object_type, is_create in (*_ORDER, *((one, made) for one in others for made in (True, False))):
            is_contact = (object_type, is_create) == ("contacts", True)
            if is_contact and state == "ready" and self.outbox.awaits_companies(self.halted):
                continue
            if (object_type, is_create) not in self.halted or state != "ready":
                waiting: dict[int, list[Input]] = {}
                for one in self.outbox.inputs(state, object_type, is_create):
                    size = _SIZES[min(self._tries.get(one.record, 0), len(_SIZES) - 1)]
                    batch = waiting.setdefault(size, [])
                    batch.append(one)
                    if len(batch) == size:
                        yield object_type, waiting.pop(size)
                yield from ((object_type, batch) for batch in waiting.values())

    # what is learned of a record

    def acknowledge(self, object_type: str, one: Input, hubspot_id: str) -> None:
        self._acknowledged[one.record] = hubspot_id
        self._taken[object_type].update(one.properties)
        self.done += 1
        if one.hubspot_id not in (None, hubspot_id):
            self.merged.add((object_type, one.key, hubspot_id))

    def acknowledge_rest(
        self,
        object_type: str,
        one: Input,
        hubspot_id: str,
        kept: Mapping[str, object],
        correlation_id: str | None,
    ) -> None:
        """HubSpot took the record, but shows other values of some properties. kept: these."""
        for name, shown in kept.items():
            said = f"HubSpot did not take the value: it shows {'none' if shown is None else repr(str(shown))}"
            self._rejects.append(
                Reject(one.record, name, one.properties[name], "NOT_TAKEN", said, correlation_id)
            )
        self._strips[one.record] = list(kept)
        rest = Input(
            one.record, one.key, one.hubspot_id, {n: v for n, v in one.properties.items() if n not in kept}
        )
        if rest.properties or one.hubspot_id is None:
            self.acknowledge(object_type, rest, hubspot_id)
        else:
            self._states[one.record] = "rejected"
            self.done += 1

    def halt(self, object_type: str, one: Input, said: str) -> None:
        """HubSpot takes none of these, whatever the record."""
        self.halted.setdefault((object_type, one.hubspot_id is None), said)

    def mark(self, inputs: Iterable[Input], state: str) -> None:
        self._states.update((one.record, state) for one in inputs)

    def note(self, inputs: Iterable[Input], problem: Problem) -> None:
        """Why nothing came of it this time."""
        self._errors.update((one.record, problem) for one in inputs)

    def has_timed_out(self, one: Input) -> bool:
        return one.record in self._errors and self._errors[one.record].code == "TIMEOUT"

    def reject(self, one: Input, *, is_final: bool = True, is_for_key: bool = False) -> None:
        """The whole record, for its last problem. is_final: the same is not tried again by the next push."""
        problem = self._errors.get(one.record) or Problem(
            "OUTCOME_UNKNOWN", "HubSpot did not say what became of it"
        )
        self._states[one.record] = "rejected"
        self._rejects.append(
            Reject(
                one.record,
                None,
                None,
                problem.code,
                problem.message,
                problem.correlation_id,
                is_final,
                is_for_key,
            )
        )

    def reject_values(self, object_type: str, one: Input, problem: Problem) -> None:
        """The values that HubSpot named; the rest of the record is sent again."""
        for name, (code, said) in problem.values.items():
            self._rejects.append(
                Reject(one.record, name, one.properties[name], code, said, problem.correlation_id)
            )
            self._refusals[object_type, name] += 1
            if self._refusals[object_type, name] == _HOPELESS and name not in self._taken[object_type]:
                self.leave_out(
                    object_type, name, f"HubSpot refused each of its first {_HOPELESS} values: {said}"
                )
        self._strips[one.record] = list(problem.values)
        self._states[one.record] = "ready" if set(one.properties) > set(problem.values) else "rejected"

    def leave_out(self, object_type: str, name: str, reason: str) -> None:
        """A column that HubSpot does not take from any record."""
        if (object_type, name) not in {(one.object, one.column) for one in self.left_out}:
            self.left_out.append(LeftOut(object_type, name, reason))
        self._columns.append((object_type, name))

    def try_again(self, one: Input) -> None:
        """It was not carried out."""
        self._tries[one.record] += 1
        if self._tries[one.record] >= len(_SIZES):
            self.given_up += 1
            self.reject(one, is_final=False)
        else:
            self._states[one.record] = "ready"

    def turn_into_update(self, object_type: str, one: Input, hubspot_id: str) -> None:
        """It was to be made and exists. Where it is another profile's too, the next plan says whose values it gets."""
        if self.keys[object_type].mode == "create":
            self._states[one.record] = "in_hubspot_already"
            return
        if self.planner and value(
            self.connection,
            "SELECT count(*) FROM plan_sendable WHERE object = ? AND hubspot_id = ? AND key <> ?",
            [object_type, hubspot_id, one.key],
        ):
            self._states[one.record] = "same_record"
            self.connection.execute(
                "INSERT INTO ops.hubspot_records (portal_id, object, key, hubspot_id, seen_at) VALUES (?, ?, ?, ?, ?)",
                [self.portal_id, object_type, one.key, hubspot_id, utc_now()],
            )
        else:
            self._updates.setdefault(object_type, {})[one.record] = hubspot_id

    def move(self, object_type: str, one: Input, hubspot_id: str | None) -> bool:
        """Send everything of a record to another id (None: to a new record). Returns False if that was done before."""
        if one.record in self._moved:
            return False
        self._moved.add(one.record)
        self._moves.setdefault(object_type, {})[one.record] = hubspot_id
        return True

    def forget(self) -> None:
        """Begin with another plan."""
        self._tries.clear()
        self._errors.clear()
        self._moved.clear()
        self.merged.clear()
        self.done = self.given_up = 0
