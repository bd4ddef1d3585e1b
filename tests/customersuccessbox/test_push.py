"""The push to CustomerSuccessBox: what it adds up to there, whatever happens on the way, and at midnight."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import multiprocessing
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from harness import rows_of
from soak import budget

from dagster_project.destinations import customersuccessbox
from dagster_project.destinations.customersuccessbox import PushResult
from dagster_project.destinations.parts import pace, tables
from dagster_project.destinations.parts.errors import DestinationError
from dagster_project.settings import Settings
from dagster_project.standins.customersuccessbox import DEFAULT_KEY, CustomerSuccessBox, Fault
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.publish import publish

PUSH = "dagster_project.destinations.customersuccessbox.push"
DAY = date(2026, 3, 31)
NOON = datetime(2026, 3, 31, 12)
Key = tuple[str, ...]


@dataclass
class Clock:
    """Goes on by a step each time it is looked at; `moment` by a jump, once."""

    at: datetime = NOON
    step: timedelta = timedelta(0)
    jump_at: int = 0  # the look before which midnight is crossed; 0: never
    looks: int = 0

    def __call__(self) -> datetime:
        self.looks += 1
        self.at += self.step
        if self.looks == self.jump_at:
            self.at = max(self.at, datetime(2026, 4, 1, 0, 0, 1))
        return self.at


@dataclass
class Desk:
    """A published warehouse with these totals of the day, and pushes from it by a clock of its own."""

    folder: Path
    clock: Clock
    totals: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = Settings.model_validate(
            {
                "data": self.folder / "data",
                "raw": self.folder / "raw",
                "customersuccessbox": {"calls_per_second": 1000, "timeout_seconds": 5},
            }
        )

    def publish(self, totals: dict[Key, int], as_of: date = DAY) -> None:
        self.totals = totals
        with open_warehouse(self.settings) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS marts; CREATE SCHEMA IF NOT EXISTS core")
            connection.execute("CREATE OR REPLACE TABLE marts.as_of AS SELECT ?::DATE AS as_of", [as_of])
            connection.execute("""CREATE OR REPLACE TABLE marts.daily_feature_totals (
                day DATE, account_id VARCHAR, user_id VARCHAR, product_id VARCHAR, module_id VARCHAR, feature_id VARCHAR,
                total BIGINT, events BIGINT, first_at TIMESTAMP, last_at TIMESTAMP)""")
            at = datetime(as_of.year, as_of.month, as_of.day, 9)
            for key, total in totals.items():
                connection.execute(
                    "INSERT INTO marts.daily_feature_totals VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
                    [as_of, *key, total, at, at],
                )
            tables.prepare(connection, "csb")
            publish(connection, self.settings)

    def push(self, **more: Any) -> PushResult:
        """Push, and check what must hold after every push."""
        result = customersuccessbox.push(self.settings, live=True, **more)
        assert result.planned == result.sent + result.unknown + result.refused + result.day_over
        last = self.rows("SELECT * FROM ops.csb_pushes ORDER BY push DESC LIMIT 1")[0]
        for name in (
            "planned",
            "sent",
            "unknown",
            "refused",
            "day_over",
            "not_reached",
            "calls",
            "exit_status",
        ):
            assert last[name] == getattr(result, name), name
        return result

    def rows(self, query: str) -> list[dict[str, Any]]:
        return rows_of(self.settings.analytics_file, query)

    def told(self, *states: str) -> Counter[Key]:
        """What the ledger says was added, of these states."""
        found: Counter[Key] = Counter()
        for row in self.rows("FROM ops.csb_ledger"):
            if row["state"] in states:
                found[
                    (
                        str(row["day"]),
                        *(row[n] for n in ("account_id", "user_id", "product_id", "module_id", "feature_id")),
                    )
                ] += row["total"]
        return found

    @property
    def wanted(self) -> Counter[Key]:
        return Counter({(str(DAY), *key): total for key, total in self.totals.items() if total})


def features(count: int, total: Callable[[int], int] = lambda n: n + 1) -> dict[Key, int]:
    return {
        (f"acme{n % 3}", f"user{n}", "", "module" if n % 2 else "", "export"): total(n) for n in range(count)
    }


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path, Clock())
    monkeypatch.setattr(sys.modules[PUSH], "utc_now", lambda: made.clock())
    # Waits are the destination's, not the tests'.
    monkeypatch.setattr(pace, "_REFUSAL_SPAN", 0.01)
    monkeypatch.setattr(pace, "LONGEST_WAIT", 0.01)
    monkeypatch.setattr(pace, "LONGEST_RETRY_AFTER", 0.01)
    monkeypatch.setenv("CSB_API_KEY", DEFAULT_KEY)
    return made


@pytest.fixture
def start(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., CustomerSuccessBox]]:
    """Start a stand-in that goes by the desk's clock (without moving it)."""
    made: list[CustomerSuccessBox] = []

    def begin(faults: Sequence[Fault | None] = ()) -> CustomerSuccessBox:
        box = CustomerSuccessBox(faults=faults, now=lambda: desk.clock.at)
        box.__enter__()
        made.append(box)
        monkeypatch.setenv("CSB_BASE_URL", box.base_url)
        return box

    yield begin
    for box in made:
        box.__exit__()


