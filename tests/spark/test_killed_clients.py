"""Killed at any moment while a cluster works for it, and run again: the same tables as of one that nobody disturbed.

`WAREHOUSE_SOAK=1 make test-spark TEST="-m soak"` tries a dozen lives; a few named moments are in test_failures.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from harness import Warehouse, on_cluster
from killing import NEVER, Counts, Ended, Moment, night
from soak import LONG
from test_killed import FULL, NIGHTS, arrive, day, files_by_night

from dagster_project.settings import Settings
from dagster_project.sources import on_spark
from dagster_project.spark import engine
from dagster_project.warehouse import stored

from .test_failures import assert_no_leftovers
from .test_nights import every_table

pytestmark = [pytest.mark.soak, pytest.mark.skipif(not LONG, reason="takes long: WAREHOUSE_SOAK=1 tries it")]
# What tells of the last build only, as in test_killed.
NOT_COMPARED = ("core.changed_days", "core.claim_changed_days", "core.attribution_before")


def with_a_cluster(counts: Counts) -> None:
    """However little there is to do, the cluster does it; and before and after each thing that it does is a moment, too."""
    on_spark.SMALLEST_BYTES = engine.SMALLEST_ROWS = 0
    for part, name in (
        (on_spark.SparkReaders, "_taken"),
        (engine.Spark, "_run"),
        (engine.Spark, "_fetch"),
        (engine.Spark, "_written"),
        (stored, "add"),
    ):
        setattr(part, name, counts.boundary(getattr(part, name)))


def one_night(settings: Settings, number: int, moment: Moment = NEVER) -> Ended:
    now = datetime.combine(day(number) + timedelta(days=1), time(3, 30)) + timedelta(hours=number)
    return night(settings, day(number), now, f"night {number}", number == FULL, moment, with_a_cluster)


def tables(warehouse: Warehouse) -> dict[str, list[str]]:
    return {name: rows for name, rows in every_table(warehouse).items() if not name.endswith(NOT_COMPARED)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, bytes]]:
    return files_by_night(tmp_path_factory.mktemp("drop"))


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, files: list[Mapping[str, bytes]]
) -> list[dict[str, list[str]]]:
    """What this machine makes of the files by itself, after each night."""
    warehouse = Warehouse(tmp_path_factory.mktemp("here"))
    found = []
    for number in range(NIGHTS + 1):
        arrive(warehouse.settings, files[number])
        assert not one_night(warehouse.settings, number).killed
        found.append(tables(warehouse))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_killed_again_and_again(
    seed: int,
    tmp_path: Path,
    remote: str,
    files: list[Mapping[str, bytes]],
    undisturbed: list[dict[str, list[str]]],
) -> None:
    """Each night is killed once, at any moment of it, and run again."""
    dice = random.Random(seed)
    warehouse = Warehouse(tmp_path, engine=on_cluster(tmp_path, remote))
    tried: list[tuple[int, Moment, bool]] = []
    for number in range(NIGHTS + 1):
        arrive(warehouse.settings, files[number])
        farthest = dice.choice((60, 200))  # most of what a cluster does comes early
        moment = (
            Moment(boundary=dice.randint(1, farthest))
            if dice.random() < 0.7
            else Moment(statement=dice.randint(1, 6 * farthest))
        )
        tried.append((number, moment, one_night(warehouse.settings, number, moment).killed))
        one_night(warehouse.settings, number)
        found = tables(warehouse)
        assert found.keys() == undisturbed[number].keys(), tried
        assert [name for name in found if found[name] != undisturbed[number][name]] == [], tried
        assert_no_leftovers(warehouse)
    assert any(killed for _, _, killed in tried), tried
