"""API calls: those of a day, as SDKs send them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

from .companies import (
    API,
    BLOCKED,
    BLOCKING_RULE,
    BROKEN_ENDPOINT,
    BROKEN_PATH,
    DAY_BURST,
    DAY_MOVED,
    LATE_COMPANY_CLAIM,
    LATE_TOKEN,
    LATE_USER_CLAIM,
    LATE_USER_TOKEN,
    MOVED_USER,
    MOVED_USER_TO,
    RATE_LIMITED,
    SAMPLED,
    SHARED_TOKEN,
    SHARED_TOKEN_FIRST,
    SHARED_TOKEN_SECOND,
    Company,
    Plan,
    Record,
)
from .records import moment_of, node_json, node_time, python_json, python_time, random_address, random_id

# The gateway is a Node.js application, all below /v2 a Python one; each reports in its SDK's dialect.
_ENDPOINTS = (
    ("GET", "/v1/parcels/{id}"), ("GET", "/v1/parcels?page={id}"), ("POST", "/v1/parcels"),
    ("GET", "/v1/rates"), ("POST", "/v1/labels"), ("PATCH", "/v1/parcels/{id}"),
    ("POST", "/v2/forecasts"), ("GET", "/v2/forecasts/{id}"),
)  # fmt: skip
_OK_STATUS = {"GET": 200, "POST": 201, "PATCH": 204}
AGENTS = ("node", "python-requests/2.32.3", "okhttp/4.12.0", "curl/8.9.1")


class Call(NamedTuple):
    """One API call, before it is told in one of the dialects."""

    at: datetime
    verb: str
    path: str
    status: int
    company_id: int | str | None
    user_id: str | None
    token: str | None
    key: str
    address: str
    agent: str
    took_ms: int
    size: int
    weight: int = 1
    blocked_by: str | None = None

    @property
    def is_python(self) -> bool:
        return self.path.startswith("/v2")


def _request_body(call: Call) -> tuple[Any, str | None]:
    """A body and its transfer encoding; one in four is sent as base64."""
    if call.verb == "GET":
        return None, None
    if call.size % 4 == 0:
        return "cGxhaW4gdGV4dCwgbm90aGluZyBlbHNl", "base64"
    return {"weight_g": call.size * 10, "to": "Sampleton"}, None


def node_event(call: Call) -> Record:
    """As moesif-nodejs sends it: the key is in a header only, what is unset is left out."""
    headers = {"user-agent": call.agent, "x-moesif-transaction-id": call.key}
    request: Record = {
        "time": node_time(call.at),
        "uri": API + call.path,
        "verb": call.verb,
        "headers": headers,
        "ip_address": call.address,
    }
    body, encoding = _request_body(call)
    if body is not None:
        request["body"] = body
    if encoding is not None:
        request["transfer_encoding"] = encoding
    response: Record = {
        "time": node_time(call.at + timedelta(milliseconds=call.took_ms)),
        "status": call.status,
        "headers": {"content-type": "application/json"},
    }
    if call.status != 204:
        response["body"] = {"ok": call.status < 400}
    event: Record = {"request": request, "response": response}
    for name, value in (
        ("session_token", call.token),
        ("user_id", call.user_id),
        ("company_id", call.company_id),
        ("blocked_by", call.blocked_by),
    ):
        if value is not None:
            event[name] = value
    if call.size % 10 == 1:
        event["metadata"] = {"region": "eu", "build.number": 100 + call.size}
    event["direction"] = "Incoming"
    event["weight"] = call.weight
    return event


def python_event(call: Call) -> Record:
    """As the Python SDK sends it: its own transaction_id, every unset field null, times without a zone."""
    body, encoding = _request_body(call)
    return {
        "request": {
            "time": python_time(call.at),
            "uri": API + call.path,
            "verb": call.verb,
            "api_version": None,
            "ip_address": call.address,
            "headers": {"User-Agent": call.agent},
            "body": body,
            "transfer_encoding": encoding,
        },
        "response": {
            "time": python_time(call.at + timedelta(milliseconds=call.took_ms)),
            "status": call.status,
            "headers": None,
            "body": {"ok": call.status < 400},
            "ip_address": None,
            "transfer_encoding": None,
        },
        "session_token": call.token,
        "tags": None,
        "user_id": call.user_id,
        "company_id": None if call.company_id is None else str(call.company_id),
        "metadata": None,
        "direction": "Incoming",
        "weight": call.weight,
        "blocked_by": call.blocked_by,
        "transaction_id": call.key,
    }


def _caller(
    plan: Plan, company: Company, index: int, rng: random.Random
) -> tuple[Any, str | None, str | None]:
    """What a call of the company says of its origin: company id, user id, session token."""
    moved = index >= plan.at(DAY_MOVED)
    if company.id == LATE_COMPANY_CLAIM:
        return None, None, LATE_TOKEN
    if company.id == LATE_USER_CLAIM:
        return None, None, LATE_USER_TOKEN
    if company.id in (SHARED_TOKEN_FIRST, SHARED_TOKEN_SECOND) and rng.random() < 0.25:
        return None, None, SHARED_TOKEN
    if company.id == (MOVED_USER_TO if moved else SHARED_TOKEN_FIRST) and rng.random() < 0.3:
        return None, MOVED_USER, None
    user = rng.choice([u for u in company.users if u.id != MOVED_USER])
    roll = rng.random()
    if roll < 0.5:
        return company.json_id, user.id, None
    if roll < 0.7:
        return None, None, user.token or company.token
    if roll < 0.85:
        return None, user.id, None
    return company.json_id, None, company.token


def _company_call(plan: Plan, company: Company, index: int, rng: random.Random) -> Call:
    verb, path = rng.choice(_ENDPOINTS)
    status = _OK_STATUS[verb]
    seconds = rng.triangular(0, 86_399, 50_000)
    roll = rng.random()
    blocked_by = None
    if roll < 0.02:
        status = rng.choice((400, 401, 404, 422))
    elif roll < 0.024:
        status = 500
    if company.id == RATE_LIMITED and index == plan.at(DAY_BURST) and rng.random() < 0.6:
        verb, path, status = "GET", "/v1/rates", 429
        seconds = rng.uniform(37_800, 39_000)  # twenty minutes of it
    elif company.id == BROKEN_ENDPOINT and rng.random() < 0.3:
        verb, path, status = "POST", BROKEN_PATH, rng.choice((500, 502, 503, 504))
    elif company.id == BLOCKED and rng.random() < 0.2:
        status, blocked_by = 403, BLOCKING_RULE
    company_id, user_id, token = _caller(plan, company, index, rng)
    return Call(
        at=moment_of(plan.days[index], seconds),
        verb=verb,
        path=path.replace("{id}", str(rng.randrange(1, 9000))),
        status=status,
        company_id=company_id,
        user_id=user_id,
        token=token,
        key=random_id(rng),
        address=random_address(rng),
        agent=rng.choice(AGENTS),
        took_ms=rng.randrange(8, 700),
        size=rng.randrange(1, 100),
        weight=10 if company.id == SAMPLED else 1,
        blocked_by=blocked_by,
    )


def _nobody_call(plan: Plan, index: int, rng: random.Random) -> Call:
    """A visitor's call: no ids, and if a token then one that nobody ever claims."""
    token = f"tok_visitor_{rng.randrange(12)}" if rng.random() < 0.5 else None
    at = moment_of(plan.days[index], rng.uniform(0, 86_399))
    return Call(
        at,
        "GET",
        "/v1/rates",
        200,
        None,
        None,
        token,
        random_id(rng),
        random_address(rng),
        "curl/8.9.1",
        12,
        3,
    )


