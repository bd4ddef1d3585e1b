"""The power goes at any moment, the disk fails at any call, the process is killed at any statement: run again, all is well."""

from __future__ import annotations

import errno
import random
import shutil
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from killing import Moment
from power import COMPILER, images, night, recorder
from soak import budget
from test_killed import (
    FULL,
    NIGHTS,
    Undisturbed,
    arrive,
    day,
    differing,
    everything,
    one_night,
    rows,
    settings_in,
    undisturbed,
)

__all__ = ["undisturbed"]
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(COMPILER is None, reason="no C compiler here to build the recorder"),
]


def recorded(library: Path, data: Path, number: int, **given: str) -> tuple[int, str]:
    """The night with this number, behind the recorder: its exit status, and what it said."""
    now = datetime.combine(day(number) + timedelta(days=1), time(3, 30)) + timedelta(hours=number)
    done = night(library, data, day(number), now, f"night {number}", number == FULL, **given)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorder(tmp_path_factory.mktemp("recorder"))


@pytest.fixture(scope="module")
def before(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The data folder before each night."""
    folder = tmp_path_factory.mktemp("before")
    found = []
    for number in range(NIGHTS + 1):
        data = folder / str(number) / "data"
        if number:
            shutil.copytree(found[-1], data)
            assert not one_night(settings_in(data), number - 1).killed
        arrive(settings_in(data), undisturbed.files[number])
        found.append(data)
    return found


def ends_well(undisturbed: Undisturbed, data: Path, number: int, what: str) -> None:
    """What is published is whole; the same night again ends as if nothing had been."""
    settings = settings_in(data)
    if settings.analytics_file.exists():
        seen = rows(settings.analytics_file)
        known = undisturbed.published[max(number - 1, 0) : number + 1]
        assert [] in [differing(seen, whole) for whole in known], what
    one_night(settings, number)
    assert not differing(rows(settings.analytics_file), undisturbed.published[number]), what
    if number == NIGHTS:
        assert not differing(everything(settings), undisturbed.everything), what


@pytest.mark.parametrize("seed", range(budget(1, 12)))
def test_the_power_goes_at_any_moment(
    undisturbed: Undisturbed, before: list[Path], library: Path, tmp_path: Path, seed: int
) -> None:
    """Writes that were not synced are dropped, torn or there without earlier ones; names stay behind."""
    dice = random.Random(seed)
    number = seed % (NIGHTS + 1)
    data, log = tmp_path / "night" / "data", tmp_path / "record"
    shutil.copytree(before[number], data)
    first = tmp_path / "first"
    shutil.copytree(data, first)
    status, said = recorded(library, data, number, RECORD_TO=str(log))
    assert status == 0, said
    found = [
        images.Record(
            r.kind, *(p.replace(str(data), str(first), 1) for p in (r.path, r.other)), r.offset, r.data
        )
        for r in images.read(log)
    ]
    moments = sorted(dice.sample(range(1, len(found) + 1), min(budget(2, 12), len(found))))
    for at, state in images.states(first, found, moments, dice):
        again = tmp_path / str(at) / "data"
        shutil.copytree(first / "raw", again / "raw")
        for path, content in state.items():
            file = again / Path(path).relative_to(first)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        ends_well(
            undisturbed, again, number, f"seed {seed}, night {number}, after record {at} of {len(found)}"
        )
        shutil.rmtree(again)


@pytest.mark.parametrize("seed", range(budget(1, 12)))
def test_the_disk_fails_at_any_call(
    undisturbed: Undisturbed, before: list[Path], library: Path, tmp_path: Path, seed: int
) -> None:
    """A write, a sync or a rename fails, once or from then on: the night says so, or goes on; the next one ends well."""
    dice = random.Random(seed)
    number = seed % (NIGHTS + 1)
    log, counted = tmp_path / "record", tmp_path / "counted" / "data"
    shutil.copytree(before[number], counted)
    recorded(library, counted, number, RECORD_TO=str(log))
    calls = sum(record.kind in "wtsrul" for record in images.read(log))
    for at in sorted(dice.sample(range(1, calls + 1), min(budget(1, 8), calls))):
        data = tmp_path / str(at) / "data"
        shutil.copytree(before[number], data)
        code = dice.choice([errno.EIO, errno.ENOSPC])
        given = {"FAIL_AT": str(at), "FAIL_WITH": str(code), "RECORD_TO": str(tmp_path / "failing")}
        if dice.random() < 0.5:
            given["FAIL_ON"] = "1"
        what = f"seed {seed}, night {number}, call {at} of {calls}: {given}"
        status, said = recorded(library, data, number, **given)
        assert status in (0, 1), what
        assert status == 0 or len(said.split()) > 5, f"{what}: in words"
        ends_well(undisturbed, data, number, what)
        shutil.rmtree(data)


@pytest.mark.parametrize("seed", range(budget(1, 24)))
def test_killed_at_every_statement(
    undisturbed: Undisturbed, before: list[Path], tmp_path: Path, seed: int
) -> None:
    """Every statement of every night once, each seed a share of them."""
    share = budget(200, 24)
    for number in range(NIGHTS + 1):
        statements = undisturbed.ended[number].statements
        for at in range(1 + (seed + number) % share, statements + 1, share)[: budget(1, statements)]:
            data = tmp_path / f"{number}-{at}" / "data"
            shutil.copytree(before[number], data)
            assert one_night(settings_in(data), number, Moment(statement=at)).killed
            ends_well(undisturbed, data, number, f"night {number}, before statement {at} of {statements}")
            shutil.rmtree(data)
