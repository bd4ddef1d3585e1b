"""What is posted to the webhook, when, and how often. The webhook is on this machine."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from harness import Warehouse
from webhook import Webhook, listening

from dagster_project.definitions import defs
from dagster_project.orchestration.alerts import tell_of_run
from dagster_project.orchestration.steps import COMMAND_LINE_TAG
from dagster_project.pipeline import alerts
from dagster_project.settings import load_settings, project_root
from dagster_project.warehouse.database import DatabaseError

EVENT = {"request": {"time": "2026-03-30"}, "company_id": "a"}


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    monkeypatch.setattr(alerts, "_PAUSE_SECONDS", 0.0)
    with listening() as webhook:
        monkeypatch.setenv("WAREHOUSE_ALERT_WEBHOOK", webhook.url)
        yield webhook


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class Night:
    """Nights of the daemon: the job on a data folder, and the ticks of the sensor that tells of it."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.warehouse, self.instance, self.cursor = Warehouse(folder), instance, ""
        self.sensor = defs.resolve_sensor_def("alerts")
        self.tick()  # from here on

    def run(self, job: str = "nightly", **tags: str) -> str:
        result = defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, raise_on_error=False, tags={"r": "0", **tags}
        )
        return result.run_id

    def tick(self) -> Any:
        context = dg.build_sensor_context(self.instance, cursor=self.cursor or None)
        data = self.sensor.evaluate_tick(context)
        assert data.run_requests is None or not data.run_requests
        self.cursor = data.cursor or self.cursor
        return data.skip_message


