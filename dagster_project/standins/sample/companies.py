"""Who is in the sample: companies, their users and what each is there to show (`STORIES`)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

Record = dict[str, Any]
Progress = Callable[[str], None]

SOURCES = (
    "events", "actions", "companies", "users", "subscriptions", "features", "crm/companies", "crm/contacts"
)  # fmt: skip

# A clean set with more API calls than this is written in bulk.
BULK_EVENTS = 200_000


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
    CRM_TWIN: "two CRM companies have its domain; its calls of one day come in a file of their own, late",
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
DAY_QUIET, DAY_BILLED, DAY_MOVED, DAY_LATE_COMPANY, DAY_LATE_USER, DAY_BURST = 7, 7, 8, 9, 10, 11
DAY_LATE_FILE = 3

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
NAMED: tuple[tuple[str, str, str, str, float, int], ...] = (
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


def seeded(seed: int, *purpose: object) -> random.Random:
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
    rng = seeded(seed, "companies")
    companies = []
    for n in range(count):
        if n < len(NAMED):
            name, company_id, given, industry, share, plan_no = NAMED[n]
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


def spread_over(total: int, weights: Sequence[float]) -> list[int]:
    """Divides `total` by weights into whole numbers that add up to it again."""
    whole = sum(weights)
    parts, upto, done = [], 0.0, 0
    for weight in weights:
        upto += weight
        reached = round(total * upto / whole) if whole else 0
        parts.append(reached - done)
        done = reached
    return parts


def is_weekend(day: date) -> bool:
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
        return seeded(self.seed, *purpose)

    def company(self, company_id: str) -> Company:
        return next(c for c in self.companies if c.id == company_id)

    def total_calls(self, company_id: str) -> int:
        n = next(n for n, c in enumerate(self.companies) if c.id == company_id)
        return sum(day[n] for day in self.calls)


def make_plan(days: int, companies: int, events_per_day: int, seed: int, end: date) -> Plan:
    """Decides the number of calls of each company on each day; weekends are quiet."""
    dates = make_days(days, end)
    everyone = make_companies(companies, seed)
    per_day = spread_over(days * events_per_day, [0.4 if is_weekend(day) else 1.0 for day in dates])
    rng = seeded(seed, "plan")
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
        calls.append(spread_over(day_total, [*weights, _NOBODY_SHARE]))
    return Plan(seed, dates, everyone, calls)
