"""The HubSpot push at full size, against the emulator: calls, faults, kills, throughput, memory.

Prints a table: what must hold, what was found; ends with 1 where something does not hold. The emulator and each
command are processes of their own. What is measured at the account's rate (--rate) are the first push and
the change of a field of every contact; faults, kills and memory are tried without a rate limit, to save time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import requests
from rich.console import Console
from rich.table import Table

from .measuring import Measured, measure

_DAY = datetime.now(UTC).date() - timedelta(days=1)
_INTERVAL = 10.0
_KNOWN = 10  # of so many records, one is in HubSpot already
_WRITES = r"/batch/(create|update)$"
_FAULTS: list[dict[str, Any]] = [
    {"do": "rate", "probability": 0.005},
    {"do": "rate", "policy": "SECONDLY", "probability": 0.005},
    {"do": "rate", "policy": "DAILY", "nth": 400, "times": 1},
    *({"do": "status", "status": status, "probability": 0.004} for status in (423, 477, 502, 503, 504)),
    {"do": "status", "status": 500, "path": _WRITES, "when": "after", "probability": 0.01},
    {"do": "status", "status": 503, "path": _WRITES, "when": "after", "html": True, "probability": 0.01},
    *({"do": "cut", "when": when, "probability": 0.008} for when in ("before", "after", "mid")),
    {"do": "cut", "when": "after", "reset": True, "path": _WRITES, "probability": 0.008},
    *({"do": "empty", "when": when, "path": _WRITES, "probability": 0.008} for when in ("before", "after")),
    {"do": "conflict", "path": _WRITES, "probability": 0.008},
    {"do": "hang", "seconds": 6, "path": _WRITES, "probability": 0.003},
]


class Hub:
    """An emulator in a process of its own."""

    def __init__(self, *, rate: int = 0) -> None:
        command = [sys.executable, "-m", "dagster_project.standins.hubspot", "--port", "0", "--daily", "0"]
        command += ["--companies", "0", "--contacts", "0", "--rate", str(rate)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        told = dict(part.split("=", 1) for part in self._process.stdout.readline().split())
        self.environment = told
        self._url = told["HUBSPOT_BASE_URL"] + "/__emulator__/"

    def ask(self, action: str, body: Any = None) -> Any:
        url = self._url + action
        answer = (
            requests.get(url, timeout=120) if body is None else requests.post(url, json=body, timeout=120)
        )
        answer.raise_for_status()
        return answer.json()

    def calls(self) -> list[dict[str, Any]]:
        """The calls since the last time."""
        calls: list[dict[str, Any]] = self.ask("calls")["calls"]
        self.ask("forget", {})
        return calls

    def content(self) -> tuple[str, dict[str, int]]:
        """A digest of what is stored, ids aside, and the number of records."""
        state = self.ask("state?fingerprint=1")
        return state["fingerprint"], {kind: held["records"] for kind, held in state["objects"].items()}

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def account(size: Size, *, rate: int = 0) -> Iterator[Hub]:
    """An account in which some of the records are known already."""
    hub = Hub(rate=rate)
    try:
        records = {
            "companies": [{"domain": size.domain(i)} for i in range(0, size.companies, _KNOWN)],
            "contacts": [{"email": size.email(i)} for i in range(0, size.contacts, _KNOWN)],
        }
        hub.ask("seed", {"records": records})
        yield hub
    finally:
        hub.stop()


@dataclass(frozen=True)
class Size:
    companies: int
    contacts: int

    def domain(self, i: int) -> str:
        return f"firm{i % self.companies}.example"

    def email(self, i: int) -> str:
        return f"user{i}@{self.domain(i)}"


class Place:
    """A warehouse in a folder of its own."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder, self.size = folder, size
        self.data = folder / "data"

    def make(self) -> Place:
        """Raw files, and the tables that follow from them."""
        size, at = self.size, f"{_DAY - timedelta(days=20)}T00:00:00Z"
        self._drop(
            "companies/a.jsonl",
            (
                {"company_id": f"company{i}", "company_domain": size.domain(i), "modified_time": at}
                for i in range(size.companies)
            ),
        )
        self._drop(
            "users/a.jsonl",
            (
                {"user_id": f"user{i}", "modified_time": at, "metadata": {"email": size.email(i)}}
                for i in range(size.contacts)
            ),
        )
        self.use(range(size.contacts), "a", hour=12)
        self.run()
        return self

    def copy(self, folder: Path) -> Place:
        shutil.copytree(self.folder, folder)
        return Place(folder, self.size)

    def use(self, users: Sequence[int], name: str, hour: int = 11) -> None:
        """Users use a feature once more: that changes one field of theirs (and of no company with a domain)."""
        self._drop(
            f"features/{name}.jsonl",
            (
                {
                    "account_id": "no-domain",
                    "user_id": f"user{i}",
                    "feature_id": "export",
                    "timestamp": f"{_DAY}T{hour}:00:00Z",
                }
                for i in users
            ),
        )

    def _drop(self, path: str, records: Iterator[dict[str, Any]]) -> None:
        file = self.data / "raw" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(record) + "\n" for record in records)

    def run(self) -> None:
        measure([*_COMMAND, "run", "--as-of", str(_DAY)], self.environment())

    def environment(self, hub: Hub | None = None) -> dict[str, str]:
        config = self.folder / "warehouse.toml"
        config.write_text("[hubspot]\ntimeout_seconds = 2\n", encoding="utf-8")
        given = {"WAREHOUSE_DATA": str(self.data), "WAREHOUSE_RAW": "", "DAGSTER_HOME": ""}
        return {**given, "WAREHOUSE_CONFIG": str(config), **(hub.environment if hub else {})}

    def plan(self, hub: Hub) -> tuple[int, str]:
        """Calls and digest."""
        done = subprocess.run(
            [sys.executable, "-c", _PLAN],
            env={**os.environ, **self.environment(hub)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        calls, digest = done.stdout.split()
        return int(calls), digest

    def start_push(self, hub: Hub) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*_COMMAND, "push", "--live"],
            env={**os.environ, **self.environment(hub)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def push(self, hub: Hub) -> Measured:
        return measure([*_COMMAND, "push", "--live"], self.environment(hub))

    def init(self, hub: Hub) -> None:
        measure([*_COMMAND, "hubspot-init", "--live"], self.environment(hub))
        hub.calls()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.data / "analytics.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def accounts_balance(self) -> bool:
        return not self.ask("FROM ops.hubspot_pushes WHERE planned <> acknowledged + rejected + skipped")


_COMMAND = [sys.executable, "-m", "dagster_project.cli"]
_PLAN = """
from dagster_project.destinations import hubspot
from dagster_project.settings import load_settings
plan = hubspot.make_plan(load_settings())
print(plan.calls, plan.digest)
"""


class Report:
    """What must hold, and what was found."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.failed = console, 0
        self.table = Table(title=title, title_justify="left")
        for column in ("what", "must be", "found", ""):
            self.table.add_column(column)
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(f"{time.monotonic() - self._start:5.0f} s  {text}")

    def expect(self, what: str, must_be: Any, found: Any) -> None:
        self.note(what, _text(must_be), _text(found), must_be == found)

    def note(self, what: str, must_be: str, found: str, holds: bool) -> None:
        self.table.add_row(what, must_be, found, "ok" if holds else "NOT SO")
        self.failed += not holds
        self.say(f"{what}: {found}{'' if holds else ', NOT ' + must_be}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def check_calls(
    report: Report, place: Place, folder: Path, rate: int
) -> tuple[tuple[str, dict[str, int]], float]:
    """Nothing goes wrong, at the account's rate. Returns what HubSpot holds after the first push, and its memory."""
    place = place.copy(folder)
    with account(place.size, rate=rate) as hub:
        place.init(hub)
        calls, digest = place.plan(hub)
        hub.calls()
        used = place.push(hub)
        made = hub.calls()
        report.expect("first push: write calls, as the plan announced", calls, len(_writes(made)))
        report.expect(
            "first push: its digest is the plan's",
            True,
            place.ask("SELECT digest FROM ops.hubspot_pushes ORDER BY push DESC LIMIT 1") == [(digest,)],
        )
        _throughput(report, "first push", made, rate)
        report.say(f"first push: {used.wall:.0f} s in all, {used.cpu:.0f} s CPU, peak {used.peak_mb:.0f} MB")
        peak_mb = used.peak_mb
        held = hub.content()
        report.expect(
            "records after the first push", place.size.companies + place.size.contacts, sum(held[1].values())
        )
        used = place.push(hub)
        report.expect("second push: write calls", 0, len(_writes(hub.calls())))
        report.say(f"second push: {used.wall:.1f} s, {used.cpu:.1f} s CPU")
        place.use([1], "one")
        place.run()
        place.push(hub)
        report.expect(
            "one field changed: records in its write calls",
            [1],
            [call["inputs"] for call in _writes(hub.calls())],
        )
        report.expect("one field changed: values acknowledged", 1, _acknowledged(place))
        place.use(range(place.size.contacts), "all")
        place.run()
        used = place.push(hub)
        made = hub.calls()
        report.expect(
            "a field of every contact: write calls", -(-place.size.contacts // 100), len(_writes(made))
        )
        report.expect(
            "a field of every contact: values acknowledged", place.size.contacts, _acknowledged(place)
        )
        _throughput(report, "a field of every contact", made, rate)
        report.say(
            f"a field of every contact: {used.wall:.0f} s in all, {used.cpu:.0f} s CPU, peak {used.peak_mb:.0f} MB"
        )
        report.expect("429s", 0, hub.ask("state")["limits"]["refused"])
        report.expect("planned = acknowledged + rejected + skipped", True, place.accounts_balance())
    return held, peak_mb


def check_faults(report: Report, place: Place, folder: Path, held: tuple[str, dict[str, int]]) -> None:
    place = place.copy(folder)
    with account(place.size) as hub:
        place.init(hub)
        hub.ask("faults", {"faults": _FAULTS})
        pushes = _until_done(place, hub)
        state = hub.ask("state")
        fired = sum(fault["fired"] for fault in state["faults"])
        report.say(f"{fired} faults in {state['calls']['calls']:,} calls, {pushes} pushes")
        report.expect("all faults on: what HubSpot holds is the same", True, hub.content() == held)
        report.expect(
            "all faults on: planned = acknowledged + rejected + skipped", True, place.accounts_balance()
        )
        most = state["limits"]["maxRefusedIn10s"]
        report.note("all faults on: most 429s in 10 s", "at most 4", str(most), most <= 4)


def check_kills(
    report: Report, place: Place, folder: Path, held: tuple[str, dict[str, int]], kills: int
) -> None:
    place = place.copy(folder)
    chance = random.Random(3)
    with account(place.size) as hub:
        place.init(hub)
        killed = while_sending = 0
        longest = 10.0
        while killed < kills:
            process = place.start_push(hub)
            # Every third at any moment; the others once it writes, which is where it could do harm.
            while killed % 3 and process.poll() is None and not hub.ask("state")["calls"].get("writes"):
                time.sleep(0.1)
            try:
                process.wait(chance.uniform(0.0, longest))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                while_sending += bool(_writes(hub.calls()))
            else:
                longest /= 2
                hub.calls()
        _until_done(place, hub)
        hub.calls()
        report.say(f"killed {killed} times, {while_sending} of them while it was sending")
        report.expect(f"killed {killed} times: what HubSpot holds is the same", True, hub.content() == held)
        report.expect(
            f"killed {killed} times: planned = acknowledged + rejected + skipped",
            True,
            place.accounts_balance(),
        )
        place.push(hub)
        report.expect(f"killed {killed} times: writes of one more push", 0, len(_writes(hub.calls())))


def check_memory(report: Report, folder: Path, sizes: Sequence[Size], known: dict[int, float]) -> None:
    """Peak memory of a first push, by size; of some sizes it is known."""
    peaks: list[float] = []
    for size in sizes:
        if size.contacts in known:
            peaks.append(known[size.contacts])
            continue
        place = Place(folder / str(size.contacts), size).make()
        with account(size) as hub:
            place.init(hub)
            peaks.append(place.push(hub).peak_mb)
        shutil.rmtree(place.folder)
        report.say(f"{size.contacts:,} contacts: peak {peaks[-1]:.0f} MB")
    found = ", ".join(f"{peak:.0f} MB at {size.contacts:,}" for peak, size in zip(peaks, sizes, strict=True))
    report.note(
        "peak memory of a first push",
        "no more than 1.5 times the smallest",
        found,
        max(peaks) <= 1.5 * min(peaks),
    )


def _until_done(place: Place, hub: Hub) -> int:
    for number in range(1, 20):
        if place.start_push(hub).wait() == 0:
            return number
    raise SystemExit("the push does not come to an end")


def _writes(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [call for call in calls if call["operation"].endswith(("batch_create", "batch_update"))]


def _acknowledged(place: Place) -> int:
    return int(
        place.ask("""
        SELECT count(*) FROM ops.hubspot_ledger
        WHERE acknowledged_at >= (SELECT max(started_at) FROM ops.hubspot_pushes)""")[0][0]
    )


def _throughput(report: Report, what: str, calls: list[dict[str, Any]], rate: int) -> None:
    """How long it takes for as many calls as the limit allows in an interval, from the first write on."""
    first_write = min(call["at"] for call in _writes(calls))
    times = sorted(call["at"] for call in calls if call["at"] >= first_write)
    spans = [later - earlier for earlier, later in zip(times, times[rate:], strict=False)]
    if spans:
        mean = sum(spans) / len(spans)
        report.note(
            f"{what}: seconds for {rate} calls, mean",
            f"{_INTERVAL:.0f}, at most 5 % more",
            f"{mean:.2f} ({mean / _INTERVAL - 1:+.1%}); {len(times):,} calls in {times[-1] - times[0]:.0f} s",
            mean <= 1.05 * _INTERVAL,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--companies", type=int, default=10_000)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=190, help="calls in 10 s that the account allows")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", choices=("calls", "faults", "kills", "memory"), help="one part of it")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="warehouse-bench-"))
    size = Size(options.companies, options.contacts)
    report = Report(
        Console(width=None if sys.stdout.isatty() else 140),
        f"{size.companies:,} companies, {size.contacts:,} contacts, {os.cpu_count()} cores",
    )
    try:
        report.say("building the warehouse")
        place = Place(folder / "built", size).make()
        peaks: dict[int, float] = {}
        if options.only in (None, "calls"):
            held, peaks[size.contacts] = check_calls(report, place, folder / "calls", options.rate)
        elif options.only != "memory":
            with account(size) as hub:
                undisturbed = place.copy(folder / "undisturbed")
                undisturbed.init(hub)
                undisturbed.push(hub)
                held = hub.content()
        if options.only in (None, "faults"):
            check_faults(report, place, folder / "faults", held)
        if options.only in (None, "kills"):
            check_kills(report, place, folder / "kills", held, options.kills)
        if options.only in (None, "memory"):
            sizes = [
                Size(max(size.companies * part // 10, 1), size.contacts * part // 10) for part in (1, 5, 10)
            ]
            check_memory(report, folder / "memory", sizes, peaks)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.console.print(report.table)
    sys.exit(int(report.failed > 0))


if __name__ == "__main__":
    main()
