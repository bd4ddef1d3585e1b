"""Settings that act while loading: what is loaded keeps to what was set then, until all of it is loaded again on purpose."""

from __future__ import annotations

import random
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from harness import Row, Warehouse
from soak import budget

from dagster_project.cli import main
from dagster_project.settings import Settings
from dagster_project.warehouse.database import open_warehouse

NOW = datetime(2026, 4, 1, 2)  # noqa: DTZ001 - as it is kept: UTC
TABLES = ("ops.files", "ops.rejects", "ops.repairs", "marts.daily_feature_totals", "marts.company_profiles")


def used(feature: str, day: str = "2026-03-30") -> Row:
    return {"account_id": "acme", "user_id": "u", "feature_id": feature, "timestamp": day, "total": 1}


def under(folder: Path, **features: Any) -> Warehouse:
    return Warehouse(folder, features=features)


def tables(warehouse: Warehouse) -> dict[str, list[str]]:
    found = {}
    for name in TABLES:
        rows = [{k: v for k, v in row.items() if k != "updated_at"} for row in warehouse.table(name)]
        found[name] = sorted(map(str, rows))
    return found


def rejected(warehouse: Warehouse) -> list[str]:
    return sorted(row["reason"] for row in warehouse.table("ops.rejects"))


def two_nights(folder: Path) -> Warehouse:
    """A file that is loaded under one setting, and one under another."""
    first = under(folder, feature_limit=1)
    first.put("features/dt=2026-03-30/a.jsonl", [used("a"), used("b"), used("a", "2026-03-01")])
    first.night(now=NOW)
    second = under(folder, feature_limit=2, accept_backdated=True)
    second.put("features/dt=2026-03-30/b.jsonl", [used("c"), used("d"), used("a", "2026-03-02")])
    second.night(now=NOW)
    assert rejected(second) == ["backdated", "feature_limit", "feature_limit"]
    return second


def test_a_full_rebuild_ends_where_the_nights_did(tmp_path: Path) -> None:
    warehouse = two_nights(tmp_path)
    nights = tables(warehouse)
    assert tables(warehouse.night(now=NOW, full=True)) == nights
    assert tables(under(tmp_path, feature_limit=256).night(now=NOW, full=True)) == nights


def test_settings_are_applied_to_what_is_loaded_where_that_is_asked_for(tmp_path: Path) -> None:
    two_nights(tmp_path)
    now = under(tmp_path, feature_limit=256, accept_backdated=True)
    assert rejected(now.night(now=NOW, full=True, apply_settings=True)) == []
    everything = tables(now)
    fresh = under(tmp_path / "fresh", feature_limit=256, accept_backdated=True)
    for name in ("a", "b"):
        file = f"features/dt=2026-03-30/{name}.jsonl"
        fresh.put(file, (tmp_path / "raw" / file).read_bytes())
        fresh.night(now=NOW)
    assert tables(fresh) == everything
    assert tables(now.night(now=NOW, full=True)) == everything, (
        "they are what it was loaded under, from now on"
    )


def test_status_says_that_a_changed_setting_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    config = tmp_path / "warehouse.toml"
    monkeypatch.setenv("WAREHOUSE_CONFIG", str(config))
    config.write_text("")
    warehouse = under(tmp_path / "data")
    warehouse.put("features/dt=2026-03-30/a.jsonl", [used("a")])
    warehouse.put("events/a.jsonl", [{"request": {"time": "2026-03-30"}, "company_id": "acme"}])
    warehouse.night(now=NOW, publishes=True)
    assert "apply-settings" not in CliRunner().invoke(main, ["status"]).output
    config.write_text("[features]\nfeature_limit = 300\n")
    said = " ".join(CliRunner().invoke(main, ["status"]).output.split())
    assert "features.feature_limit = 300: 1 file was loaded under 256" in said
    assert "warehouse run --full --apply-settings" in said
    wrong = CliRunner().invoke(main, ["run", "--apply-settings"])
    assert (wrong.exit_code, "--full" in wrong.output) == (2, True)


def test_files_of_an_older_release_count_as_loaded_under_what_is_set_at_the_first_run(tmp_path: Path) -> None:
    warehouse = under(tmp_path, feature_limit=1)
    warehouse.put("features/dt=2026-03-30/a.jsonl", [used("a"), used("b")])
    warehouse.night(now=NOW)
    with open_warehouse(warehouse.settings) as connection:
        connection.execute("UPDATE raw.files SET loaded_under = NULL")
    nights = tables(warehouse.night(now=NOW))
    assert tables(under(tmp_path, feature_limit=9).night(now=NOW, full=True)) == nights


def test_every_setting_that_acts_while_loading_is_kept_for_the_files_that_obey_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, raw=tmp_path)
    assert settings.while_loading("events") == {"privacy.hash_tokens": False, "usage.routes": "failed"}
    kept = settings.while_loading("features")
    assert kept == {
        "features.accept_backdated": False,
        "features.feature_limit": 256,
        "features.module_limit": 256,
        "privacy.hash_tokens": False,
    }
    changed = {"features.feature_limit": 3, "features.accept_backdated": True, "gone.since": 1}
    other = settings.as_when_loaded(changed)
    assert (other.features.feature_limit, other.features.accept_backdated) == (3, True)
    assert other.features.module_limit == 256


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(1, 20)))
def test_settings_that_change_between_nights_at_random(tmp_path: Path, seed: int) -> None:
    """Files that grow and come late, each night under other settings: `--full` ends where they did."""
    dice = random.Random(seed)
    grown = tmp_path / "raw/features/log.jsonl"
    for night in range(4):
        warehouse = under(
            tmp_path,
            feature_limit=dice.randint(1, 6),
            module_limit=dice.randint(1, 3),
            accept_backdated=dice.random() < 0.5,
        )
        records = [
            used(dice.choice("abcdefgh"), f"2026-03-{dice.randint(28, 31)}")
            | {"module_id": dice.choice(["", "m", "n", "o", "p"])}
            for _ in range(dice.randint(1, 8))
        ]
        if dice.random() < 0.4 and grown.exists():
            text = grown.read_bytes()
            warehouse.put("features/log.jsonl", records)
            grown.write_bytes(text + grown.read_bytes())
        elif dice.random() < 0.3 and not grown.exists():  # what was loaded of it must not go
            warehouse.put("features/log.jsonl", records)
        else:
            warehouse.put(f"features/dt=2026-03-{dice.randint(29, 31)}/{night}.jsonl", records)
        warehouse.night(date(2026, 3, 31), NOW)
    nights = tables(warehouse)
    other = under(tmp_path, feature_limit=dice.randint(1, 9))
    assert tables(other.night(now=NOW, full=True)) == nights, f"seed {seed}"
