"""Rate limits and what goes wrong on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from dagster_project.standins.hubspot import Fault, Limits, Options
from dagster_project.standins.hubspot.limits import RateLimiter

from .conftest import NO_LIMITS, Clock, Hub

CONTACTS = "/crm/objects/2026-09/contacts"


def test_ten_secondly_rolling_window(make_hub: Callable[..., Hub], clock: Clock) -> None:
    hub = make_hub(limits=Limits(rolling=3, daily=100), clock=clock)
    left = [hub.client.get(CONTACTS).headers["X-HubSpot-RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    refused = hub.client.get(CONTACTS)
    assert refused.status_code == 429
    assert refused.json()["policyName"] == "TEN_SECONDLY_ROLLING"
    assert refused.json()["message"] == "You have reached your ten_secondly_rolling limit."
    assert "Retry-After" not in refused.headers
    assert refused.headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "10000"
    clock.now += 10.01
    allowed = hub.client.get(CONTACTS)
    assert allowed.ok
    assert allowed.headers["X-HubSpot-RateLimit-Daily-Remaining"] == "96"
    assert hub.limiter.max_refused_in_10s == 1


def test_the_day_turns_at_midnight_in_the_zone_of_the_account(
    make_hub: Callable[..., Hub], clock: Clock
) -> None:
    clock.now = 1_788_296_400.0 - 60  # 2026-09-01T21:00Z, midnight in Helsinki, less a minute
    hub = make_hub(limits=Limits(daily=2, time_zone="Europe/Helsinki"), clock=clock)
    assert [hub.client.get(CONTACTS).status_code for _ in range(3)] == [200, 200, 429]
    assert hub.client.get(CONTACTS).json()["policyName"] == "DAILY"
    clock.now += 61
    assert hub.client.get(CONTACTS).status_code == 200


def test_search_has_a_limit_of_its_own_and_no_headers(make_hub: Callable[..., Hub], clock: Clock) -> None:
    hub = make_hub(limits=Limits(), clock=clock)
    has = {"propertyName": "email", "operator": "HAS_PROPERTY"}
    answers = [hub.search(has) for _ in range(6)]
    assert [one.status_code for one in answers] == [200] * 5 + [429]
    assert answers[-1].json()["policyName"] == "SECONDLY"
    assert not any(name.startswith("X-HubSpot-RateLimit") for one in answers for name in one.headers)
    clock.now += 1.01
    assert hub.search(has).ok


def test_no_daily_headers_under_oauth_and_refused_calls_can_count(clock: Clock) -> None:
    limiter = RateLimiter(Limits(rolling=1, count_refused=True), clock)
    assert "X-HubSpot-RateLimit-Daily" not in limiter.take(False, oauth=True)[1]
    clock.now += 6
    assert limiter.take(False, oauth=False)[0] == "TEN_SECONDLY_ROLLING"
    clock.now += 6
    assert limiter.take(False, oauth=False)[0] == "TEN_SECONDLY_ROLLING"


@pytest.mark.parametrize("policy", ["TEN_SECONDLY_ROLLING", "SECONDLY", "DAILY"])
def test_each_kind_of_429_on_demand(make_hub: Callable[..., Hub], policy: str) -> None:
    fault = Fault("rate", policy=policy, retry_after=2, nth=2)  # type: ignore[arg-type]
    hub = make_hub(limits=Limits(), faults=[fault])
    answers = [hub.client.get(CONTACTS) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 429, 200]
    assert answers[1].json()["policyName"] == policy
    assert answers[1].headers["Retry-After"] == "2"


@pytest.mark.parametrize("status", [423, 477, 500, 502, 503, 504, 521, 524])
@pytest.mark.parametrize("when", ["before", "after"])
def test_server_errors_before_and_after_the_write(
    make_hub: Callable[..., Hub], status: int, when: str
) -> None:
    hub = make_hub(faults=[Fault("status", status=status, when=when)])  # type: ignore[arg-type]
    answer = hub.batch("create", [{"properties": {"email": "a@x.com"}}])
    assert answer.status_code == status
    assert len(hub.store.contacts.records) == (1 if when == "after" else 0)
    assert hub.calls[-1].applied is (when == "after")
    assert hub.batch("create", [{"properties": {"email": "b@x.com"}}]).status_code == 201


def test_a_gateway_answers_in_html(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(faults=[Fault("status", status=502, html=True)])
    answer = requests.get(hub.base_url + CONTACTS, headers=hub.auth, timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")


@pytest.mark.parametrize(("when", "written"), [("before", 0), ("after", 1), ("mid", 1)])
@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection(make_hub: Callable[..., Hub], when: str, written: int, reset: bool) -> None:
    fault = Fault("cut", operation="contacts.batch_create", when=when, reset=reset)  # type: ignore[arg-type]
    hub = make_hub(faults=[fault])
    assert hub.client.get(CONTACTS).ok
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        hub.batch("create", [{"properties": {"email": "a@x.com"}}])
    assert len(hub.store.contacts.records) == written
    call = hub.calls[-1]
    assert (call.faults, call.applied) == (("cut",), bool(written))
    assert call.status == (201 if when == "mid" else 0)
    assert hub.client.get(CONTACTS).ok


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_empty_2xx(make_hub: Callable[..., Hub], when: str) -> None:
    hub = make_hub(faults=[Fault("empty", method="POST", when=when)])  # type: ignore[arg-type]
    answer = hub.batch("create", [{"properties": {}}])
    assert answer.ok
    assert answer.content == b""
    assert len(hub.store.contacts.records) == (1 if when == "after" else 0)


def test_a_call_that_hangs_is_applied_all_the_same(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(faults=[Fault("hang", seconds=0.4)])
    with pytest.raises(requests.Timeout):
        hub.client.post(CONTACTS, json={"properties": {"email": "a@x.com"}}, timeout=0.1)
    assert not hub.store.contacts.records
    deadline = time.monotonic() + 5
    while not hub.store.contacts.records and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(hub.store.contacts.records) == 1


def test_stopping_does_not_wait_for_what_hangs(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(faults=[Fault("hang", seconds=300)])
    errors: list[Exception] = []

    def call() -> None:
        try:
            requests.get(hub.base_url + CONTACTS, headers=hub.auth, timeout=30)
        except requests.RequestException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while not hub.calls:
        time.sleep(0.01)
    started = time.monotonic()
    hub.stop()
    thread.join(5)
    assert time.monotonic() - started < 3
    assert len(errors) == 1


def test_a_conflict_for_the_whole_call(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(faults=[Fault("conflict", operation="*.batch_upsert")])
    inputs = [{"id": "a@x.com", "idProperty": "email", "objectWriteTraceId": "1", "properties": {}}]
    assert hub.batch("upsert", inputs).status_code == 409
    assert not hub.store.contacts.records
    assert hub.batch("upsert", inputs).status_code == 200


def test_records_merged_or_deleted_under_our_feet(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(
        faults=[
            Fault("merge", operation="contacts.batch_update"),
            Fault("archive", operation="contacts.batch_update", nth=2),
        ]
    )
    record = hub.store.put("contacts", {"email": "a@x.com"})
    inputs: list[dict[str, Any]] = [{"id": record, "properties": {"firstname": "A"}}]
    merged = hub.batch("update", inputs).json()["results"][0]
    assert merged["id"] != record
    assert hub.store.snapshot("contacts")[merged["id"]] == {"email": "a@x.com", "firstname": "A"}
    gone = hub.batch("update", inputs)
    assert gone.status_code == 207
    assert gone.json()["errors"][0]["context"]["ids"] == [record]


def test_faults_by_chance_are_the_same_for_the_same_seed(make_hub: Callable[..., Hub]) -> None:
    def run(seed: int) -> list[int]:
        hub = make_hub(seed=seed, faults=[Fault("status", status=503, probability=0.4)])
        return [hub.client.get(CONTACTS).status_code for _ in range(40)]

    first = run(5)
    assert first == run(5) != run(6)
    assert {200, 503} == set(first)


def test_faults_by_count_path_and_method(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(
        faults=[
            Fault("status", status=500, method="GET", path=r"/contacts$", every=2, times=2),
            Fault("status", status=504, path="/companies", nth=2, times=2),
        ]
    )
    assert [hub.client.get(CONTACTS).status_code for _ in range(7)] == [200, 500, 200, 500, 200, 200, 200]
    companies = "/crm/objects/2026-09/companies"
    assert [hub.client.get(companies).status_code for _ in range(5)] == [200, 504, 504, 200, 200]
    with pytest.raises(ValueError, match="do is one of"):
        Fault("nonsense")  # type: ignore[arg-type]


def test_latency_and_retry_after_are_switches(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(limits=Limits(rolling=1), options=Options(latency=0.15, retry_after=True))
    started = time.monotonic()
    assert hub.client.get(CONTACTS).ok
    assert time.monotonic() - started >= 0.15
    assert hub.client.get(CONTACTS).headers["Retry-After"] == "10"


def test_many_clients_at_once_lose_nothing(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(limits=NO_LIMITS)

    def work(number: int) -> None:
        with requests.Session() as session:
            for page in range(5):
                inputs = [{"properties": {"email": f"u{number}-{page}-{i}@x.com"}} for i in range(20)]
                url = f"{hub.base_url}{CONTACTS}/batch/create"
                assert (
                    session.post(url, json={"inputs": inputs}, headers=hub.auth, timeout=20).status_code
                    == 201
                )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hub.store.contacts.records) == len(hub.store.contacts.index) == 600
    assert hub.totals["inputs"] == 600
