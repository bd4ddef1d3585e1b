from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dagster_project.standins.hubspot import Emulator, Limits, Options

from .contract import Client

NO_LIMITS = Limits(rolling=None, daily=None, search_per_second=None)


class Hub(Emulator):
    """The emulator with a checked client, and short names for what most tests need."""

    client: Client

    def __init__(self, **more: Any) -> None:
        more.setdefault("limits", NO_LIMITS)
        more.setdefault("options", Options(search_lag=0))
        super().__init__(0, **more)
        self.client = Client(self.base_url, self.token)

    def batch(self, what: str, inputs: list[dict[str, Any]], kind: str = "contacts", **more: Any) -> Any:
        bad = more.pop("bad", False)
        return self.client.post(
            f"/crm/objects/2026-09/{kind}/batch/{what}", json={"inputs": inputs, **more}, bad=bad
        )

    def search(self, *filters: dict[str, Any], kind: str = "contacts", **more: Any) -> Any:
        body = {"filterGroups": [{"filters": list(filters)}], **more}
        return self.client.post(f"/crm/objects/2026-09/{kind}/search", json=body)


class Clock:
    def __init__(self) -> None:
        self.now = 1_788_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_hub() -> Iterator[Callable[..., Hub]]:
    made: list[Hub] = []

    def make(**more: Any) -> Hub:
        hub = Hub(**more)
        hub.start()
        made.append(hub)
        return hub

    yield make
    for hub in made:
        hub.client.close()
        hub.stop()


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub()
