"""Our own files: for their user only, and never taken for what lies in their place. Torn ones stop no night."""

from __future__ import annotations

import errno
import grp
import os
import shutil
import signal
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from click.testing import CliRunner
from harness import Warehouse
from test_erase import DAY, NIGHT, erased

from dagster_project.cli import main
from dagster_project.orchestration import dagster_home
from dagster_project.pipeline import erase
from dagster_project.settings import Settings, SettingsError, load_settings
from dagster_project.warehouse import backup, publish
from dagster_project.warehouse.database import DatabaseError, connect_published, open_warehouse

CALL = {"request": {"time": "2026-03-30T10:00:00Z"}, "company_id": "acme", "user_id": "person-of-17"}


@pytest.fixture(autouse=True)
def hard_limit() -> Iterator[None]:
    """What waits for a pipe waits for ever: not here."""

    def over(_: int, __: FrameType | None) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "data"
    warehouse = Warehouse(folder)
    warehouse.put("events/a.jsonl", [CALL])
    before = os.umask(0o022)
    try:
        warehouse.night(DAY, NIGHT, publishes=True)
    finally:
        os.umask(before)
    return folder


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Warehouse:
    shutil.copytree(made, tmp_path / "data")
    return Warehouse(tmp_path / "data")


def open_to_others(*folders: Path) -> list[str]:
    return [
        f"{path} {stat.S_IMODE(path.stat().st_mode):o}"
        for folder in folders
        for path in (folder, *folder.rglob("*"))
        if "raw" not in path.parts and path.stat().st_mode & 0o077
    ]


def test_what_is_written_is_for_its_user_only(made: Path, tmp_path: Path) -> None:
    assert open_to_others(*made.glob("*.duckdb")) == []
    data = tmp_path / "new" / "data"
    before = os.umask(0)
    try:
        settings = Settings(data=data, raw=made / "raw")
        dagster_home.make_ready(data / "dagster")
        with open_warehouse(settings) as connection:
            connection.execute("CREATE TABLE raw.t AS SELECT 1 AS n")
            publish.publish(connection, settings)
            publish.note_outcome(settings, NIGHT)
        backup.make(settings, tmp_path / "backup")
    finally:
        os.umask(before)
    assert {"warehouse.duckdb", "raw.duckdb", "analytics.duckdb", "last_run.json"} <= {
        file.name for file in data.iterdir()
    }
    assert open_to_others(data / "dagster", *data.glob("*.*"), tmp_path / "backup") == []


def test_databases_of_older_releases_are_closed_to_others_and_a_group_is_let_in_by_a_setting(
    warehouse: Warehouse,
) -> None:
    files = [
        warehouse.settings.warehouse_file,
        warehouse.settings.raw_file,
        warehouse.settings.analytics_file,
    ]
    for file in files:
        file.chmod(0o644)
    with open_warehouse(warehouse.settings) as connection:
        assert publish.is_published(connection, warehouse.settings)
    assert open_to_others(*files) == []

    group = grp.getgrgid(os.getgid()).gr_name
    warehouse.folder.chmod(0o700)
    shared = Warehouse(warehouse.folder, warehouse={"published_group": group}).settings
    with open_warehouse(shared) as connection:
        assert publish.is_published(connection, shared)
    assert stat.S_IMODE(shared.analytics_file.stat().st_mode) == 0o640
    assert stat.S_IMODE(shared.data.stat().st_mode) == 0o710
    assert open_to_others(*files[:2]) == []
    with pytest.raises(ValueError, match="must be a group of this machine"):
        Warehouse(warehouse.folder, warehouse={"published_group": "no-such-group-here"})


