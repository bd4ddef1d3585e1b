"""The push: carries the plan out, and keeps account of every record.

Before a call begins, its records are `sent` in the outbox; when its answer is understood, that is written down
too, in one transaction. So whenever the process dies, the next push knows which records HubSpot may have got: it
looks them up and goes on from there.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dagster_project.settings import Settings
from dagster_project.warehouse.database import Connection, open_warehouse, transaction, value
from dagster_project.warehouse.publish import publish

from . import tables
from .answers import Input, Problem, problem_of_call, verdict
from .api import BATCH, KEYS, OBJECTS, Api, Json
from .errors import DailyLimit, HubspotError, MissingToken, NotAllowed, OutcomeUnknown, Refused, Unavailable
from .ledger import Reject, note_rejects, remember_matches, remember_preflight, settle
from .lookup import Found, all_records, by_email, by_id, in_batches, side_by_side
from .outbox import Outbox
from .pace import MOST_IN_FLIGHT
from .plan import Plan, Planner, Tell
from .preflight import LeftOut
from .values import are_same

# A record is sent this often while its outcome is unknown, in ever smaller calls: one of them may be poison.
_SIZES = (BATCH, BATCH, 25, 5)
_FRUITLESS_PASSES = 4  # in a row without a single usable answer: HubSpot is down
_UNKNOWN_IN_A_ROW = 8
_COLUMN_CODES = ("PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE")
_HOPELESS = 20  # refusals of a column's values, with none taken
_REPAIRS = 3
# A create of which nothing is known may still be under way in HubSpot; domains are not unique there.
SETTLE_SECONDS = 5.0


@dataclass
class Tally:
    """Records of one object type: planned = acknowledged + rejected + skipped."""

    planned: int = 0
    acknowledged: int = 0
    rejected: int = 0
    skipped: int = 0
    unchanged: int = 0
    created: int = 0
    updated: int = 0


@dataclass
class PushResult:
    """What a push came to. calls: all calls to HubSpot, write_calls those that write, retries included.

    unknown: records of which HubSpot did not say what became of them. stopped: why it ended early. A rehearsal
    (live False) has planned, skipped and unchanged records only, and the calls that the push would make.
    """

    live: bool
    objects: dict[str, Tally]
    digest: str = ""
    calls: int = 0
    write_calls: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    daily_limit_resumes_at: datetime | None = None
    unknown: int = 0
    stopped: str | None = None
    portal_id: int | None = None

    @property
    def exit_status(self) -> int:
        """1: a column was left out, it ended early, or a record's outcome is unknown."""
        return int(bool(self.left_out or self.stopped or self.unknown))

    @property
    def total(self) -> Tally:
        sums = Tally()
        for tally in self.objects.values():
            for name, number in vars(tally).items():
                setattr(sums, name, getattr(sums, name) + number)
        return sums


def _silent(_: str) -> None:
    pass


def make_plan(settings: Settings, *, tell: Tell = _silent, offline: bool = False) -> Plan:
    """What a push would write. offline, or without a token: what can be said offline. Writes nothing to HubSpot.

    Raises HubspotError (also where nothing is published yet, or the token is another account's).
    """
    _need_published(settings)
    try:
        api: Api | None = None if offline else Api(settings.hubspot)
    except MissingToken:
        api = None
    with open_warehouse(settings, tell) as connection:
        tables.prepare(connection)
        settle(connection, _now())
        if api is None:
            return _planned(connection, settings, None, tell).as_plan()
        with api:
            api.load_account(settings.hubspot.portal_id)
            return _planned(connection, settings, api, tell).as_plan()


def push(settings: Settings, *, live: bool, tell: Tell = _silent, digest: str | None = None) -> PushResult:
    """Carry the plan out (live), or rehearse it. digest: of the plan that is meant; another one is refused.

    Raises MissingToken, and HubspotError where it could not begin. What stops it later is in the result.
    """
    if not live:
        return _rehearse(settings, tell)
    _need_published(settings)
    with Api(settings.hubspot) as api, open_warehouse(settings, tell) as connection:
        tables.prepare(connection)
        try:
            api.load_account(settings.hubspot.portal_id)
            run = _Push(connection, settings, api, tell)
            run.recover()
            planner = _planned(connection, settings, api, tell)
            found = planner.digest()
            if digest is not None and digest != found:
                raise HubspotError(
                    f"the plan has changed since: it is {found} now, not {digest}; look at it again"
                )
            run.begin(planner)
        except DailyLimit as limit:
            result = _stopped_early(connection, api, limit)
        else:
            run.send_all()
            result = run.finish()
        tell("publishing")
        publish(connection, settings)
        return result


