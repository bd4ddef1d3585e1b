"""Updates of companies and users: a backfill, daily ones and late claims."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from .companies import (
    CRM_TWIN,
    DAY_IDLE_SIGNUP,
    DAY_MOVED,
    DAY_NEW,
    DAY_SHARED,
    LATE_COMPANY_CLAIM,
    LATE_TOKEN,
    LATE_USER_CLAIM,
    LATE_USER_TOKEN,
    MOVED_USER,
    MOVED_USER_TO,
    NEVER_CALLED,
    NEW_COMPANY,
    QUOTA_NEAR,
    QUOTA_OVER,
    SHARED_TOKEN,
    SHARED_TOKEN_FIRST,
    SHARED_TOKEN_SECOND,
    Company,
    Plan,
    Record,
    User,
    is_weekend,
)
from .records import moment_of, node_json, node_time, python_json, python_time, random_address

_CAMPAIGNS: dict[str, Record] = {
    QUOTA_NEAR: {"utm_source": "newsletter", "utm_medium": "email", "utm_campaign": "autumn"},
    NEW_COMPANY: {"utm_source": "search", "utm_medium": "cpc", "utm_term": "parcel api"},
    CRM_TWIN: {"utm_source": "fair", "referrer": "https://fair.example/", "referring_domain": "fair.example"},
    MOVED_USER: {"utm_source": "podcast"},
}


def python_update(**given: Any) -> Record:
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
        return moment_of(plan.days[plan.at(DAY_NEW)], 33_000)
    if company.id == NEVER_CALLED:
        return moment_of(plan.days[plan.at(DAY_IDLE_SIGNUP)], 41_000)
    return moment_of(plan.days[0] - timedelta(days=rng.randrange(20, 500)), rng.uniform(25_000, 65_000))


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
                "modified_time": node_time(joined),
                "company_domain": company.domain_given,
                "ip_address": random_address(rng),
                "metadata": _company_metadata(plan, company),
                "campaign": _CAMPAIGNS.get(company.id, {}),
            }
        )
        if company.id not in (LATE_COMPANY_CLAIM, LATE_USER_CLAIM):
            companies.append(
                {
                    "company_id": company.json_id,
                    "modified_time": node_time(joined + timedelta(minutes=3)),
                    "session_token": company.token,
                    "campaign": {},
                }
            )
        if company.id == SHARED_TOKEN_FIRST:
            claim = {"company_id": company.id, "modified_time": node_time(joined + timedelta(days=1))}
            companies.append({**claim, "session_token": SHARED_TOKEN, "campaign": {}})
        for n, user in enumerate(company.users):
            users.append(_user_backfill(user, joined + timedelta(minutes=7 * (n + 1)), rng))
    return companies, users


def _user_backfill(user: User, at: datetime, rng: random.Random) -> Record:
    update: Record = {"user_id": user.id, "company_id": user.company_id, "modified_time": node_time(at)}
    if user.token is not None:
        update["session_token"] = user.token
    update |= {
        "ip_address": random_address(rng),
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
        lines.append(node_json({**claim, "campaign": {}}))
    for company in rng.sample(plan.companies, 0 if is_weekend(day) else 3):
        if company.id in (NEW_COMPANY, NEVER_CALLED) and _signup(plan, company, rng).date() >= day:
            continue
        at = moment_of(day, rng.uniform(20_000, 70_000))
        change: Record = rng.choice(
            (
                {"demographics": {"employees": company.employees + rng.randrange(1, 20)}},
                {"mrr": company.mrr + rng.randrange(5, 50) * 10, "trial": False, "trial.ends_on": None},
                {"tags": ["eu", "beta", company.plan.lower()], "health.score": rng.randrange(100) / 100},
                {"billing": {"terms": {"net.days": 14}, "po.numbers": [f"PO-{rng.randrange(9999):04d}"]}},
            )
        )
        if rng.random() < 0.5:
            update = python_update(company_id=company.id, modified_time=python_time(at), metadata=change)
            lines.append(python_json(update))
        else:
            node = {"company_id": company.json_id, "modified_time": None, "metadata": change, "campaign": {}}
            lines.append(node_json(node))
    return lines


def user_updates_of_day(plan: Plan, index: int) -> list[bytes]:
    """Small changes on some days, and the user that moves to another company."""
    rng = plan.rng("user updates", index)
    day = plan.days[index]
    lines = []
    if index == plan.at(DAY_MOVED):
        at = node_time(moment_of(day, 32_400))
        move = {"user_id": MOVED_USER, "company_id": MOVED_USER_TO, "modified_time": at}
        lines.append(node_json({**move, "metadata": {"title": "Buyer"}, "campaign": {}}))
    people = [u for c in plan.companies if c.id not in (NEW_COMPANY, NEVER_CALLED) for u in c.users]
    for user in rng.sample(people, 0 if is_weekend(day) else 2):
        if rng.random() < 0.5:
            at = python_time(moment_of(day, rng.uniform(20_000, 70_000)))
            seen: Record = {"logins": rng.randrange(1, 90), "prefs": {"dark.mode": True}}
            lines.append(python_json(python_update(user_id=user.id, modified_time=at, metadata=seen)))
        else:
            node: Record = {
                "user_id": user.id,
                "modified_time": None,
                "metadata": {"prefs": {"locale": "en"}},
            }
            lines.append(node_json({**node, "campaign": {}}))
    return lines


def late_claims() -> tuple[bytes, bytes]:
    """The company's and the user's update that say whose tokens have been calling all along."""
    company = {"company_id": LATE_COMPANY_CLAIM, "modified_time": None, "session_token": LATE_TOKEN}
    user = {"user_id": "usr_coppernettle_1", "company_id": LATE_USER_CLAIM, "modified_time": None}
    return (
        node_json({**company, "campaign": {}}),
        node_json({**user, "session_token": LATE_USER_TOKEN, "campaign": {}}),
    )
