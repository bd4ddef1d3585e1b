"""Alerts on what Dagster recorded: failed runs, failed checks, and that nothing was published for too long.

One sensor of the daemon looks for them. `warehouse run` tells of its own run, as there may be no daemon; then
the run is tagged, and nobody tells of it again.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster import AssetCheckEvaluation
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from dagster_project import alerts
from dagster_project.settings import Settings, alert_webhook, load_settings, without_secrets

from .steps import COMMAND_LINE_TAG
from .tables import PUBLISHED

TOLD_TAG = "warehouse/alerted"
_EVERY_SECONDS = 30
_RUNS_A_TICK = 20
_WHO_STARTED_IT_TELLS = timedelta(minutes=5)  # a run of the command line: its own alert is on its way
_TOO_OLD = timedelta(days=1)
Wanted = Callable[[AssetCheckEvaluation], bool]
_EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


def failure_of(events: Iterable[dg.DagsterEvent]) -> str:
    """Why a run failed, in the words of its first error."""
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return str(data.user_failure_data.description)
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            return str(error.message).strip() if error is not None else "a step failed"
        if event.event_type == dg.DagsterEventType.RUN_FAILURE and event.message:
            return event.message
    return "the run did not start"


def tell_of_run(instance: dg.DagsterInstance, run_id: str, settings: Settings) -> str | None:
    """Post what there is to say of a run that ended, once. Returns why that failed; then it should be tried again later."""
    if alert_webhook() is None or (run := instance.get_run_by_id(run_id)) is None or TOLD_TAG in run.tags:
        return None
    to_look = f"Run {run_id} in Dagster's UI has the whole log; `warehouse status` shows what is published."
    if run.status == dg.DagsterRunStatus.FAILURE:
        # One that Dagster starts again by itself is told of when that fails, too.
        if run.tags.get("dagster/will_retry") == "true" and COMMAND_LINE_TAG not in run.tags:
            return None
        said = failure_of(run_events(instance, run_id, "STEP_FAILURE", "PIPELINE_FAILURE"))
        title, wrong = f"The {run.job_name} run failed; what is published is as it was", [said]
        to_do = f"set right what is named above, then run `warehouse run`; nothing is lost. {to_look}"
    else:
        wrong = list(
            failed_checks(instance, run_id, lambda check: _is_told(instance, run_id, check, settings))
        )
        title = f"Checks failed in the {run.job_name} run"
        to_do = f"look at what is named above; the run itself ended well. {to_look}"
    if wrong and (problem := alerts.send(settings, title, wrong, to_do)):
        return problem
    # Also where there was nothing to say: the sensor would wait for it, and for its sake with the runs after it.
    instance.add_run_tags(run_id, {TOLD_TAG: "true"})
    return None


def run_events(instance: dg.DagsterInstance, run_id: str, *types: str) -> Iterator[dg.DagsterEvent]:
    """What Dagster recorded of a run, of these types."""
    for entry in instance.all_logs(run_id, of_type={dg.DagsterEventType(name) for name in types}):
        if entry.dagster_event is not None:
            yield entry.dagster_event


def failed_checks(
    instance: dg.DagsterInstance, run_id: str, wanted: Wanted = lambda _: True
) -> Iterator[str]:
    """The checks that failed in a run, each with what it found."""
    for event in run_events(instance, run_id, "ASSET_CHECK_EVALUATION"):
        check = event.asset_check_evaluation_data
        if not check.passed and wanted(check):
            yield f"{'.'.join(check.asset_key.path)}: {check.check_name}: {_said(check)}"


def _is_told(
    instance: dg.DagsterInstance, run_id: str, check: AssetCheckEvaluation, settings: Settings
) -> bool:
    """Each failure; a warning when it passed the last time, or said something else: nobody reads the same every night."""
    if check.severity != dg.AssetCheckSeverity.WARN:
        return True
    if not settings.alerts.warnings:
        return False
    history = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(check.asset_key, check.check_name), limit=10, status=_EVALUATED
    )
    ids = [record.id for record in history if record.run_id == run_id]
    before = next((r for r in history if r.run_id != run_id and (not ids or r.id < min(ids))), None)
    return before is None or _said(before.evaluation) != _said(check)


def _said(check: AssetCheckEvaluation | None) -> str:
    """How many rows a check found, and the first of them."""
    if check is None or check.passed:
        return ""
    values: dict[str, Any] = {name: value.value for name, value in check.metadata.items()}
    rows, sample = values.pop("rows", None), values.pop("sample", None)
    if rows is None:
        return json.dumps(values, default=str)
    return f"{rows} rows, such as {sample['rows'] if isinstance(sample, dict) else sample}"


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING if alert_webhook() else dg.DefaultSensorStatus.STOPPED,
    description="Posts failed runs, failed checks and stale tables to WAREHOUSE_ALERT_WEBHOOK, each once. "
    "On where that is set.",
)
def alerts_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look at the runs that ended since the last look. One that cannot be told of is tried again at the next."""
    settings, now = load_settings(), datetime.now(UTC)
    state = json.loads(context.cursor) if context.cursor else {}
    since = max(datetime.fromisoformat(state.get("since", now.isoformat())), now - _TOO_OLD)
    ended = context.instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS], updated_after=since
        ),
        limit=_RUNS_A_TICK,
        order_by="update_timestamp",
        ascending=True,
    )
    problems: list[str] = []
    for record in ended:
        run = record.dagster_run
        tells_itself = COMMAND_LINE_TAG in run.tags and TOLD_TAG not in run.tags
        if tells_itself and now - record.update_timestamp < _WHO_STARTED_IT_TELLS:
            break
        if problem := tell_of_run(context.instance, run.run_id, settings):
            problems.append(problem)
            break
        since = record.update_timestamp
    stale = _stale_since(context.instance)
    if stale in (None, state.get("stale")) or (problem := _tell_of_stale(settings)) is None:
        state["stale"] = stale
    else:
        problems.append(problem)
    context.update_cursor(json.dumps({"since": since.isoformat(), "stale": state.get("stale")}))
    for problem in problems:
        context.log.warning(problem)
    return dg.SkipReason(without_secrets(problems[0]) if problems else "an alert starts no run")


def _stale_since(instance: dg.DagsterInstance) -> str | None:
    """When the published tables became stale, as the freshness daemon found; None: they are fresh."""
    record = instance.get_freshness_state_records([PUBLISHED]).get(PUBLISHED)
    if record is None or record.freshness_state.value != "FAIL":
        return None
    return record.updated_at.isoformat()


def _tell_of_stale(settings: Settings) -> str | None:
    hours = settings.freshness.published_hours
    return alerts.send(
        settings,
        "Nothing was published for too long",
        [f"no run ended well in the last {hours} hours; analysts see old data"],
        "see whether the schedule is on (Dagster's UI, or `systemctl list-timers`) and what became of the last run "
        "(`warehouse status`)",
    )