def _rehearse(settings: Settings, tell: Tell) -> PushResult:
    plan = make_plan(settings, tell=tell)
    if plan.offline:
        raise MissingToken
    objects = {
        name: Tally(
            planned=c.creates + c.updates + c.skipped + c.rejected,
            rejected=c.rejected,
            skipped=c.skipped,
            unchanged=c.unchanged,
            created=c.creates,
            updated=c.updates,
        )
        for name, c in plan.counts.items()
    }
    return PushResult(
        False, objects, plan.digest, plan.calls, plan.calls, plan.left_out, portal_id=plan.account
    )


def _planned(connection: Connection, settings: Settings, api: Api | None, tell: Tell) -> Planner:
    planner = Planner(connection, settings, api, _now(), tell)
    planner.make()
    return planner


def _need_published(settings: Settings) -> None:
    if not settings.analytics_file.exists():
        raise HubspotError(
            f"nothing is published yet at {settings.analytics_file}; run `warehouse run` first"
        )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _stopped_early(connection: Connection, api: Api, limit: DailyLimit) -> PushResult:
    """The day's limit was reached before there was a plan."""
    number = _new_push(connection, api.account.portal_id)
    connection.execute(
        """
        UPDATE ops.hubspot_pushes SET ended_at = ?, stopped = ?, resumes_at = ?, calls = ?, exit_status = 1 WHERE push = ?""",
        [_now(), str(limit), limit.resumes_at, api.pace.calls, number],
    )
    return PushResult(
        True,
        {},
        calls=api.pace.calls,
        daily_limit_resumes_at=limit.resumes_at,
        stopped=str(limit),
        portal_id=api.account.portal_id,
    )


def _new_push(connection: Connection, portal_id: int | None, digest: str = "") -> int:
    number = int(value(connection, "SELECT coalesce(max(push), 0) + 1 FROM ops.hubspot_pushes"))
    connection.execute(
        """
        INSERT INTO ops.hubspot_pushes (push, started_at, portal_id, digest, planned, acknowledged, rejected, skipped,
                                        unchanged, created, updated, unknown, calls, write_calls)
        VALUES (?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)""",
        [number, _now(), portal_id, digest],
    )
    return number


