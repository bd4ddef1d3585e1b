"""A nightly run that pushes live, killed in the middle of its push, and run again: HubSpot holds each record once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from command_line import DAY, CommandLine

from dagster_project.destinations import hubspot
from dagster_project.settings import Settings
from dagster_project.standins.hubspot import Emulator, Options

from .conftest import TOKEN


def test_a_nightly_run_killed_while_it_pushes_ends_as_if_never(
    line: CommandLine, make_hub: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", TOKEN)
    hub = make_hub(options=Options(search_lag=3600, latency=0.1))
    settings = Settings(data=line.data, raw=line.raw)
    hubspot.init_properties(settings, live=True)
    hub.forget_calls()
    config = line.data / "live.toml"
    config.write_text("[hubspot]\nlive = true\n")
    given = {
        "HUBSPOT_ACCESS_TOKEN": TOKEN,
        "HUBSPOT_BASE_URL": hub.base_url,
        "WAREHOUSE_CONFIG": str(config),
    }
    killed = line.start("run", "--as-of", DAY, **given)
    while len(hub.writes) < 2 and killed.poll() is None:
        time.sleep(0.01)
    assert killed.poll() is None, "it ended before it was killed"
    killed.kill()
    killed.communicate()
    line.run("run", "--as-of", DAY, **given)
    for kind, key in (("contacts", "email"), ("companies", "domain")):
        held = Counter(record[key] for record in hub.store.snapshot(kind).values())
        assert held
        assert set(held.values()) == {1}
    assert not list(hubspot.make_plan(settings).rows())
