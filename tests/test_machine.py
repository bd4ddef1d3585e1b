"""The command on a machine that fails it: killed, a full disk, a folder that is read-only, Dagster's storage damaged."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import duckdb
import pytest
from command_line import DAY, CommandLine
from harness import Warehouse
from soak import LONG, budget

from dagster_project.settings import project_root

NEW = '{"request": {"time": "2026-11-21T10:00:00Z"}, "company_id": "brand-new"}\n'
HAS_NEW = "SELECT count(*) FROM marts.company_profiles WHERE company_id = 'brand-new'"
# The run's own clock and id, and what follows from them.
BY_RUN = (
    "updated_at",
    "entered_at",
    "changed_at",
    "first_seen_at",
    "run",
    "created_at",
    "claimed_at",
    "opened_at",
)


def rows(line: CommandLine) -> dict[str, list[tuple[object, ...]]]:
    """Every published table that is not about this run, its rows in order."""
    with duckdb.connect(str(line.analytics), read_only=True) as connection:
        tables = connection.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE schema_name IN ('marts', 'ops')"
        ).fetchall()
        return {
            name: connection.execute(
                f"SELECT COLUMNS(lambda c: NOT list_contains({list(BY_RUN)!r}, c)) FROM {name} ORDER BY ALL"
            ).fetchall()
            for (name,) in tables
        }


@pytest.mark.soak
def test_killed_again_and_again_it_ends_as_if_never(first_run: tuple[Path, str], tmp_path: Path) -> None:
    """The real command, with Dagster: a moment after one of the things that it tells of."""
    line = CommandLine(tmp_path / "data")
    shutil.copytree(project_root() / "data/sample/raw", line.raw)
    chance = random.Random(7)
    for _ in range(budget(2, 60)):
        process = line.start("run", "--as-of", DAY, "--log-format", "json")
        assert process.stderr is not None
        for _ in range(chance.randint(3, 8)):
            process.stderr.readline()
        time.sleep(chance.uniform(0, 0.7))
        process.kill()
        process.communicate()
    line.run("run", "--as-of", DAY)
    assert rows(line) == rows(CommandLine(first_run[0]))


IN_A_PLACE = """
set -e
mount {mount} {place}
cp -R {data}/. {place}/ 2> /dev/null || true
{and_then}
set +e
WAREHOUSE_DATA={place} {python} -m dagster_project.cli run --as-of {day}
echo "exit status $?" >&2
cp {place}/analytics.duckdb {data}/after.duckdb
{at_last}
"""


def in_a_place(line: CommandLine, mount: str, and_then: str = "", at_last: str = "") -> str:
    """Run the command where the data folder is a mount of its own, which goes away with it. What stderr said."""
    place = line.data.with_name("place")
    place.mkdir()
    script = IN_A_PLACE.format(
        mount=mount,
        place=place,
        data=line.data,
        and_then=and_then,
        at_last=at_last.format(place=place, python=sys.executable, data=line.data),
        python=sys.executable,
        day=DAY,
    )
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    if subprocess.run(
        [*command[:3], "mount", "-t", "tmpfs", "t", str(place)], capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    done = subprocess.run(
        command, env=line.environment({}), cwd=project_root(), capture_output=True, text=True, timeout=300
    )
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("free", [4000, *([1000, 2000, 8000, 12_000, 16_000] if LONG else [])])
def test_a_full_disk_is_named_and_with_room_again_nothing_is_lost(line: CommandLine, free: int) -> None:
    (line.raw / "events/new.jsonl").write_text(NEW)
    published = line.analytics.read_bytes()
    used = sum(-(-f.stat().st_size // 4096) * 4 for f in line.data.rglob("*") if f.is_file())
    # What is left of it goes back to where there is room.
    said = in_a_place(
        line, f"-t tmpfs -o size={used + free}k full", at_last="cp -R {place}/*.duckdb* {data}/"
    )
    assert "exit status 1" in said
    assert "nothing is lost" in said
    assert (line.data / "after.duckdb").read_bytes() == published
    (line.data / "after.duckdb").unlink()
    Warehouse(line.data).night(date.fromisoformat(DAY), publishes=True)
    assert line.ask(HAS_NEW) == [(1,)]


def test_a_read_only_folder_is_named_and_published_data_is_still_shown(line: CommandLine) -> None:
    (line.raw / "events/new.jsonl").write_text(NEW)
    published = line.analytics.read_bytes()
    place = line.data.with_name("place")
    said = in_a_place(
        line,
        f"--bind {line.data}",
        and_then=f"mount -o remount,ro,bind {place}",
        at_last="WAREHOUSE_DATA={place} {python} -m dagster_project.cli status >&2",
    )
    assert "exit status 1" in said
    assert f"{place}" in said
    assert "can be written" in said
    assert "Loaded files" in said
    assert line.analytics.read_bytes() == published


@pytest.mark.parametrize("file", ["history/runs.db", *(["schedules/schedules.db"] if LONG else [])])
def test_a_damaged_storage_of_dagsters_is_named(line: CommandLine, file: str) -> None:
    (line.raw / "events/new.jsonl").write_text(NEW)
    published = line.analytics.read_bytes()
    (line.data / "dagster" / file).write_bytes(os.urandom(20_000))
    said = line.run("run", "--as-of", DAY, status=1)
    assert str(line.data / "dagster") in said
    assert "move the folder away" in said
    assert line.analytics.read_bytes() == published
