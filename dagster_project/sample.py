"""Makes raw files of an invented API vendor, "Parcelbook", so that the warehouse has something to show.

    python -m dagster_project.sample OUT_DIR --days 14 --companies 16 --events-per-day 400 --seed 7 \\
        --end 2026-11-21

writes `OUT_DIR/{events,actions,companies,users,features,crm/companies,crm/contacts}`. The same arguments
give the same bytes. No company, person, token or address in it is real: domains end in `.example` or
`.test`, addresses are from the ranges kept for documentation, credentials say that they are fake.

Two ways of making it:

* **With stories** (the default): every source and format at least once, in the two dialects that Moesif's
  SDKs speak, and companies that each show one thing (`STORIES`). Unless `clean`, there are also records
  that the warehouse rejects or repairs; `dirt()` lists every one with what is to become of it.
* **Bulk**, when asked for, or when the set is `clean` and larger than `BULK_EVENTS` API calls: for measuring. Plain
  JSON lines in `dt=` folders, written from string templates in constant memory; the companies have no
  stories there.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Record = dict[str, Any]
Progress = Callable[[str], None]

SOURCES = ("events", "actions", "companies", "users", "features", "crm/companies", "crm/contacts")

# A clean set with more API calls than this is written in bulk.
BULK_EVENTS = 200_000

# ---------------------------------------------------------------------------------------------------------
# Who is in it
# ---------------------------------------------------------------------------------------------------------

QUOTA_NEAR = "cmp_bluefenn"
QUOTA_OVER = "cmp_tallgrassen"
NEVER_CALLED = "cmp_quietharbour"
GONE_QUIET = "cmp_emberlune"
RATE_LIMITED = "cmp_pikelin"
BROKEN_ENDPOINT = "cmp_vellumtide"
BLOCKED = "cmp_ironwyck"
LATE_COMPANY_CLAIM = "cmp_lanternfeld"
LATE_USER_CLAIM = "cmp_coppernettle"
SHARED_TOKEN_FIRST = "cmp_northquill"
SHARED_TOKEN_SECOND = "cmp_saltwhistle"
MOVED_USER_TO = "cmp_hollowoakum"
INTEGER_ID = "4217"
SAMPLED = "cmp_gullspire"
NEW_COMPANY = "cmp_fernwhistle"
CRM_TWIN = "cmp_wrenloft"

STORIES: dict[str, str] = {
    QUOTA_NEAR: "has used about 93 % of plan.quota_calls_30d",
    QUOTA_OVER: "has used about 125 % of plan.quota_calls_30d; its domain is given as a URL",
    NEVER_CALLED: "signed up in the period and never called the API",
    GONE_QUIET: "calls in the first half of the period only",
    RATE_LIMITED: "a burst of 429 on one day",
    BROKEN_ENDPOINT: "its calls of POST /v2/exports all end with 5xx",
    BLOCKED: "part of its calls are blocked (blocked_by)",
    LATE_COMPANY_CLAIM: "calls with a session token only, which a company update claims days later",
    LATE_USER_CLAIM: "calls with a session token only, which a user update claims days later",
    SHARED_TOKEN_FIRST: "shares a session token with another company; one of its users moves away",
    SHARED_TOKEN_SECOND: "claims that session token later; two of its users have one email",
    MOVED_USER_TO: "the company which that user moves to",
    INTEGER_ID: "its id is a JSON integer, its domain has an umlaut",
    SAMPLED: "its calls are sampled, weight 10",
    NEW_COMPANY: "signed up in the period, first call two days later",
    CRM_TWIN: "two CRM companies have its domain",
}

LATE_TOKEN = "tok_lanternfeld_web"
LATE_USER_TOKEN = "tok_coppernettle_cli"
SHARED_TOKEN = "tok_demo_shared"
MOVED_USER = "usr_northquill_2"
SHARED_EMAIL_USERS = ("usr_saltwhistle_1", "usr_saltwhistle_2")
SHARED_EMAIL = "office@saltwhistle.example"
BLOCKING_RULE = "rule_overdue_invoice"
BROKEN_PATH = "/v2/exports"
CRM_ONLY = ("Oldmere Partners", "Brightkettle Cafe", "Larkmoss Estates")

# The days of the stories, counted in a fortnight; a longer or shorter period stretches them (Plan.at).
DAY_NEW, DAY_NEW_CALLS, DAY_FEATURE_CSV, DAY_IDLE_SIGNUP, DAY_SHARED = 2, 4, 5, 6, 6
DAY_QUIET, DAY_MOVED, DAY_LATE_COMPANY, DAY_LATE_USER, DAY_BURST = 7, 8, 9, 10, 11

# How a day's events are stored, for the last fourteen days and again before them. Most are compressed and
# the plain ones fall on weekends where they can, as the sample is kept in the repository.
FORMATS = (
    "jsonl", "jsonl.gz", "jsonl.gz", "jsonl.zst", "parquet", "jsonl.gz", "json",
    "jsonl", "jsonl.gz", "jsonl.gz", "jsonl.gz", "jsonl.gz", "jsonl", "jsonl",
)  # fmt: skip

# Feature names count up to their 64th character.
LONG_FEATURE = "Download the reconciled monthly statement as a spreadsheet with all attachments and notes"
LONG_PAIR = (
    "Schedule a recurring pickup for every warehouse in the selected regions (weekly)",
    "Schedule a recurring pickup for every warehouse in the selected regions (monthly)",
)

API = "https://api.parcelbook.example"

_FIRST_NAMES = (
    "Mara", "Teo", "Ines", "Joris", "Livia", "Otto", "Runa", "Silas", "Nadja", "Piet",
    "Elin", "Bram", "Cleo", "Dario", "Freya", "Hugo", "Ilka", "Kasimir", "Lene", "Matti",
)  # fmt: skip
_LAST_NAMES = (
    "Ellwick", "Brandovar", "Quistel", "Harrowmint", "Tindelby", "Osterquay", "Vellamor", "Pinnock-Reve",
    "Lund-Sample", "Caldermoss", "Wexenby", "Marrowdale", "Fennimint", "Zubrowen", "Dovelace",
)  # fmt: skip
_CITIES = (("Example City", "Exampleland"), ("Sampleton", "Exampleland"), ("Port Specimen", "Testonia"))
_WORD_A = (
    "Amber", "Birch", "Cobalt", "Dapple", "Ember", "Flint", "Grove", "Hazel", "Indigo", "Juniper",
    "Kelp", "Linden", "Moss", "Nettle", "Opal", "Pebble", "Quill", "Rowan", "Slate", "Thistle",
)  # fmt: skip
_WORD_B = ("wick", "moor", "fell", "quay", "lume", "spire", "holt", "brook", "vane", "marsh")
_WORD_C = ("Logistics", "Studio", "Labs", "Foods", "Tools", "Energy", "Freight", "Maps", "Care", "Press")
_PLANS = (("Free", 0, 1_000), ("Growth", 490, 20_000), ("Scale", 2_400, 250_000))

# name, id, domain as its update gives it, industry, share of the traffic, plan
_NAMED: tuple[tuple[str, str, str, str, float, int], ...] = (
    ("Bluefenn Logistics", QUOTA_NEAR, "bluefenn.example", "Logistics", 13, 1),
    ("Tallgrassen Robotics", QUOTA_OVER, "https://www.Tallgrassen.test/", "Robotics", 15, 1),
    ("Quiet Harbour Foods", NEVER_CALLED, "quietharbour.example", "Food", 0, 0),
    ("Emberlune Studio", GONE_QUIET, "emberlune.example", "Design", 7, 1),
    ("Pikelin & Row, Inc.", RATE_LIMITED, "pikelin.example", "Retail", 5, 1),
    ("Vellum Tide Press", BROKEN_ENDPOINT, "vellumtide.example", "Publishing", 6, 2),
    ("Ironwyck Tools", BLOCKED, "ironwyck.test", "Manufacturing", 4, 1),
    ("Lanternfeld Energy", LATE_COMPANY_CLAIM, "lanternfeld.example", "Energy", 6, 2),
    ("Coppernettle Care", LATE_USER_CLAIM, "coppernettle.example", "Health", 4, 1),
    ("Northquill Freight", SHARED_TOKEN_FIRST, "northquill.example", "Logistics", 7, 2),
    ("Saltwhistle Supplies", SHARED_TOKEN_SECOND, "saltwhistle.example", "Retail", 5, 1),
    ("Hollow Oakum Ltd", MOVED_USER_TO, "hollowoakum.test", "Marine", 4, 1),
    ("Mühlbach Optik", INTEGER_ID, "mühlbach.example", "Optics", 3, 1),
    ("Gullspire Maps", SAMPLED, "gullspire.example", "Maps", 5, 2),
    ("Fernwhistle Learning", NEW_COMPANY, "fernwhistle.example", "Education", 3, 0),
    ("Wrenloft Interiors", CRM_TWIN, "wrenloft.example", "Design", 6, 1),
)
_NOBODY_SHARE = 3.0  # calls of nobody that the vendor knows


class User(NamedTuple):
    """A person at a company, as the company's first update and the CRM know them."""

    id: str
    company_id: str
    first_name: str
    last_name: str
    email: str
    phone: str
    token: str | None


