"""The power goes at any moment, the disk fails at any call, the process is killed at any statement: run again, all is well."""

from __future__ import annotations

import errno
import random
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from pathlib import Path

import duckdb
import pytest
from harness import Warehouse
from killing import States
from power import COMPILER, images, night, recorder
from soak import LONG, budget
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

from dagster_project.settings import Settings

__all__ = ["undisturbed"]
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(COMPILER is None, reason="no C compiler here to build the recorder"),
]

BLOCK = 262_144  # bytes of a block of DuckDB's


def recorded(library: Path, data: Path, number: int, **given: str) -> tuple[int, str]:
    """The night with this number, behind the recorder: its exit status, and what it said."""
    done = night(library, data, day(number), at(number), f"night {number}", number == FULL, **given)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def at(number: int) -> datetime:
    """The clock of a night, as in `one_night`."""
    return datetime.combine(day(number) + timedelta(days=1), time(3, 30)) + timedelta(hours=number)


def moved(log: Path, data: Path, to: Path) -> list[images.Record]:
    """What was recorded below one folder, as if below another."""
    return [
        images.Record(
            r.kind, *(p.replace(str(data), str(to), 1) for p in (r.path, r.other)), r.offset, r.data
        )
        for r in images.read(log)
    ]


def after_a_cut(folder: Path, first: Path, state: Mapping[str, bytes]) -> Warehouse:
    """A data folder with what a cut left, and the raw files."""
    shutil.copytree(first / "raw", folder / "raw")
    for path, content in state.items():
        file = folder / Path(path).relative_to(first)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    return Warehouse(folder, new=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorder(tmp_path_factory.mktemp("recorder"))


@pytest.mark.parametrize("seed", range(budget(1, 8)))
def test_the_power_goes_in_a_first_night(library: Path, tmp_path: Path, seed: int) -> None:
    """A small night: what a cut leaves of it, and the same night again."""
    dice, data, first = random.Random(seed), tmp_path / "data", tmp_path / "first"
    warehouse = Warehouse(first, new=True)
    calls = [
        {"request": {"time": "2026-03-20T10:00:00Z"}, "company_id": f"c{n % 5}", "user_id": f"u{n}"}
        for n in range(300)
    ]
    warehouse.put("events/a.jsonl", calls)
    warehouse.put("companies/a.jsonl", [{"company_id": "c1", "session_token": "t", "metadata": {"a": 1}}])
    shutil.copytree(first, data)
    status, said = recorded(library, data, 0, RECORD_TO=str(tmp_path / "record"))
    assert status == 0, said
    wanted, records = rows(data / "analytics.duckdb"), moved(tmp_path / "record", data, first)
    for number, state in images.states(
        first, records, dice.sample(range(1, len(records) + 1), 12 if LONG else 2), dice
    ):
        again = after_a_cut(tmp_path / str(number), first, state)
        again.night(day(0), at(0), run_id="night 0", publishes=True)
        assert not differing(rows(again.settings.analytics_file), wanted), f"seed {seed}, after {number}"


@pytest.fixture(scope="module")
def before(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The data folder before each night."""
    folder = tmp_path_factory.mktemp("before")
    found: list[Path] = []
    for number in range(NIGHTS + 1):
        data = folder / str(number) / "data"
        if number:
            shutil.copytree(found[-1], data)
            assert not one_night(settings_in(data), number - 1).killed
        arrive(settings_in(data), undisturbed.files[number])
        found.append(data)
    return found


def ends_well(undisturbed: Undisturbed, data: Path, number: int, what: str, was: Path) -> None:
    """What is published is whole; the same night again ends as if nothing had been. was: the data folder before the night."""
    settings = settings_in(data)
    if settings.analytics_file.exists():
        seen = rows(settings.analytics_file)
        known = undisturbed.published[max(number - 1, 0) : number + 1]
        assert [] in [differing(seen, whole) for whole in known], what
    try:
        one_night(settings, number)
    except AssertionError as error:
        put_right(settings, str(error), was)
        one_night(settings, number)
    assert not differing(rows(settings.analytics_file), undisturbed.published[number]), what
    if number == NIGHTS:
        assert not differing(everything(settings), undisturbed.everything), what


def put_right(settings: Settings, said: str, was: Path) -> None:
    """Do what a night says that found a block torn. That may be but for one reason: a checkpoint of DuckDB's writes metadata
    into free parts of blocks in which other parts are in force, in place (docs/operations.md, "Tried at random").
    """
    torn = re.search(
        r"(\w+)\.duckdb: Corrupt database file: .* in block at location (\d+)\. What to do: ", said
    )
    assert torn, said
    assert "Restore a backup" in said, said
    assert "warehouse.duckdb is then taken from what is published" in said, said
    name, block = f"{torn[1]}.duckdb", (int(torn[2]) - 3 * 4096) // BLOCK
    with duckdb.connect(str(was / name), read_only=True) as connection:
        shared = connection.execute(
            "SELECT 1 FROM pragma_metadata_info() WHERE block_id = ? AND len(free_list) BETWEEN 1 AND total_blocks - 1",
            [block],
        ).fetchall()
    assert shared, f"{said}: it is no block of metadata with a free part"
    is_raw = name == settings.raw_file.name
    for file in settings.data.glob("*.duckdb*" if is_raw else f"{name}*"):
        file.unlink()
    if is_raw:  # from a backup of the evening
        for file in was.glob("*.duckdb*"):
            shutil.copy(file, settings.data / file.name)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(budget(0, 4)))
def test_the_power_goes_at_any_moment(
    undisturbed: Undisturbed, before: list[Path], library: Path, tmp_path: Path, seed: int
) -> None:
    """Writes that were not synced are dropped, torn or there without earlier ones; names stay behind."""
    dice, number = random.Random(seed), seed % (NIGHTS + 1)
    data, first, log = tmp_path / "night" / "data", tmp_path / "first", tmp_path / "record"
    for copy in (data, first):
        shutil.copytree(before[number], copy)
    status, said = recorded(library, data, number, RECORD_TO=str(log))
    assert status == 0, said
    records = moved(log, data, first)
    moments = dice.sample(range(1, len(records) + 1), min(12, len(records)))
    for cut, state in images.states(first, records, moments, dice):
        again = tmp_path / str(cut) / "data"
        after_a_cut(again, first, state)
        what = f"seed {seed}, night {number}, after record {cut} of {len(records)}"
        ends_well(undisturbed, again, number, what, before[number])
        shutil.rmtree(again)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(budget(0, 4)))
def test_the_disk_fails_at_any_call(
    undisturbed: Undisturbed, before: list[Path], library: Path, tmp_path: Path, seed: int
) -> None:
    """A write, a sync or a rename fails, once or from then on: the night says so, or goes on; the next one ends well."""
    dice, number = random.Random(seed), seed % (NIGHTS + 1)
    log, counted = tmp_path / "record", tmp_path / "counted" / "data"
    shutil.copytree(before[number], counted)
    recorded(library, counted, number, RECORD_TO=str(log))
    calls = sum(record.kind in "wtsrul" for record in images.read(log))
    for call in sorted(dice.sample(range(1, calls + 1), min(8, calls))):
        data = tmp_path / str(call) / "data"
        shutil.copytree(before[number], data)
        code = dice.choice([errno.EIO, errno.ENOSPC])
        given = {"FAIL_AT": str(call), "FAIL_WITH": str(code), "RECORD_TO": str(tmp_path / "failing")}
        if dice.random() < 0.5:
            given["FAIL_ON"] = "1"
        what = f"seed {seed}, night {number}, call {call} of {calls}: {given}"
        status, said = recorded(library, data, number, **given)
        assert status in (0, 1), what
        assert status == 0 or len(said.split()) > 5, f"{what}: in words"
        ends_well(undisturbed, data, number, what, before[number])
        shutil.rmtree(data)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(NIGHTS + 1 if LONG else 0))
def test_killed_at_every_statement(
    undisturbed: Undisturbed,
    before: list[Path],
    tmp_path: Path,
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    """Before every statement of a night: each state in which that leaves the files, once."""
    data, states = tmp_path / "data", tmp_path / "killed"
    shutil.copytree(before[number], data)
    ended = one_night(settings_in(data), number, prepare=States(data, states))
    found = sorted(states.iterdir(), key=lambda state: int(state.name))
    record_property("states", f"{len(found)} before {ended.statements} statements")
    assert len(found) > 5
    for state in found:
        shutil.rmtree(data)
        state.rename(data)  # what the warehouse knows of paths begins with the folder
        what = f"night {number}, before statement {state.name}"
        ends_well(undisturbed, data, number, what, before[number])
