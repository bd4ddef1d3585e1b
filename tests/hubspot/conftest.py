from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_project.destinations.hubspot import api, files, outcomes, sender
from dagster_project.standins.hubspot import Emulator, Limits, Options

from .desk import Desk

NO_LIMITS = Limits(rolling=100_000, daily=None, search_per_second=None)
TOKEN = "pat-na1-0000-very-secret"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    for module in (files,):
        monkeypatch.setattr(module, "project_root", lambda: made.root)
    for name in ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET", "HUBSPOT_REFRESH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setattr(outcomes, "SETTLE_SECONDS", 0.0)
    for module in (api, outcomes, sender):  # what would be waited between tries is not the tests' time
        monkeypatch.setattr(module, "sleep", lambda seconds: time.sleep(min(seconds, 0.01)))
    return made


@pytest.fixture
def make_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Emulator]]:
    """Start an emulator, and let HUBSPOT_BASE_URL lead to it. Search is never needed: it sees nothing."""
    made: list[Emulator] = []

    def make(**more: Any) -> Emulator:
        more.setdefault("limits", NO_LIMITS)
        more.setdefault("options", Options(search_lag=3600))
        hub = Emulator(0, tokens=(TOKEN,), **more)
        hub.start()
        made.append(hub)
        monkeypatch.setenv("HUBSPOT_BASE_URL", hub.base_url)
        return hub

    yield make
    for hub in made:
        hub.stop()


@pytest.fixture
def hub(make_hub: Callable[..., Emulator]) -> Emulator:
    return _with_api_calls(make_hub())


def _with_api_calls(hub: Emulator) -> Emulator:
    for kind in ("contacts", "companies"):
        if "api_calls" not in hub.store.type(kind).schema.properties:
            hub.store.add_property(kind, "api_calls", "number")
    return hub
