"""Custom actions of a day."""

from __future__ import annotations

from typing import Any

from .companies import (
    DAY_IDLE_SIGNUP,
    DAY_NEW,
    DAY_NEW_CALLS,
    DAY_QUIET,
    GONE_QUIET,
    NEVER_CALLED,
    NEW_COMPANY,
    Company,
    Plan,
    Record,
    is_weekend,
)
from .records import moment_of, node_time, random_address

ACTIONS = ("Viewed Pricing", "Created API Key", "Invited Teammate", "Opened Invoice", "Read Docs")


def make_action(
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
        if not new and (rng.random() > (0.15 if is_weekend(day) else 0.5) or is_absent(plan, company, index)):
            continue
        name = "Signed Up" if new else rng.choice(ACTIONS)
        request: Record = {"uri": "https://www.parcelbook.example/pricing?utm_source=newsletter"}
        if new or rng.random() < 0.5:
            request["time"] = node_time(moment_of(day, rng.uniform(30_000, 70_000)))
        request |= {"ip_address": random_address(rng), "user_agent_string": "Mozilla/5.0"}
        user = rng.choice(company.users)
        metadata = {"button.label": "Get Started", "position": rng.randrange(9)}
        actions.append(
            make_action(name, request, company.json_id if rng.random() < 0.6 else None, user.id, metadata)
        )
    return actions


def is_absent(plan: Plan, company: Company, index: int) -> bool:
    """Not there yet, not there any more, or never there at all."""
    return (
        company.id == NEVER_CALLED
        or (company.id == GONE_QUIET and index >= plan.at(DAY_QUIET))
        or (company.id == NEW_COMPANY and index < plan.at(DAY_NEW_CALLS))
    )
