"""The push in Dagster: what its assets tell, which checks fail, and when HubSpot is not asked at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from harness import Warehouse

from dagster_project.definitions import defs
from dagster_project.destinations.hubspot import init_properties
from dagster_project.orchestration.hubspot import STEP
from dagster_project.standins.hubspot import Emulator, Fault

from .conftest import TOKEN
from .desk import Desk
from .test_push import people

ALL = ("properties", "plan", "push")


@cache
def job() -> Any:
    return defs.resolve_implicit_global_asset_job_def()


class Run:
    """Some of the assets, materialised as from the UI."""

    def __init__(self, *names: str, home: Path | None = None, **config: Any) -> None:
        with dg.DagsterInstance.local_temp(str(home)) if home else dg.DagsterInstance.ephemeral() as instance:
            self.result = job().execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(["hubspot", name]) for name in names],
                run_config={
                    "ops": {STEP: {"config": config}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )
        self.success = self.result.success
        self.metadata: dict[str, dict[str, Any]] = {}
        for event in self.result.get_asset_materialization_events():
            materialization = event.materialization
            self.metadata[materialization.asset_key.path[-1]] = {
                name: value.value for name, value in materialization.metadata.items()
            }
        self.checks = {check.check_name: check for check in self.result.get_asset_check_evaluations()}

    @property
    def failure(self) -> str:
        (event,) = [event for event in self.result.all_events if event.is_step_failure]
        return str(event.step_failure_data.user_failure_data.description)


@pytest.fixture
def settle_on(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Point Dagster's side to the desk's data, with these lines under [hubspot]."""
    if "desk" in request.fixturenames:
        request.getfixturevalue("desk").at_once = True
    file = tmp_path / "warehouse.toml"

    def settle(text: str, data: Path | None = None) -> None:
        file.write_text(f"[hubspot]\n{text}\n")
        monkeypatch.setenv("WAREHOUSE_CONFIG", str(file))
        monkeypatch.setenv("WAREHOUSE_DATA", str(data or tmp_path / "data"))

    return settle


def test_the_three_assets_tell_what_was_done_and_ask_hubspot_once(
    desk: Desk, hub: Emulator, settle_on: Callable[..., None]
) -> None:
    settle_on("live = true")
    desk.contacts(f"{people(150)} UNION ALL BY NAME SELECT 'nobody' AS user_id, 1 AS api_calls")
    run = Run(*ALL)
    assert run.success
    assert list(run.metadata) == list(ALL)
    assert run.metadata["properties"]["properties of contacts"] > 1
    plan, push = run.metadata["plan"], run.metadata["push"]
    assert (plan["write calls"], push["write calls"], len(hub.writes)) == (2, 2, 2)
    assert plan["digest"] == push["digest"]
    assert "| contacts | create | api_calls | 150 |" in plan["changes"]
    assert "@example.com" not in str(run.metadata), "whom it concerns is not for Dagster's storage"
    assert "| contacts | 151 | 150 | 150 | 0 | 0 | 0 | 1 | 0 |" in push["records"]
    assert (push["planned"], push["acknowledged"], push["skipped"], push["live"]) == (151, 150, 1, True)
    assert "| contacts | no_key | 1 |" in push["skipped records"]
    assert all(check.passed for check in run.checks.values())
    calls = Counter(call.operation for call in hub.calls)
    assert calls["account.details"] == 1
    assert calls["properties.list"] == 1


