"""What a machine does to a warehouse besides killing it: damaged files, files that do not belong together, clocks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from harness import Row, Warehouse

from dagster_project.pipeline import nightly
from dagster_project.warehouse.database import DatabaseError, open_published, open_warehouse
from dagster_project.warehouse.publish import is_published, publish

NOW = datetime(2026, 4, 1, 3, 30)  # noqa: DTZ001
AS_OF = NOW.date()
PROFILES = "SELECT * EXCLUDE (updated_at) FROM marts.company_profiles ORDER BY company_id"


def calls(company: str | None, *, token: str = "t", day: str = "2026-03-30") -> list[Row]:
    return [{"request": {"time": f"{day}T10:00:00Z"}, "session_token": token, "company_id": company}]


def first_night(folder: Path) -> Warehouse:
    """A warehouse with history: two nights, the second of which moved usage to another company."""
    warehouse = Warehouse(folder)
    warehouse.put("events/dt=2026-03-30/a.jsonl", [*calls("acme"), *calls(None, token="late")])
    warehouse.night(AS_OF - timedelta(days=1), NOW, run_id="first", publishes=True)
    warehouse.put("companies/dt=2026-03-31/a.jsonl", [{"company_id": "late", "session_token": "late"}])
    warehouse.night(AS_OF, NOW + timedelta(days=1), run_id="second", publishes=True)
    return warehouse


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "warehouse"
    first_night(folder)
    return folder


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Warehouse:
    shutil.copytree(made, tmp_path / "data")
    return Warehouse(tmp_path / "data")


def next_night(warehouse: Warehouse) -> Warehouse:
    warehouse.put("events/dt=2026-03-31/b.jsonl", calls("next", day="2026-03-31"))
    return warehouse.night(AS_OF, NOW + timedelta(days=2), run_id="third", publishes=True)


@pytest.fixture(scope="module")
def wanted(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """What an undisturbed night makes of it."""
    shutil.copytree(made, folder := tmp_path_factory.mktemp("wanted") / "warehouse")
    return outcome(next_night(Warehouse(folder)))


def outcome(warehouse: Warehouse) -> dict[str, list[Row]]:
    return {
        "profiles": warehouse.query(PROFILES),
        "restatements": warehouse.query("SELECT * FROM ops.restatements ORDER BY ALL"),
        "files": warehouse.query("SELECT * FROM ops.files ORDER BY ALL"),
        "days": warehouse.query("SELECT * FROM marts.company_usage_daily ORDER BY ALL"),
    }


def flip_bytes(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for at in range(8192, len(content), 4096):
        content[at] ^= 0xFF
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "random bytes": lambda file: file.write_bytes(bytes(range(256)) * 1000),
    "cut short": lambda file: os.truncate(file, file.stat().st_size // 2),
    "only the beginning": lambda file: os.truncate(file, 5000),
    "wrong bytes here and there": flip_bytes,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("name", ["warehouse.duckdb", "raw.duckdb"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_database_is_named_and_what_is_published_stays(
    warehouse: Warehouse, name: str, damage: Callable[[Path], object]
) -> None:
    published = warehouse.settings.analytics_file.read_bytes()
    damage(warehouse.folder / name)
    with pytest.raises(
        DatabaseError, match=rf"{name}(: .*Restore a backup .* move it\s+away| is a folder, .*: move it away)"
    ):
        next_night(warehouse)
    assert warehouse.settings.analytics_file.read_bytes() == published


@pytest.mark.parametrize("damage", [DAMAGE["cut short"], flip_bytes, DAMAGE["a folder"]])
def test_a_damaged_published_database_is_named_to_readers_and_published_anew(
    warehouse: Warehouse, wanted: dict[str, list[Row]], damage: Callable[[Path], object]
) -> None:
    file = warehouse.settings.analytics_file
    damage(file)
    with (
        pytest.raises(
            DatabaseError,
            match=rf"{file.name}(: .*`warehouse run` publishes it anew| is a folder, .*: move it away)",
        ),
        open_published(warehouse.settings) as connection,
    ):
        connection.execute("FROM ops.files").fetchall()
    if file.is_dir():
        with pytest.raises(
            DatabaseError, match=r"cannot publish to .*as it was|is a folder, .*: move it away"
        ):
            next_night(warehouse)
        file.rmdir()
    assert outcome(next_night(warehouse)) == wanted
    with open_published(warehouse.settings) as connection:
        assert connection.execute("SELECT count(*) FROM ops.files").fetchall() == [(3,)]


def test_a_log_that_belongs_to_another_database_is_named(warehouse: Warehouse) -> None:
    with duckdb.connect(str(warehouse.settings.warehouse_file)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown; CREATE TABLE other (i INT)")
        connection.execute("CHECKPOINT; INSERT INTO other VALUES (1)")
    log = warehouse.settings.warehouse_file.with_name("warehouse.duckdb.wal")
    assert log.exists()
    shutil.copy(warehouse.settings.analytics_file, warehouse.settings.warehouse_file)
    with pytest.raises(DatabaseError, match=r"warehouse.duckdb: .*move the \.wal file away"):
        warehouse.night()
    log.unlink()
    warehouse.night()


def test_a_lost_warehouse_goes_on_from_what_is_published_with_its_history(
    warehouse: Warehouse, wanted: dict[str, list[Row]]
) -> None:
    assert wanted["restatements"]
    warehouse.settings.warehouse_file.unlink()
    assert outcome(next_night(warehouse)) == wanted
    assert not list(warehouse.folder.glob("*.part"))


def test_a_lost_warehouse_without_a_whole_published_one_says_what_can_be_done(warehouse: Warehouse) -> None:
    warehouse.settings.warehouse_file.unlink()
    os.truncate(warehouse.settings.analytics_file, 5000)
    with pytest.raises(DatabaseError, match=r"warehouse.duckdb is gone.*move the published file away"):
        warehouse.night()
    warehouse.settings.analytics_file.unlink()
    next_night(warehouse)
    assert {row["company_id"] for row in warehouse.query(PROFILES)} == {"acme", "late", "next"}


def test_an_older_warehouse_is_built_on(warehouse: Warehouse, wanted: dict[str, list[Row]]) -> None:
    backup = warehouse.settings.warehouse_file.read_bytes()
    next_night(warehouse)
    warehouse.settings.warehouse_file.write_bytes(backup)
    assert outcome(warehouse.night(AS_OF, NOW + timedelta(days=2), run_id="third", publishes=True)) == wanted


@pytest.mark.parametrize("lost", ["older", "gone"])
def test_raw_rows_that_the_warehouse_was_built_from_are_missed(
    warehouse: Warehouse, wanted: dict[str, list[Row]], lost: str
) -> None:
    backup = warehouse.settings.raw_file.read_bytes()
    next_night(warehouse)
    if lost == "older":
        warehouse.settings.raw_file.write_bytes(backup)
    else:
        warehouse.settings.raw_file.unlink()
    published = warehouse.settings.analytics_file.read_bytes()
    for _ in range(2):
        with pytest.raises(DatabaseError, match=r"raw.duckdb does not hold .*warehouse run --full"):
            warehouse.night()
        assert warehouse.settings.analytics_file.read_bytes() == published
    warehouse.night(AS_OF, NOW + timedelta(days=2), run_id="third", full=True, publishes=True)
    for name in ("profiles", "days"):
        assert outcome(warehouse)[name] == wanted[name]


def test_a_file_that_was_numbered_and_not_yet_loaded_is_not_missed(warehouse: Warehouse) -> None:
    """Also in the middle of a full rebuild, where all are loaded again."""
    with open_warehouse(warehouse.settings) as connection:
        nightly.load_new_files(connection, warehouse.settings, full=True, selected=["api_calls"])
        nightly.load_new_files(connection, warehouse.settings)


def test_leftovers_of_a_killed_run_are_removed(warehouse: Warehouse) -> None:
    spilled = warehouse.folder / "tmp" / "duckdb_temp_storage-0.tmp"
    spilled.parent.mkdir()
    spilled.write_bytes(b"x" * 1000)
    for name in ("analytics.duckdb.part", "warehouse.duckdb.1.part", "raw.duckdb.part.wal"):
        (warehouse.folder / name).write_bytes(b"torn")
    with open_warehouse(warehouse.settings):
        assert not spilled.exists()
        assert not list(warehouse.folder.glob("*.part*"))


def test_a_copy_that_outlives_its_killed_run_does_no_harm(
    warehouse: Warehouse, wanted: dict[str, list[Row]]
) -> None:
    """Releases before made the copy by a process of its own, which goes on when only its parent is killed."""
    with (warehouse.folder / "analytics.duckdb.part").open("wb") as copy:
        copy.write(b"o" * 4096)
        copy.flush()
        next_night(warehouse)
        copy.write(b"o" * 100_000)
    with duckdb.connect(str(warehouse.settings.analytics_file), read_only=True) as connection:
        assert len(connection.execute(PROFILES).fetchall()) == len(wanted["profiles"])


def test_what_a_client_wrote_into_the_published_database_is_not_carried_into_the_next(
    warehouse: Warehouse,
) -> None:
    file = warehouse.settings.analytics_file
    with duckdb.connect(str(file)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO marts.company_profiles (company_id) VALUES ('by hand')")
    assert file.with_name("analytics.duckdb.wal").exists()
    next_night(warehouse)
    with open_published(warehouse.settings) as connection:
        found = connection.execute("SELECT company_id FROM marts.company_profiles ORDER BY 1").fetchall()
    assert found == [("acme",), ("late",), ("next",)]


def at(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    monkeypatch.setattr(nightly, "utc_now", lambda: now)


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        (timedelta(days=-2), "before 2026-04-02 03:30, when it last ran"),
        (timedelta(days=-20_000), "1971"),
        (timedelta(days=27_000), "2100.*27000 days after the last run, 2026-04-02 03:30"),
    ],
    ids=["back", "no clock at all", "ahead"],
)
def test_a_clock_that_jumps_stops_the_run(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, jump: timedelta, words: str
) -> None:
    warehouse = Warehouse(warehouse.folder, warehouse={"clock_jump_days": 400})
    before = {file: file.read_bytes() for file in warehouse.folder.glob("*.duckdb")}
    at(monkeypatch, NOW + timedelta(days=1) + jump)
    warehouse.put("events/b.jsonl", calls("next"))
    with pytest.raises(DatabaseError, match=rf"{words}.*Set the clock.*clock_jump_days = 0"):
        warehouse.night()
    assert {file: file.read_bytes() for file in before} == before


def test_a_machine_without_a_clock_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, datetime(1970, 1, 1))  # noqa: DTZ001
    with pytest.raises(DatabaseError, match="Set the clock"):
        Warehouse(tmp_path, warehouse={"clock_jump_days": 400}).night()


def test_a_clock_that_was_ahead_and_is_right_again_goes_on_when_told_so(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, NOW + timedelta(days=27_000))
    assert Warehouse(warehouse.folder).night(AS_OF + timedelta(days=27_000))
    at(monkeypatch, NOW + timedelta(days=2))
    careful = Warehouse(warehouse.folder, warehouse={"clock_jump_days": 400})
    with pytest.raises(DatabaseError, match="Set the clock"):
        careful.night()
    next_night(Warehouse(warehouse.folder))
    careful.night()


def test_a_clock_that_steps_back_a_little_changes_nothing(
    warehouse: Warehouse, wanted: dict[str, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is set right: what came in is numbered by when it came, not by the clock."""
    careful = Warehouse(warehouse.folder, warehouse={"clock_jump_days": 400})
    at(monkeypatch, NOW + timedelta(days=1, minutes=-10))
    careful.put("events/dt=2026-03-31/b.jsonl", calls("next", day="2026-03-31"))
    careful.night(AS_OF, run_id="third", publishes=True)
    assert outcome(careful)["profiles"] == wanted["profiles"]
    assert [row["file_seq"] for row in careful.query("FROM ops.files ORDER BY file_seq")] == [1, 2, 3]


