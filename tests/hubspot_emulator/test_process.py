"""The command, its control calls, and how it stands a large account."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests

from dagster_project.standins.hubspot import Emulator, exports
from dagster_project.standins.hubspot.command import main

from .conftest import Hub

CONTACTS = "/crm/objects/2026-09/contacts"


def control(hub: Hub, action: str, body: object = None) -> requests.Response:
    return requests.post(f"{hub.base_url}/__emulator__/{action}", json=body, timeout=10)


def test_one_command_starts_it_and_an_interrupt_ends_it(tmp_path: Path) -> None:
    records = tmp_path / "records.json"
    records.write_text(json.dumps({"companies": [{"domain": "acme.com", "name": "Acme"}]}))
    command = [
        sys.executable,
        "-m",
        "dagster_project.standins.hubspot",
        "--port",
        "0",
        "--companies",
        "3",
        "--contacts",
        "7",
        "--rate",
        "4",
        "--token",
        "secret",
        "--records",
        str(records),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        base = process.stdout.readline().split()[-1]
        hint = process.stdout.readline().strip()
        assert base.startswith("http://127.0.0.1:")
        assert hint == f"HUBSPOT_BASE_URL={base} HUBSPOT_ACCESS_TOKEN=secret"
        answer = requests.get(base + CONTACTS, headers={"Authorization": "Bearer secret"}, timeout=10)
        assert len(answer.json()["results"]) == 7
        assert answer.headers["X-HubSpot-RateLimit-Max"] == "4"
        state = requests.get(f"{base}/__emulator__/state", timeout=10).json()
        assert state["objects"]["companies"]["records"] == 4
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_wrong_settings_are_named(tmp_path: Path, capsys: object) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('[{"do": "status", "wen": "after"}]')
    assert main(["--port", "0", "--faults", str(faults)]) == 2


def test_control_calls_seed_break_merge_and_count(hub: Hub) -> None:
    seeded = control(
        hub, "seed", {"companies": 4, "contacts": 6, "records": {"contacts": [{"email": "me@x.com"}]}}
    )
    assert seeded.json()["objects"]["contacts"]["records"] == 7
    record = seeded.json()["ids"]["contacts"][0]
    other = next(one for one in hub.store.snapshot("contacts") if one != record)
    merged = control(hub, "merge", {"objectType": "contacts", "winner": other, "loser": record})
    assert merged.json() == {"id": other}
    assert (
        control(hub, "faults", {"faults": [{"do": "status", "status": 503}]}).json()["faults"][0]["fired"]
        == 0
    )
    assert hub.client.get(CONTACTS).status_code == 503
    assert hub.client.get(CONTACTS).status_code == 200
    assert control(hub, "faults", {"faults": [], "replace": True}).json() == {"faults": []}
    hub.batch("update", [{"id": other, "properties": {"firstname": "A"}}])
    state = requests.get(f"{hub.base_url}/__emulator__/state?fingerprint=1", timeout=10).json()
    assert (state["calls"]["calls"], state["calls"]["writes"], state["calls"]["inputs"]) == (3, 1, 1)
    assert state["latest"][-1]["operation"] == "contacts.batch_update"
    assert state["fingerprint"] == hub.store.fingerprint()
    for action, body in [("faults", {"faults": [{"do": "nonsense"}]}), ("seed", [1]), ("merge", {})]:
        assert control(hub, action, body).status_code == 400
    assert control(hub, "nonsense").status_code == 404


def test_the_call_log_tells_writes_from_reads(hub: Hub) -> None:
    hub.client.get(CONTACTS)
    hub.batch("read", [{"id": "1"}])
    hub.search({"propertyName": "email", "operator": "HAS_PROPERTY"})
    assert hub.writes == []
    hub.batch("create", [{"properties": {}}, {"properties": {}}])
    call = hub.writes[0]
    assert (call.method, call.operation, call.status, call.inputs) == (
        "POST",
        "contacts.batch_create",
        201,
        2,
    )
    hub.forget_calls()
    assert hub.calls == []


def test_the_fingerprint_knows_values_and_not_ids(make_hub: Callable[..., Hub]) -> None:
    first, second = make_hub(seed=1), make_hub(seed=2)
    first.store.put("contacts", {"email": "a@x.com"})
    first.store.put("contacts", {"email": "b@x.com"})
    second.store.put("contacts", {"email": "b@x.com"})
    assert first.store.fingerprint() != second.store.fingerprint()
    second.store.put("contacts", {"email": "a@x.com"})
    assert first.store.fingerprint() == second.store.fingerprint()


def test_a_large_account_answers_a_batch_quickly(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    hub.store.seed(companies=2_000, contacts=20_000)
    ids = list(hub.store.contacts.records)
    times = []
    with requests.Session() as session:
        for start in range(0, 2_000, 100):
            inputs = [
                {
                    "id": str(one),
                    "objectWriteTraceId": str(one),
                    "properties": {"firstname": "A", "city": "B"},
                }
                for one in ids[start : start + 100]
            ]
            begun = time.perf_counter()
            url = f"{hub.base_url}{CONTACTS}/batch/update"
            answer = session.post(url, json={"inputs": inputs}, headers=hub.auth, timeout=20)
            times.append(time.perf_counter() - begun)
            assert answer.status_code == 200
    assert sorted(times)[len(times) // 2] < 0.1


def test_it_stands_for_the_account_of_crm_exports() -> None:
    folder = Path(__file__).parents[2] / "data" / "sample" / "raw" / "crm"
    hub = Emulator()
    placed = exports.load(hub.store, folder)
    assert placed == {kind: len(hub.store.type(kind).records) for kind in ("companies", "contacts")}
    company = hub.store.snapshot("companies")["210000000001"]
    assert (company["domain"], company["name"]) == ("bluefenn.example", "Bluefenn Logistics")
    contact = hub.store.snapshot("contacts")["110000000001"]
    assert (contact["email"], contact["lifecyclestage"]) == ("mara.osterquay.1@bluefenn.example", "customer")
    ids = hub.store.companies.ids
    assert ids == sorted(ids)
    assert hub.store.put("companies", {"domain": "new.example"}) not in {"210000000001"}