class _Push:
    """One push on its way."""

    def __init__(self, connection: Connection, settings: Settings, api: Api, tell: Tell) -> None:
        self.connection, self.settings, self.api, self.tell = connection, settings, api, tell
        self.outbox = Outbox(connection, api.account.portal_id)
        self.number = 0
        self.digest = ""
        self.total = self.done = 0
        self.left_out: list[LeftOut] = []
        self.stop: HubspotError | None = None
        self.given_up = 0  # records that were tried as often as it makes sense
        self.tries: Counter[int] = Counter()  # of records whose outcome was unknown
        self.errors: dict[
            int, tuple[str, str, str | None]
        ] = {}  # the last of a record: code, message, correlation id
        self.queue: deque[tuple[str, list[Input]]] = deque()  # parts of refused calls, to be sent next
        self.conflicts: list[tuple[str, list[Input], Problem]] = []
        self.merged: list[tuple[str, str, str]] = []  # object, key, the id that is left
        self.moved: set[int] = set()  # records that were sent to another id already
        self.taken: dict[str, set[str]] = {
            o: set() for o in OBJECTS
        }  # properties of which HubSpot took a value
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.unanswered = 0
        self.answered = False
        self.types: dict[tuple[str, str], str] = {}
        self._load_types()

    # before

    def recover(self) -> None:
        """What an earlier push left in the outbox: look up what may have been carried out, close its accounts."""
        settle(self.connection, _now())
        if self.outbox.holds("sent"):
            self.tell("looking up what was under way when the last push ended")
            latest = value(
                self.connection,
                "SELECT max(sent_at) FROM ops.hubspot_outbox WHERE state = 'sent' AND hubspot_id IS NULL",
            )
            if latest is not None:
                time.sleep(max(0.0, min(SETTLE_SECONDS, SETTLE_SECONDS - (_now() - latest).total_seconds())))
            self.look_up()
            settle(self.connection, _now())
        interrupted = value(
            self.connection, "SELECT max(push) FROM ops.hubspot_pushes WHERE ended_at IS NULL"
        )
        with transaction(self.connection):
            # Found, but not as it was meant: the plan makes an update of it.
            self.connection.execute(
                """
                INSERT INTO ops.hubspot_records (portal_id, object, key, hubspot_id, seen_at)
                SELECT portal_id, object, key, hubspot_id, ? FROM ops.hubspot_outbox o
                WHERE state = 'ready' AND hubspot_id IS NOT NULL AND NOT EXISTS (
                    FROM ops.hubspot_records r WHERE r.object = o.object AND r.key = o.key
                      AND r.portal_id IS NOT DISTINCT FROM o.portal_id)""",
                [_now()],
            )
            if interrupted is not None:
                self.number = interrupted
                self._close_accounts(self._tallies(), "it was interrupted")
            self.connection.execute(
                "DELETE FROM ops.hubspot_outbox WHERE portal_id IS NOT DISTINCT FROM ?",
                [self.api.account.portal_id],
            )
        self._forget()

    def _forget(self) -> None:
        self.tries.clear()
        self.errors.clear()
        self.merged.clear()
        self.moved.clear()
        self.given_up = 0

    def begin(self, planner: Planner) -> None:
        """Put the plan into the outbox, with all that is known before the first call."""
        portal_id = self.api.account.portal_id
        self.digest, self.left_out = planner.digest(), planner.left_out
        with transaction(self.connection):
            self.number = _new_push(self.connection, portal_id, self.digest)
            self.connection.execute("DELETE FROM ops.hubspot_properties")
            self.connection.execute(
                "INSERT INTO ops.hubspot_properties BY NAME SELECT * FROM account_properties"
            )
            self.connection.execute("DELETE FROM ops.hubspot_skips")
            self.connection.execute("INSERT INTO ops.hubspot_skips SELECT object, id, key, reason FROM skips")
            remember_matches(self.connection, portal_id, _now())
            remember_preflight(self.connection, portal_id, _now())
            self.outbox.fill()
        self._load_types()
        self.total = int(value(self.connection, "SELECT count(*) FROM planned"))

    def _load_types(self) -> None:
        self.types = {
            (o, name): kind
            for o, name, kind in self.connection.execute(
                "SELECT object, name, type FROM ops.hubspot_properties"
            ).fetchall()
        }

    # sending

    def send_all(self) -> None:
        """Send until nothing is left that can be sent."""
        fruitless = repairs = 0
        while self.stop is None:
            if not self.outbox.holds("ready"):
                if not self.merged or repairs == _REPAIRS:
                    return
                repairs += 1
                self._plan_repairs()
                continue
            self.answered = False
            self._pass()
            fruitless = 0 if self.answered else fruitless + 1
            try:
                if self.stop is None and self.outbox.holds("sent"):
                    time.sleep(min(2.0**fruitless, 30.0) if fruitless else 0.5)
                    self.look_up()
                if self.stop is None and self.outbox.holds("gone"):
                    self._find_gone()
            except (DailyLimit, NotAllowed, Unavailable) as error:
                self.stop = error
            if fruitless >= _FRUITLESS_PASSES and self.stop is None:
                self.stop = Unavailable("HubSpot does not answer; what was not sent is sent by the next push")

    def _pass(self) -> None:
        """Send all that is ready, once; refused calls are halved and sent again right away."""
        running: dict[Future[Json], tuple[str, list[Input]]] = {}
        fresh = self._fresh()
        self.unanswered = 0
        with ThreadPoolExecutor(MOST_IN_FLIGHT, thread_name_prefix="hubspot") as pool:
            while True:
                finished = [f for f in running if f.done()]
                calls: list[tuple[str, list[Input]]] = []
                with transaction(self.connection):
                    self._take_answers([(*running.pop(f), f) for f in finished])
                    while len(running) + len(calls) < 2 * MOST_IN_FLIGHT and self._may_go_on():
                        call = self.queue.popleft() if self.queue else next(fresh, None)
                        if call is None:
                            break
                        self.outbox.mark_sent(call[1], _now())
                        calls.append(call)
                for object_type, inputs in calls:
                    verb = "create" if inputs[0].hubspot_id is None else "update"
                    bodies = [one.body() for one in inputs]
                    running[pool.submit(self.api.batch_write, object_type, verb, bodies)] = (
                        object_type,
                        inputs,
                    )
                if self.conflicts and self.stop is None:
                    self._resolve_conflicts()
                    continue
                if not running:
                    break
                self._say()
                wait(running, return_when=FIRST_COMPLETED)
        with transaction(self.connection):
            for _, inputs in [*self.queue, *((o, i) for o, i, _ in self.conflicts)]:
                self.outbox.mark([one.record for one in inputs], "ready")  # not reached
        self.queue.clear()
        self.conflicts.clear()

    def _may_go_on(self) -> bool:
        return self.stop is None and self.unanswered < _UNKNOWN_IN_A_ROW

    def _fresh(self) -> Iterator[tuple[str, list[Input]]]:
        """What is ready, in calls of a hundred; what failed before, in smaller ones."""
        for object_type in OBJECTS:
            for is_create in (True, False):
                waiting: dict[int, list[Input]] = {}
                for one in self.outbox.inputs("ready", object_type, is_create):
                    size = (
                        _SIZES[min(self.tries[one.record], len(_SIZES) - 1)]
                        if one.record in self.tries
                        else BATCH
                    )
                    batch = waiting.setdefault(size, [])
                    batch.append(one)
                    if len(batch) == size:
                        yield object_type, waiting.pop(size)
                yield from ((object_type, batch) for batch in waiting.values())

    def _take_answers(self, answers: Iterable[tuple[str, list[Input], Future[Json]]]) -> None:
        for object_type, inputs, future in answers:
            records = [one.record for one in inputs]
            try:
                body = future.result()
            except OutcomeUnknown as error:
                self.unanswered += 1
                self.errors.update((record, (error.code, str(error), None)) for record in records)
                continue
            except Refused as refused:
                self._answered()
                self._call_refused(object_type, inputs, refused)
                continue
            except HubspotError as error:  # not carried out, and nothing else will be
                self.stop = self.stop or error
                self.outbox.mark(records, "ready")
                continue
            self._answered()
            read = verdict(object_type, inputs, body)
            self._acknowledged(object_type, read.acknowledged)
            for one, problem in read.refused:
                self._record_refused(object_type, one, problem)
            for one in read.unknown:
                self.errors[one.record] = (
                    "NOT_MENTIONED",
                    "HubSpot's answer does not mention the record",
                    None,
                )

    def _answered(self) -> None:
        self.answered = True
        self.unanswered = 0

    def _acknowledged(self, object_type: str, acknowledged: Sequence[tuple[Input, str]]) -> None:
        self.outbox.acknowledge([(one.record, hubspot_id) for one, hubspot_id in acknowledged])
        self.done += len(acknowledged)
        for one, hubspot_id in acknowledged:
            self.taken[object_type].update(one.properties)
            if one.hubspot_id not in (None, hubspot_id):
                self.merged.append((object_type, one.key, hubspot_id))

    # refusals

    def _call_refused(self, object_type: str, inputs: list[Input], refused: Refused) -> None:
        """Nothing of a call was written. Is it a column, one of many records, or this one?"""
        sent = {name for one in inputs for name in one.properties}
        problem = problem_of_call(refused, sent)
        columns = [
            name
            for name, (code, _) in problem.values.items()
            if code in _COLUMN_CODES and name != KEYS[object_type]
        ]
        if columns:
            self.outbox.mark([one.record for one in inputs], "ready")
            for name in columns:
                self._leave_out(object_type, name, problem.values[name][1])
        elif len(inputs) == 1:
            self._record_refused(object_type, inputs[0], problem)
        elif problem.is_conflict and object_type == "contacts" and inputs[0].hubspot_id is None:
            self.conflicts.append((object_type, inputs, problem))
        else:
            self._halve(object_type, inputs)

    def _halve(self, object_type: str, inputs: list[Input]) -> None:
        half = len(inputs) // 2
        self.queue.extendleft([(object_type, inputs[half:]), (object_type, inputs[:half])])

    def _record_refused(self, object_type: str, one: Input, problem: Problem) -> None:
        """HubSpot refused one record: leave out the values that it named, and send the rest again."""
        key = KEYS[object_type]
        self.errors[one.record] = (problem.code, problem.message, problem.correlation_id)
        if problem.is_gone and one.hubspot_id is not None:
            self.outbox.mark([one.record], "gone")
            return
        if (
            problem.is_conflict
            and one.hubspot_id is None
            and object_type == "contacts"
            and set(problem.values) <= {key}
        ):
            self.conflicts.append((object_type, [one], problem))
            return
        if not problem.values or key in problem.values:
            self._reject(one)
            return
        note_rejects(
            self.connection,
            [
                Reject(one.record, name, one.properties[name], code, said, problem.correlation_id)
                for name, (code, said) in problem.values.items()
            ],
            _now(),
        )
        has_more = set(one.properties) > set(problem.values)
        self.outbox.strip(one.record, problem.values, "ready" if has_more else "rejected")
        for name, (_, said) in problem.values.items():
            self.refusals[object_type, name] += 1
            if self.refusals[object_type, name] == _HOPELESS and name not in self.taken[object_type]:
                self._leave_out(
                    object_type, name, f"HubSpot refused each of its first {_HOPELESS} values: {said}"
                )

    def _leave_out(self, object_type: str, name: str, reason: str) -> None:
        if (object_type, name) not in {(one.object, one.column) for one in self.left_out}:
            self.left_out.append(LeftOut(object_type, name, reason))
        self.outbox.strip_all(object_type, name)

    def _reject(self, one: Input, *, is_final: bool = True) -> None:
        code, message, correlation_id = self.errors.get(
            one.record, ("REFUSED", "HubSpot gave no reason", None)
        )
        self.outbox.mark([one.record], "rejected")
        note_rejects(
            self.connection, [Reject(one.record, None, None, code, message, correlation_id, is_final)], _now()
        )

    def _resolve_conflicts(self) -> None:
        """Contacts that were to be made and exist: HubSpot finds them by their email, or named the record."""
        conflicts, self.conflicts = self.conflicts, []
        for object_type, inputs, problem in conflicts:
            try:
                found = by_email(self.api, [one.key for one in inputs])
            except (DailyLimit, NotAllowed, Unavailable) as error:
                self.stop = error
                with transaction(self.connection):
                    self.outbox.mark([one.record for one in inputs], "ready")
                continue
            missing = [one for one in inputs if one.key not in found]
            with transaction(self.connection):
                for one in inputs:
                    if one.key in found:
                        self._turn_into_update(object_type, one, found[one.key].hubspot_id)
                if len(missing) == 1 and len(inputs) == 1:
                    if problem.existing_id is not None:
                        self._turn_into_update(object_type, missing[0], problem.existing_id)
                    else:
                        self.errors.setdefault(
                            missing[0].record, (problem.code, problem.message, problem.correlation_id)
                        )
                        self._reject(missing[0])
                elif len(missing) == len(inputs):
                    self._halve(object_type, missing)
                elif missing:
                    self.queue.appendleft((object_type, missing))

    def _turn_into_update(self, object_type: str, one: Input, hubspot_id: str) -> None:
        """A record exists already. If it is another profile's as well, the one that was seen last is sent."""
        self.outbox.retry_as_update([(one.record, hubspot_id)], object_type)
        other = (
            value(
                self.connection,
                """
            SELECT count(*) > 0 FROM sendable WHERE object = ? AND hubspot_id = ? AND key <> ?""",
                [object_type, hubspot_id, one.key],
            )
            if self.number
            else False
        )
        if other:
            self.outbox.mark([one.record], "same_record")
            self.connection.execute(
                """
                INSERT INTO ops.hubspot_records (portal_id, object, key, hubspot_id, seen_at) VALUES (?, ?, ?, ?, ?)""",
                [self.api.account.portal_id, object_type, one.key, hubspot_id, _now()],
            )

    # unknown outcomes

    def look_up(self) -> None:
        """Read what HubSpot holds of each record whose outcome is unknown, and go by that."""
        for object_type in OBJECTS:
            updates = in_batches(list(self.outbox.inputs("sent", object_type, False)))
            for batch, found in side_by_side(
                updates,
                lambda b, o=object_type: by_id(  # type: ignore[misc]
                    self.api, o, list(dict.fromkeys(one.hubspot_id for one in b)), _sent_names(b)
                ),
            ):
                with transaction(self.connection):
                    for one in batch:
                        self._compare(
                            object_type, one, [found[one.hubspot_id]] if one.hubspot_id in found else []
                        )
            creates = list(self.outbox.inputs("sent", object_type, True))
            if not creates:
                continue
            if object_type == "contacts":
                for batch, by_key in side_by_side(
                    in_batches(creates),
                    lambda b: by_email(  # type: ignore[misc]
                        self.api, [one.key for one in b], _sent_names(b)
                    ),
                ):
                    with transaction(self.connection):
                        for one in batch:
                            self._compare(object_type, one, [by_key[one.key]] if one.key in by_key else [])
            else:
                self._look_up_companies(creates)

    def _look_up_companies(self, creates: list[Input]) -> None:
        if any(self.errors.get(one.record, ("TIMEOUT",))[0] == "TIMEOUT" for one in creates) and self.number:
            time.sleep(SETTLE_SECONDS)
        wanted = {one.key for one in creates}
        found: dict[str, list[Found]] = {}
        for records, _ in all_records(self.api, "companies", _sent_names(creates)):
            for record in records:
                for key in wanted.intersection(record.keys):
                    found.setdefault(key, []).append(record)
        with transaction(self.connection):
            for one in creates:
                self._compare("companies", one, found.get(one.key, []))

    def _compare(self, object_type: str, one: Input, found: list[Found]) -> None:
        if len(found) > 1:
            self.outbox.mark([one.record], "ambiguous")
            return
        if not found:
            if one.hubspot_id is None:
                self._try_again(one)
            else:
                self.errors[one.record] = (
                    "OBJECT_NOT_FOUND",
                    "the record does not exist in HubSpot any more",
                    None,
                )
                self.outbox.mark([one.record], "gone")
            return
        (record,) = found
        key = KEYS[object_type]
        is_same = all(
            are_same(sent, record.properties.get(name), self.types.get((object_type, name)))
            for name, sent in one.properties.items()
            if name != key
        )
        if is_same:
            self._acknowledged(object_type, [(one, record.hubspot_id)])
        elif one.hubspot_id is None:
            self._turn_into_update(object_type, one, record.hubspot_id)
        else:
            self._try_again(one)

    def _try_again(self, one: Input) -> None:
        """It was not carried out."""
        self.tries[one.record] += 1
        if self.tries[one.record] >= len(_SIZES):
            self.given_up += 1
            self._reject(one, is_final=False)
        else:
            self.outbox.mark([one.record], "ready")

    def _find_gone(self) -> None:
        """Records that HubSpot does not know any more: deleted, unless their key leads to another one."""
        recreate = self.settings.hubspot.recreate_deleted
        for object_type in OBJECTS:
            listed: dict[str, list[Found]] | None = None
            gone = list(self.outbox.inputs("gone", object_type, False))
            if gone and object_type == "companies":
                known = {
                    row[0]
                    for row in self.connection.execute(
                        "SELECT key FROM ops.hubspot_rejects WHERE object = 'companies' AND code = 'OBJECT_NOT_FOUND'"
                    ).fetchall()
                }
                listed = {}
                # A listing is dear: not for those that were gone before.
                if recreate or any(one.key not in known for one in gone):
                    wanted = {one.key for one in gone}
                    for records, _ in all_records(self.api, object_type):
                        for record in records:
                            for key in wanted.intersection(record.keys):
                                listed.setdefault(key, []).append(record)
            for batch in in_batches(gone):
                if listed is None:
                    places = {key: [f] for key, f in by_email(self.api, [one.key for one in batch]).items()}
                else:
                    places = listed
                with transaction(self.connection):
                    for one in batch:
                        self._replace_gone(object_type, one, places.get(one.key, []), recreate)

    def _replace_gone(self, object_type: str, one: Input, found: list[Found], recreate: bool) -> None:
        others = {record.hubspot_id for record in found} - {one.hubspot_id}
        if len(others) > 1:
            self.outbox.mark([one.record], "ambiguous")
        elif one.record in self.moved or not (others or recreate):
            self._reject(one)
        else:
            self.moved.add(one.record)
            self.outbox.plan_anew({one.record: next(iter(others), None)}, object_type)

    # merges

    def _plan_repairs(self) -> None:
        """Records that turned out to be merged into another: that one is to hold what the one seen last says."""
        settle(self.connection, _now())
        portal_id = self.api.account.portal_id
        with transaction(self.connection):
            self.connection.execute(
                "CREATE OR REPLACE TEMP TABLE merged (object VARCHAR, key VARCHAR, hubspot_id VARCHAR)"
            )
            self.connection.executemany(
                "INSERT INTO merged VALUES (?, ?, ?)", [list(one) for one in set(self.merged)]
            )
            self.connection.execute("""
                UPDATE sendable SET hubspot_id = m.hubspot_id FROM merged m WHERE sendable.object = m.object AND sendable.key = m.key""")
            # What others of its profiles say was written over.
            self.connection.execute(
                """
                DELETE FROM ops.hubspot_ledger WHERE portal_id IS NOT DISTINCT FROM ?
                  AND (object, hubspot_id) IN (SELECT (object, hubspot_id) FROM merged)
                  AND (object, key) NOT IN (SELECT (object, key) FROM merged)""",
                [portal_id],
            )
            self.connection.execute(
                """
                INSERT INTO ops.hubspot_outbox
                    (record, portal_id, object, action, id, key, hubspot_id, properties, state, attempts)
                SELECT (SELECT max(record) FROM ops.hubspot_outbox) + row_number() OVER (), ?, s.object, 'repair', s.id, s.key,
                       s.hubspot_id, to_json(map(list(w.property ORDER BY w.property), list(w.value ORDER BY w.property))),
                       'ready', 0
                FROM (
                    FROM sendable SEMI JOIN merged USING (object, hubspot_id)
                    QUALIFY row_number() OVER (PARTITION BY object, hubspot_id ORDER BY seen DESC NULLS LAST, id) = 1
                ) s
                JOIN wanted w ON w.object = s.object AND w.key = s.key AND w.code IS NULL AND w.value <> ''
                WHERE NOT EXISTS (
                    FROM ops.hubspot_ledger l WHERE l.portal_id IS NOT DISTINCT FROM ? AND l.object = w.object
                      AND l.key = w.key AND l.property = w.property AND l.hubspot_id = s.hubspot_id AND l.value = w.value)
                GROUP BY ALL""",
                [portal_id, portal_id],
            )
        self.merged.clear()

    # after

    def finish(self) -> PushResult:
        """Settle, close the accounts, and leave in the outbox only what is unknown."""
        settle(self.connection, _now())
        limit = self.stop.resumes_at if isinstance(self.stop, DailyLimit) else None
        with transaction(self.connection):
            for object_type in OBJECTS:
                for is_create in (True, False):
                    for one in self.outbox.inputs("sent", object_type, is_create):
                        code, message, correlation_id = self.errors.get(
                            one.record, ("OUTCOME_UNKNOWN", "HubSpot did not say what became of it", None)
                        )
                        note_rejects(
                            self.connection,
                            [Reject(one.record, None, None, code, message, correlation_id, is_final=False)],
                            _now(),
                        )
            for state in ("ready", "gone"):
                self.connection.execute(
                    "UPDATE ops.hubspot_outbox SET state = ? WHERE state = ? AND portal_id IS NOT DISTINCT FROM ?",
                    ["daily_limit" if limit else "stopped", state, self.api.account.portal_id],
                )
            tallies = self._tallies()
            self.connection.execute(
                f"""
                INSERT INTO ops.hubspot_skips SELECT object, id, key, state FROM ops.hubspot_outbox
                WHERE portal_id IS NOT DISTINCT FROM ? AND action <> 'repair' AND state NOT IN ({_NO_SKIPS})""",
                [self.api.account.portal_id],
            )
            unknown = self.given_up + int(
                value(
                    self.connection,
                    """
                SELECT count(*) FROM ops.hubspot_outbox WHERE state = 'sent' AND portal_id IS NOT DISTINCT FROM ?""",
                    [self.api.account.portal_id],
                )
            )
            for object_type, tally in tallies.items():
                self._count_plan(object_type, tally)
            result = PushResult(
                True,
                tallies,
                self.digest,
                self.api.pace.calls,
                self.api.write_calls,
                self.left_out,
                limit,
                unknown,
                str(self.stop) if self.stop else None,
                self.api.account.portal_id,
            )
            self._close_accounts(tallies, result.stopped, result)
            self.outbox.clear()
        return result

    def _tallies(self) -> dict[str, Tally]:
        """What became of the records in the outbox."""
        tallies = {object_type: Tally() for object_type in OBJECTS}
        for object_type, action, state, number in self.connection.execute(
            """
            SELECT object, action, state, count(*) FROM ops.hubspot_outbox
            WHERE portal_id IS NOT DISTINCT FROM ? AND action <> 'repair' GROUP BY ALL""",
            [self.api.account.portal_id],
        ).fetchall():
            tally = tallies[object_type]
            tally.planned += number
            if state == "settled":
                tally.acknowledged += number
                tally.created += number if action == "create" else 0
                tally.updated += number if action != "create" else 0
            elif state in ("rejected", "sent"):
                tally.rejected += number
            else:
                tally.skipped += number
        return tallies

    def _count_plan(self, object_type: str, tally: Tally) -> None:
        """What the plan knew before the first call."""
        given = [object_type]
        skipped = int(value(self.connection, "SELECT count(*) FROM skips WHERE object = ?", given))
        rejected = int(
            value(
                self.connection, "SELECT count(*) FROM refused WHERE object = ? AND property IS NULL", given
            )
        )
        tally.planned += skipped + rejected
        tally.skipped += skipped
        tally.rejected += rejected
        tally.unchanged = int(
            value(
                self.connection,
                "SELECT count(*) FROM sendable ANTI JOIN planned USING (object, key) WHERE object = ?",
                given,
            )
        )

    def _close_accounts(
        self, tallies: dict[str, Tally], stopped: str | None, result: PushResult | None = None
    ) -> None:
        total = PushResult(True, tallies).total
        self.connection.execute(
            """
            UPDATE ops.hubspot_pushes SET ended_at = ?, planned = ?, acknowledged = ?, rejected = ?, skipped = ?,
                unchanged = ?, created = ?, updated = ?, stopped = ? WHERE push = ?""",
            [
                _now(),
                total.planned,
                total.acknowledged,
                total.rejected,
                total.skipped,
                total.unchanged,
                total.created,
                total.updated,
                stopped,
                self.number,
            ],
        )
        if result is not None:
            left_out = "\n".join(f"{one.object}.{one.column}: {one.reason}" for one in result.left_out)
            self.connection.execute(
                """
                UPDATE ops.hubspot_pushes SET unknown = ?, calls = ?, write_calls = ?, left_out = ?, resumes_at = ?,
                    exit_status = ? WHERE push = ?""",
                [
                    result.unknown,
                    result.calls,
                    result.write_calls,
                    left_out or None,
                    result.daily_limit_resumes_at,
                    result.exit_status,
                    self.number,
                ],
            )
        self.number = 0

    def _say(self) -> None:
        self.tell(f"sending to HubSpot: {self.done:,} of {self.total:,} records")


_NO_SKIPS = "'settled', 'rejected', 'sent'"


def _sent_names(inputs: Iterable[Input]) -> list[str]:
    return sorted({name for one in inputs for name in one.properties})