class Company(NamedTuple):
    """A customer of the vendor."""

    id: str
    name: str
    domain: str  # bare, lower case, for email addresses
    domain_given: str  # as its updates and the CRM spell it
    industry: str
    city: str
    country: str
    share: float
    plan: str
    mrr: int
    quota: int
    employees: int
    token: str
    users: tuple[User, ...]

    @property
    def json_id(self) -> int | str:
        """The id as the vendor's application has it: some have always been numbers there."""
        return int(self.id) if self.id.isdecimal() else self.id


def _rng(seed: int, *purpose: object) -> random.Random:
    """A generator of its own for each purpose, so that a change in one place moves nothing elsewhere."""
    return random.Random(":".join(str(part) for part in (seed, *purpose)))


def _users(rng: random.Random, company_id: str, slug: str, domain: str, count: int) -> tuple[User, ...]:
    users = []
    for n in range(1, count + 1):
        first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
        user_id = f"usr_{slug}_{n}"
        email = f"{first}.{last}.{n}@{domain}".lower()
        if user_id in SHARED_EMAIL_USERS:
            email = SHARED_EMAIL
        phone = f"+1 202 555 01{rng.randrange(100):02d}"  # 555-01xx is never given to anyone
        token = f"tok_{slug}_u{n}" if n % 2 else None
        users.append(User(user_id, company_id, first, last, email, phone, token))
    return tuple(users)


def make_companies(count: int, seed: int) -> list[Company]:
    """The companies with a story, then as many of no story as it takes."""
    rng = _rng(seed, "companies")
    companies = []
    for n in range(count):
        if n < len(_NAMED):
            name, company_id, given, industry, share, plan_no = _NAMED[n]
            slug = "muehlbach" if company_id == INTEGER_ID else company_id.removeprefix("cmp_")
            domain = given.lower().removeprefix("https://www.").rstrip("/")
            domain = domain.encode("idna").decode("ascii")  # mail addresses keep to ASCII
        else:
            slug = f"{n + 1:05d}"
            industry = rng.choice(_WORD_C)
            name = f"{rng.choice(_WORD_A)}{rng.choice(_WORD_B)} {industry} {n + 1}"
            company_id, domain = f"cmp_{slug}", f"c{slug}.example"
            given, share, plan_no = domain, 30 / (n + 1), rng.randrange(len(_PLANS))
        plan, mrr, quota = _PLANS[plan_no]
        city, country = rng.choice(_CITIES)
        companies.append(
            Company(
                id=company_id,
                name=name,
                domain=domain,
                domain_given=given,
                industry=industry,
                city=city,
                country=country,
                share=share,
                plan=plan,
                mrr=mrr,
                quota=quota,
                employees=rng.randrange(4, 900),
                token=f"tok_{slug}_api",
                users=_users(rng, company_id, slug, domain, rng.randrange(2, 5)),
            )
        )
    return companies


def make_days(days: int, end: date) -> list[date]:
    """The `days` days that end with `end`."""
    return [end - timedelta(days=days - 1 - n) for n in range(days)]


def stretch(day_of_fortnight: int, days: int) -> int:
    """Where a day of the stories' fortnight falls in a period of `days` days."""
    return min(days - 1, day_of_fortnight * days // len(FORMATS))


def format_of(index: int, days: int) -> str:
    """The format in which the events of that day are stored."""
    return FORMATS[(index - days) % len(FORMATS)]


def late_claim_paths(days: int, end: date) -> tuple[str, str]:
    """The two files that claim tokens late: load all else first, then these, to see history move."""
    dates = make_days(days, end)
    return (
        f"companies/dt={dates[stretch(DAY_LATE_COMPANY, days)]}/late-claim.jsonl",
        f"users/dt={dates[stretch(DAY_LATE_USER, days)]}/late-claim.jsonl",
    )


def _spread(total: int, weights: Sequence[float]) -> list[int]:
    """Divides `total` by weights into whole numbers that add up to it again."""
    whole = sum(weights)
    parts, upto, done = [], 0.0, 0
    for weight in weights:
        upto += weight
        reached = round(total * upto / whole) if whole else 0
        parts.append(reached - done)
        done = reached
    return parts


def _is_weekend(day: date) -> bool:
    return day.weekday() >= 5


@dataclass(frozen=True)
class Plan:
    """What is to be made: the days, the companies, and how often each calls on each day."""

    seed: int
    days: list[date]
    companies: list[Company]
    calls: list[list[int]]  # by day, by company; one more at the end for nobody's calls

    def at(self, day_of_fortnight: int) -> int:
        return stretch(day_of_fortnight, len(self.days))

    def rng(self, *purpose: object) -> random.Random:
        return _rng(self.seed, *purpose)

    def company(self, company_id: str) -> Company:
        return next(c for c in self.companies if c.id == company_id)

    def total_calls(self, company_id: str) -> int:
        n = next(n for n, c in enumerate(self.companies) if c.id == company_id)
        return sum(day[n] for day in self.calls)


def make_plan(days: int, companies: int, events_per_day: int, seed: int, end: date) -> Plan:
    """Decides the number of calls of each company on each day; weekends are quiet."""
    dates = make_days(days, end)
    everyone = make_companies(companies, seed)
    per_day = _spread(days * events_per_day, [0.4 if _is_weekend(day) else 1.0 for day in dates])
    rng = _rng(seed, "plan")
    calls = []
    for index, day_total in enumerate(per_day):
        weights = []
        for company in everyone:
            weight = company.share * rng.uniform(0.8, 1.2)
            gone = company.id == GONE_QUIET and index >= stretch(DAY_QUIET, days)
            if gone or (company.id == NEW_COMPANY and index < stretch(DAY_NEW_CALLS, days)):
                weight = 0.0
            elif company.id == RATE_LIMITED and index == stretch(DAY_BURST, days):
                weight *= 4
            weights.append(weight)
        calls.append(_spread(day_total, [*weights, _NOBODY_SHARE]))
    return Plan(seed, dates, everyone, calls)


# ---------------------------------------------------------------------------------------------------------
# Text of times and records
# ---------------------------------------------------------------------------------------------------------


def _moment(day: date, seconds: float) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(milliseconds=round(seconds * 1000))


def _node_time(moment: datetime) -> str:
    """JavaScript's toISOString()."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _python_time(moment: datetime) -> str:
    """datetime.isoformat() of a naive UTC time, which is what the Python SDK sends."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _node_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _python_json(value: object) -> bytes:
    """As Python writes JSON: spaces, escapes for all but ASCII, and NaN where there is one."""
    return json.dumps(value).encode("ascii")


def _new_id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _address(rng: random.Random) -> str:
    """From the ranges that are kept for documentation (RFC 5737)."""
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"


# ---------------------------------------------------------------------------------------------------------
# API calls
# ---------------------------------------------------------------------------------------------------------

# The gateway is a Node.js application, all below /v2 a Python one; each reports in its SDK's dialect.
_ENDPOINTS = (
    ("GET", "/v1/parcels/{id}"), ("GET", "/v1/parcels?page={id}"), ("POST", "/v1/parcels"),
    ("GET", "/v1/rates"), ("POST", "/v1/labels"), ("PATCH", "/v1/parcels/{id}"),
    ("POST", "/v2/forecasts"), ("GET", "/v2/forecasts/{id}"),
)  # fmt: skip
_OK_STATUS = {"GET": 200, "POST": 201, "PATCH": 204}
_AGENTS = ("node", "python-requests/2.32.3", "okhttp/4.12.0", "curl/8.9.1")


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
        "time": _node_time(call.at),
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
        "time": _node_time(call.at + timedelta(milliseconds=call.took_ms)),
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
            "time": _python_time(call.at),
            "uri": API + call.path,
            "verb": call.verb,
            "api_version": None,
            "ip_address": call.address,
            "headers": {"User-Agent": call.agent},
            "body": body,
            "transfer_encoding": encoding,
        },
        "response": {
            "time": _python_time(call.at + timedelta(milliseconds=call.took_ms)),
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
        at=_moment(plan.days[index], seconds),
        verb=verb,
        path=path.replace("{id}", str(rng.randrange(1, 9000))),
        status=status,
        company_id=company_id,
        user_id=user_id,
        token=token,
        key=_new_id(rng),
        address=_address(rng),
        agent=rng.choice(_AGENTS),
        took_ms=rng.randrange(8, 700),
        size=rng.randrange(1, 100),
        weight=10 if company.id == SAMPLED else 1,
        blocked_by=blocked_by,
    )


def _nobody_call(plan: Plan, index: int, rng: random.Random) -> Call:
    """A visitor's call: no ids, and if a token then one that nobody ever claims."""
    token = f"tok_visitor_{rng.randrange(12)}" if rng.random() < 0.5 else None
    at = _moment(plan.days[index], rng.uniform(0, 86_399))
    return Call(
        at, "GET", "/v1/rates", 200, None, None, token, _new_id(rng), _address(rng), "curl/8.9.1", 12, 3
    )


