"""What Dagster sees: assets with their dependencies, a job, a schedule; and a part of them run alone.

`python tests/test_definitions.py` writes definitions.txt anew, when the change of the graph is meant.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from harness import Warehouse
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dagster_project.definitions import defs
from dagster_project.settings import ScheduleSettings, project_root

SNAPSHOT = Path(__file__).with_name("definitions.txt")


@pytest.fixture(scope="module")
def graph() -> Any:
    return defs.resolve_asset_graph()


def described(graph: Any) -> str:
    """Each asset with its group and what it depends on."""
    lines = []
    for key in sorted(graph.get_all_asset_keys(), key=lambda key: key.path):
        node = graph.get(key)
        lines.append(f"{'/'.join(key.path)} ({node.group_name})")
        lines += [f"    {'/'.join(parent.path)}" for parent in sorted(node.parent_keys, key=lambda k: k.path)]
    return "\n".join(lines) + "\n"


def test_the_graph_is_what_the_snapshot_says(graph: Any) -> None:
    assert described(graph) == SNAPSHOT.read_text(encoding="utf-8"), (
        "the graph of assets changed; if that is meant: python tests/test_definitions.py"
    )


def test_the_definitions_load_without_a_warning() -> None:
    code = "from dagster_project.definitions import defs; d = defs; d.resolve_all_job_defs(); d.resolve_asset_graph()"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=project_root(),
    )
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "dagster_project" in line or "Warning" in line]
    foreign = [line for line in ours if "site-packages" in line and "dagster_project" not in line]
    assert [line for line in ours if line not in foreign] == []


def test_every_asset_says_what_it_is_whose_it_is_and_which_columns_it_has(graph: Any) -> None:
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        name = "/".join(key.path)
        assert node.description, name
        assert node.owners, name
        assert node.kinds, name
        assert node.group_name not in (None, "default"), name
        if name == "analytics" or name.startswith(("hubspot", "customersuccessbox")):
            continue  # a file, and another company's machine
        schema = node.metadata.get("dagster/column_schema")
        assert schema is not None, name
        assert schema.columns, name
        if not name.startswith("raw/"):
            assert all(column.description for column in schema.columns), name


def test_every_check_says_what_it_looks_for(graph: Any) -> None:
    keys = graph.asset_check_keys
    assert len(keys) > 20
    for key in keys:
        assert graph.get(key).description, key


@pytest.mark.parametrize(("name", "cron"), [("nightly", "0 2 * * *"), ("sync", "*/15 * * * *")])
def test_a_job_runs_every_asset_and_has_a_schedule_that_is_off(name: str, cron: str) -> None:
    definitions = defs
    job = definitions.resolve_job_def(name)
    every = set(definitions.resolve_asset_graph().materializable_asset_keys)
    elsewhere = {"hubspot", "customersuccessbox"}
    assert set(job.asset_layer.selected_asset_keys) >= {key for key in every if key.path[0] not in elsewhere}
    assert dg.AssetKey(["customersuccessbox", "push"]) not in job.asset_layer.selected_asset_keys
    schedules = [s for s in definitions.schedules or [] if isinstance(s, dg.ScheduleDefinition)]
    schedule = next(s for s in schedules if s.job_name == name)
    assert schedule.cron_schedule == cron
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


_NUMBERS = st.integers(0, 61).map(str)
_PART = st.one_of(
    st.just("*"),
    _NUMBERS,
    st.tuples(_NUMBERS, _NUMBERS).map("-".join),
    st.sampled_from(["mon", "feb", "x", "l"]),
)
_FIELD = st.lists(st.one_of(_PART, st.tuples(_PART, _NUMBERS).map("/".join)), min_size=1, max_size=2).map(
    ",".join
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_FIELD, min_size=4, max_size=6).map(" ".join))
@example("@daily")
@example("0 2 30 2 *")
@example("0 2 29 2 *")
def test_whatever_cron_the_settings_take_dagster_takes(cron: str) -> None:
    try:
        accepted = ScheduleSettings(nightly=cron).nightly
    except ValidationError:
        return
    with warnings.catch_warnings(action="ignore"):  # of steps beyond a field's range
        dg.ScheduleDefinition(name="a", job_name="b", cron_schedule=accepted)


def test_the_end_of_the_day_loads_builds_and_then_tells_customersuccessbox() -> None:
    job = defs.resolve_job_def("end_of_day")
    every = set(defs.resolve_asset_graph().materializable_asset_keys)
    assert set(job.asset_layer.selected_asset_keys) == {key for key in every if key.path[0] != "hubspot"}
    schedule = next(s for s in defs.schedules or [] if s.name == "at_the_end_of_the_day")
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("45 23 * * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_a_sync_is_not_started_while_the_one_before_goes_on(tmp_path: Path) -> None:
    definitions = defs
    schedule = definitions.resolve_schedule_def("during_the_day")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def tick() -> list[Any]:
            context = dg.build_schedule_context(
                instance=instance, repository_def=definitions.get_repository_def()
            )
            return list(schedule.evaluate_tick(context).run_requests or [])

        assert len(tick()) == 1
        run = instance.create_run_for_job(
            definitions.resolve_job_def("sync"), status=dg.DagsterRunStatus.STARTED
        )
        assert tick() == []
        instance.report_run_failed(run)
        assert len(tick()) == 1


def materialize(*names: str, instance: dg.DagsterInstance | None = None) -> dict[str, dict[str, str]]:
    """Materialise some assets alone, as from the UI; without an instance, in one that knows nothing of earlier runs.

    Returns what the UI shows of each.
    """
    job = defs.resolve_implicit_global_asset_job_def()
    with nullcontext(instance) if instance else dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name.split(".")) for name in names],
            raise_on_error=True,
        )
        logged = [record.user_message or "" for record in instance.all_logs(result.run_id)]
    assert result.success
    assert not [line for line in logged if "did not yield" in line], "checks that need not run are no news"
    return {
        ".".join(event.materialization.asset_key.path): {
            name: str(value.value) for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


def test_the_ui_shows_figures_of_what_changed_and_no_row_of_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    call = {"request": {"time": "2026-03-30"}, "company_id": "acme", "session_token": "tok_secret"}
    Warehouse(tmp_path).put("events/a.jsonl", [call, {"company_id": "no time"}, 7])
    materialize("raw.api_calls")
    parts = (
        "core.api_usage_daily",
        "core.attribution",
        "core.attributed_usage_daily",
        "marts.company_aliases",
        "ops.rejects",
    )
    shown = materialize(*parts)
    rejects, aliases = shown["ops.rejects"], shown["marts.company_aliases"]
    assert (rejects["dagster/row_count"], aliases["dagster/row_count"]) == ("2", "1")
    assert "acme" not in str(shown)
    assert "tok_secret" not in str(shown)
    again = materialize(*parts)["ops.rejects"]
    assert again["changed"] == "False"


def test_a_cohort_is_an_asset_that_tells_who_entered_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    warehouse = Warehouse(tmp_path)
    warehouse.put("companies/a.jsonl", [{"company_id": "acme"}])
    warehouse.night()
    assert "never_called" in warehouse.one("marts.company_profiles", company_id="acme")["cohorts"]
    warehouse.put("companies/b.jsonl", [{"company_id": "bolt"}])
    everything = [
        *("raw.company_updates", "core.company_metadata", "core.claims", "core.company_profiles"),
        *("marts.cohort_members", "marts.cohort_changes"),
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        shown = materialize(*everything, instance=instance)
        told = {name: of for name, of in shown.items() if name.startswith("cohorts.")}
        # At first each is told of: one that nobody ever entered would look as if it had never been computed.
        assert len(told) == len(list((project_root() / "sql" / "cohorts").glob("*.sql")))
        assert told["cohorts.company__near_quota"] == {"dagster/row_count": "0", "entered": "0", "left": "0"}
        assert not [name for name in materialize(*everything, instance=instance) if "cohorts." in name]
        warehouse.put("companies/c.jsonl", [{"company_id": "calm"}])
        again = materialize(*everything, instance=instance)
        assert {name for name in again if "cohorts." in name} == {"cohorts.company__never_called"}
        assert float(again["marts.cohort_members"]["build_seconds"]) > 0
    never_called = shown["cohorts.company__never_called"]
    assert (never_called["dagster/row_count"], never_called["entered"], never_called["left"]) == (
        "2",
        "1",
        "0",
    )
    assert "bolt" not in str(shown)


def test_a_part_can_be_materialised_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    warehouse = Warehouse(tmp_path)
    warehouse.put("events/a.jsonl", [{"request": {"time": "2026-03-30"}, "company_id": "a"}])
    warehouse.put("users/a.jsonl", [{"user_id": "u"}])
    warehouse.night(publishes=True)
    published = (tmp_path / "analytics.duckdb").read_bytes()
    warehouse.put("events/b.jsonl", [{"request": {"time": "2026-03-30"}, "company_id": "b"}])
    warehouse.put("users/b.jsonl", [{"user_id": "v"}])

    def state() -> tuple[int, ...]:
        return tuple(
            len(warehouse.table(name))
            for name in ("raw.api_calls", "raw.user_updates", "core.api_usage_daily", "marts.user_profiles")
        )

    assert state() == (1, 1, 1, 1)
    materialize("raw.api_calls")
    assert state() == (2, 1, 1, 1)
    materialize("core.api_usage_daily")
    assert state() == (2, 1, 2, 1)
    materialize("raw.user_updates", "core.claims")
    assert state() == (2, 2, 2, 1)
    assert (tmp_path / "analytics.duckdb").read_bytes() == published
    warehouse.night()
    assert state() == (2, 2, 2, 2)
    assert len(warehouse.table("marts.company_profiles")) == 2


def test_parts_one_after_the_other_end_where_a_night_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Warehouse(tmp_path / "whole")
    whole.put("events/a.jsonl", [{"request": {"time": "2026-03-30"}, "company_id": "a", "user_id": "u"}])
    shutil.copytree(whole.raw, tmp_path / "parts/raw")
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path / "parts"))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    materialize("raw.api_calls")
    materialize("core.api_usage_daily", "marts.company_usage_daily")
    parts = Warehouse(tmp_path / "parts")
    whole.night()
    parts.night()
    query = "SELECT * EXCLUDE (created_at, updated_at, first_call_seconds) FROM marts.company_profiles"
    assert json.dumps(parts.query(query), default=str) == json.dumps(whole.query(query), default=str)


if __name__ == "__main__":
    SNAPSHOT.write_text(described(defs.resolve_asset_graph()), encoding="utf-8")
