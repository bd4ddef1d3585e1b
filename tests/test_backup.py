"""Backup and restore: whole or not at all, checked, and a warehouse goes on from it as if nothing had been."""

from __future__ import annotations

import json
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from harness import Warehouse
from test_against_oracle import every_table
from test_cli import CommandLine

from dagster_project.warehouse import backup
from dagster_project.warehouse.backup import BackupError
from dagster_project.warehouse.database import DatabaseError, open_published, open_warehouse

DAY = date(2026, 3, 31)
NIGHT = datetime(2026, 4, 1, 2)  # noqa: DTZ001 - the warehouse keeps UTC without a zone


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    warehouse = Warehouse(folder)
    warehouse.put("events/a.jsonl", [{"company_id": "acme", "request": {"time": "2026-03-30T10:00:00Z"}}])
    warehouse.night(DAY, NIGHT, publishes=True)
    return folder


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Warehouse:
    shutil.copytree(made, tmp_path / "data")
    return Warehouse(tmp_path / "data")


def another_night(warehouse: Warehouse) -> None:
    warehouse.put("events/b.jsonl", [{"company_id": "bolt", "request": {"time": "2026-03-31T10:00:00Z"}}])
    warehouse.night(DAY, NIGHT + timedelta(days=1), publishes=True)


def published(warehouse: Warehouse) -> list[str]:
    with open_published(warehouse.settings) as connection:
        return [
            r[0]
            for r in connection.execute("SELECT company_id FROM marts.company_profiles ORDER BY 1").fetchall()
        ]


def test_a_warehouse_goes_on_from_a_backup(warehouse: Warehouse, tmp_path: Path) -> None:
    before = every_table(warehouse)
    folder = tmp_path / "deep" / "backup"
    assert backup.make(warehouse.settings, folder) > 0
    another_night(warehouse)
    after = every_table(warehouse)
    backup.restore(warehouse.settings, folder)
    assert every_table(warehouse) == before
    assert published(warehouse) == ["acme"]
    another_night(warehouse)
    assert every_table(warehouse) == after
    assert sorted(p.name for p in folder.iterdir()) == ["backup.json", "raw.duckdb", "warehouse.duckdb"]
    assert list(folder.parent.iterdir()) == [folder]


def test_on_another_machine_and_over_damaged_databases(warehouse: Warehouse, tmp_path: Path) -> None:
    backup.make(warehouse.settings, tmp_path / "backup")
    new = Warehouse(tmp_path / "new")
    backup.restore(new.settings, tmp_path / "backup")
    assert published(new) == ["acme"]
    for name in ("warehouse.duckdb", "raw.duckdb"):
        (new.folder / name).write_bytes(b"not a database" * 1000)
        (new.folder / f"{name}.wal").write_bytes(b"nor its log")
    backup.restore(new.settings, tmp_path / "backup")
    assert every_table(new) == every_table(warehouse)


def test_no_folder_is_written_over(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="there already"):
        backup.make(warehouse.settings, tmp_path)


@pytest.mark.parametrize("damage", ["a byte", "a file", "the list", "no list"])
def test_what_is_no_whole_backup_is_refused(warehouse: Warehouse, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "backup"
    backup.make(warehouse.settings, folder)
    database, listed = folder / "raw.duckdb", folder / "backup.json"
    if damage == "a byte":
        content = bytearray(database.read_bytes())
        content[20_000] ^= 1
        database.write_bytes(content)
    elif damage == "a file":
        database.unlink()
    elif damage == "the list":
        listed.write_text("[]")
    else:
        listed.unlink()
    another_night(warehouse)
    with pytest.raises(BackupError):
        backup.restore(warehouse.settings, folder)
    assert published(warehouse) == ["acme", "bolt"]


def test_a_backup_of_a_newer_release_is_refused_before_anything_is_touched(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    with open_warehouse(warehouse.settings) as connection:
        connection.execute("INSERT INTO raw.schema_version VALUES (99)")
    backup.make(warehouse.settings, tmp_path / "backup")
    older = Warehouse(tmp_path / "older", new=True)
    with pytest.raises(DatabaseError, match="newer release"):
        backup.restore(older.settings, tmp_path / "backup")
    assert not older.settings.raw_file.exists()


class Crash(BaseException):
    """A power cut, as far as a test can have one."""


@pytest.mark.parametrize("after", range(2))
def test_a_crash_while_restoring_and_the_same_again(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before = every_table(warehouse)
    backup.make(warehouse.settings, tmp_path / "backup")
    another_night(warehouse)
    done: list[Path] = []
    original = backup.put_in_place

    def crash(part: Path, target: Path) -> None:
        if len(done) == after:
            raise Crash
        done.append(target)
        original(part, target)

    with monkeypatch.context() as broken:
        broken.setattr(backup, "put_in_place", crash)
        with pytest.raises(Crash):
            backup.restore(warehouse.settings, tmp_path / "backup")
    if done:
        with pytest.raises(DatabaseError, match="Restore both from one backup"):
            warehouse.night(DAY, NIGHT)
    backup.restore(warehouse.settings, tmp_path / "backup")
    assert every_table(warehouse) == before


def test_a_backup_that_fails_leaves_no_folder(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device", "disk")

    monkeypatch.setattr(backup, "sync", full)
    with pytest.raises(BackupError, match="No space left"):
        backup.make(warehouse.settings, tmp_path / "backup")
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_the_commands(warehouse: Warehouse, tmp_path: Path) -> None:
    line, folder = CommandLine(warehouse.folder), str(tmp_path / "backup")
    assert "Backup made" in line.run("backup", folder)
    another_night(warehouse)
    assert "--yes" in line.run("restore", folder, status=1)
    assert published(warehouse) == ["acme", "bolt"]
    assert json.loads((tmp_path / "backup/backup.json").read_text())["made_at"] in line.run(
        "restore", folder, "--yes"
    )
    assert published(warehouse) == ["acme"]