def test_a_run_with_nothing_to_publish_leaves_the_file_alone(warehouse: Warehouse) -> None:
    with open_warehouse(warehouse.settings) as connection:
        assert is_published(connection, warehouse.settings)
        publish(connection, warehouse.settings)
        assert is_published(connection, warehouse.settings)


@pytest.mark.parametrize("name", ["raw.duckdb", "warehouse.duckdb"])
@pytest.mark.parametrize("left", ["first header", "all but the first header", "nulls"])
def test_a_database_whose_making_the_power_ended_is_made_anew(tmp_path: Path, name: str, left: str) -> None:
    """In a first night. A file that is no database stays, and so does one that was published."""
    file = tmp_path / name
    with duckdb.connect(str(file)):
        pass
    whole = file.read_bytes()
    assert len(whole) == 3 * 4096
    cut = {
        "first header": whole[:4096],
        "all but the first header": bytes(4096) + whole[4096:],
        "nulls": bytes(len(whole)),
    }[left]
    file.write_bytes(cut)
    warehouse = Warehouse(tmp_path, new=True)
    (tmp_path / "analytics.duckdb").write_bytes(b"published")
    with pytest.raises(DatabaseError), open_warehouse(warehouse.settings):
        pass
    assert file.read_bytes() == cut
    (tmp_path / "analytics.duckdb").unlink()
    with open_warehouse(warehouse.settings) as connection:
        assert connection.execute(
            "SELECT count(*) FROM duckdb_databases() WHERE NOT internal"
        ).fetchall() == [(2,)]
    file.write_text("my notes")
    with pytest.raises(DatabaseError), open_warehouse(warehouse.settings):
        pass
    assert file.read_text() == "my notes"