def test_a_column_that_is_left_out_fails_a_check(
    desk: Desk, hub: Emulator, settle_on: Callable[..., None]
) -> None:
    settle_on("live = true")
    desk.contacts(
        [{"user_id": "a", "email": "a@x.example", "api_calls": 1, "typo": 2}],
        api_calls="BIGINT",
        typo="BIGINT",
    )
    run = Run(*ALL)
    assert run.success
    check = run.checks["every_column_was_sent"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "| contacts | typo | HubSpot has no property of this name" in str(check.metadata["left out"].value)
    assert run.checks["nothing_was_left_open"].passed
    assert run.metadata["push"]["acknowledged"] == 1


def test_the_daily_limit_fails_a_check_that_says_when_to_go_on(
    desk: Desk, hub: Emulator, settle_on: Callable[..., None]
) -> None:
    settle_on("live = true")
    desk.contacts(people(300))
    hub.faults.add(Fault("rate", operation="contacts.batch_create", nth=2, policy="DAILY", every=1))
    run = Run(*ALL)
    check = run.checks["nothing_was_left_open"]
    assert not check.passed
    assert "go on at" in str(check.metadata["stopped"].value)
    assert run.metadata["push"]["skipped"] > 0


def test_where_the_settings_are_not_live_it_is_rehearsed(
    desk: Desk,
    hub: Emulator,
    settle_on: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle_on("live = false")
    desk.contacts(people(3))
    run = Run(*ALL)
    assert run.success
    assert (run.metadata["push"]["live"], run.metadata["push"]["created"]) == (False, 3)
    assert not hub.writes
    assert run.metadata["properties"]["dagster/row_count"] > 0

    hub.forget_calls()
    monkeypatch.delenv("HUBSPOT_ACCESS_TOKEN")
    run = Run(*ALL)
    assert run.success
    assert "properties" not in run.metadata
    assert run.metadata["plan"]["offline"] is True
    assert run.metadata["push"]["planned"] == 3
    assert not hub.calls
    run = Run("properties")
    assert not run.success
    assert "HUBSPOT_ACCESS_TOKEN" in run.failure
    settle_on("live = true")
    run = Run(*ALL)
    assert not run.success
    assert "HUBSPOT_ACCESS_TOKEN" in run.failure


def test_nothing_new_is_no_call_at_all(
    tmp_path: Path,
    make_hub: Callable[..., Emulator],
    settle_on: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", TOKEN)
    hub = make_hub()
    warehouse = Warehouse(tmp_path / "place")
    warehouse.put("users/u.jsonl", [{"user_id": "ann", "metadata": {"email": "ann@acme.example"}}])
    warehouse.night(publishes=True)
    init_properties(warehouse.settings, live=True)
    settle_on("live = true", warehouse.settings.data)

    def sync() -> tuple[int, int]:
        hub.forget_calls()
        run = Run(*ALL, only_if_changed=True)
        assert run.success
        assert bool(run.metadata) == bool(hub.calls)
        return len(hub.calls), len(hub.writes)

    hub.faults.add(Fault("rate", operation="contacts.batch_create", policy="DAILY"))
    assert sync()[1] == 1
    assert sync()[1] == 1  # the first one was stopped
    assert sync() == (0, 0)
    warehouse.put("users/v.jsonl", [{"user_id": "bob", "metadata": {"email": "bob@acme.example"}}])
    warehouse.night(publishes=True)
    assert sync()[1] == 1
    assert sync() == (0, 0)


def test_the_token_is_not_in_dagsters_storage(
    desk: Desk, hub: Emulator, settle_on: Callable[..., None], tmp_path: Path
) -> None:
    """Also where HubSpot repeats it."""
    settle_on("live = true")
    desk.contacts(people(2))
    echo = {"status": "error", "message": f"no such token: Bearer {TOKEN}", "correlationId": TOKEN}
    home = tmp_path / "dagster"
    home.mkdir()
    hub.faults.add(
        Fault("status", operation="contacts.batch_create", status=400, times=9, every=1, body=echo)
    )
    assert Run(*ALL, home=home).metadata["push"]["rejected"] == 2
    hub.faults.add(Fault("status", status=401, every=1, body=echo))
    run = Run(*ALL, home=home)
    assert not run.success
    assert "HUBSPOT_ACCESS_TOKEN" in run.failure
    files = [file for file in home.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert TOKEN.encode() not in file.read_bytes(), file
