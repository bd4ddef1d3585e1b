"""Dagster's folder: its settings are whole and of this release, and old records go. They may hold rows of people."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.definitions import defs
from dagster_project.orchestration import dagster_home
from dagster_project.settings import project_root

SHIPPED = (project_root() / "deploy/dagster.yaml").read_text()
OLD = (
    Path(__file__).parent / "releases/dagster.yaml"
).read_text()  # of the release that had a storage of its own
SOMEBODY = "usr|ann.o'neil@acme.example"


def settings_in(home: Path) -> str:
    return (home / "dagster.yaml").read_text()


@pytest.mark.parametrize(
    "torn",
    [None, "", "\n", "\0" * 512, SHIPPED[:20], SHIPPED[:-40], "telemetry: {enabled: fal", "just words"],
)
def test_settings_that_are_missing_or_torn_are_made_anew(tmp_path: Path, torn: str | None) -> None:
    if torn is not None:
        (tmp_path / "dagster.yaml").write_text(torn)
    dagster_home.make_ready(tmp_path)
    assert settings_in(tmp_path) == SHIPPED
    assert not list(tmp_path.glob("*.part"))


def test_settings_of_ones_own_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "history/runs").mkdir(parents=True)
    own = "storage:\n  sqlite:\n    base_dir: /elsewhere\ntelemetry: {enabled: true}\n"
    (tmp_path / "dagster.yaml").write_text(own)
    dagster_home.make_ready(tmp_path)
    assert settings_in(tmp_path) == own
    assert (tmp_path / "history/runs").exists(), "it may be what they name"


@pytest.mark.parametrize("changed", [False, True])
def test_settings_of_an_older_release_name_dagsters_own_storage(tmp_path: Path, changed: bool) -> None:
    text = OLD.replace("max_runtime_seconds: 21600", "max_runtime_seconds: 7") if changed else OLD
    (tmp_path / "dagster.yaml").write_text(text)
    dagster_home.make_ready(tmp_path)
    found, shipped = yaml.safe_load(settings_in(tmp_path)), yaml.safe_load(SHIPPED)
    assert found.pop("run_monitoring")["max_runtime_seconds"] == (7 if changed else 21600)
    assert found == {name: value for name, value in shipped.items() if name not in ("run_monitoring", "nux")}
    again = settings_in(tmp_path)
    dagster_home.make_ready(tmp_path)
    assert settings_in(tmp_path) == again


def test_old_runs_and_schedules_are_still_known_and_nobody_is_in_old_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    @dg.asset
    def profiles() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"preview": dg.MetadataValue.md(f"| {SOMEBODY} |")})

    (tmp_path / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
    )  # Dagster's default: as it was kept before
    schedule = defs.resolve_schedule_def("every_night")
    with dg.DagsterInstance.get() as old:
        run_id = dg.materialize([profiles], instance=old).run_id
    assert [file for file in tmp_path.rglob("*.db") if SOMEBODY.encode() in file.read_bytes()]
    printed = tmp_path / "storage" / run_id / "compute_logs/x.out"
    printed.parent.mkdir(parents=True, exist_ok=True)
    printed.write_text(SOMEBODY)
    (tmp_path / "dagster.yaml").write_text(OLD)

    dagster_home.make_ready(tmp_path)
    assert schedule.name == "every_night"
    with dg.DagsterInstance.get() as new:
        assert [run.run_id for run in new.get_runs()] == [run_id]
        assert list(new.all_logs(run_id)) == []
        assert dg.materialize([profiles], instance=new).success
        assert len(new.get_runs()) == 2
    assert not (tmp_path / "history/runs").exists()


def test_a_crash_while_records_are_removed_is_made_good_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_text(OLD)
    for number in range(3):
        (tmp_path / "history/runs").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"history/runs/{number}.db").write_text(SOMEBODY)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            dagster_home.make_ready(tmp_path)
    dagster_home.make_ready(tmp_path)
    assert not (tmp_path / "history/runs").exists()


def test_dagster_dev_in_a_clone_keeps_its_records_where_the_command_does() -> None:
    here = yaml.safe_load((project_root() / "dagster.yaml").read_text())
    shipped = yaml.safe_load(SHIPPED)
    places = {name: here.pop(name)["config"]["base_dir"] for name in ("run_storage", "schedule_storage")}
    assert places == {"run_storage": "data/dagster/history", "schedule_storage": "data/dagster/schedules"}
    assert here["event_log_storage"]["config"].pop("base_dir") == "data/dagster"
    assert shipped["event_log_storage"]["config"].pop("base_dir") == {"env": "DAGSTER_HOME"}
    assert here == shipped
