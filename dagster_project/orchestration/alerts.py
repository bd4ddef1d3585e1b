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

from dagster_project.pipeline import alerts
from dagster_project.settings import Settings, alert_webhook, load_settings, without_secrets
from dagster_project.warehouse.database import DatabaseError, open_published

from .steps import COMMAND_LINE_TAG
from .tables import PUBLISHED

TOLD_TAG = "warehouse/alerted"
_EVERY_SECONDS = 30
_RUNS_A_TICK = 20
_WHO_STARTED_IT_TELLS = timedelta(minutes=5)  # a run of the command line: its own alert is on its way
_TOO_OLD = timedelta(days=1)
Wanted = Callable[[AssetCheckEvaluation], bool]
_PAGE = 100


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
    return "the run did not start, or what it said is not kept"


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
            failed_checks(
                instance, run_id, settings, lambda check: _is_told(instance, run_id, check, settings)
            )
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
    instance: dg.DagsterInstance, run_id: str, settings: Settings, wanted: Wanted = lambda _: True
) -> Iterator[str]:
    """The checks that failed in a run, each with how many rows it found, and the first of them where they are published."""
    failed = [
        event.asset_check_evaluation_data for event in run_events(instance, run_id, "ASSET_CHECK_EVALUATION")
    ]
    failed = [check for check in failed if not check.passed and wanted(check)]
    samples = _published_samples(settings) if failed else {}
    for check in failed:
        table, values = ".".join(check.asset_key.path), _values(check)
        if "rows" not in values:
            yield f"{table}: {check.check_name}: {json.dumps(values, default=str)}"
            continue
        rows, sample = samples.get((table, check.check_name), (0, ""))
        such = f", such as {sample}" if rows == values["rows"] else ""
        yield f"{table}: {check.check_name}: {values['rows']} rows{such}"


def _published_samples(settings: Settings) -> dict[tuple[str, str], tuple[int, str]]:
    """Rows that checks found, by table and check; they are in no storage of Dagster's. Empty where nothing can be read."""
    try:
        with open_published(settings) as connection:
            return {
                (model, name): (failures, sample)
                for model, name, failures, sample in connection.execute(
                    "SELECT model, name, failures, sample FROM core.check_results WHERE failures > 0"
                ).fetchall()
            }
    except DatabaseError:
        return {}


def _is_told(
    instance: dg.DagsterInstance, run_id: str, check: AssetCheckEvaluation, settings: Settings
) -> bool:
    """Each failure; a warning when it passed the last time, or found something else: nobody reads the same every night."""
    if check.severity != dg.AssetCheckSeverity.WARN:
        return True
    if not settings.alerts.warnings:
        return False
    before = _evaluation_before(instance, run_id, dg.AssetCheckKey(check.asset_key, check.check_name))
    return before is None or before.passed or _values(before) != _values(check)


def _evaluation_before(
    instance: dg.DagsterInstance, run_id: str, key: dg.AssetCheckKey
) -> AssetCheckEvaluation | None:
    """What a check came to in the last run before this one that looked. Most runs only planned to."""
    is_before, cursor = False, None
    while page := instance.event_log_storage.get_asset_check_execution_history(key, _PAGE, cursor):
        for record in page:
            if record.run_id == run_id:
                is_before = True
            elif is_before and isinstance(record.evaluation, AssetCheckEvaluation):
                return record.evaluation
        cursor = page[-1].id
    return None


def _values(check: AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in check.metadata.items()}


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


defs: dg.Definitions = dg.Definitions(sensors=[alerts_sensor])
