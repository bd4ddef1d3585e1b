"""Batch calls on records, and how their outcome is worded.

Facts: at most 100 inputs; ids must not repeat; without a unique ``objectWriteTraceId`` on every input
one bad row refuses the whole call and nothing is written; with them the answer is a 207 whose ``errors``
name the trace ids. Ids that do not exist are a 207 with ``context.ids``. Results come back in another
order. An id that is not a number, sent without ``idProperty``, is answered with success and changes
nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from .errors import ApiError, Json, RowError, bad_request
from .objects import ObjectType, Record
from .options import Options
from .store import Plan, Store, name_holder
from .values import as_id, iso, normal_key


@dataclass
class Outcome:
    status: int
    results: list[Json]
    errors: list[Json] = field(default_factory=list)


class Batches:
    def __init__(self, store: Store, options: Options, rng: random.Random) -> None:
        self._store = store
        self._options = options
        self._random = rng

    # reading the call

    def inputs(self, body: Any) -> list[Json]:
        given = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
            raise bad_request("Invalid input JSON: inputs must be a list of objects")
        if not given:
            raise bad_request("inputs must not be empty")
        if len(given) > self._options.max_inputs:
            raise bad_request(
                f"The maximum number of inputs supported in a batch request is {self._options.max_inputs}. "
                f"You sent {len(given)}."
            )
        return given

    @staticmethod
    def _ids(inputs: list[Json]) -> list[str]:
        ids = [item.get("id") for item in inputs]
        if not all(isinstance(one, str) and one for one in ids):
            raise bad_request("Some required fields were not set: [id]")
        return [str(one) for one in ids]

    @staticmethod
    def _refuse_duplicates(ids: list[str]) -> None:
        if len(set(ids)) < len(ids):
            twice = sorted({one for one in ids if ids.count(one) > 1})
            raise bad_request(
                f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique",
                context={"ids": twice},
            )

    @staticmethod
    def _traces(inputs: list[Json]) -> list[str] | None:
        """The trace ids, if every input has one and no two are the same."""
        traces = [item.get("objectWriteTraceId") for item in inputs]
        if all(isinstance(one, str) and one for one in traces) and len(set(traces)) == len(traces):
            return [str(one) for one in traces]
        return None

    # the calls

    def read(self, kind: ObjectType, body: Any, archived: bool) -> Outcome:
        inputs = self.inputs(body)
        ids = self._ids(inputs)
        id_property = None
        if body.get("idProperty") is not None:
            id_property = self._store.id_property(kind, body["idProperty"])
            if id_property == kind.key:
                ids = [normal_key(one) for one in ids]
        if self._options.duplicate_reads == "refuse":
            self._refuse_duplicates(ids)
        if unreadable := sorted(self._options.unreadable.intersection(ids)):
            raise bad_request(f"Invalid input: {unreadable[0]} cannot be read")
        names = body.get("properties") or None
        found: dict[int, Record] = {}
        missing: list[str] = []
        for one in dict.fromkeys(ids):
            record = kind.archived.get(as_id(one)) if archived else self._store.lookup(kind, one, id_property)
            if record is not None:
                found[record.id] = record
            elif id_property is not None or as_id(one) >= 0:
                missing.append(one)
        errors = [self._missing(kind, missing, "get")] if missing else []
        return self._outcome(200, [kind.public(record, names) for record in found.values()], errors)

    def create(self, kind: ObjectType, body: Any, rules: bool) -> Outcome:
        inputs = self.inputs(body)
        traces = self._traces(inputs)
        claimed: dict[tuple[str, str], int] = {}
        rows = [
            self._store.plan(kind, item.get("properties"), None, claimed, row, rules)
            for row, item in enumerate(inputs)
        ]
        if traces is None:
            self._refuse_whole(rows)
        return self._carry_out(kind, 201, rows, traces, upsert=False)

    def update(self, kind: ObjectType, body: Any, rules: bool) -> Outcome:
        inputs = self.inputs(body)
        ids = self._ids(inputs)
        id_property = self._one_id_property(kind, inputs, for_update=True)
        if id_property == kind.key:
            ids = [normal_key(one) for one in ids]
        self._refuse_duplicates(ids)
        traces = self._traces(inputs)
        claimed: dict[tuple[str, str], int] = {}
        rows: list[Plan | RowError | None] = []
        missing: list[str] = []
        for row, (item, one) in enumerate(zip(inputs, ids, strict=True)):
            record = self._store.lookup(kind, one, id_property)
            if record is None:
                rows.append(None)
                if id_property is not None or as_id(one) >= 0:
                    missing.append(one)
            else:
                rows.append(self._store.plan(kind, item.get("properties"), record, claimed, row, rules))
        if traces is None or self._options.update_invalid == "whole_call":
            self._refuse_whole(rows)
        outcome = self._carry_out(kind, 200, rows, traces, upsert=False)
        if missing:
            outcome = self._outcome(
                200, outcome.results, [*outcome.errors, self._missing(kind, missing, "update")]
            )
        return outcome

    def upsert(self, kind: ObjectType, body: Any, rules: bool) -> Outcome:
        inputs = self.inputs(body)
        ids = self._ids(inputs)
        id_property = self._one_id_property(kind, inputs, for_update=False)
        if id_property == kind.key:
            ids = [normal_key(one) for one in ids]
        self._refuse_duplicates(ids)
        traces = self._traces(inputs)
        if id_property == kind.key and not self._options.email_upsert_partial:
            traces = None
        claimed: dict[tuple[str, str], int] = {}
        rows: list[Plan | RowError | None] = []
        missing: list[str] = []
        for row, (item, one) in enumerate(zip(inputs, ids, strict=True)):
            record = self._store.lookup(kind, one, id_property)
            given = item.get("properties")
            if record is None and id_property is None:
                rows.append(None)
                if as_id(one) >= 0:
                    missing.append(one)
                continue
            if record is None and isinstance(given, dict):
                given = {id_property: one, **given}
            rows.append(self._store.plan(kind, given, record, claimed, row, rules))
        if traces is None:
            self._refuse_whole(rows)
        elif self._options.upsert_conflict == "whole_call":
            self._refuse_whole([row for row in rows if isinstance(row, RowError) and row.status == 409])
        outcome = self._carry_out(kind, 200, rows, traces, upsert=True)
        if missing:
            outcome = self._outcome(
                200, outcome.results, [*outcome.errors, self._missing(kind, missing, "update")]
            )
        return outcome

    def archive(self, kind: ObjectType, body: Any) -> None:
        for one in self._ids(self.inputs(body)):
            self._store.archive(kind, one)

    def _one_id_property(self, kind: ObjectType, inputs: list[Json], *, for_update: bool) -> str | None:
        names = list(dict.fromkeys(item.get("idProperty") for item in inputs))
        if len(names) > 1:
            raise bad_request("All inputs must have the same idProperty")
        return None if names[0] is None else self._store.id_property(kind, names[0], for_update=for_update)

    # the answer

    def _refuse_whole(
        self, rows: list[Plan | RowError | None] | list[Plan | RowError] | list[RowError]
    ) -> None:
        bad = [row for row in rows if isinstance(row, RowError)]
        if not bad:
            return
        error = bad[0].as_call()
        if not self._options.first_error_only:
            same = [row for row in bad if row.status == error.status]
            details = [detail for row in same for detail in row.details]
            message = "; ".join(dict.fromkeys(row.message for row in same))
            error = ApiError(error.status, same[0].category, message, errors=details, context=same[0].context)
        raise error

    def _carry_out(
        self,
        kind: ObjectType,
        status: int,
        rows: list[Plan | RowError | None] | list[Plan | RowError],
        traces: list[str] | None,
        *,
        upsert: bool,
    ) -> Outcome:
        results: list[Json] = []
        made: dict[int, str] = {}
        for row, plan in enumerate(rows):
            if isinstance(plan, Plan):
                new = plan.record is None
                record = self._store.write(kind, plan)
                made[row] = str(record.id)
                shown = kind.public(record, [prop.name for prop, _ in plan.values], nulls=not upsert)
                if upsert:
                    shown["new"] = new
                if traces is not None:
                    shown["objectWriteTraceId"] = traces[row]
                results.append(shown)
        errors: list[Json] = []
        for row, plan in enumerate(rows):
            if isinstance(plan, RowError):
                if plan.twin is not None and plan.twin in made:
                    name_holder(plan, made[plan.twin])
                errors.append(plan.as_row(traces[row] if traces else None, self._options.full_errors))
        return self._outcome(status, results, errors)

    def _missing(self, kind: ObjectType, ids: list[str], verb: str) -> Json:
        noun = f"{kind.singular.upper()} objects"
        message = f"Could not {verb} some {noun}, they may be deleted or not exist. Check that ids are valid."
        return RowError(404, "OBJECT_NOT_FOUND", message, context={"ids": ids}).as_row(
            None, self._options.full_errors
        )

    def _outcome(self, status: int, results: list[Json], errors: list[Json]) -> Outcome:
        if self._options.shuffle:
            self._random.shuffle(results)
        if errors and self._options.partial_status == "207":
            status = 207
        return Outcome(status, results, errors)


def batch_body(outcome: Outcome, started: int, ended: int) -> Json:
    body: Json = {
        "status": "COMPLETE",
        "results": outcome.results,
        "startedAt": iso(started),
        "completedAt": iso(ended),
    }
    if outcome.errors:
        body["numErrors"] = len(outcome.errors)
        body["errors"] = outcome.errors
    return body