def test_each_total_is_sent_once_with_its_day_and_type(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start()
    desk.publish({**features(9), ("acme0", "user0", "", "", "none"): 0})
    plan = customersuccessbox.make_plan(desk.settings)
    assert (plan.calls, plan.over, len(plan.rows)) == (9, 0, 9)
    assert box.calls == []
    result = desk.push(digest=plan.digest)
    assert (result.planned, result.sent, result.calls, result.exit_status) == (9, 9, 9, 0)
    assert box.totals == desk.wanted == desk.told("sent")
    assert box.misdated == []
    body = next(call.body for call in box.calls if call.body["user_id"] == "user0")
    assert body == {
        "account_id": "acme0",
        "user_id": "user0",
        "product_id": "",
        "module_id": "",
        "feature_id": "export",
        "total": 1,
        "type": "feature",
        "timestamp": "2026-03-31T09:00:00.000Z",
    }
    assert {row["code"] for row in desk.rows("FROM ops.csb_ledger")} == {"200"}
    again = desk.push()
    assert (again.planned, again.calls, len(box.calls)) == (0, 0, 9)


def test_a_total_that_grew_is_sent_as_the_difference(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start()
    desk.publish(features(3))
    desk.push()
    desk.publish({**features(3, lambda n: n + 1 + 10 * (n == 1)), ("new", "user", "p", "m", "f"): 4})
    result = desk.push()
    assert (result.planned, result.sent) == (2, 2)
    assert sorted(call.body["total"] for call in box.calls[3:]) == [4, 10]
    assert box.totals == desk.wanted
    # What is less now cannot be taken back, and is no row.
    desk.publish(features(3, lambda n: 1))
    plan = customersuccessbox.make_plan(desk.settings)
    assert (plan.calls, plan.ahead) == (0, 3)


def test_a_rehearsal_sends_nothing_and_needs_no_key(
    desk: Desk, start: Callable[..., CustomerSuccessBox], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = start()
    desk.publish(features(3))
    monkeypatch.delenv("CSB_API_KEY")
    result = customersuccessbox.push(desk.settings, live=False)
    assert (result.planned, result.calls, result.exit_status) == (3, 3, 0)
    assert (box.calls, desk.rows("FROM ops.csb_ledger")) == ([], [])
    with pytest.raises(customersuccessbox.MissingKey, match="CSB_API_KEY"):
        customersuccessbox.push(desk.settings, live=True)
    monkeypatch.delenv("CSB_BASE_URL")
    with pytest.raises(customersuccessbox.MissingKey, match="CSB_BASE_URL"):
        customersuccessbox.push(desk.settings, live=True)
    with pytest.raises(DestinationError, match="the plan has changed"):
        customersuccessbox.push(desk.settings, live=False, digest="0123")


def test_a_day_that_is_over_is_listed_and_never_sent(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start()
    desk.publish(features(3))
    desk.clock.at = datetime(2026, 4, 1, 0, 0, 1)
    result = desk.push()
    assert (result.planned, result.day_over, result.calls, result.exit_status) == (3, 3, 0, 1)
    assert box.calls == []
    assert desk.told("day_over") == desk.wanted
    assert desk.push().planned == 0  # listed once


def test_what_would_arrive_within_the_margin_is_not_sent(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start()
    desk.publish(features(3))
    desk.clock.at = datetime(2026, 3, 31, 23, 58)
    assert desk.push().day_over == 3
    desk.publish(features(4))
    desk.clock.at = datetime(2026, 3, 31, 23, 57, 59)
    assert desk.push().sent == 1
    assert len(box.calls) == 1


def test_an_unknown_outcome_is_left_alone_until_it_is_asked_for(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start([Fault(cut=True, adds=True), Fault(cut=True), Fault(body=b""), Fault(body=b"<html>")])
    desk.publish(features(6, lambda _: 5))
    result = desk.push()
    assert (result.planned, result.sent, result.unknown, result.exit_status) == (6, 2, 4, 1)
    assert {row["code"] for row in desk.rows("FROM ops.csb_ledger WHERE state = 'unknown'")} == {
        "NO_ANSWER",
        "200",
    }
    assert desk.push().planned == 0
    # What grows meanwhile is the difference, whatever became of the rest.
    desk.publish(features(6, lambda _: 7))
    grown = desk.push()
    assert (grown.planned, grown.sent) == (6, 6)
    assert {call.body["total"] for call in box.calls[6:]} == {2}
    again = desk.push(retry_unknown=True)
    assert (again.planned, again.sent, again.exit_status) == (4, 4, 0)
    assert desk.told("sent") == desk.wanted
    assert sum(box.totals.values()) == sum(desk.wanted.values()) + 5  # the one that had arrived


def test_429_and_5xx_are_sent_again_and_a_refusal_is_not(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    rain = [Fault(status=code) for code in (429, 500, 503, 429, 502, 504, 429)]
    box = start([*rain, Fault(status=400), Fault(body=b'{"success": false}')])
    desk.publish(features(8))
    result = desk.push()
    assert (result.planned, result.sent, result.refused, result.exit_status) == (8, 6, 2, 0)
    assert result.calls == len(box.calls) == 8 + len(rain)
    assert box.totals == desk.told("sent")
    assert desk.push().planned == 0  # the same was refused
    desk.publish(features(8, lambda n: n + 2))
    assert desk.push().sent == 8
    assert box.totals == desk.wanted


def test_a_key_that_is_not_accepted_stops_the_push_and_costs_no_total(
    desk: Desk, start: Callable[..., CustomerSuccessBox], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = start()
    desk.publish(features(10))
    monkeypatch.setenv("CSB_API_KEY", "another-key")
    result = desk.push()
    assert result.exit_status == 1
    assert "401" in str(result.stopped)
    assert result.planned + result.not_reached == 10
    assert "another-key" not in str(desk.rows("FROM ops.csb_pushes"))
    monkeypatch.setenv("CSB_API_KEY", DEFAULT_KEY)
    assert desk.push().sent == 10
    assert box.totals == desk.wanted


def test_an_outage_stops_the_push_and_the_next_one_goes_on(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start([Fault(status=503)] * 48)
    desk.publish(features(10))
    result = desk.push()
    assert "503 again and again" in str(result.stopped)
    assert desk.push().sent == 10
    assert box.totals == desk.wanted


def test_midnight_is_crossed_at_every_point_of_a_push(
    desk: Desk, start: Callable[..., CustomerSuccessBox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each look at the clock in turn. What was sent is there under its day, and the rest is listed."""
    desk.publish(features(4))
    # One call at a time: the clock jumps when it is looked at, and nothing else is under way then.
    monkeypatch.setattr(sys.modules[PUSH], "MOST_IN_FLIGHT", 1)
    monkeypatch.setattr(sys.modules[PUSH], "publish", lambda *_: None)
    look, looks = 0, 1
    while look <= looks:  # the first time it never jumps
        box = start([None, Fault(status=503), Fault(cut=True, adds=True)])
        desk.clock = Clock(datetime(2026, 3, 31, 23, 50), jump_at=look)
        result = customersuccessbox.push(desk.settings, live=True)
        with duckdb.connect(str(desk.settings.warehouse_file)) as connection:
            (account,) = connection.execute(
                "SELECT planned, sent + unknown + refused + day_over, sent, day_over FROM ops.csb_pushes"
            ).fetchall()
            told = connection.execute("SELECT state, user_id, total FROM ops.csb_ledger").fetchall()
            connection.execute("DELETE FROM ops.csb_ledger; DELETE FROM ops.csb_pushes")
        assert account == (4, 4, result.sent, result.day_over), look
        assert sorted((user, total) for _, user, total in told) == [(f"user{n}", n + 1) for n in range(4)], (
            look
        )
        arrived = sorted((key[2], total) for key, total in box.totals.items())
        sure = {(user, total) for state, user, total in told if state == "sent"}
        perhaps = {(user, total) for state, user, total in told if state == "unknown"}
        assert box.misdated == [], look
        assert sure <= set(arrived) <= sure | perhaps, look
        if look == 0:
            looks = desk.clock.looks
            assert (result.sent, result.unknown, looks > 12) == (3, 1, True)
        look += 1


@pytest.mark.soak
def test_whatever_rains_down_sums_are_right(desk: Desk, start: Callable[..., CustomerSuccessBox]) -> None:
    """Cuts, refusals and outages at random while totals grow; at last what is unknown is all that may differ."""
    for seed in range(budget(2, 20)):
        dice = random.Random(seed)
        kinds = [
            None,
            None,
            None,
            Fault(status=429),
            Fault(status=500),
            Fault(cut=True),
            Fault(cut=True, adds=True),
        ]
        with open_warehouse(desk.settings) as connection:
            tables.prepare(connection, "csb")
            connection.execute("DELETE FROM ops.csb_ledger; DELETE FROM ops.csb_pushes")
        box = start([dice.choice(kinds) for _ in range(200)])
        sizes = [dice.randrange(1, 9) for _ in range(12)]
        for _ in range(3):
            sizes = [size + dice.randrange(3) for size in sizes]
            desk.publish(features(12, sizes.__getitem__))
            desk.push()
        assert desk.told("sent", "unknown") == desk.wanted, seed
        assert desk.told("sent") <= box.totals <= desk.wanted, seed


def _push_and_die(settings: Settings, url: str, at: datetime, sends: int, after: bool) -> None:
    """In a process of its own: a push that is killed before or after its n-th call."""
    from dagster_project.destinations.parts.http import Http

    os.environ |= {"CSB_BASE_URL": url, "CSB_API_KEY": DEFAULT_KEY}
    sys.modules[PUSH].utc_now = lambda: at  # type: ignore[attr-defined]
    send, seen = Http.send, [0]

    def counted(*given: Any, **more: Any) -> Any:
        seen[0] += 1
        if seen[0] == sends and not after:
            os._exit(9)
        answer = send(*given, **more)
        if seen[0] >= sends:
            os._exit(9)
        return answer

    Http.send = counted  # type: ignore[method-assign]
    customersuccessbox.push(settings, live=True)


@pytest.mark.soak
def test_a_push_that_is_killed_again_and_again_sends_nothing_twice(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start()
    turns = budget(3, 10)
    desk.publish(features(8 * turns))  # each kill leaves a few calls whose outcome is unknown
    processes = multiprocessing.get_context("spawn")
    for turn in range(turns):
        killed = processes.Process(
            target=_push_and_die, args=(desk.settings, box.base_url, NOON, 1 + turn % 3, turn % 2 == 0)
        )
        killed.start()
        killed.join(60)
        assert killed.exitcode == 9
    result = desk.push()
    assert result.exit_status == 0
    for row in desk.rows("FROM ops.csb_pushes"):
        assert row["planned"] == row["sent"] + row["unknown"] + row["refused"] + row["day_over"]
    assert desk.told("sent", "unknown") == desk.wanted
    assert desk.told("sent") <= box.totals <= desk.wanted
    assert max(box.totals.values()) <= 8 * turns


def test_a_select_that_cannot_be_used_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk.publish(features(1))
    folder = tmp_path / "project" / "sql" / "outbound"
    folder.mkdir(parents=True)
    planner = sys.modules["dagster_project.destinations.customersuccessbox.planner"]
    monkeypatch.setattr(planner, "project_root", lambda: tmp_path / "project")
    for query, said in (
        ("SELECT 'a' AS account_id, 1 AS total", "it lacks user_id, product_id, module_id, feature_id"),
        ("SELECT * EXCLUDE (first_at, last_at) FROM marts.daily_feature_totals", "it has events"),
        ("SELECT nothing", "nothing"),
    ):
        (folder / "customersuccessbox_features.sql").write_text(query, encoding="utf-8")
        with pytest.raises(DestinationError, match=said):
            customersuccessbox.make_plan(desk.settings)


def test_pseudonyms_of_erased_users_are_told_nobody(
    desk: Desk, start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start()
    desk.publish({("acme", "erased:0123", "", "", "export"): 3, ("acme", "ann", "", "", "export"): 2})
    assert desk.push().sent == 1
    assert [call.body["user_id"] for call in box.calls] == ["ann"]