def calls_of_day(plan: Plan, index: int) -> list[Call]:
    """All calls of one day, in the order of time."""
    rng = plan.rng("events", index)
    calls: list[Call] = []
    for company, count in zip(plan.companies, plan.calls[index], strict=False):
        calls.extend(_company_call(plan, company, index, rng) for _ in range(count))
    calls.extend(_nobody_call(plan, index, rng) for _ in range(plan.calls[index][-1]))
    return sorted(calls, key=lambda call: (call.at, call.key))


def _event_lines(calls: Sequence[Call], batch: int = 6) -> list[tuple[bytes, int]]:
    """Lines and the number of records in each: Node's events one by one, Python's in batches."""
    lines: list[tuple[bytes, int]] = []
    waiting: list[Record] = []
    for call in calls:
        if not call.is_python:
            lines.append((_node_json(node_event(call)), 1))
            continue
        waiting.append(python_event(call))
        if len(waiting) == batch:
            lines.append((_python_json(waiting), batch))
            waiting = []
    if waiting:
        lines.append((_python_json(waiting), len(waiting)))
    return lines


def _parquet_schema() -> pa.Schema:
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


def _parquet_row(call: Call) -> Record:
    """An event with one type per column: ids and bodies are text."""
    event = node_event(call)
    for side in ("request", "response"):
        body = event[side].get("body")
        event[side]["body"] = body if body is None or isinstance(body, str) else json.dumps(body)
    if "company_id" in event:
        event["company_id"] = str(event["company_id"])
    return event


# ---------------------------------------------------------------------------------------------------------
# Actions
# ---------------------------------------------------------------------------------------------------------

_ACTIONS = ("Viewed Pricing", "Created API Key", "Invited Teammate", "Opened Invoice", "Read Docs")


def _action(
    name: str | None, request: Record, company_id: Any, user_id: str | None, metadata: Record
) -> Record:
    action: Record = {} if name is None else {"action_name": name}
    if user_id is not None:
        action["user_id"] = user_id
    if company_id is not None:
        action["company_id"] = company_id
    return {**action, "metadata": metadata, "request": request}


def actions_of_day(plan: Plan, index: int) -> list[Record]:
    """What people did on the vendor's site; every second one without a time, as the Node SDK allows."""
    rng = plan.rng("actions", index)
    day = plan.days[index]
    actions = []
    signed_up = {NEW_COMPANY: plan.at(DAY_NEW), NEVER_CALLED: plan.at(DAY_IDLE_SIGNUP)}
    for company in plan.companies:
        new = signed_up.get(company.id) == index
        if not new and (rng.random() > (0.15 if _is_weekend(day) else 0.5) or _absent(plan, company, index)):
            continue
        name = "Signed Up" if new else rng.choice(_ACTIONS)
        request: Record = {"uri": "https://www.parcelbook.example/pricing?utm_source=newsletter"}
        if new or rng.random() < 0.5:
            request["time"] = _node_time(_moment(day, rng.uniform(30_000, 70_000)))
        request |= {"ip_address": _address(rng), "user_agent_string": "Mozilla/5.0"}
        user = rng.choice(company.users)
        metadata = {"button.label": "Get Started", "position": rng.randrange(9)}
        actions.append(
            _action(name, request, company.json_id if rng.random() < 0.6 else None, user.id, metadata)
        )
    return actions


def _absent(plan: Plan, company: Company, index: int) -> bool:
    """Not there yet, not there any more, or never there at all."""
    return (
        company.id == NEVER_CALLED
        or (company.id == GONE_QUIET and index >= plan.at(DAY_QUIET))
        or (company.id == NEW_COMPANY and index < plan.at(DAY_NEW_CALLS))
    )


# ---------------------------------------------------------------------------------------------------------
# Updates of companies and users
# ---------------------------------------------------------------------------------------------------------

_CAMPAIGNS: dict[str, Record] = {
    QUOTA_NEAR: {"utm_source": "newsletter", "utm_medium": "email", "utm_campaign": "autumn"},
    NEW_COMPANY: {"utm_source": "search", "utm_medium": "cpc", "utm_term": "parcel api"},
    CRM_TWIN: {"utm_source": "fair", "referrer": "https://fair.example/", "referring_domain": "fair.example"},
    MOVED_USER: {"utm_source": "podcast"},
}


def _python_update(**given: Any) -> Record:
    """An update as the Python SDK sends it: every unset field is null."""
    first = "user_id" if "user_id" in given else "company_id"
    names = (first, "company_id", "modified_time", "session_token", "ip_address", "campaign", "metadata")
    more = ("user_agent_string",) if first == "user_id" else ("company_domain",)
    return {name: given.get(name) for name in (*names, *more)}


def _quota(plan: Plan, company: Company) -> int:
    if company.id == QUOTA_NEAR:
        return round(plan.total_calls(company.id) / 0.93)
    if company.id == QUOTA_OVER:
        return round(plan.total_calls(company.id) / 1.25)
    return company.quota


def _company_metadata(plan: Plan, company: Company) -> Record:
    slug = company.domain.split(".")[0]
    return {
        "name": company.name,
        "plan.name": company.plan,
        "plan.quota_calls_30d": _quota(plan, company),
        "mrr": company.mrr,
        "trial": company.plan == "Free",
        "trial.ends_on": str(plan.days[-1] + timedelta(days=9)) if company.plan == "Free" else None,
        "tags": ["eu", slug[:4]],
        "demographics": {
            "employees": company.employees,
            "industry": company.industry,
            "hq": {"city": company.city, "country.name": company.country},
        },
        "billing": {
            "contact.email": f"billing@{company.domain}",
            "terms": {"net.days": 30, "currency": "EUR"},
        },
    }


def _signup(plan: Plan, company: Company, rng: random.Random) -> datetime:
    if company.id == NEW_COMPANY:
        return _moment(plan.days[plan.at(DAY_NEW)], 33_000)
    if company.id == NEVER_CALLED:
        return _moment(plan.days[plan.at(DAY_IDLE_SIGNUP)], 41_000)
    return _moment(plan.days[0] - timedelta(days=rng.randrange(20, 500)), rng.uniform(25_000, 65_000))


def backfill(plan: Plan) -> tuple[list[Record], list[Record]]:
    """What was known of companies and users on the first day, or on the day they signed up."""
    rng = plan.rng("backfill")
    companies: list[Record] = []
    users: list[Record] = []
    for company in plan.companies:
        joined = _signup(plan, company, rng)
        companies.append(
            {
                "company_id": company.json_id,
                "modified_time": _node_time(joined),
                "company_domain": company.domain_given,
                "ip_address": _address(rng),
                "metadata": _company_metadata(plan, company),
                "campaign": _CAMPAIGNS.get(company.id, {}),
            }
        )
        if company.id not in (LATE_COMPANY_CLAIM, LATE_USER_CLAIM):
            companies.append(
                {
                    "company_id": company.json_id,
                    "modified_time": _node_time(joined + timedelta(minutes=3)),
                    "session_token": company.token,
                    "campaign": {},
                }
            )
        if company.id == SHARED_TOKEN_FIRST:
            claim = {"company_id": company.id, "modified_time": _node_time(joined + timedelta(days=1))}
            companies.append({**claim, "session_token": SHARED_TOKEN, "campaign": {}})
        for n, user in enumerate(company.users):
            users.append(_user_backfill(user, joined + timedelta(minutes=7 * (n + 1)), rng))
    return companies, users


def _user_backfill(user: User, at: datetime, rng: random.Random) -> Record:
    update: Record = {"user_id": user.id, "company_id": user.company_id, "modified_time": _node_time(at)}
    if user.token is not None:
        update["session_token"] = user.token
    update |= {
        "ip_address": _address(rng),
        "user_agent_string": "Mozilla/5.0",
        "metadata": {
            "email": user.email,
            "name": f"{user.first_name} {user.last_name}",
            "first_name": user.first_name,
            "last_name": user.last_name,
            "phone": user.phone,
            "photo_url": f"https://img.parcelbook.example/{user.id}.png",
            "title": rng.choice(("Engineer", "Buyer", "Head of Operations", "Analyst")),
            "prefs": {"newsletter.weekly": rng.random() < 0.5, "locale": rng.choice(("de", "en", "fr"))},
        },
        "campaign": _CAMPAIGNS.get(user.id, {}),
    }
    return update


def company_updates_of_day(plan: Plan, index: int) -> list[bytes]:
    """Small changes on some days, in both dialects; a null clears, an inner object merges."""
    rng = plan.rng("company updates", index)
    day = plan.days[index]
    lines = []
    if index == plan.at(DAY_SHARED):
        claim = {"company_id": SHARED_TOKEN_SECOND, "modified_time": None, "session_token": SHARED_TOKEN}
        lines.append(_node_json({**claim, "campaign": {}}))
    for company in rng.sample(plan.companies, 0 if _is_weekend(day) else 3):
        if company.id in (NEW_COMPANY, NEVER_CALLED) and _signup(plan, company, rng).date() >= day:
            continue
        at = _moment(day, rng.uniform(20_000, 70_000))
        change: Record = rng.choice(
            (
                {"demographics": {"employees": company.employees + rng.randrange(1, 20)}},
                {"mrr": company.mrr + rng.randrange(5, 50) * 10, "trial": False, "trial.ends_on": None},
                {"tags": ["eu", "beta", company.plan.lower()], "health.score": rng.randrange(100) / 100},
                {"billing": {"terms": {"net.days": 14}, "po.numbers": [f"PO-{rng.randrange(9999):04d}"]}},
            )
        )
        if rng.random() < 0.5:
            update = _python_update(company_id=company.id, modified_time=_python_time(at), metadata=change)
            lines.append(_python_json(update))
        else:
            node = {"company_id": company.json_id, "modified_time": None, "metadata": change, "campaign": {}}
            lines.append(_node_json(node))
    return lines


