"""Killed anywhere and started again: the same state in HubSpot, no record twice, nothing lost. And no secret anywhere."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from soak import LONG, budget

from dagster_project.destinations import hubspot
from dagster_project.destinations.hubspot import HubspotError
from dagster_project.standins.hubspot import Emulator, Fault, Options

from .conftest import TOKEN
from .desk import Desk
from .test_push import firms, people

# (benchmarks/push.py does it at full size.)
CONTACTS, COMPANIES, DEALS = (2000, 600, 300) if LONG else (500, 200, 100)
KILLS = budget(3, 10)
WRITES = r"/batch/(create|update)$"
# One of each kind in every so many calls.
FAULTS = (
    Fault("rate", policy="SECONDLY", probability=0.02),
    *(Fault("status", status=status, probability=0.01) for status in (423, 502, 504)),
    Fault("status", status=500, path=WRITES, when="after", probability=0.03),
    Fault("status", status=503, path=WRITES, when="after", html=True, probability=0.03),
    *(Fault("cut", when=when, probability=0.02) for when in ("before", "after", "mid")),
    *(Fault("empty", path=WRITES, when=when, probability=0.02) for when in ("before", "after")),
    Fault("conflict", path=WRITES, probability=0.02),
)
PUSH = """
import sys
from pathlib import Path
from dagster_project.destinations.hubspot import outcomes, push
from hubspot.desk import Desk, use_project_of
outcomes.SETTLE_SECONDS = 0.5
desk = Desk(Path(sys.argv[1]))
use_project_of(desk)
print("ready", flush=True)
result = push(desk.settings, live=True)
sys.exit(result.exit_status)
"""


def start(desk: Desk) -> subprocess.Popen[str]:
    tests = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-c", PUSH, str(desk.folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tests,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, str(Path(tests).parent)])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.soak
def test_killed_again_and_again_with_all_faults_on(desk: Desk, make_hub: Callable[..., Emulator]) -> None:
    hub = make_hub(options=Options(search_lag=3600, latency=0.05))
    for kind in ("contacts", "companies", "deals"):
        hub.store.add_property(kind, "api_calls", "number")
    hub.store.add_property("deals", "api_key", hasUniqueValue=True)
    for i in range(0, CONTACTS, 7):
        hub.store.put("contacts", {"email": f"user{i}@example.com"})
    for i in range(0, COMPANIES, 5):
        hub.store.put("companies", {"domain": f"firm{i}.example"})
    desk.contacts(people(CONTACTS))
    desk.companies(firms(COMPANIES))
    desk.select(
        "deals",
        f"-- match: api_key\nSELECT 'd' || i AS api_key, 'c' || i AS company_id, i AS api_calls FROM range({DEALS}) t(i)",
    )
    hub.faults.add(*FAULTS)
    chance = random.Random(7)
    kills = 0
    for _ in range(KILLS + 20):
        process = start(desk)
        try:
            status = process.wait(chance.uniform(0.15, 1.2) if kills < KILLS else 120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        if status == 0:
            break
    assert (kills >= 2, status) == (True, 0)
    assert Counter(r["email"] for r in hub.store.snapshot("contacts").values()) == {
        f"user{i}@example.com": 1 for i in range(CONTACTS)
    }
    assert Counter(r["domain"] for r in hub.store.snapshot("companies").values()) == {
        f"firm{i}.example": 1 for i in range(COMPANIES)
    }
    assert all(
        r["api_calls"] == str(5 + int(r["email"][4:].partition("@")[0]))
        for r in hub.store.snapshot("contacts").values()
    )
    assert Counter((r["api_key"], r["api_calls"]) for r in hub.store.snapshot("deals").values()) == {
        (f"d{i}", str(i)): 1 for i in range(DEALS)
    }
    for row in desk.table("ops.hubspot_pushes"):
        assert row["planned"] == row["acknowledged"] + row["rejected"] + row["skipped"]
        assert row["ended_at"] is not None
    records = CONTACTS + COMPANIES + DEALS
    assert sum(row["acknowledged"] for row in desk.table("ops.hubspot_pushes")) >= records
    hub.faults.clear()
    hub.forget_calls()
    assert desk.push().total.planned == 0
    assert not hub.writes


@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_killed_after_hubspot_made_the_records_and_before_it_said_so(
    desk: Desk, hub: Emulator, kind: str
) -> None:
    (desk.contacts if kind == "contacts" else desk.companies)(people(30) if kind == "contacts" else firms(30))
    hub.faults.add(
        Fault("hang", operation=f"{kind}.batch_create", seconds=0.3),
        Fault("cut", operation=f"{kind}.batch_create", when="after"),
    )
    process = start(desk)
    while not any(call.operation.endswith("batch_create") for call in hub.calls):
        time.sleep(0.01)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    assert len(hub.store.snapshot(kind)) == 30
    hub.forget_calls()
    result = desk.push()
    assert not hub.writes
    assert result.total.planned == 0
    assert len(hub.store.snapshot(kind)) == 30
    (killed, _) = desk.table("ops.hubspot_pushes ORDER BY push")
    assert (killed["planned"], killed["acknowledged"], killed["stopped"]) == (30, 30, "it was interrupted")


def test_the_token_is_in_no_output_and_no_file(
    desk: Desk, hub: Emulator, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where HubSpot repeats it."""
    desk.contacts(people(5))
    said: list[str] = []
    echo = {
        "status": "error",
        "category": "VALIDATION_ERROR",
        "message": f"no such token: Bearer {TOKEN}",
        "correlationId": TOKEN,
    }
    hub.faults.add(Fault("status", path="batch/create", status=400, every=1, body=echo))
    result = desk.push(tell=said.append)
    assert result.total.rejected == 5
    plan = desk.plan()
    hub.faults.clear()
    hub.faults.add(Fault("status", status=401, every=1, body=echo))
    with pytest.raises(HubspotError) as raised:
        hubspot.push(desk.settings, live=True)
    files = [file for file in desk.settings.data.rglob("*") if file.is_file()]
    assert desk.settings.warehouse_file in files
    for file in files:
        assert TOKEN.encode() not in file.read_bytes(), file
    out = capfd.readouterr()
    assert TOKEN not in " ".join([*said, str(raised.value), repr(result), repr(plan), out.out, out.err])
    assert {row["correlation_id"] for row in desk.table("ops.hubspot_rejects")} == {"***"}


def test_a_token_that_cannot_be_sent_is_not_repeated(
    desk: Desk, hub: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.contacts(people(1))
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-with\na-line")
    with pytest.raises(HubspotError) as raised:
        desk.push()
    assert "a-line" not in str(raised.value)