def calls_of_day(plan: Plan, index: int) -> list[Call]:
    """All calls of one day, in the order of time."""
    rng = plan.rng("events", index)
    calls: list[Call] = []
    for company, count in zip(plan.companies, plan.calls[index], strict=False):
        calls.extend(_company_call(plan, company, index, rng) for _ in range(count))
    calls.extend(_nobody_call(plan, index, rng) for _ in range(plan.calls[index][-1]))
    return sorted(calls, key=lambda call: (call.at, call.key))


def event_lines(calls: Sequence[Call], batch: int = 6) -> list[tuple[bytes, int]]:
    """Lines and the number of records in each: Node's events one by one, Python's in batches."""
    lines: list[tuple[bytes, int]] = []
    waiting: list[Record] = []
    for call in calls:
        if not call.is_python:
            lines.append((node_json(node_event(call)), 1))
            continue
        waiting.append(python_event(call))
        if len(waiting) == batch:
            lines.append((python_json(waiting), batch))
            waiting = []
    if waiting:
        lines.append((python_json(waiting), len(waiting)))
    return lines


def parquet_schema() -> pa.Schema:
    text = pa.string()
    headers = pa.struct([("user-agent", text), ("content-type", text), ("x-moesif-transaction-id", text)])
    request = [("time", text), ("uri", text), ("verb", text), ("headers", headers), ("ip_address", text)]
    return pa.schema(
        [
            ("request", pa.struct([*request, ("body", text), ("transfer_encoding", text)])),
            (
                "response",
                pa.struct([("time", text), ("status", pa.int64()), ("headers", headers), ("body", text)]),
            ),
            ("session_token", text),
            ("user_id", text),
            ("company_id", text),
            ("metadata", pa.struct([("region", text), ("build.number", pa.int64())])),
            ("direction", text),
            ("weight", pa.int64()),
            ("blocked_by", text),
            ("transaction_id", text),
        ]
    )


def parquet_row(call: Call) -> Record:
    """An event with one type per column: ids and bodies are text."""
    event = node_event(call)
    for side in ("request", "response"):
        body = event[side].get("body")
        event[side]["body"] = body if body is None or isinstance(body, str) else json.dumps(body)
    if "company_id" in event:
        event["company_id"] = str(event["company_id"])
    return event
