"""What an answer to a batch write means for each record of it. Every input is accounted for, whatever the status."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .api import Json
from .errors import Refused
from .keys import Key

# What HubSpot says when it is not the record's fault: a limit of the account, its plan, its payment, a scope.
_ACCOUNT = re.compile(
    r"limit|quota|upgrade|payment|billing|subscription|suspended|scope|permission|maximum number of",
    re.IGNORECASE,
)
_TEXT_LENGTH = re.compile(r"character|length|too long", re.IGNORECASE)


@dataclass(frozen=True)
class Input:
    """One record of a call. record: its number in the outbox, and its trace id. hubspot_id None: a create."""

    record: int
    key: str
    hubspot_id: str | None
    properties: Mapping[str, str]

    def body(self) -> Json:
        trace: Json = {"objectWriteTraceId": str(self.record), "properties": self.properties}
        return {**trace, "associations": []} if self.hubspot_id is None else {"id": self.hubspot_id, **trace}


@dataclass(frozen=True)
class Problem:
    """Why HubSpot refused a record, in its own words. values: the properties it named, each with code and message."""

    code: str
    message: str
    correlation_id: str | None = None
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    is_gone: bool = False
    is_conflict: bool = False
    is_account: bool = False  # the account's refusal, not the record's
    existing_id: str | None = None


@dataclass
class Verdict:
    """What became of a call's records. unknown: HubSpot did not say. shown: what it says that each record holds now."""

    shown: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    acknowledged: list[tuple[Input, str]] = field(default_factory=list)
    refused: list[tuple[Input, Problem]] = field(default_factory=list)
    unknown: list[Input] = field(default_factory=list)


def verdict(key: Key, inputs: Sequence[Input], body: Json) -> Verdict:
    """Read a 2xx answer: results and errors, matched by trace id, by id, by key."""
    result = Verdict()
    left = {one.record: one for one in inputs}
    correlation_id = _text(body.get("correlationId"))
    stray_errors: list[Json] = []
    for error in _dicts(body.get("errors")):
        named = [left[one.record] for one in _named(inputs, error) if one.record in left]
        for one in named:
            result.refused.append((left.pop(one.record), problem_of(error, one.properties, correlation_id)))
        if not named:
            stray_errors.append(error)
    stray_results: list[tuple[str, Json]] = []
    for record in _dicts(body.get("results")):
        hubspot_id = _text(record.get("id"))
        if hubspot_id is None:
            continue
        match = _match(key, left, record, hubspot_id)
        if match is None:
            stray_results.append((hubspot_id, record))
        else:
            result.acknowledged.append((left.pop(match.record), hubspot_id))
            result.shown[match.record] = _shown(record)
    if len(left) == 1:
        (only,) = left.values()
        if len(stray_results) == 1 and not stray_errors:
            ((hubspot_id, record),) = stray_results
            result.acknowledged.append((only, hubspot_id))  # merged into another record, say
            result.shown[only.record] = _shown(record)
            left.clear()
        elif stray_errors and not stray_results:
            result.refused.append((only, problem_of(stray_errors[0], only.properties, correlation_id)))
            left.clear()
    result.unknown.extend(left.values())
    return result