@pytest.fixture
def night(
    tmp_path: Path, instance: dg.DagsterInstance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> Night:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    return Night(tmp_path, instance)


def fail_with(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DatabaseError(text)

    monkeypatch.setattr("dagster_project.pipeline.nightly.load_new_files", refuse)


def test_a_failed_run_is_told_of_once_with_what_is_wrong_where_and_what_to_do(
    night: Night, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, "the disk is full; free some space")
    run_id = night.run("nightly", **{"warehouse/retries": "0"})
    night.tick()
    night.tick()
    assert len(webhook.texts) == 1
    for words in (
        "nightly run failed",
        "the disk is full",
        "free some space",
        str(night.warehouse.folder),
        run_id,
        "warehouse run",
    ):
        assert words in webhook.texts[0]
    monkeypatch.undo()


def test_every_other_failed_run_is_told_of_too(
    night: Night, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, "first")
    night.run("nightly", **{"warehouse/retries": "0"})
    night.tick()
    fail_with(monkeypatch, "second")
    night.run("sync", **{"warehouse/retries": "0"})
    night.tick()
    assert ["first" in webhook.texts[0], "second" in webhook.texts[1]] == [True, True]
    assert "sync run failed" in webhook.texts[1]


def test_no_secret_leaves_with_an_alert(
    night: Night, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-na1-very-secret")
    fail_with(monkeypatch, f"<!channel> pat-na1-very-secret \x1b[31m {webhook.url} & more " + "x" * 9000)
    night.run("nightly", **{"warehouse/retries": "0"})
    night.tick()
    (text,) = webhook.texts
    assert "very-secret" not in text
    assert "s3cret" not in text
    assert "\x1b" not in text
    assert "<!" not in text
    assert "&amp; more" in text
    assert len(text) < 4000


def test_a_run_of_the_command_line_tells_of_itself_and_nobody_else_does(
    night: Night, webhook: Webhook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, "broken")
    run_id = night.run("nightly", **{COMMAND_LINE_TAG: "warehouse run", "warehouse/retries": "0"})
    night.tick()
    assert webhook.texts == [], "it may be posting just now"
    assert tell_of_run(instance, run_id, load_settings()) is None
    night.tick()
    assert tell_of_run(instance, run_id, load_settings()) is None
    assert len(webhook.texts) == 1


def test_a_run_of_the_command_line_that_could_not_tell_is_told_of_by_the_daemon(
    night: Night, webhook: Webhook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, "broken")
    run_id = night.run("nightly", **{COMMAND_LINE_TAG: "warehouse run", "warehouse/retries": "0"})
    webhook.answers = [404]
    assert "404" in (tell_of_run(instance, run_id, load_settings()) or "")
    webhook.texts.clear()
    night.tick()
    assert webhook.texts == []
    monkeypatch.setattr("dagster_project.orchestration.alerts._WHO_STARTED_IT_TELLS", timedelta(0))
    night.tick()
    night.tick()
    assert len(webhook.texts) == 1


def test_a_webhook_that_fails_is_tried_again_and_never_shows_its_address(
    night: Night, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, "broken")
    night.run("nightly", **{"warehouse/retries": "0"})
    webhook.answers = [500, 503, 500]
    said = night.tick()
    assert len(webhook.texts) == 3
    assert "500" in said
    assert "s3cret" not in said
    night.tick()
    assert len(webhook.texts) == 4
    night.tick()
    assert len(webhook.texts) == 4


def test_a_webhook_that_nobody_answers_at_is_no_error(
    webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_ALERT_WEBHOOK", "http://127.0.0.1:9/services/s3cret-path")
    problem = alerts.send(None, "title", ["wrong"], "to do")
    assert problem is not None
    assert "ConnectionError" in problem
    assert "s3cret" not in problem
    assert "127.0.0.1" not in problem


def test_a_run_that_dagster_starts_again_by_itself_is_told_of_when_that_fails(
    night: Night, webhook: Webhook, instance: dg.DagsterInstance
) -> None:
    job = defs.resolve_job_def("nightly")
    for will_retry in ("true", "false"):
        run = instance.create_run_for_job(
            job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/will_retry": will_retry}
        )
        instance.report_run_failed(run, f"the process was killed, {will_retry}")
        night.tick()
    assert len(webhook.texts) == 1
    assert "the process was killed, false" in webhook.texts[0]


def test_a_run_that_goes_well_is_not_told_of(night: Night, webhook: Webhook) -> None:
    night.warehouse.put("events/a.jsonl", [EVENT])
    night.run()
    night.tick()
    assert webhook.texts == []


def test_an_unreadable_file_is_named_once_and_the_next_one_too(night: Night, webhook: Webhook) -> None:
    night.warehouse.put("events/broken.json", "[{},\n")
    night.run()
    night.tick()
    assert len(webhook.texts) == 1
    assert "events/broken.json" in webhook.texts[0]
    assert "ops.files: files_are_readable: 1 rows" in webhook.texts[0]
    night.run()
    night.tick()
    night.warehouse.put("events/a.jsonl", [EVENT])
    night.run()
    night.tick()
    assert len(webhook.texts) == 1, "the same every night is read by nobody"
    night.warehouse.put("events/worse.json", "[{}, {},\n")
    night.run()
    night.tick()
    assert len(webhook.texts) == 2
    assert "events/worse.json" in webhook.texts[1]


def test_warnings_can_be_left_out(
    night: Night,
    webhook: Webhook,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "settings.toml").write_text("[alerts]\nwarnings = false\n")
    monkeypatch.setenv("WAREHOUSE_CONFIG", str(tmp_path / "settings.toml"))
    night.warehouse.put("events/broken.json", "[{},\n")
    night.run()
    night.tick()
    assert webhook.texts == []


def test_checks_that_must_hold_are_named(
    night: Night, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_project.warehouse.build import CheckResult, ChecksFailed

    def refuse(*_: object, **__: object) -> None:
        raise ChecksFailed(
            [CheckResult("marts.company_profiles", "grain_is_unique", False, 7, '[{"day": 1}]')]
        )

    monkeypatch.setattr("dagster_project.pipeline.nightly.build_tables", refuse)
    night.run()
    night.tick()
    assert len(webhook.texts) == 1
    assert "marts.company_profiles: grain_is_unique: 7 rows" in webhook.texts[0]
    assert "nothing was changed" in webhook.texts[0]


def test_a_failed_check_that_stops_nothing_is_told_of_each_time(
    webhook: Webhook, instance: dg.DagsterInstance
) -> None:
    @dg.asset_check(asset=dg.AssetKey("hubspot"), name="the_push_ended")
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, metadata={"stopped": "the day's limit was reached"})

    job = dg.Definitions(
        asset_checks=[check],
        jobs=[dg.define_asset_job("nightly", selection=dg.AssetSelection.checks(check))],
    ).resolve_job_def("nightly")
    for _ in range(2):
        run_id = job.execute_in_process(instance=instance).run_id
        assert tell_of_run(instance, run_id, load_settings()) is None
    assert len(webhook.texts) == 2
    assert "hubspot: the_push_ended" in webhook.texts[0]
    assert "the day's limit was reached" in webhook.texts[0]


def test_stale_tables_are_told_of_once_each_time_they_become_stale(
    night: Night, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime.now(UTC)

    def becomes(state: str, seconds: int) -> None:
        # What Dagster's freshness daemon finds; it has no public way to be told of it.
        found = SimpleNamespace(
            freshness_state=SimpleNamespace(value=state), updated_at=at + timedelta(seconds=seconds)
        )
        monkeypatch.setattr(
            dg.DagsterInstance, "get_freshness_state_records", lambda _, keys: dict.fromkeys(keys, found)
        )
        night.tick()
        night.tick()

    night.tick()  # nothing is known yet
    becomes("PASS", 0)
    assert webhook.texts == []
    webhook.answers = [500, 500, 500]
    becomes("FAIL", 1)
    assert len(webhook.texts) == 4, "three tries, and one at the next tick"
    assert "26 hours" in webhook.texts[-1]
    becomes("PASS", 2)
    becomes("FAIL", 3)
    assert len(webhook.texts) == 5


def test_without_a_webhook_nobody_is_told_and_a_later_webhook_may_still_be(
    night: Night, webhook: Webhook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAREHOUSE_ALERT_WEBHOOK")
    fail_with(monkeypatch, "broken")
    run_id = night.run("nightly", **{"warehouse/retries": "0"})
    assert tell_of_run(instance, run_id, load_settings()) is None
    monkeypatch.setenv("WAREHOUSE_ALERT_WEBHOOK", webhook.url)
    night.tick()
    assert len(webhook.texts) == 1


def test_the_sensor_is_on_where_there_is_a_webhook() -> None:
    code = (
        "from dagster_project.definitions import defs; "
        "print(defs.resolve_sensor_def('alerts').default_status.value)"
    )
    for webhook, status in (("", "STOPPED"), ("http://127.0.0.1:9", "RUNNING")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PATH": "", "WAREHOUSE_ALERT_WEBHOOK": webhook},
            cwd=project_root(),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert done.stdout == f"{status}\n"
