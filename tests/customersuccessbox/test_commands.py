"""`warehouse csb` and the asset: what they say, and their exit status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from dagster_project.cli import main
from dagster_project.definitions import defs
from dagster_project.standins.customersuccessbox import DEFAULT_KEY, CustomerSuccessBox, Fault

from .test_push import Desk, desk, features, start

__all__ = ["desk", "start"]  # fixtures


@pytest.fixture
def published(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Points commands and Dagster's side to the desk's data."""
    desk.publish(features(3))

    def settle(live: bool) -> None:
        file = tmp_path / "warehouse.toml"
        file.write_text(f"[customersuccessbox]\nlive = {str(live).lower()}\ncalls_per_second = 1000\n")
        monkeypatch.setenv("WAREHOUSE_CONFIG", str(file))
        monkeypatch.setenv("WAREHOUSE_DATA", str(desk.settings.data))
        monkeypatch.setenv("WAREHOUSE_RAW", str(desk.settings.raw))

    settle(False)
    return settle


def say(*command: str, status: int = 0) -> str:
    ended = CliRunner().invoke(main, ["csb", *command])
    assert ended.exit_code == status, ended.output
    return ended.output


@pytest.mark.usefixtures("published")
def test_plan_rehearsal_and_push(
    start: Callable[..., CustomerSuccessBox], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = start([None, Fault(cut=True, adds=True)])
    assert "3 calls" in say("plan")
    assert "Rehearsal" in say("push")
    assert box.calls == []
    out = say("push", "--live", status=1)  # of one it is not known
    assert DEFAULT_KEY not in out
    assert len(box.calls) == 3
    assert "it is not known whether they arrived" in say("plan")
    say("push", "--live", "--retry-unknown")
    assert desk.told("sent") == desk.wanted
    monkeypatch.delenv("CSB_API_KEY")
    assert "CSB_API_KEY is not set" in say("push", "--live", status=1)
    say("plan")


@pytest.mark.parametrize("live", [False, True])
def test_the_asset_sends_where_the_settings_say_so(
    live: bool, published: Callable[[bool], None], start: Callable[..., CustomerSuccessBox]
) -> None:
    box = start()
    published(live)
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        ran = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["customersuccessbox", "push"])],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    assert ran.success
    assert len(box.calls) == (3 if live else 0)
    (event,) = ran.get_asset_materialization_events()
    told = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (told["live"], told["planned"], told["sent"]) == (live, 3, 3 if live else 0)
    (check,) = ran.get_asset_check_evaluations()
    assert check.passed