def user_updates_of_day(plan: Plan, index: int) -> list[bytes]:
    """Small changes on some days, and the user that moves to another company."""
    rng = plan.rng("user updates", index)
    day = plan.days[index]
    lines = []
    if index == plan.at(DAY_MOVED):
        at = _node_time(_moment(day, 32_400))
        move = {"user_id": MOVED_USER, "company_id": MOVED_USER_TO, "modified_time": at}
        lines.append(_node_json({**move, "metadata": {"title": "Buyer"}, "campaign": {}}))
    people = [u for c in plan.companies if c.id not in (NEW_COMPANY, NEVER_CALLED) for u in c.users]
    for user in rng.sample(people, 0 if _is_weekend(day) else 2):
        if rng.random() < 0.5:
            at = _python_time(_moment(day, rng.uniform(20_000, 70_000)))
            seen: Record = {"logins": rng.randrange(1, 90), "prefs": {"dark.mode": True}}
            lines.append(_python_json(_python_update(user_id=user.id, modified_time=at, metadata=seen)))
        else:
            node: Record = {
                "user_id": user.id,
                "modified_time": None,
                "metadata": {"prefs": {"locale": "en"}},
            }
            lines.append(_node_json({**node, "campaign": {}}))
    return lines


def late_claims() -> tuple[bytes, bytes]:
    """The company's and the user's update that say whose tokens have been calling all along."""
    company = {"company_id": LATE_COMPANY_CLAIM, "modified_time": None, "session_token": LATE_TOKEN}
    user = {"user_id": "usr_coppernettle_1", "company_id": LATE_USER_CLAIM, "modified_time": None}
    return (
        _node_json({**company, "campaign": {}}),
        _node_json({**user, "session_token": LATE_USER_TOKEN, "campaign": {}}),
    )


# ---------------------------------------------------------------------------------------------------------
# Feature usage
# ---------------------------------------------------------------------------------------------------------

# product, module, feature
_FEATURES = (
    ("Console", "Parcels", "Parcel Created"), ("Console", "Parcels", "Parcel Searched"),
    ("Console", "Parcels", "Label Printed"), ("Console", "Parcels", "Bulk Upload"),
    ("Console", "Billing", "Invoice Opened"), ("Console", "Billing", "Card Changed"),
    ("Console", "Billing", LONG_FEATURE), ("Console", "Team", "Member Invited"),
    ("Console", "Team", "Role Changed"), ("Console", "Reports", "Report Built"),
    ("Console", "Reports", "Report Shared"), ("Tracking", "Map", "Map Opened"),
    ("Tracking", "Map", "Ruta guardada — última"), ("Tracking", "Alerts", "Alert Created"),
    ("Tracking", "Alerts", "Alert Snoozed"), ("Tracking", None, "App Opened"),
)  # fmt: skip
FEATURE_COLUMNS = (
    "account_id", "user_id", "product_id", "module_id", "feature_id", "total", "timestamp", "event_id"
)  # fmt: skip
_ABSENT = object()
_TOTALS = (1, 1, 1, 1, 2, 3, 5, 10, 12, _ABSENT, None, 0, "7", 5.0)


def features_of_day(plan: Plan, index: int) -> list[Record]:
    """Feature events as csb-node sends them, with the odd totals that callers give."""
    rng = plan.rng("features", index)
    day = plan.days[index]
    events = []
    for company in plan.companies:
        if _absent(plan, company, index):
            continue
        for _ in range(1 if _is_weekend(day) else rng.randrange(2, 6)):
            product, module, feature = rng.choice(_FEATURES)
            event: Record = {"account_id": company.id, "user_id": rng.choice(company.users).id}
            event["product_id"] = product
            if module is not None:
                event["module_id"] = module
            event["feature_id"] = feature
            total = rng.choice(_TOTALS)
            if total is not _ABSENT:
                event["total"] = total
            event["type"] = "feature"
            event["timestamp"] = _node_time(_moment(day, rng.uniform(0, 86_399)))
            if rng.random() < 0.2:
                event["event_id"] = _new_id(rng)
            events.append(event)
    return events


def _csv_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[bytes]:
    """A header and rows as CSV, a line each (a quoted cell may hold a line break of its own)."""
    lines = []
    for row in (header, *rows):
        cell = io.StringIO()
        csv.writer(cell, lineterminator="").writerow(row)
        lines.append(cell.getvalue().encode())
    return lines


def _feature_rows(events: Sequence[Record]) -> list[list[str]]:
    rows = []
    for n, event in enumerate(events):
        row = []
        for name in FEATURE_COLUMNS:
            value = event.get(name)
            # An export knows whole numbers only, and 5.0 as a cell's text is no number to the warehouse.
            row.append("" if value is None else str(int(value)) if name == "total" else str(value))
        if n % 3 == 0:  # some exports write a blank in place of the T
            row[6] = row[6].replace("T", " ")
        rows.append(row)
    return rows


# ---------------------------------------------------------------------------------------------------------
# CRM exports
# ---------------------------------------------------------------------------------------------------------

CRM_COMPANY_HEADER = (
    "Record ID", "Company name", "Company Domain Name", "Company owner", "Create Date", "Phone Number",
    "City", "Country/Region", "Industry", "Notes",
)  # fmt: skip
CRM_CONTACT_NAMES = (
    "hs_object_id",
    "firstname",
    "lastname",
    "email",
    "phone",
    "lifecyclestage",
    "createdate",
)
CRM_CONTACT_LABELS = (
    "Record ID", "First Name", "Last Name", "Email", "Phone Number", "Lifecycle Stage", "Create Date"
)  # fmt: skip


def _crm_company_row(
    number: int, name: str, domain: str, company: Company | None, notes: str = ""
) -> list[str]:
    city, country, industry = (
        (company.city, company.country, company.industry) if company is not None else ("", "", "")
    )
    owner = ("Casey Sample", "Robin Sample", "")[number % 3]
    created = f"2026-0{1 + number % 9}-1{number % 10} 10:0{number % 10}"
    phone = f" +120255501{number % 100:02d}"
    return [
        str(210_000_000_000 + number),
        name,
        domain,
        owner,
        created,
        phone,
        city,
        country,
        industry,
        notes,
    ]


def crm_company_rows(companies: Sequence[Company]) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of the CSV and of the XLSX export. What is in the second repeats one of the first, changed."""
    first: list[list[str]] = []
    second: list[list[str]] = []
    for number, company in enumerate(companies, start=1):
        if company.id in (INTEGER_ID, SAMPLED):
            second.append(_crm_company_row(number, company.name, company.domain, company))
        elif company.id == CRM_TWIN:
            first.append(_crm_company_row(number, company.name, company.domain, company))
            first.append(_crm_company_row(90, "Wrenloft (old)", f"www.{company.domain}", company))
        elif company.id != NEVER_CALLED:
            notes = 'Asked for a call\nin January, "not before"' if company.id == RATE_LIMITED else ""
            first.append(_crm_company_row(number, company.name, company.domain, company, notes))
    for number, name in enumerate(CRM_ONLY, start=91):
        row = _crm_company_row(number, name, f"{name.split()[0].lower()}.example", None)
        (second if name == CRM_ONLY[-1] else first).append(row)
    near = next(c for c in companies if c.id == QUOTA_NEAR)
    second.append(_crm_company_row(1, f"{near.name} GmbH", near.domain, near, "renamed"))
    return first, second


def crm_contact_rows(companies: Sequence[Company]) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of the CSV and of the ZIP export: two in three of the users, and a contact without email."""
    rows = []
    for number, user in enumerate((u for c in companies for u in c.users), start=1):
        if number % 3 == 0:
            continue
        email = user.email.upper() if number % 10 == 1 else user.email
        stage = ("lead", "customer", "opportunity")[number % 3]
        identity = [str(110_000_000_000 + number), user.first_name, user.last_name, email]
        rows.append([*identity, user.phone, stage, f"2026-0{1 + number % 9}-20 09:00"])
    rows.append(["110000009001", "Sample,", "Cameron", "", "", "lead", "2026-01-12 10:00"])
    half = len(rows) // 2
    return rows[:half], rows[half:]


