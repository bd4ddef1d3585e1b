"""Which failed steps are tried again."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest
from harness import Warehouse

from dagster_project.definitions import defs
from dagster_project.orchestration.results import Results
from dagster_project.orchestration.steps import RETRIES, RETRIES_TAG, explained
from dagster_project.settings import SettingsError, load_settings
from dagster_project.warehouse.build import BuildError
from dagster_project.warehouse.database import DatabaseError
from dagster_project.warehouse.replay import MissingFiles


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))


def attempts(error: Exception, **tags: str) -> tuple[int, str]:
    """How often Dagster tries a step that fails so, and what it says of the last try."""
    tries = 0

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=RETRIES.max_retries, delay=0))
    def failing(context: dg.AssetExecutionContext) -> None:
        nonlocal tries
        tries += 1
        with explained(context, Results()):
            raise error

    result = dg.materialize([failing], raise_on_error=False, tags=tags)
    failure = next(event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert failure.user_failure_data is not None
    return tries, str(failure.user_failure_data.description)


@pytest.mark.parametrize(
    "error",
    [DatabaseError("locked"), OSError(28, "No space left on device"), duckdb.IOException("could not write")],
    ids=lambda error: type(error).__name__,
)
def test_what_may_heal_is_tried_again_and_then_told_in_its_own_words(error: Exception) -> None:
    tries, said = attempts(error)
    assert tries == 1 + load_settings().retries.limit == 3
    assert str(error) in said


@pytest.mark.parametrize(
    "error",
    [BuildError("x"), MissingFiles("x"), SettingsError("x"), RuntimeError("x"), duckdb.BinderException("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_stays_wrong_is_tried_once(error: Exception) -> None:
    tries, said = attempts(error)
    assert tries == 1
    assert ("x" in said) == (not isinstance(error, MissingFiles)), "its names are of raw files"


def test_the_command_line_says_how_often_its_own_run_is_tried_again() -> None:
    assert attempts(DatabaseError("locked"), **{RETRIES_TAG: "0"})[0] == 1
    assert attempts(DatabaseError("locked"), **{RETRIES_TAG: "1"})[0] == 2


def test_the_steps_that_write_have_the_policy_and_failed_checks_are_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    Warehouse(tmp_path).put("events/a.jsonl", [{"request": {"time": "2026-03-30"}, "company_id": "a"}])
    job = defs.resolve_job_def("nightly")
    policies = {node.name: job.get_node_named(node.name).definition.retry_policy for node in job.nodes}
    assert policies["load_raw_files"] == policies["build_tables"] == RETRIES
    # Two events a company where there may be one: a check that must hold does not.
    monkeypatch.setattr("dagster_project.pipeline.nightly.build_tables", refuse)
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert [e.step_key for e in result.all_events if e.is_step_up_for_retry] == []
    assert [e.step_key for e in result.all_events if e.is_step_failure] == ["build_tables"]


def refuse(*_: object, **__: object) -> None:
    from dagster_project.warehouse.build import CheckResult, ChecksFailed

    raise ChecksFailed([CheckResult("marts.company_profiles", "grain_is_unique", False, 1, "[{}]")])
