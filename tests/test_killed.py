"""Killed at any moment, and run again: the same tables as of a warehouse that nobody disturbed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import duckdb
import pytest
from killing import NEVER, Counts, Ended, Moment, night
from soak import LONG, budget

from dagster_project.settings import Settings
from dagster_project.standins.sample.generate import generate

END = date(2026, 3, 31)
DAYS = 12
NIGHTS = 3 if LONG else 2
KILLS_A_NIGHT = 3
# What tells of the last build only (which version of what was built from which, and what that step changed), and
# when a path was last looked at.
NOT_COMPARED = ["builds", "versions", "changed_days", "claim_changed_days", "attribution_before", "paths"]
# The versions that a check was last run on, too.
NOT_COMPARED_OF = {"core.check_results": "* EXCLUDE (inputs)"}
FULL = NIGHTS  # the number of the night that rebuilds everything


@dataclass(frozen=True)
class Undisturbed:
    """What comes in by night, and what nights make of it that nobody disturbs."""

    files: list[Mapping[str, bytes]]
    ended: list[Ended]
    published: list[dict[str, list[str]]]
    everything: dict[str, list[str]]


def day(number: int) -> date:
    """The last day of a night's files."""
    return END - timedelta(days=DAYS // NIGHTS * max(NIGHTS - 1 - number, 0))


def settings_in(folder: Path) -> Settings:
    return Settings(data=folder, raw=folder / "raw")


def arrive(settings: Settings, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        file = settings.raw / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def one_night(
    settings: Settings, number: int, moment: Moment = NEVER, prepare: Callable[[Counts], None] | None = None
) -> Ended:
    """The night with this number, by the same clock however often it is tried."""
    now = datetime.combine(day(number) + timedelta(days=1), time(3, 30)) + timedelta(hours=number)
    return night(settings, day(number), now, f"night {number}", number == FULL, moment, prepare)


def rows(file: Path) -> dict[str, list[str]]:
    """Every table of a database: its rows as text, sorted."""
    with duckdb.connect(str(file), read_only=True) as connection:
        names = connection.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE NOT list_contains(?, table_name)",
            [NOT_COMPARED],
        ).fetchall()
        return {
            f"{file.stem}: {name}": sorted(
                row[0]
                for row in connection.execute(
                    f"SELECT CAST(t AS VARCHAR) FROM (SELECT {NOT_COMPARED_OF.get(name, '*')} FROM {name}) t"
                ).fetchall()
            )
            for (name,) in names
        }


def everything(settings: Settings) -> dict[str, list[str]]:
    return rows(settings.raw_file) | rows(settings.warehouse_file) | rows(settings.analytics_file)


def differing(got: Mapping[str, list[str]], wanted: Mapping[str, list[str]]) -> list[str]:
    """The tables that differ, each with rows that are in one only."""
    return [
        f"{name}: more {sorted(set(more) - set(less))[:3]}, less {sorted(set(less) - set(more))[:3]}"
        for name in sorted({*got, *wanted})
        if (more := got.get(name, [])) != (less := wanted.get(name, []))
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    files = files_by_night(folder / "drop")
    settings = settings_in(folder / "data")
    ended, published = [], []
    for number in range(NIGHTS + 1):
        arrive(settings, files[number])
        ended.append(one_night(settings, number))
        published.append(rows(settings.analytics_file))
    return Undisturbed(files, ended, published, everything(settings))


def files_by_night(drop: Path) -> list[Mapping[str, bytes]]:
    """Files of all sources; one that grows, one that cannot be read at first, an export that is written over."""
    generate(
        drop, days=DAYS, companies=16, events_per_day=50, seed=7, end=END, clean=False, rows_per_file=1000
    )
    nights: list[dict[str, bytes]] = [{} for _ in range(NIGHTS + 1)]
    for file in sorted(path for path in drop.rglob("*") if path.is_file()):
        path, content = file.relative_to(drop).as_posix(), file.read_bytes()
        dated = file.parent.name.removeprefix("dt=")
        number = next(n for n in range(NIGHTS) if dated <= day(n).isoformat()) if dated[:1] == "2" else 0
        half = content[: content.find(b"\n", len(content) // 2) + 1]
        if number == 0 and path.startswith(("crm/companies/hubspot-companies.csv", "users/")):
            nights[0][path], nights[1][path] = half, content
        elif number == 0 and path.endswith(".gz"):
            nights[0][path], nights[1][path] = content[: len(content) // 2], content
        else:
            nights[number][path] = content
    return nights


def moments(chance: random.Random, number: int, ended: Ended, settings: Settings) -> Moment:
    """A moment of a night, of any kind; most are at boundaries, where most can go wrong."""
    kind = chance.choice(["boundary", "boundary", "statement", "size", "seconds"])
    if kind == "boundary":
        return Moment(boundary=chance.randint(1, ended.boundaries))
    if kind == "statement":
        return Moment(statement=chance.randint(1, ended.statements))
    if kind == "size":
        largest = max((f.stat().st_size for f in settings.data.glob("*.duckdb*")), default=1 << 20)
        return Moment(size=chance.randint(1, largest + (1 << 20)))
    return Moment(seconds=chance.uniform(0.01, ended.seconds * 1.2))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(1, 12)))
def test_killed_again_and_again(undisturbed: Undisturbed, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    settings = settings_in(tmp_path / "data")
    tried: list[tuple[int, Moment]] = []
    kills = 0
    for number in range(NIGHTS + 1):
        arrive(settings, undisturbed.files[number])
        for _ in range(KILLS_A_NIGHT):
            tried.append((number, moments(chance, number, undisturbed.ended[number], settings)))
            kills += one_night(settings, *tried[-1]).killed
            if number:
                seen = rows(settings.analytics_file)
                assert [] in [differing(seen, p) for p in undisturbed.published[number - 1 : number + 1]], (
                    tried
                )
        assert not one_night(settings, number).killed
        assert not differing(rows(settings.analytics_file), undisturbed.published[number]), tried
    assert kills >= NIGHTS
    assert not differing(everything(settings), undisturbed.everything), tried
    assert sorted(file.name for file in settings.data.iterdir()) == [
        "analytics.duckdb",
        "raw",
        "raw.duckdb",
        "warehouse.duckdb",
    ]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(2, 20)))
def test_the_end_of_the_log_was_lost_with_the_power(
    undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    """What had not reached the disk yet is missing, or nulls, or something else, from some byte on."""
    chance = random.Random(seed)
    settings = settings_in(tmp_path / "data")
    arrive(settings, undisturbed.files[0])
    log = settings.data / "raw.duckdb.wal"
    while not log.exists() or not log.stat().st_size:
        # While raw.duckdb is written, and warehouse.duckdb is not: what is lost is the newest.
        one_night(settings, 0, Moment(statement=chance.randint(60, 300)))
    content = log.read_bytes()
    kept = chance.randint(0, len(content) - 1)
    rest = {
        "missing": b"",
        "nulls": bytes(len(content) - kept),
        "random": chance.randbytes(len(content) - kept),
    }
    how = chance.choice(list(rest))
    log.write_bytes(content[:kept] + rest[how])
    one_night(settings, 0)
    found = differing(rows(settings.analytics_file), undisturbed.published[0])
    assert not found, (kept, len(content), how)
