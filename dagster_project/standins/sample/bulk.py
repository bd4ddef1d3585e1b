"""A large plain set for measuring, from string templates in constant memory."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from .actions import ACTIONS
from .calls import AGENTS
from .companies import API, SOURCES, Company, Progress, seeded, spread_over
from .crm import CRM_COMPANY_HEADER, CRM_CONTACT_LABELS, crm_company_row
from .features import FEATURES, csv_lines
from .files import join_lines, write_file
from .records import moment_of, node_time, random_address

# The events' keys end in 12 hexadecimal digits that are the running number times an odd number, modulo
# 2**48: no two are the same, and no two neighbours are alike.
_ODD = 0x9E3779B97F4B
_MASK = (1 << 48) - 1
_BLOCK = 20_000  # events that are held in memory
_WHO_BITS = 16  # size of the pool of callers, at least
_CALLS_A_TOKEN = 4  # with a token a login: what a browser sends before it asks for another

# Whose tokens API calls carry: one a company for good, one a user and day, or a new one every few calls of a user.
TOKENS = ("per-company", "per-day", "per-call")


@dataclass(frozen=True)
class Shape:
    """What the events of a bulk set are like. tokens: one of TOKENS. wide: bodies of 2 to 20 KB, 100 keys of metadata."""

    tokens: str = TOKENS[0]
    wide: bool = False


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
    extras: list[str]  # what wide events carry besides: a body and metadata; else nothing


def _bulk_statuses(rng: random.Random) -> list[int]:
    """256 statuses, 5 of them errors: 2 %."""
    statuses = [200] * 190 + [201] * 51 + [204] * 10 + [404, 429, 400, 500, 503]
    rng.shuffle(statuses)
    return statuses


def _bulk_pools(companies: Sequence[Company], seed: int, shape: Shape) -> _Pools:
    rng = seeded(seed, "pools")
    bits = max(_WHO_BITS, (4 * len(companies) - 1).bit_length())
    # Few companies make most of the calls, and each makes some.
    more = spread_over((1 << bits) - len(companies), [1 / (n + 5) for n in range(len(companies))])
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
            if shape.tokens != TOKENS[0]:
                # Its token is the login's, which is not of the pool.
                ids = {"user_id": user.id, "company_id": (company.id, None)[n % 2]}
            who_node.append("".join(f'"{k}":"{v}",' for k, v in ids.items() if v is not None))
            as_json = {k: "null" if v is None else f'"{v}"' for k, v in ids.items()}
            fields = [f'"{k}": {v}, ' for k, v in as_json.items()]
            who_python.append("".join([*fields[:-2], '"tags": null, ', *fields[-2:]]))
    node_calls, python_calls = [], []
    for _ in range(1024):
        verb, path = rng.choice(
            (("GET", "/v1/parcels/"), ("GET", "/v1/rates?zone="), ("POST", "/v1/labels?for="))
        )
        agent, address = rng.choice(AGENTS), random_address(rng)
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
        extras=_wide_extras(seeded(seed, "wide")) if shape.wide else [""],
    )


def _wide_extras(rng: random.Random) -> list[str]:
    """64 texts to put into an event: metadata of 100 keys, some of them nested, and a document of 2 to 20 KB."""
    extras = []
    for n in range(64):
        metadata: dict[str, object] = {f"attribute_{k:02d}": rng.randrange(10**6) for k in range(60)}
        metadata |= {f"label_{k:02d}": f"value {rng.randrange(1000)} of Parcelbook" for k in range(30)}
        metadata |= {f"group_{k}": {"code": rng.randrange(99), "tags": ["a", "b"]} for k in range(10)}
        rows = [
            {"parcel": rng.randrange(10**9), "state": "moving", "at": f"stop {rng.randrange(500)}"}
            for _ in range(30 + n * 4)
        ]
        extras.append(
            f'"metadata":{json.dumps(metadata)},"document":{json.dumps({"rows": rows, "note": "x" * 400})},'
        )
    return extras


def _bulk_block(
    pools: _Pools,
    rng: random.Random,
    day: date,
    first: int,
    count: int,
    per_day: int,
    base: int,
    shape: Shape,
) -> str:
    """The lines of `count` events, from the `first` of the day on; `base` is its running number."""
    # Local names: this loop is the whole cost of a bulk run.
    seconds, millis, keys = pools.seconds, pools.millis, pools.keys
    who_node, who_python = pools.who_node, pools.who_python
    node_calls, python_calls = pools.node_calls, pools.python_calls
    node_answers, python_answers = pools.node_answers, pools.python_answers
    shift = 64 - (len(who_node) - 1).bit_length()
    extras, mask = pools.extras, len(pools.extras) - 1
    by_login, daily = shape.tokens != TOKENS[0], shape.tokens == "per-day"
    token, no_metadata = "", "" if shape.wide else '"metadata": null, '
    date_text, day_of_year = f"{day}T", f"{day:%j}"
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
        who = bits >> shift
        if by_login:
            # A login is of one caller: who calls goes by the login, not the other way round.
            login = who if daily else (base + n) // _CALLS_A_TOKEN * _ODD & _MASK
            who = login % len(who_node)
            token = f'"session_token":"ses_{day_of_year}_{login:x}",'
        more = token + extras[bits & mask]
        if item & 3:
            before, between, after = node_calls[bits & 1023]
            head, tail = node_answers[answer]
            lines.append(
                f"{node_start}{second}{millis[begun]}Z{before}{item}{between}{key}{after}"
                f"{date_text}{second}{ended}Z{head}{key}{tail}"
                f'{more}{who_node[who]}"direction":"Incoming","weight":1}}\n'
            )
        else:
            before, after = python_calls[bits & 1023]
            lines.append(
                f"{python_start}{second}{millis[begun]}{before}{item}{after}{date_text}{second}{ended}"
                f"{python_answers[answer]}{more}{who_python[who]}{no_metadata}"
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
    shape: Shape,
) -> int:
    rng = seeded(seed, "bulk events")
    for index, day in enumerate(days):
        folder = out / "events" / f"dt={day}"
        folder.mkdir(parents=True)
        for number, start in enumerate(range(0, per_day, rows_per_file), start=1):
            end = min(per_day, start + rows_per_file)
            path = folder / f"events-{number:03d}.jsonl"
            with path.open("wb") as file:
                for first in range(start, end, _BLOCK):
                    count = min(_BLOCK, end - first)
                    block = _bulk_block(pools, rng, day, first, count, per_day, index * per_day, shape)
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
    features = [json.dumps(feature) for _, _, feature in FEATURES]
    for company in companies:
        bits = rng.getrandbits(64)
        user = company.users[bits % len(company.users)]
        second = bits >> 8 & 0xFFFF  # the first 18 hours
        at = f"{day}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{bits >> 24 & 511:03d}Z"
        lines["actions"].append(
            f'{{"action_name":"{ACTIONS[(bits >> 33) % len(ACTIONS)]}","user_id":"{user.id}",'
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
            which = (bits >> (36 + 4 * n)) % len(FEATURES)
            product, module, _ = FEATURES[which]
            lines["features"].append(
                f'{{"account_id":"{company.id}","user_id":"{user.id}","product_id":"{product}",'
                f'"module_id":"{module or ""}","feature_id":{features[which]},"total":{1 + (bits >> n & 7)},'
                f'"type":"feature","timestamp":"{at}"}}\n'
            )
    return lines


def _write_text(path: Path, lines: Sequence[str]) -> int:
    write_file(path, "".join(lines).encode())
    return len(lines)


def generate_bulk(
    out: Path,
    days: Sequence[date],
    companies: Sequence[Company],
    per_day: int,
    seed: int,
    rows: int,
    progress: Progress,
    shape: Shape,
) -> dict[str, int]:
    counts = dict.fromkeys(SOURCES, 0)
    pools = _bulk_pools(companies, seed, shape)
    counts["events"] = _bulk_events(out, days, pools, per_day, seed, rows, progress, shape)
    start = node_time(moment_of(days[0] - timedelta(days=20), 36_000))
    company_lines: list[str] = []
    user_lines: list[str] = []
    for company in companies:
        of_company, of_users = _bulk_backfill(company, start)
        company_lines.append(of_company)
        user_lines += of_users
    counts["companies"] += _write_text(out / "companies" / "backfill.jsonl", company_lines)
    counts["users"] += _write_text(out / "users" / "backfill.jsonl", user_lines)
    rng = seeded(seed, "bulk updates")
    for day in days:
        for source, lines in _bulk_day(companies, day, rng).items():
            counts[source] += _write_text(out / source / f"dt={day}" / f"{source}.jsonl", lines)
        progress(f"updates and feature events of {day}")
    company_rows = [crm_company_row(n, c.name, c.domain, c) for n, c in enumerate(companies, start=1)]
    lines_of_rows = csv_lines(CRM_COMPANY_HEADER, company_rows)
    write_file(out / "crm" / "companies" / "hubspot-companies.csv", join_lines(lines_of_rows))
    counts["crm/companies"] = len(company_rows)
    contact_rows = [
        [str(110_000_000_000 + n), u.first_name, u.last_name, u.email, u.phone, "lead", "2026-01-20 09:00"]
        for n, u in enumerate((u for c in companies for u in c.users), start=1)
    ]
    write_file(
        out / "crm" / "contacts" / "hubspot-contacts.csv",
        join_lines(csv_lines(CRM_CONTACT_LABELS, contact_rows)),
    )
    counts["crm/contacts"] = len(contact_rows)
    return counts
