"""``python -m dagster_project.standins.hubspot``: one HubSpot account in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import gc
import json
import signal
import sys
import threading
from pathlib import Path

from . import exports
from .app import DEFAULT_TOKEN, Emulator
from .errors import ApiError
from .faults import Fault
from .limits import Limits
from .options import Options


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m dagster_project.standins.hubspot", description=__doc__)
    made.add_argument("--port", type=int, default=8765, help="0 takes a free one")
    made.add_argument(
        "--companies", type=int, help="made-up companies at the start; 20, or with --from-export none"
    )
    made.add_argument(
        "--contacts", type=int, help="made-up contacts at the start; 50, or with --from-export none"
    )
    made.add_argument(
        "--records", type=Path, help='JSON file: {"companies": [{"domain": …}], "contacts": […]}'
    )
    made.add_argument(
        "--from-export",
        type=Path,
        metavar="FOLDER",
        help="stand for the account that CRM exports came from: a folder with companies/ and contacts/, such as raw/crm",
    )
    made.add_argument(
        "--custom-object",
        action="append",
        default=[],
        metavar="NAME",
        help="an object of the account's own, besides contacts, companies and deals; may be given again",
    )
    made.add_argument("--seed", type=int, default=1, help="same seed, same records, order and chance")
    made.add_argument("--rate", type=int, default=190, help="calls in ten seconds; 0 lifts the limit")
    made.add_argument("--daily", type=int, default=625_000, help="calls a day; 0 lifts the limit")
    made.add_argument("--search-rate", type=int, default=5, help="searches a second; 0 lifts the limit")
    made.add_argument("--time-zone", default="UTC", help="the account's, where its day turns")
    made.add_argument("--token", default=DEFAULT_TOKEN, help="the access token that is accepted")
    made.add_argument("--scope", action="append", help="grant only these scopes (repeat)")
    made.add_argument("--account-type", default="DEVELOPER_TEST", help="STANDARD, SANDBOX, DEVELOPER_TEST")
    made.add_argument("--search-lag", type=float, default=2.0, help="seconds until search sees a write")
    made.add_argument("--latency", type=float, default=0.0, help="seconds added to each answer")
    made.add_argument("--faults", type=Path, help="JSON file: a list of faults")
    made.add_argument(
        "--update-invalid",
        choices=("whole_call", "multi_status"),
        default="whole_call",
        help="a refused value in a batch update with trace ids",
    )
    return made


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        faults = (
            [Fault.from_json(item) for item in json.loads(args.faults.read_text())] if args.faults else []
        )
        records = json.loads(args.records.read_text(encoding="utf-8")) if args.records else {}
        limits = Limits(
            args.rate or None, args.daily or None, args.search_rate or None, time_zone=args.time_zone
        )
        hub = Emulator(
            args.port,
            seed=args.seed,
            companies=args.companies if args.companies is not None else 0 if args.from_export else 20,
            contacts=args.contacts if args.contacts is not None else 0 if args.from_export else 50,
            limits=limits,
            faults=faults,
            options=Options(
                search_lag=args.search_lag,
                latency=args.latency,
                update_invalid=args.update_invalid,
                custom_objects=tuple(args.custom_object),
            ),
            tokens=(args.token,),
            scopes=frozenset(args.scope) if args.scope else None,
            account_type=args.account_type,
        )
        if args.from_export:
            placed = exports.load(hub.store, args.from_export)
            print(f"from the exports: {placed['companies']} companies, {placed['contacts']} contacts")
        for kind, rows in records.items():
            for row in rows:
                hub.store.put(kind, row)
    except (OSError, ValueError, KeyError, ApiError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    gc.freeze()  # a large account is nothing for the collector to look through again and again
    gc.set_threshold(100_000, 20, 100)
    stopped = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopped.set())
    with hub:
        print(f"HubSpot emulator on {hub.base_url}")
        print(f"HUBSPOT_BASE_URL={hub.base_url} HUBSPOT_ACCESS_TOKEN={args.token}", flush=True)
        stopped.wait()
    return 0