def problem_of(error: Mapping[str, Any], sent: Collection[str], correlation_id: str | None = None) -> Problem:
    """One error of HubSpot's, of a record or of a whole call. sent: the properties that the call carried."""
    message = str(error.get("message") or "HubSpot gave no reason")
    details = _dicts(error.get("errors"))
    context = error.get("context") if isinstance(error.get("context"), dict) else {}
    category = str(error.get("category") or error.get("errorType") or "")
    values: dict[str, tuple[str, str]] = {}
    for code, said, name in _refused_values(error, details, message):
        if name in sent:
            values.setdefault(name, (code or category or "REFUSED", said or message))
    is_conflict = category == "CONFLICT" or error.get("status") in (409, "409")
    if (
        is_conflict
        and not values
        and (match := re.search(r"property ['\"]?(\w+)", message))
        and match[1] in sent
    ):
        values[match[1]] = (category, message)
    existing = re.search(r"Existing ID:?\s*(\d+)", message, re.IGNORECASE)
    codes = [str(detail["code"]) for detail in details if detail.get("code")]
    is_gone = category == "OBJECT_NOT_FOUND"
    words = " ".join(map(str, (category, error.get("subCategory"), *codes, message)))
    return Problem(
        code=next((code for code, _ in values.values()), None)
        or next(iter(codes), None)
        or category
        or "REFUSED",
        message=message,
        correlation_id=_text(error.get("correlationId")) or correlation_id,
        values=values,
        is_gone=is_gone,
        is_account=not (values or is_gone or is_conflict)
        and bool(_ACCOUNT.search(words))
        and not _TEXT_LENGTH.search(words),
        is_conflict=is_conflict,
        existing_id=next(iter(_texts(context, "existingId", "existingObjectId")), None)
        or (existing[1] if existing else None),
    )


def problem_of_call(refused: Refused, sent: Collection[str]) -> Problem:
    """The refusal of a call, as that of each of its records."""
    error = {**refused.body}
    if refused.status == 409:
        error["status"] = 409
    if refused.status == 404:
        error.setdefault("category", "OBJECT_NOT_FOUND")
    if not error.get("category"):
        error["category"] = f"HTTP_{refused.status}"
    return problem_of(error, sent)


def _shown(record: Json) -> Mapping[str, Any]:
    held = record.get("properties")
    return held if isinstance(held, dict) else {}


def _match(by: Key, left: Mapping[int, Input], record: Json, hubspot_id: str) -> Input | None:
    trace = _text(record.get("objectWriteTraceId"))
    if trace is not None and trace.isdecimal() and int(trace) in left:
        return left[int(trace)]
    for one in left.values():
        if one.hubspot_id == hubspot_id:
            return one
    held = record.get("properties")
    key = by.of(held.get(by.property)) if isinstance(held, dict) else None
    return next((one for one in left.values() if one.hubspot_id is None and one.key == key), None)


def _named(inputs: Sequence[Input], error: Mapping[str, Any]) -> list[Input]:
    """The inputs that an error is about."""
    context = error.get("context") if isinstance(error.get("context"), dict) else {}
    traces = {
        *_texts(context, "objectWriteTraceId", "objectWriteTraceIds"),
        *_texts(error, "objectWriteTraceId"),
    }
    if traces:
        return [one for one in inputs if str(one.record) in traces]
    ids = {*_texts(context, "ids", "id", "objectId")}
    return [one for one in inputs if one.hubspot_id in ids]


def _refused_values(
    error: Mapping[str, Any], details: list[Json], message: str
) -> Iterator[tuple[str | None, str | None, str]]:
    """Code, message and name of each property that an error names: HubSpot has several ways of saying it."""
    for detail in details:
        context = detail.get("context") if isinstance(detail.get("context"), dict) else {}
        for name in (
            *_texts(context, "propertyName", "properties", "property", "name"),
            *_texts(detail, "name", "propertyName"),
        ):
            yield _text(detail.get("code") or detail.get("error")), _text(detail.get("message")), name
    start, end = message.find("[{"), message.rfind("}]")
    if 0 <= start < end:
        try:
            listed = json.loads(message[start : end + 2])
        except ValueError:
            listed = []
        for detail in _dicts(listed):
            for name in _texts(detail, "name", "propertyName"):
                yield _text(detail.get("error") or detail.get("code")), _text(detail.get("message")), name
    context = error.get("context") if isinstance(error.get("context"), dict) else {}
    for name in _texts(context, "propertyName", "properties"):
        yield None, None, name


def _texts(held: Any, *names: str) -> list[str]:
    """The texts under these names, whether one or a list."""
    found: list[str] = []
    for name in names:
        one = held.get(name)
        found += [
            str(item) for item in (one if isinstance(one, list) else [one]) if isinstance(item, str | int)
        ]
    return found


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and str(value) else None


def _dicts(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
