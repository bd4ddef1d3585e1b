"""Notifications: who entered or left a cohort is told to a webhook, once, whatever happens on the way."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import webhook
from harness import Row, Warehouse
from test_definitions import materialize
from test_erase import erased

from dagster_project.destinations import notifications
from dagster_project.destinations.notifications import Told, sending
from dagster_project.models import cohorts
from dagster_project.warehouse.database import open_published, open_warehouse
from dagster_project.warehouse.models import ModelError

DAY = date(2026, 3, 31)
BUSY = "SELECT company_id FROM marts.company_profiles WHERE calls_30d >= 2"
PORTAL = "http://127.0.0.1:8321"


def call(company: str, weight: int = 2, day: date = DAY, **more: Any) -> Row:
    return {"request": {"time": f"{day}T10:00:00Z"}, "company_id": company, "weight": weight, **more}


class Nights:
    def __init__(self, folder: Path, **sections: Any) -> None:
        # One try: pauses between more would take seconds.
        self.warehouse = Warehouse(folder, alerts={"attempts": 1, "timeout_seconds": 5}, **sections)
        self.number = 0

    def night(self, *calls: Row, as_of: date = DAY, full: bool = False) -> None:
        if calls:
            self.warehouse.put(f"events/{self.number}.jsonl", calls)
        at = datetime(2026, 4, 1, self.number)
        self.warehouse.night(as_of, at, run_id=str(self.number), full=full)
        self.number += 1

    def tell(self) -> Told:
        with open_warehouse(self.warehouse.settings) as connection:
            return notifications.tell(connection, self.warehouse.settings)

    def states(self) -> dict[tuple[str, str], tuple[str, int]]:
        rows = self.warehouse.table("ops.notifications")
        return {(row["id"], row["change"]): (row["state"], row["tries"]) for row in rows}


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[webhook.Webhook]:
    with webhook.listening() as listening:
        monkeypatch.setenv("WAREHOUSE_ALERT_WEBHOOK", listening.url)
        yield listening


@pytest.fixture(autouse=True)
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a cohort file; at first `busy`, of which is told who enters and who leaves."""
    folder = tmp_path / "project" / "sql" / "cohorts"
    folder.mkdir(parents=True)
    monkeypatch.setattr(cohorts, "project_root", lambda: tmp_path / "project")

    def write(header: str, query: str = BUSY, name: str = "company__busy") -> None:
        (folder / f"{name}.sql").write_text(f"-- Who calls.\n{header}\n{query}\n", encoding="utf-8")

    write("-- notify: entered, left")
    return write


def test_each_change_is_told_once(tmp_path: Path, hook: webhook.Webhook) -> None:
    nights = Nights(tmp_path)
    nights.warehouse.put("companies/a.jsonl", [{"company_id": "acme", "metadata": {"name": "Acme <Ltd>|*"}}])
    then = date(2026, 2, 20)
    nights.night(call("acme", day=then), call("b & c/d", day=then), call("few", 1, then), as_of=then)
    assert nights.tell().sent == 2
    changes = f"{PORTAL}/cohorts/changes?cohort=busy&entity=company"
    assert hook.texts.pop().splitlines() == [
        f"*<{changes}|busy>* (companies): 2 entered",
        f"• entered: <{PORTAL}/company?id=acme|Acme &lt;Ltd&gt;/*> (acme)",
        f"• entered: <{PORTAL}/company?id=b+%26+c%2Fd|b &amp; c/d>",
    ]
    assert nights.states() == {("acme", "entered"): ("sent", 1), ("b & c/d", "entered"): ("sent", 1)}
    # Nothing new; a full rebuild; another one enters as others leave.
    nights.night(as_of=then)
    nights.night(as_of=then, full=True)
    assert nights.tell() == Told()
    nights.night(call("few", 5))
    nights.tell()
    (text,) = hook.texts
    assert "(companies): 1 entered, 2 left" in text
    assert text.count("• left: ") == 2
    assert f"• entered: <{PORTAL}/company?id=few|few>" in text
    assert nights.tell() == Told()


def test_a_message_names_so_many_and_counts_the_others(tmp_path: Path, hook: webhook.Webhook) -> None:
    nights = Nights(tmp_path, notifications={"lines": 3}, portal={"url": "https://usage.example/"})
    nights.night(*(call(f"c{n}") for n in range(7)))
    nights.tell()
    lines = hook.texts[0].splitlines()
    assert [line.partition("|")[2] for line in lines[1:4]] == ["c0>", "c1>", "c2>"]
    assert lines[4:] == ["• … and 4 more"]
    assert "<https://usage.example/company?id=c0|" in lines[1]
    assert {state for state, _ in nights.states().values()} == {"sent"}


def test_a_message_is_never_longer_than_slack_takes(tmp_path: Path, hook: webhook.Webhook) -> None:
    nights = Nights(tmp_path, notifications={"lines": 50})
    nights.night(*(call(f"{n:02d}" + "\N{GRINNING FACE}" * 200) for n in range(50)))
    nights.tell()
    assert 100 < len(hook.texts[0]) < 3600
    assert hook.texts[0].splitlines()[-1].endswith(" more")