def _zip_bytes(members: Sequence[tuple[str, bytes]]) -> bytes:
    """A ZIP whose bytes do not depend on the clock or the machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def _xlsx_bytes(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """A workbook of one sheet, by hand: openpyxl puts the time of writing into it.

    The first column is a number, as in a spreadsheet that HubSpot exports; all others are text.
    """
    sheet = []
    for n, row in enumerate((header, *rows), start=1):
        cells = []
        for column, value in enumerate(row):
            place = f"{chr(ord('A') + column)}{n}"
            if column == 0 and n > 1 and value:
                cells.append(f'<c r="{place}"><v>{value}</v></c>')
            elif value:
                text = f'<is><t xml:space="preserve">{escape(value)}</t></is>'
                cells.append(f'<c r="{place}" t="inlineStr">{text}</c>')
        sheet.append(f'<row r="{n}">{"".join(cells)}</row>')
    start = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Companies" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(sheet)}</sheetData>'
        "</worksheet>",
    }
    return _zip_bytes([(name, (start + text).encode()) for name, text in parts.items()])


# ---------------------------------------------------------------------------------------------------------
# Dirt: records that the warehouse rejects, repairs or counts as duplicates
# ---------------------------------------------------------------------------------------------------------


class Dirt(NamedTuple):
    """One line of a raw file that is not as it should be.

    `outcomes` has one entry per record in the line: a reason of ops.rejects, `duplicate`, `repaired`,
    `conflict` (a metadata value is dropped), or `loaded` (it only keeps the others company).
    """

    source: str
    kind: str  # jsonl or csv
    day: int  # index of the day in whose folder it lies; -1: the file without a folder
    text: bytes
    outcomes: tuple[str, ...]
    note: str


_FAKE_AUTH = "Bearer FAKE-not-a-real-token-0001"
_FAKE_COOKIE = "sid=FAKE-not-a-real-cookie-0002; theme=dark"


def _line_day(day_of_fortnight: int, days: int) -> int:
    """The day of the stories, or the next whose events are in lines: other formats hold no broken record."""
    index = stretch(day_of_fortnight, days)
    while index < days - 1 and not format_of(index, days).startswith("jsonl"):
        index += 1
    return index


def _with_credentials(event: Record) -> Record:
    """The same event with the two headers that must never be stored; first, so that a cut keeps them."""
    request = dict(event["request"])
    request["headers"] = {"Authorization": _FAKE_AUTH, "Cookie": _FAKE_COOKIE, **request["headers"]}
    return {**event, "request": request}


def _with_request(event: Record, **changes: Any) -> Record:
    return {**event, "request": {**event["request"], **changes}}


def _event_dirt(days: Sequence[date]) -> Iterator[Dirt]:
    rng = _rng(0, "dirt")  # the same whatever the seed: what tests count on

    def put(day: int, text: bytes, outcomes: str, note: str) -> Dirt:
        return Dirt("events", "jsonl", _line_day(day, len(days)), text, tuple(outcomes.split()), note)

    def call(day: int, seconds: int) -> Call:
        at = _moment(days[_line_day(day, len(days))], seconds)
        ids = (CRM_TWIN, "usr_wrenloft_1", None)
        return Call(at, "POST", "/v1/labels", 201, *ids, _new_id(rng), "192.0.2.77", "node", 30, 7)

    def node(day: int, seconds: int) -> Record:
        return node_event(call(day, seconds))

    def python(day: int, seconds: int) -> Record:
        return python_event(call(day, seconds)._replace(path="/v2/forecasts"))

    cut = _node_json(_with_credentials(node(0, 36_000)))
    yield put(0, cut[:-60], "bad_json", "a line that was cut short, with credentials in it")
    yield put(12, repr(_with_credentials(node(12, 36_100))).encode(), "bad_json", "a Python dict, not JSON")
    yield put(7, b'"heartbeat"', "not_object", "text")
    yield put(12, b"[" + _python_json(python(12, 36_150)) + b", 7]", "loaded not_object", "a batch with a 7")
    untimed = _with_credentials(node(0, 36_200))
    untimed["request"].pop("time")
    yield put(0, _node_json(untimed), "bad_time", "no request.time, with credentials")
    yield put(2, _node_json(_with_request(node(2, 36_300), time="yesterday at noon")), "bad_time", "words")
    yield put(
        13, _node_json(_with_request(node(13, 36_400), time="2026-02-30T10:00:00Z")), "bad_time", "no day"
    )
    yield put(13, _python_json({**python(13, 36_450), "request": None}), "bad_time", "request is null")
    later = _node_time(_moment(days[_line_day(12, len(days))] + timedelta(days=5), 36_000))
    ahead = _with_credentials(_with_request(node(12, 36_500), time=later))
    yield put(12, _node_json(ahead), "future", "a clock five days ahead, with credentials")

    batch = _python_json([python(7, 36_600 + n) for n in range(3)])
    yield put(7, batch, "loaded loaded loaded", "a batch")
    yield put(7, batch, "duplicate duplicate duplicate", "the same batch again, as the SDK resends it")
    original = node(13, 36_700)
    key = original["request"]["headers"]["x-moesif-transaction-id"]
    yield put(13, _node_json(original), "loaded", "an event")
    again = _with_request(original, headers={"X-Moesif-Transaction-Id": key})
    yield put(13, _node_json(again), "duplicate", "its key in another spelling of the header")
    yield put(13, _python_json({**python(13, 36_800), "transaction_id": key}), "duplicate", "its key as id")

    nan = _python_json(_with_request(python(12, 36_900), body={"score": float("nan"), "top": float("inf")}))
    yield put(12, nan, "repaired", "bare NaN and Infinity in a body")
    huge = _node_json(_with_request(node(12, 36_950), body={"score": "HUGE"})).replace(b'"HUGE"', b"1e999")
    yield put(12, huge, "repaired", "a number beyond all floats")
    half = _python_json(_with_request(python(13, 37_000), body={"text": "half of an emoji: \ud83d"}))
    yield put(13, half, "repaired", "a lone surrogate in a body")
    latin = _node_json(_with_request(node(7, 37_100), body={"text": "caf#"})).replace(b"#", b"\xe9")
    yield put(7, latin, "repaired", "a byte that is not UTF-8")

    yield put(0, _node_json(_with_credentials(node(0, 37_200))), "loaded", "credentials in a good record")
    yield put(13, _node_json({**node(13, 37_300), "weight": 0}), "loaded", "weight 0 counts as 1")
    yield put(13, _node_json({**node(13, 37_400), "response": None}), "loaded", "no response")
    text_status = {**node(13, 37_500), "response": {"status": "200"}}
    yield put(13, _node_json(text_status), "loaded", "a status that is text")


def _action_dirt(days: Sequence[date]) -> Iterator[Dirt]:
    def put(day: int, text: bytes, outcome: str, note: str) -> Dirt:
        return Dirt("actions", "jsonl", stretch(day, len(days)), text, (outcome,), note)

    def action(day: int, **request: Any) -> Record:
        at = _node_time(_moment(days[stretch(day, len(days))], 43_200))
        return _action("Read Docs", {"time": at, **request}, CRM_TWIN, "usr_wrenloft_1", {"position": 1})

    yield put(1, _node_json(action(1))[:-9], "bad_json", "a line that was cut short")
    yield put(3, b"null", "not_object", "null")
    yield put(5, _node_json(action(5, time="soon")), "bad_time", "words")
    ahead = _node_time(_moment(days[stretch(8, len(days))] + timedelta(days=4), 0))
    yield put(8, _node_json(action(8, time=ahead)), "future", "a clock four days ahead")
    twice = _node_json({"transaction_id": "00000000-0000-4000-8000-000000000077", **action(9)})
    yield put(9, twice, "loaded", "an action with an id")
    yield put(9, twice, "duplicate", "the same action again")


def _update_dirt(days: Sequence[date]) -> Iterator[Dirt]:
    def put(source: str, text: bytes, outcome: str, note: str, day: int = 9) -> Dirt:
        return Dirt(source, "jsonl", stretch(day, len(days)), text, (outcome,), note)

    def company(**given: Any) -> bytes:
        return _node_json({"company_id": CRM_TWIN, "modified_time": None, **given, "campaign": {}})

    def user(**given: Any) -> bytes:
        return _python_json(_python_update(user_id="usr_wrenloft_1", **given))

    yield put("companies", b'{"company_id":"cmp_wrenloft","metadata":{"mrr":', "bad_json", "cut short")
    yield put("companies", b'["cmp_wrenloft"]', "not_object", "text in a batch")
    yield put("companies", company(company_id="  ", metadata={"mrr": 1}), "missing_id", "a blank id")
    yield put("companies", company(company_id=42.5, metadata={"mrr": 1}), "missing_id", "a float for an id")
    yield put("companies", company(metadata="enterprise"), "repaired", "metadata_not_object: text")
    yield put("companies", company(metadata=["a", "b"]), "repaired", "metadata_not_object: a list")
    ahead = _node_time(_moment(days[stretch(9, len(days))] + timedelta(days=10), 0))
    yield put("companies", company(modified_time=ahead), "repaired", "a modified_time ten days ahead")
    both = {"plan.name": "Growth", "plan_name": "Scale"}
    yield put("companies", company(metadata=both), "repaired", "two keys that are one without dots")
    nan = _python_json(_python_update(company_id=CRM_TWIN, metadata={"health.score": float("nan")}))
    yield put("companies", nan, "repaired", "bare NaN in metadata")
    yield put("companies", company(metadata={"mrr": "24k"}), "conflict", "mrr is a number, not text")
    tags = {"tags": "eu, beta", "demographics": {"employees": "about 40", "industry": "Design"}}
    yield put("companies", company(metadata=tags), "conflict", "tags is an array, employees a number")

    yield put("users", b'{"user_id":"usr_wrenloft_1",}', "bad_json", "a comma too many")
    yield put("users", b"true", "not_object", "true")
    yield put("users", _python_json(_python_update(user_id=None, metadata={})), "missing_id", "id is null")
    yield put("users", user(metadata=17), "repaired", "metadata_not_object: a number")
    yield put("users", user(metadata={"title": "Buyer \udc00"}), "repaired", "a lone surrogate")
    yield put("users", user(metadata={"phone": 2025550177}), "conflict", "phone is text, not a number")
    yield put("users", user(metadata={"prefs": ["de"]}), "conflict", "prefs is an object, not an array")


def _feature_dirt(days: Sequence[date]) -> Iterator[Dirt]:
    def event(day: int, feature: str, **given: Any) -> Record:
        at = _moment(days[stretch(day, len(days))], 50_000)
        ids = {"account_id": CRM_TWIN, "user_id": "usr_wrenloft_1", "product_id": "Console"}
        return {**ids, "module_id": "Parcels", "feature_id": feature, "timestamp": _node_time(at), **given}

    def put(day: int, text: bytes, outcome: str, note: str, kind: str = "jsonl") -> Dirt:
        return Dirt("features", kind, stretch(day, len(days)), text, (outcome,), note)

    def line(day: int, outcome: str, note: str, feature: str = "Label Printed", **given: Any) -> Dirt:
        return put(day, _python_json(event(day, feature, **given)), outcome, note)

    def row(outcome: str, note: str, **given: Any) -> Dirt:
        values = {**event(DAY_FEATURE_CSV, "Label Printed"), "total": "1", **given}
        cells = [str(values.get(name, "")) for name in FEATURE_COLUMNS]
        return put(DAY_FEATURE_CSV, _csv_lines(cells, [])[0], outcome, note, "csv")

    yield put(8, b'{"account_id":"cmp_wrenloft","user_id"', "bad_json", "cut short")
    yield put(8, b"[3]", "not_object", "a number in a batch")
    yield line(8, "missing_id", "no account", account_id=None)
    yield line(8, "missing_id", "a blank feature", feature_id=" ")
    yield row("missing_id", "an empty cell", user_id="")
    yield line(8, "bad_time", "words", timestamp="this morning")
    for total, note in ((-2, "negative"), (3.5, "a fraction"), ("a few", "words"), (True, "a boolean")):
        yield line(9, "bad_total", f"total is {note}", total=total)
    yield line(9, "bad_total", "total is NaN", total=float("nan"))
    yield row("bad_total", "5.0 as text", total="5.0")
    before = _node_time(_moment(days[stretch(10, len(days))] - timedelta(days=1), 50_000))
    yield line(10, "backdated", "of the day before", timestamp=before)
    before = _node_time(_moment(days[stretch(DAY_FEATURE_CSV, len(days))] - timedelta(days=3), 50_000))
    yield row("backdated", "of three days before", timestamp=before)
    after = _node_time(_moment(days[stretch(10, len(days))] + timedelta(days=2), 50_000))
    yield line(10, "future", "of two days later", timestamp=after)
    yield line(10, "loaded", "an event with an id", event_id="fe-0001")
    yield line(10, "duplicate", "the same event again", event_id="fe-0001")
    # Only the second name is news, so only its record carries the repair.
    yield line(11, "loaded", "a long name", feature=LONG_PAIR[0])
    yield line(11, "repaired", "a long name that becomes the other by the cut", feature=LONG_PAIR[1])
    yield line(11, "loaded", "one feature in two modules", module_id="Reports")


def _crm_dirt() -> Iterator[Dirt]:
    company = ["", *_crm_company_row(99, "Nameless Mill", "nameless.example", None)[1:]]
    contact = ["", "Sample", "Noid", "noid@nameless.example", "", "lead", "2026-03-01 10:00"]
    for source, cells in (("crm/companies", company), ("crm/contacts", contact)):
        yield Dirt(source, "csv", -1, _csv_lines(cells, [])[0], ("bad_crm_row",), "no Record ID")


def dirt(days: int, end: date) -> list[Dirt]:
    """All dirt of a period, in the order in which it is written into its files."""
    dates = make_days(days, end)
    return [
        *_event_dirt(dates),
        *_action_dirt(dates),
        *_update_dirt(dates),
        *_feature_dirt(dates),
        *_crm_dirt(),
    ]


# ---------------------------------------------------------------------------------------------------------
# Writing, with stories
# ---------------------------------------------------------------------------------------------------------


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _mixed(lines: Sequence[bytes], extra: Sequence[bytes]) -> list[bytes]:
    """`extra` strewn evenly among `lines`, both in their order."""
    mixed: list[bytes] = []
    done = 0
    for n, line in enumerate(extra, start=1):
        upto = n * len(lines) // (len(extra) + 1)
        mixed += [*lines[done:upto], line]
        done = upto
    return [*mixed, *lines[done:]]


def _chunks(calls: Sequence[Call], size: int) -> Iterator[Sequence[Call]]:
    for start in range(0, len(calls), size):
        yield calls[start : start + size]


def _write_events(
    folder: Path, kind: str, number: int, calls: Sequence[Call], extra: Sequence[bytes]
) -> Path:
    """One file of events in the format `kind`."""
    path = folder / f"events-{number:03d}.{kind}"
    if kind == "parquet":
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([_parquet_row(call) for call in calls], schema=_parquet_schema())
        pq.write_table(table, path, compression="zstd")
        return path
    if kind == "json":
        elements = [
            _python_json(python_event(c)) if c.is_python else _node_json(node_event(c)) for c in calls
        ]
        _write(path, b"[\n" + b",\n".join(elements) + b"\n]\n")
        return path
    content = _joined(_mixed([line for line, _ in _event_lines(calls)], extra))
    if kind == "jsonl.gz":
        content = gzip.compress(content, mtime=0)
    elif kind == "jsonl.zst":
        content = zstandard.ZstdCompressor(level=9).compress(content)
    _write(path, content)
    return path


def _generate_stories(
    out: Path, plan: Plan, clean: bool, rows_per_file: int, progress: Progress
) -> dict[str, int]:
    counts = dict.fromkeys(SOURCES, 0)
    days = len(plan.days)
    strewn = [] if clean else dirt(days, plan.days[-1])
    for item in strewn:
        counts[item.source] += len(item.outcomes)

    def extra(source: str, index: int, kind: str = "jsonl") -> list[bytes]:
        return [d.text for d in strewn if (d.source, d.kind, d.day) == (source, kind, index)]

    def write_lines(source: str, name: str, lines: Sequence[bytes], more: Sequence[bytes] = ()) -> None:
        counts[source] += len(lines)
        if lines or more:
            _write(out / source / name, _joined(_mixed(lines, more)))

    companies, users = backfill(plan)
    # "backfill" sorts before "dt=…", so these records come first and lock the right types.
    write_lines("companies", "backfill.jsonl", [_node_json(update) for update in companies])
    write_lines("users", "backfill.jsonl", [_node_json(update) for update in users])
    for source, path, claim in zip(
        ("companies", "users"), late_claim_paths(days, plan.days[-1]), late_claims(), strict=True
    ):
        write_lines(source, path.removeprefix(f"{source}/"), [claim])

    for index, day in enumerate(plan.days):
        folder = f"dt={day}"
        calls = calls_of_day(plan, index)
        counts["events"] += len(calls)
        kind = format_of(index, days)
        spoiled = extra("events", index)
        chunks = list(_chunks(calls, rows_per_file)) or ([[]] if spoiled else [])
        for number, chunk in enumerate(chunks, start=1):
            file = _write_events(out / "events" / folder, kind, number, chunk, spoiled if number == 1 else [])
            progress(str(file.relative_to(out)))
        for source, name, lines in (
            ("actions", "actions", [_node_json(action) for action in actions_of_day(plan, index)]),
            ("companies", "updates", company_updates_of_day(plan, index)),
            ("users", "updates", user_updates_of_day(plan, index)),
        ):
            write_lines(source, f"{folder}/{name}.jsonl", lines, extra(source, index))
        _write_features(out, plan, index, counts, extra)

    _write_crm(out, plan.companies, counts, extra)
    return counts


def _write_features(
    out: Path, plan: Plan, index: int, counts: dict[str, int], extra: Callable[[str, int, str], list[bytes]]
) -> None:
    """A day's feature events: JSON lines; on one day CSV besides, and the first day's in a folderless CSV."""
    events = features_of_day(plan, index)
    counts["features"] += len(events)
    folder = out / "features" / f"dt={plan.days[index]}"
    is_csv_day = index == plan.at(DAY_FEATURE_CSV)
    from_console = events if index == 0 else events[: len(events) // 2] if is_csv_day else []
    events = events[len(from_console) :]
    if index == 0:
        path = out / "features" / "console-first-day.csv"
        _write(path, _joined(_csv_lines(FEATURE_COLUMNS, _feature_rows(from_console))))
    rows = _feature_rows(from_console) if index else []
    more_rows = extra("features", index, "csv")
    if rows or more_rows:
        header, *lines = _csv_lines(FEATURE_COLUMNS, rows)
        _write(folder / "console.csv", _joined([header, *_mixed(lines, more_rows)]))
    more = extra("features", index, "jsonl")
    if events or more:
        lines = [_node_json(event) for event in events]
        _write(folder / "features.jsonl", _joined(_mixed(lines, more)))


def _write_crm(
    out: Path,
    companies: Sequence[Company],
    counts: dict[str, int],
    extra: Callable[[str, int, str], list[bytes]],
) -> None:
    first, second = crm_company_rows(companies)
    header, *lines = _csv_lines(CRM_COMPANY_HEADER, first)
    rows = _mixed(lines, extra("crm/companies", -1, "csv"))
    folder = out / "crm" / "companies"
    _write(folder / "hubspot-companies.csv", b"\xef\xbb\xbf" + _joined([header, *rows]))  # with a BOM
    _write(folder / "hubspot-companies-recent.xlsx", _xlsx_bytes(CRM_COMPANY_HEADER, second))
    counts["crm/companies"] += len(first) + len(second)

    first, second = crm_contact_rows(companies)
    header, *lines = _csv_lines(CRM_CONTACT_NAMES, first)
    rows = _mixed(lines, extra("crm/contacts", -1, "csv"))
    folder = out / "crm" / "contacts"
    _write(folder / "contacts-internal-names.csv", _joined([header, *rows]))
    member = _joined(_csv_lines(CRM_CONTACT_LABELS, second))
    _write(folder / "hubspot-contacts.zip", _zip_bytes([("hubspot-contacts.csv", member)]))
    counts["crm/contacts"] += len(first) + len(second)


# ---------------------------------------------------------------------------------------------------------
# Writing, in bulk
# ---------------------------------------------------------------------------------------------------------

# The events' keys end in 12 hexadecimal digits that are the running number times an odd number, modulo
# 2**48: no two are the same, and no two neighbours are alike.
_ODD = 0x9E3779B97F4B
_MASK = (1 << 48) - 1
_BLOCK = 20_000  # events that are held in memory
_WHO_BITS = 16  # size of the pool of callers, at least


@dataclass(frozen=True)
class _Pools:
    """Pieces of events, encoded once. An event takes one of each by the bits of one random number."""

    seconds: list[str]  # 00:00:00 … 23:59:59
    millis: list[str]
    keys: list[str]  # the first part of a key
    who_node: list[str]
    who_python: list[str]
    node_calls: list[tuple[str, str, str]]  # around the item's number and the key
    python_calls: list[tuple[str, str]]  # around the item's number
    node_answers: list[tuple[str, str]]
    python_answers: list[str]


def _bulk_statuses(rng: random.Random) -> list[int]:
    """256 statuses, 5 of them errors: 2 %."""
    statuses = [200] * 190 + [201] * 51 + [204] * 10 + [404, 429, 400, 500, 503]
    rng.shuffle(statuses)
    return statuses


def _bulk_pools(companies: Sequence[Company], seed: int) -> _Pools:
    rng = _rng(seed, "pools")
    bits = max(_WHO_BITS, (4 * len(companies) - 1).bit_length())
    # Few companies make most of the calls, and each makes some.
    more = _spread((1 << bits) - len(companies), [1 / (n + 5) for n in range(len(companies))])
    who_node: list[str] = []
    who_python: list[str] = []
    for company, count in zip(companies, more, strict=True):
        for n in range(count + 1):
            user = company.users[n % len(company.users)]
            token, user_id, company_id = (
                (None, user.id, company.id),
                (None, user.id, company.id),
                (company.token, None, company.id),
                (company.token, None, None),
                (None, user.id, None),
            )[n % 5]
            ids = {"session_token": token, "user_id": user_id, "company_id": company_id}
            who_node.append("".join(f'"{k}":"{v}",' for k, v in ids.items() if v is not None))
            as_json = {k: "null" if v is None else f'"{v}"' for k, v in ids.items()}
            who_python.append(
                f'"session_token": {as_json["session_token"]}, "tags": null, '
                f'"user_id": {as_json["user_id"]}, "company_id": {as_json["company_id"]}, '
            )
    node_calls, python_calls = [], []
    for _ in range(1024):
        verb, path = rng.choice(
            (("GET", "/v1/parcels/"), ("GET", "/v1/rates?zone="), ("POST", "/v1/labels?for="))
        )
        agent, address = rng.choice(_AGENTS), _address(rng)
        body = f',"body":{{"weight_g":{rng.randrange(9000)},"to":"Sampleton"}}' if verb == "POST" else ""
        node_calls.append(
            (
                f'","uri":"{API}{path}',
                (
                    f'","verb":"{verb}","headers":{{"host":"api.parcelbook.example",'
                    f'"accept":"*/*","user-agent":"{agent}","x-moesif-transaction-id":"'
                ),
                f'"}},"api_version":"1.0.0","ip_address":"{address}"{body}}},"response":{{"time":"',
            )
        )
        python_calls.append(
            (
                f'", "uri": "{API}/v2/forecasts/',
                (
                    f'", "verb": "{verb}", "api_version": null, "ip_address": "{address}", "headers": '
                    f'{{"Host": "api.parcelbook.example", "User-Agent": "{agent}"}}, '
                    '"body": null, "transfer_encoding": null}, "response": {"time": "'
                ),
            )
        )
    node_answers, python_answers = [], []
    for status in _bulk_statuses(rng):
        good = "true" if status < 400 else "false"
        items = ",".join(f'{{"id":{rng.randrange(9999)},"state":"moving"}}' for _ in range(1 + status % 2))
        node_answers.append(
            (
                f'","status":{status},"headers":{{"x-moesif-transaction-id":"',
                f'","content-type":"application/json"}},"body":{{"ok":{good},"items":[{items}]}}}},',
            )
        )
        python_answers.append(
            f'", "status": {status}, "headers": {{"Content-Type": "application/json"}}, '
            f'"body": {{"ok": {good}, "items": [{items}]}}, "ip_address": null, "transfer_encoding": null}}, '
        )
    return _Pools(
        seconds=[f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400)],
        millis=[f".{n:03d}" for n in range(1000)],
        keys=[
            f"{k[:8]}-{k[8:12]}-4{k[12:15]}-a{k[15:18]}-"
            for k in (rng.randbytes(9).hex() for _ in range(1024))
        ],
        who_node=who_node,
        who_python=who_python,
        node_calls=node_calls,
        python_calls=python_calls,
        node_answers=node_answers,
        python_answers=python_answers,
    )


def _bulk_block(
    pools: _Pools, rng: random.Random, day: date, first: int, count: int, per_day: int, base: int
) -> str:
    """The lines of `count` events, from the `first` of the day on; `base` is its running number."""
    # Local names: this loop is the whole cost of a bulk run.
    seconds, millis, keys = pools.seconds, pools.millis, pools.keys
    who_node, who_python = pools.who_node, pools.who_python
    node_calls, python_calls = pools.node_calls, pools.python_calls
    node_answers, python_answers = pools.node_answers, pools.python_answers
    shift = 64 - (len(who_node) - 1).bit_length()
    date_text = f"{day}T"
    node_start = f'{{"request":{{"time":"{date_text}'
    python_start = f'{{"request": {{"time": "{date_text}'
    lines = []
    for n, bits in enumerate(memoryview(rng.randbytes(8 * count)).cast("Q"), start=first):
        second = seconds[n * 86_400 // per_day]
        begun = bits >> 18 & 511
        key = f"{keys[bits & 1023]}{(base + n) * _ODD & _MASK:012x}"
        answer = bits >> 10 & 255
        item = bits >> 35 & 511
        ended = millis[begun + (bits >> 27 & 255) + 1]
        if item & 3:
            before, between, after = node_calls[bits & 1023]
            head, tail = node_answers[answer]
            lines.append(
                f"{node_start}{second}{millis[begun]}Z{before}{item}{between}{key}{after}"
                f"{date_text}{second}{ended}Z{head}{key}{tail}"
                f'{who_node[bits >> shift]}"direction":"Incoming","weight":1}}\n'
            )
        else:
            before, after = python_calls[bits & 1023]
            lines.append(
                f"{python_start}{second}{millis[begun]}{before}{item}{after}{date_text}{second}{ended}"
                f'{python_answers[answer]}{who_python[bits >> shift]}"metadata": null, '
                f'"direction": "Incoming", "weight": 1, "blocked_by": null, "transaction_id": "{key}"}}\n'
            )
    return "".join(lines)


def _bulk_events(
    out: Path,
    days: Sequence[date],
    pools: _Pools,
    per_day: int,
    seed: int,
    rows_per_file: int,
    progress: Progress,
) -> int:
    rng = _rng(seed, "bulk events")
    for index, day in enumerate(days):
        folder = out / "events" / f"dt={day}"
        folder.mkdir(parents=True)
        for number, start in enumerate(range(0, per_day, rows_per_file), start=1):
            end = min(per_day, start + rows_per_file)
            path = folder / f"events-{number:03d}.jsonl"
            with path.open("wb") as file:
                for first in range(start, end, _BLOCK):
                    count = min(_BLOCK, end - first)
                    block = _bulk_block(pools, rng, day, first, count, per_day, index * per_day)
                    file.write(block.encode("ascii"))
            progress(str(path.relative_to(out)))
    return per_day * len(days)


def _bulk_backfill(company: Company, at: str) -> tuple[str, list[str]]:
    text = json.dumps(company.name)
    of_company = (
        f'{{"company_id":"{company.id}","modified_time":"{at}","session_token":"{company.token}",'
        f'"company_domain":"{company.domain}","metadata":{{"name":{text},"plan.name":"{company.plan}",'
        f'"plan.quota_calls_30d":{company.quota},"mrr":{company.mrr},"tags":["eu"],'
        f'"demographics":{{"employees":{company.employees},"industry":"{company.industry}"}}}},'
        '"campaign":{}}\n'
    )
    of_users = [
        f'{{"user_id":"{u.id}","company_id":"{company.id}","modified_time":"{at}",'
        f'"metadata":{{"email":"{u.email}","first_name":"{u.first_name}","last_name":"{u.last_name}"}},'
        '"campaign":{}}\n'
        for u in company.users
    ]
    return of_company, of_users


def _bulk_day(companies: Sequence[Company], day: date, rng: random.Random) -> dict[str, list[str]]:
    """One update of each company and one of its users, one action, five feature events."""
    lines: dict[str, list[str]] = {"actions": [], "companies": [], "users": [], "features": []}
    features = [json.dumps(feature) for _, _, feature in _FEATURES]
    for company in companies:
        bits = rng.getrandbits(64)
        user = company.users[bits % len(company.users)]
        second = bits >> 8 & 0xFFFF  # the first 18 hours
        at = f"{day}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{bits >> 24 & 511:03d}Z"
        lines["actions"].append(
            f'{{"action_name":"{_ACTIONS[(bits >> 33) % len(_ACTIONS)]}","user_id":"{user.id}",'
            f'"company_id":"{company.id}","metadata":{{"position":{bits & 7}}},'
            f'"request":{{"time":"{at}","uri":"https://www.parcelbook.example/","ip_address":"192.0.2.9"}}}}\n'
        )
        lines["companies"].append(
            f'{{"company_id":"{company.id}","modified_time":"{at}",'
            f'"metadata":{{"mrr":{company.mrr + (bits & 63)},"health.score":0.{bits & 0xFF:03d}}},'
            '"campaign":{}}\n'
        )
        lines["users"].append(
            f'{{"user_id":"{user.id}","modified_time":"{at}","metadata":{{"logins":{bits & 127}}},'
            '"campaign":{}}\n'
        )
        for n in range(5):
            which = (bits >> (36 + 4 * n)) % len(_FEATURES)
            product, module, _ = _FEATURES[which]
            lines["features"].append(
                f'{{"account_id":"{company.id}","user_id":"{user.id}","product_id":"{product}",'
                f'"module_id":"{module or ""}","feature_id":{features[which]},"total":{1 + (bits >> n & 7)},'
                f'"type":"feature","timestamp":"{at}"}}\n'
            )
    return lines


def _write_text(path: Path, lines: Sequence[str]) -> int:
    _write(path, "".join(lines).encode())
    return len(lines)


def _generate_bulk(
    out: Path,
    days: Sequence[date],
    companies: Sequence[Company],
    per_day: int,
    seed: int,
    rows: int,
    progress: Progress,
) -> dict[str, int]:
    counts = dict.fromkeys(SOURCES, 0)
    counts["events"] = _bulk_events(out, days, _bulk_pools(companies, seed), per_day, seed, rows, progress)
    start = _node_time(_moment(days[0] - timedelta(days=20), 36_000))
    company_lines: list[str] = []
    user_lines: list[str] = []
    for company in companies:
        of_company, of_users = _bulk_backfill(company, start)
        company_lines.append(of_company)
        user_lines += of_users
    counts["companies"] += _write_text(out / "companies" / "backfill.jsonl", company_lines)
    counts["users"] += _write_text(out / "users" / "backfill.jsonl", user_lines)
    rng = _rng(seed, "bulk updates")
    for day in days:
        for source, lines in _bulk_day(companies, day, rng).items():
            counts[source] += _write_text(out / source / f"dt={day}" / f"{source}.jsonl", lines)
        progress(f"updates and feature events of {day}")
    company_rows = [_crm_company_row(n, c.name, c.domain, c) for n, c in enumerate(companies, start=1)]
    lines_of_rows = _csv_lines(CRM_COMPANY_HEADER, company_rows)
    _write(out / "crm" / "companies" / "hubspot-companies.csv", _joined(lines_of_rows))
    counts["crm/companies"] = len(company_rows)
    contact_rows = [
        [str(110_000_000_000 + n), u.first_name, u.last_name, u.email, u.phone, "lead", "2026-01-20 09:00"]
        for n, u in enumerate((u for c in companies for u in c.users), start=1)
    ]
    _write(
        out / "crm" / "contacts" / "hubspot-contacts.csv",
        _joined(_csv_lines(CRM_CONTACT_LABELS, contact_rows)),
    )
    counts["crm/contacts"] = len(contact_rows)
    return counts


# ---------------------------------------------------------------------------------------------------------
# Entry points
# ---------------------------------------------------------------------------------------------------------


def is_bulk(days: int, events_per_day: int, clean: bool) -> bool:
    """Whether a set of this size is written from templates, without stories."""
    return clean and days * events_per_day > BULK_EVENTS


def generate(
    out: Path,
    *,
    days: int,
    companies: int,
    events_per_day: int,
    seed: int,
    end: date,
    clean: bool,
    rows_per_file: int,
    bulk: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Writes the files below `out` and returns the number of records per source, as the warehouse counts.

    A folder that has raw files already is left alone (FileExistsError): a second set beside a first one
    would be neither.
    """
    bulk = bulk or is_bulk(days, events_per_day, clean)
    for name, value, least in (
        ("days", days, 1),
        ("companies", companies, 1 if bulk else len(_NAMED)),
        ("events per day", events_per_day, 1),
        ("rows per file", rows_per_file, 1),
    ):
        if value < least:
            raise ValueError(f"{name}: {value} is too few, {least} is the least")
    if companies > 200_000:
        raise ValueError(f"companies: {companies} is too many, 200000 is the most")
    for source in SOURCES:
        if any((out / source).glob("*")):
            raise FileExistsError(f"{out / source} is not empty; choose another folder, or remove it first")
    tell = progress or (lambda _: None)
    if bulk:
        everyone = make_companies(companies, seed)
        return _generate_bulk(out, make_days(days, end), everyone, events_per_day, seed, rows_per_file, tell)
    plan = make_plan(days, companies, events_per_day, seed, end)
    return _generate_stories(out, plan, clean, rows_per_file, tell)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as YYYY-MM-DD") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.sample",
        description="Write invented raw files for the warehouse: API calls, actions, updates, feature usage "
        "and CRM exports. The same arguments give the same bytes.",
        epilog=f"A --clean set of more than {BULK_EVENTS} API calls is written fast, as plain JSON lines, "
        "for measuring; all others have companies with stories and every file format.",
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT_DIR", help="where to write; must have no raw files yet"
    )
    parser.add_argument("--days", type=int, default=14, help="length of the period (default: %(default)s)")
    parser.add_argument("--companies", type=int, default=16, help="at least 16 (default: %(default)s)")
    parser.add_argument("--events-per-day", type=int, default=400, help="on average (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=7, help="another seed, another set (default: %(default)s)"
    )
    parser.add_argument(
        "--end",
        type=_day,
        default=date(2026, 11, 21),
        metavar="YYYY-MM-DD",
        help="last day of the period (default: %(default)s)",
    )
    parser.add_argument("--clean", action="store_true", help="no bad records, no duplicates")
    parser.add_argument(
        "--bulk", action="store_true", help="clean, and written fast and without stories at any size"
    )
    parser.add_argument(
        "--rows-per-file",
        type=int,
        default=500_000,
        metavar="N",
        help="API calls per file (default: %(default)s)",
    )
    parser.add_argument("--progress", action="store_true", help="name each file on standard error")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        counts = generate(
            given.out,
            days=given.days,
            companies=given.companies,
            events_per_day=given.events_per_day,
            seed=given.seed,
            end=given.end,
            clean=given.clean,
            rows_per_file=given.rows_per_file,
            bulk=given.bulk,
            progress=(lambda text: print(text, file=sys.stderr)) if given.progress else None,
        )
    except ValueError as problem:
        parser.error(str(problem))
    except OSError as problem:
        print(f"could not write: {problem}", file=sys.stderr)
        return 1
    print(f"{'source':<14}{'records':>12}{'files':>8}{'bytes':>16}")
    for source, records in counts.items():
        files = [path for path in (given.out / source).rglob("*") if path.is_file()]
        print(f"{source:<14}{records:>12,}{len(files):>8}{sum(p.stat().st_size for p in files):>16,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