def put_in_the_way(path: Path, what: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(path)
    else:
        here = os.open(path.parent, os.O_RDONLY)  # an address of a socket is short
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


@pytest.mark.parametrize("what", ["pipe", "socket"])
@pytest.mark.parametrize(
    "name",
    ["warehouse.duckdb", "raw.duckdb", "analytics.duckdb", "raw.duckdb.wal", "warehouse.duckdb.part", "tmp"],
)
def test_what_lies_in_the_way_of_a_database_is_named_and_not_waited_for(
    warehouse: Warehouse, name: str, what: str
) -> None:
    put_in_the_way(warehouse.folder / name, what)
    warehouse.put("events/b.jsonl", [{**CALL, "user_id": "b"}])
    if name in ("warehouse.duckdb.part", "tmp"):
        warehouse.night(DAY, NIGHT, publishes=True)  # a leftover of ours: it goes
        assert len(warehouse.table("marts.user_profiles")) == 2
        return
    with pytest.raises(DatabaseError, match=f"{name} is a .*: move it away"):
        warehouse.night(DAY, NIGHT, publishes=True)
    if name == "analytics.duckdb":
        with pytest.raises(DatabaseError, match="move it away"):
            connect_published(warehouse.settings)
        with open_warehouse(warehouse.settings) as connection:
            assert not publish.is_published(connection, warehouse.settings)


@pytest.mark.parametrize(
    "name", ["dagster.yaml", "opening.lock", "event_log.db", "history/runs.db", "alive/some-run"]
)
def test_a_pipe_in_dagsters_folder_is_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    put_in_the_way(tmp_path / "data/dagster" / name, "pipe")
    done = CliRunner().invoke(main, ["run"])
    assert done.exit_code == 1, done.output
    assert f"{name} is a named pipe" in done.output.replace("\n", "")


def test_a_pipe_for_settings_notes_and_backups_is_named(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_the_way(warehouse.folder / "last_run.json", "pipe")
    put_in_the_way(warehouse.folder / "last_run.json.part", "pipe")
    assert publish.last_outcome(warehouse.settings).good_at is None
    publish.note_outcome(warehouse.settings, NIGHT)
    put_in_the_way(tmp_path / "backup", "pipe")
    with pytest.raises(backup.BackupError, match="there already"):
        backup.make(warehouse.settings, tmp_path / "backup")
    backup.make(warehouse.settings, tmp_path / "other")
    for name in ("raw.duckdb", "backup.json"):
        put_in_the_way(tmp_path / "other" / name, "pipe")
        with pytest.raises(backup.BackupError, match="named pipe"):
            backup.restore(warehouse.settings, tmp_path / "other")
    project = tmp_path / "project"
    put_in_the_way(project / "warehouse.toml", "pipe")
    monkeypatch.setenv("WAREHOUSE_PROJECT", str(project))
    monkeypatch.delenv("WAREHOUSE_CONFIG", raising=False)
    monkeypatch.setattr("dagster_project.settings.project_folder", lambda: project)
    with pytest.raises(SettingsError, match=r"warehouse\.toml is no file"):
        load_settings()


def test_a_backup_whose_last_sync_fails_is_gone(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = backup.put_in_place

    def fails_at_last(part: Path, target: Path) -> None:
        real(part, target)
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(target.parent))

    with monkeypatch.context() as broken:
        broken.setattr(backup, "put_in_place", fails_at_last)
        with pytest.raises(backup.BackupError, match="no backup was made: Input/output error"):
            backup.make(warehouse.settings, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    backup.make(warehouse.settings, tmp_path / "backup")


def test_leftovers_that_cannot_be_removed_are_told_of(warehouse: Warehouse) -> None:
    (warehouse.folder / "raw.duckdb.part").mkdir()
    with pytest.raises(DatabaseError, match=r"cannot be removed: .* Remove it by hand"):
        warehouse.night(DAY, NIGHT)


def test_torn_logs_are_searched_by_an_erase_and_do_not_stay_for_ever(warehouse: Warehouse) -> None:
    theirs, others, old = (warehouse.folder / f"{name}.wal.damaged" for name in ("a", "b", "c"))
    theirs.write_bytes(b"\0\1person\\u002dof-17\2" + b'"person-of-17"')
    others.write_bytes(b"\0\1somebody else")
    old.write_bytes(b"old")
    month = time.time() - 31 * 86400
    os.utime(old, (month, month))
    erasure = erased(warehouse, users=["person-of-17"])
    assert not old.exists()
    assert erase.forget_torn_logs(warehouse.settings, erasure) == ["a.wal.damaged"]
    assert (theirs.exists(), others.exists()) == (False, True)


@pytest.mark.parametrize("torn", ["empty", "cut", "garbage"])
def test_a_torn_event_log_of_dagsters_is_put_aside(tmp_path: Path, torn: str) -> None:
    dagster_home.make_ready(tmp_path)
    file = tmp_path / "event_log.db"
    with sqlite3.connect(file) as made:
        made.execute(
            "CREATE TABLE event_logs AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 9999) SELECT i, 'an event' AS event FROM n"
        )
    made.close()
    dagster_home.make_ready(tmp_path)
    assert file.stat().st_size > 50_000, "it is whole, and stays"
    file.write_bytes({"empty": b"", "cut": file.read_bytes()[:20_000], "garbage": os.urandom(20_000)}[torn])
    os.utime(file, (1, 1))
    dagster_home.make_ready(tmp_path)
    assert not file.exists()
    assert (tmp_path / "event_log.db.torn").exists()


def test_an_erase_that_was_cut_keeps_the_as_of_day(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(erase, "_build", lambda *_: None)  # killed before it
        with open_warehouse(warehouse.settings) as connection:
            erasure = erase.Erasure(erase.erasures.Belongings(), DAY)
            erasure.theirs.ids["user"] = {"person-of-17"}
            erase.carry_out(connection, warehouse.settings, erasure)
    erased(warehouse, users=["person-of-17"])
    assert [row["as_of"] for row in warehouse.table("marts.as_of")] == [DAY]


def test_ids_that_look_like_pseudonyms_are_ordinary(warehouse: Warehouse) -> None:
    ids = ["erased:me", f"erased:{'0' * 64}"]
    warehouse.put(
        "events/odd.jsonl",
        [{**CALL, "transaction_id": f"odd{n}", "user_id": id_} for n, id_ in enumerate(ids)],
    )
    warehouse.put("users/odd.jsonl", [{"user_id": ids[0], "session_token": "t", "metadata": {"name": "Me"}}])
    warehouse.night(DAY, NIGHT)
    users = {row["user_id"] for row in warehouse.table("marts.user_profiles")}
    assert {"erased:me"} <= users
    assert {row["user_id"] for row in warehouse.table("marts.user_aliases")} == {"erased:me"}
    erased(warehouse, users=[ids[0]])
    warehouse.put("events/again.jsonl", [{**CALL, "transaction_id": "again", "user_id": ids[0]}])
    warehouse.night(DAY, NIGHT)
    assert "erased:me" not in {row["user_id"] for row in warehouse.table("marts.user_profiles")}
    assert "person-of-17" in {row["user_id"] for row in warehouse.table("marts.user_profiles")}