def test_what_was_refused_is_sent_with_the_next_run(tmp_path: Path, hook: webhook.Webhook) -> None:
    nights = Nights(tmp_path)
    hook.answers = [500, 429, 404]
    nights.night(call("acme"))
    for tries, status in enumerate(tuple(hook.answers), 1):
        told = nights.tell()
        assert told.sent == 0
        assert f"HTTP status {status}" in told.problems[0]
        assert "s3cret" not in told.problems[0]
        assert nights.states() == {("acme", "entered"): ("waiting", tries)}
    nights.night(call("beta"))
    assert nights.tell().sent == 2
    assert nights.tell() == Told()
    assert len(hook.texts) == 4
    assert "2 entered" in hook.texts[-1]


def test_what_may_have_arrived_is_not_sent_again(tmp_path: Path, hook: webhook.Webhook) -> None:
    nights = Nights(tmp_path)
    hook.answers = [0]
    nights.night(call("acme"))
    assert "not sent again" in nights.tell().problems[0]
    assert nights.states() == {("acme", "entered"): ("unknown", 1)}
    assert nights.tell() == Told()
    assert len(hook.texts) == 1


def test_a_run_that_is_killed_while_it_tells_does_not_tell_twice(
    tmp_path: Path, hook: webhook.Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = Nights(tmp_path)
    nights.night(call("acme"))
    real = sending.post
    for moment in ("before", "after"):

        def killed(*given: Any, moment: str = moment) -> Any:
            if moment == "after":
                real(*given)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(sending, "post", killed)
            with pytest.raises(KeyboardInterrupt):
                nights.tell()
        assert nights.tell().changed
        nights.night(call("beta"))
    assert nights.states() == {("acme", "entered"): ("unknown", 1), ("beta", "entered"): ("unknown", 1)}
    assert len(hook.texts) == 1


def test_cohorts_may_have_webhooks_of_their_own(
    tmp_path: Path, hook: webhook.Webhook, monkeypatch: pytest.MonkeyPatch, cohort: Callable[..., None]
) -> None:
    cohort("-- notify: left\n-- notify_to: Sales", name="company__other")
    cohort("-- Nobody is told.", name="company__quiet")
    cohort("-- notify: entered\n-- notify_to: people", "SELECT user_id FROM marts.user_profiles", "user__all")
    monkeypatch.setenv("WAREHOUSE_WEBHOOK_SALES", hook.url + "/sales")
    nights = Nights(tmp_path)
    nights.night(call("acme", user_id="jo"))
    told = nights.tell()
    assert told.sent == 1
    assert told.problems == ["1 notifications wait: set WAREHOUSE_WEBHOOK_PEOPLE"]
    monkeypatch.setenv("WAREHOUSE_WEBHOOK_PEOPLE", "file:///etc/s3cret")
    assert "s3cret" not in nights.tell().problems[0]
    monkeypatch.setenv("WAREHOUSE_WEBHOOK_PEOPLE", hook.url)
    assert nights.tell().sent == 1
    nights.night(as_of=date(2026, 6, 1))
    assert nights.tell().sent == 2
    assert [text.partition("|")[2].partition(">")[0] for text in hook.texts] == [
        "busy",
        "all",
        "other",
        "busy",
    ]


def test_a_webhook_that_is_not_there_is_tried_again(
    tmp_path: Path, hook: webhook.Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_ALERT_WEBHOOK", "http://127.0.0.1:9/s3cret")
    nights = Nights(tmp_path)
    nights.night(call("acme"))
    assert "no connection" in nights.tell().problems[0]
    assert nights.states() == {("acme", "entered"): ("waiting", 1)}
    monkeypatch.setenv("WAREHOUSE_ALERT_WEBHOOK", hook.url)
    assert nights.tell().sent == 1


def test_who_is_erased_is_told_of_no_more(tmp_path: Path, hook: webhook.Webhook) -> None:
    nights = Nights(tmp_path)
    nights.night(call("acme"), call("gone"))
    nights.tell()
    nights.night(call("late"))
    erasure = erased(nights.warehouse, companies=["gone", "late"])
    assert erasure.elsewhere == {"Chat (notifications)": [("message about a company", "gone")]}
    assert set(nights.states()) == {("acme", "entered")}
    nights.night()
    assert nights.tell() == Told()


def test_a_run_tells_when_it_has_published_and_publishes_what_it_told(
    tmp_path: Path, hook: webhook.Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = Nights(tmp_path)
    nights.night(call("acme"))
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    shown = materialize("analytics")
    assert "acme" not in str(shown)
    assert len(hook.texts) == 1
    with open_published(nights.warehouse.settings) as published:
        assert published.execute("SELECT id, state FROM ops.notifications").fetchall() == [("acme", "sent")]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("-- notify: came", "must be entered, left"),
        ("-- notify_to: sales", "goes with it"),
        ("-- notify: left\n-- notify_to: the sales", "must be letters"),
    ],
)
def test_a_header_that_cannot_be_used_is_named(header: str, said: str, cohort: Callable[..., None]) -> None:
    cohort(header)
    with pytest.raises(ModelError, match=said) as raised:
        cohorts.cohorts()
    assert "sql/cohorts/company__busy.sql" in str(raised.value)


def test_what_is_told_is_no_part_of_who_is_in_it() -> None:
    found = cohorts.Cohort("company", "busy", f"-- Who calls.\n-- notify: left\n-- Much.\n{BUSY}")
    assert found.about == "Who calls. Much."
    assert found.notifies == (["left"], None)
