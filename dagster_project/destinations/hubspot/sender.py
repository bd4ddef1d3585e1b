"""Sends what is in the outbox: in calls of a hundred, a few at a time, each answer understood record by record.

Before a call begins, its records are `sent`. When its answer is understood, that is written down too. So whenever
the process dies, the next push knows which records HubSpot may have got.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from time import sleep

from dagster_project.destinations.parts.pace import MOST_IN_FLIGHT
from dagster_project.destinations.parts.published import utc_now
from dagster_project.warehouse.database import value

from .answers import Input, Problem, problem_of_call, verdict
from .api import Api, Json
from .errors import HubspotError, NotAllowed, OutcomeUnknown, Refused, Unavailable
from .lookup import by_key, in_batches
from .outcomes import find_gone, look_up, plan_repairs
from .progress import Progress

_log = logging.getLogger(__name__)
_FRUITLESS_PASSES = 4  # in a row without a single usable answer: HubSpot is down
_UNANSWERED = 8  # calls in a row: better wait a little
_REPAIRS = 3
_REFUSED_CALLS = 12
_ALIKE = 5  # records refused in the same words, while none is taken: then it is not for the record
_COLUMN_CODES = ("PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE")

Call = tuple[str, list[Input]]  # object type, records


class Sender:
    """Sends until nothing is left that can be sent. stop: what ended it early."""

    def __init__(self, api: Api, progress: Progress, recreate_deleted: bool) -> None:
        self.api, self.progress, self.recreate_deleted = api, progress, recreate_deleted
        self.stop: HubspotError | None = None
        self._queue: deque[Call] = deque()  # parts of refused calls, to be sent next
        self._conflicts: list[tuple[str, list[Input], Problem]] = []
        self._accepted: set[tuple[str, bool]] = (
            set()
        )  # object types, and whether creates, of which HubSpot took one
        self._refused: Counter[tuple[str, bool, str]] = Counter()  # calls, in the same words
        self._alike: dict[tuple[str, str, str], list[Input]] = {}  # refused in the same words
        self._unanswered = 0
        self._answered = False
        self._total = 0

    def send_all(self) -> None:
        progress, outbox = self.progress, self.progress.outbox
        self._total = int(
            value(progress.connection, "SELECT count(*) FROM ops.hubspot_outbox WHERE state = 'ready'")
        )
        fruitless = repairs = 0
        while self.stop is None:
            if not outbox.has_ready(progress.halted):
                if not progress.merged or repairs == _REPAIRS:
                    return
                repairs += 1
                plan_repairs(progress)
                continue
            self._answered = False
            self._pass()
            fruitless = 0 if self._answered else fruitless + 1
            try:
                if self.stop is None and outbox.holds("sent"):
                    _log.debug("looking up what HubSpot did not answer")
                    sleep(min(0.5 * 2.0**fruitless, 30.0))
                    look_up(self.api, progress)
                if self.stop is None and outbox.holds("gone"):
                    find_gone(self.api, progress, self.recreate_deleted)
            except HubspotError as error:
                self.stop = error
            if fruitless >= _FRUITLESS_PASSES and self.stop is None:
                self.stop = Unavailable("HubSpot does not answer; what was not sent is sent by the next push")

    def _pass(self) -> None:
        """Send all that is ready, once; refused calls are halved and sent again right away."""
        progress = self.progress
        running: dict[Future[Json], Call] = {}
        fresh = progress.calls()
        self._unanswered = 0
        with ThreadPoolExecutor(MOST_IN_FLIGHT, thread_name_prefix="hubspot") as pool:
            while True:
                finished = [future for future in running if future.done()]
                with progress.written():
                    for future in finished:
                        self._take_answer(*running.pop(future), future)
                calls: list[Call] = []
                with progress.written():
                    while len(running) + len(calls) < 2 * MOST_IN_FLIGHT and self._may_go_on():
                        call = self._queue.popleft() if self._queue else next(fresh, None)
                        if call is None:
                            break
                        if (call[0], call[1][0].hubspot_id is None) in progress.halted:
                            progress.mark(call[1], "ready")
                            continue
                        progress.outbox.mark_sent(call[1], utc_now())
                        calls.append(call)
                for object_type, inputs in calls:
                    verb = "create" if inputs[0].hubspot_id is None else "update"
                    bodies = [one.body() for one in inputs]
                    running[pool.submit(self.api.batch_write, object_type, verb, bodies)] = (
                        object_type,
                        inputs,
                    )
                if self._conflicts and self.stop is None:
                    self._resolve_conflicts()
                elif not running:
                    break
                else:
                    _log.debug(
                        "sending to HubSpot: %s of %s records", f"{progress.done:,}", f"{self._total:,}"
                    )
                    wait(running, return_when=FIRST_COMPLETED)
        with progress.written():  # what was not reached, and what was the records' own fault
            for one in (one for alike in self._alike.values() for one in alike):
                progress.reject(one)
            self._alike.clear()
            for inputs in [
                *(inputs for _, inputs in self._queue),
                *(inputs for _, inputs, _ in self._conflicts),
            ]:
                progress.mark(inputs, "ready")
        self._queue.clear()
        self._conflicts.clear()

    def _may_go_on(self) -> bool:
        return self.stop is None and self._unanswered < _UNANSWERED

    def _take_answer(self, object_type: str, inputs: list[Input], future: Future[Json]) -> None:
        progress = self.progress
        try:
            body = future.result()
            read = verdict(progress.keys[object_type], inputs, body)
        except OutcomeUnknown as error:
            self._unanswered += 1
            progress.note(inputs, Problem(error.code, str(error)))
            return
        except Refused as refused:
            self._answered, self._unanswered = True, 0
            self._call_refused(object_type, inputs, refused)
            return
        except NotAllowed as error:
            progress.mark(inputs, "ready")
            if error.status == 401:
                self.stop = self.stop or error
            else:
                self._answered, self._unanswered = True, 0
                for is_create in (True, False):  # a scope is for both
                    progress.halted.setdefault((object_type, is_create), str(error))
            return
        except HubspotError as error:  # it was not carried out, and nothing else will be
            self.stop = self.stop or error
            progress.mark(inputs, "ready")
            return
        self._answered, self._unanswered = True, 0
        for one, hubspot_id in read.acknowledged:
            self._accepted.add((object_type, one.hubspot_id is None))
            shown = read.shown.get(one.record, {})
            kept = {
                name: shown[name]
                for name, sent in one.properties.items()
                if name in shown and not progress.is_held(object_type, name, sent, shown[name])
            }
            if kept:
                said = body.get("correlationId")
                progress.acknowledge_rest(
                    object_type, one, hubspot_id, kept, said if isinstance(said, str) else None
                )
            else:
                progress.acknowledge(object_type, one, hubspot_id)
        for one, problem in read.refused:
            self._record_refused(object_type, one, problem)
        progress.note(read.unknown, Problem("NOT_MENTIONED", "HubSpot's answer does not mention the record"))

    def _call_refused(self, object_type: str, inputs: list[Input], refused: Refused) -> None:
        """Nothing of a call was written. Is it for a column, for one of many records, or for this one?"""
        problem = problem_of_call(refused, {name for one in inputs for name in one.properties})
        if self._leaves_columns_out(object_type, inputs, problem):
            return
        kind = (object_type, inputs[0].hubspot_id is None)
        if all(self._may_be_the_accounts(object_type, one, problem) for one in inputs):
            self._refused[*kind, problem.message] += 1
            if self._refused[*kind, problem.message] > _REFUSED_CALLS:
                self._halt(object_type, list(inputs), problem)
                return
        if len(inputs) == 1 or problem.is_account:
            for one in inputs:
                self._record_refused(object_type, one, problem)
        elif (
            problem.is_conflict
            and self.progress.keys[object_type].can_be_read
            and inputs[0].hubspot_id is None
        ):
            self._conflicts.append((object_type, inputs, problem))
        else:
            self._halve(object_type, inputs)

    def _leaves_columns_out(self, object_type: str, inputs: Sequence[Input], problem: Problem) -> bool:
        """Whether it is the columns that HubSpot does not take, from whatever record: then all go on without them."""
        columns = {
            name: said
            for name, (code, said) in problem.values.items()
            if code in _COLUMN_CODES and name != self.progress.keys[object_type].property
        }
        if columns:
            self.progress.mark(inputs, "ready")
            for name, said in columns.items():
                self.progress.leave_out(object_type, name, said)
        return bool(columns)

    def _halve(self, object_type: str, inputs: Sequence[Input]) -> None:
        half = len(inputs) // 2
        self._queue.extendleft([(object_type, list(inputs[half:])), (object_type, list(inputs[:half]))])

    def _record_refused(self, object_type: str, one: Input, problem: Problem) -> None:
        key = self.progress.keys[object_type]
        self.progress.note([one], problem)
        if problem.is_account:
            self._halt(object_type, [one], problem)
        elif self._may_be_the_accounts(object_type, one, problem):
            self._suspect(object_type, one, problem)
        elif problem.is_gone and one.hubspot_id is not None:
            self.progress.mark([one], "gone")
        elif (
            problem.is_conflict
            and one.hubspot_id is None
            and (problem.existing_id or (key.can_be_read and set(problem.values) <= {key.property}))
        ):
            self._conflicts.append((object_type, [one], problem))
        elif not problem.values or key.property in problem.values:
            self.progress.reject(one, is_for_key=key.property in problem.values)
        elif not self._leaves_columns_out(object_type, [one], problem):
            self.progress.reject_values(object_type, one, problem)

    def _may_be_the_accounts(self, object_type: str, one: Input, problem: Problem) -> bool:
        """Whether it may be no fault of the record: nothing of it is named, and no other one is taken."""
        return not (
            problem.values
            or problem.is_conflict
            or problem.is_gone
            or (object_type, one.hubspot_id is None) in self._accepted
            or one.key.partition("@")[0] in problem.message.lower()
        )

    def _suspect(self, object_type: str, one: Input, problem: Problem) -> None:
        """Wait with the verdict: where HubSpot says the same of one after the other, it is the account's refusal."""
        alike = self._alike.setdefault((object_type, problem.code, re.sub(r"\d+", "#", problem.message)), [])
        alike.append(one)
        if len(alike) > _ALIKE or (object_type, one.hubspot_id is None) in self.progress.halted:
            self._halt(object_type, alike, problem)

    def _halt(self, object_type: str, inputs: list[Input], problem: Problem) -> None:
        for one in inputs:
            self.progress.halt(object_type, one, f"HubSpot takes no {object_type}: {problem.message}")
        self.progress.mark(inputs, "ready")
        inputs.clear()

    def _resolve_conflicts(self) -> None:
        """Records that were to be made and exist: HubSpot has named them, or finds contacts by their email."""
        conflicts, self._conflicts = self._conflicts, []
        singles: dict[str, list[Input]] = {}
        with self.progress.written():
            for object_type, inputs, problem in conflicts:
                if len(inputs) == 1 and problem.existing_id is not None:
                    self.progress.turn_into_update(object_type, inputs[0], problem.existing_id)
                elif len(inputs) == 1:
                    singles.setdefault(object_type, []).extend(inputs)
        for object_type, group in singles.items():
            for some in in_batches(group):
                missing = self._update_those_found(object_type, some)
                with self.progress.written():
                    for one in missing:
                        self.progress.reject(one)
        for object_type, inputs in ((o, inputs) for o, inputs, _ in conflicts if len(inputs) > 1):
            missing = self._update_those_found(object_type, inputs)
            if len(missing) == len(inputs):
                self._halve(object_type, missing)
            elif missing:
                self._queue.appendleft((object_type, missing))

    def _update_those_found(self, object_type: str, inputs: Sequence[Input]) -> list[Input]:
        """Make updates of the records that HubSpot finds by their key. Returns the others."""
        try:
            key = self.progress.keys[object_type]
            found = by_key(self.api, key, [one.key for one in inputs], (), {})
        except HubspotError as error:
            self.stop = error
            with self.progress.written():
                self.progress.mark(inputs, "ready")
            return []
        with self.progress.written():
            for one in inputs:
                if one.key in found:
                    self.progress.turn_into_update(object_type, one, found[one.key].hubspot_id)
        return [one for one in inputs if one.key not in found]
