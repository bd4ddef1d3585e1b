"""Webserver, daemon and code server as deploy/ starts them, beside `warehouse run` and analysts. Only in `make soak`."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import requests
import soak
import yaml
from command_line import CommandLine
from webhook import Webhook, listening

from dagster_project.settings import project_root

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not soak.LONG, reason="starts three servers: in `make soak`"),
]

DOCKER = project_root() / "deploy/docker"
SERVICES = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
PLACE = {"repositoryLocationName": "usage_warehouse", "repositoryName": "__repository__"}
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } }
}"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LOADED = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
  location { name } schedules { name } sensors { name sensorState { status } } } } } }"""


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Deployment:
    """The services of compose.yaml without the containers: the same commands on ports of this machine."""

    def __init__(self, folder: Path, webhook: Webhook) -> None:
        self.webhook = webhook
        self.data = folder / "data"
        self.ports = {"4000": free_port(), "3000": free_port()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.workspace = folder / "workspace.yaml"
        text = (DOCKER / "workspace.yaml").read_text()
        self.workspace.write_text(
            text.replace("host: code", "host: 127.0.0.1").replace("4000", self.ports["4000"])
        )
        self.environment = CommandLine(self.data).environment(
            {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "DAGSTER_HOME": str(self.data / "dagster"),
                "WAREHOUSE_ALERT_WEBHOOK": webhook.url,
            }
        )
        self.log = (folder / "log").open("wb")

    def here(self, command: list[str]) -> list[str]:
        there = {
            **self.ports,
            "0.0.0.0": "127.0.0.1",
            "deploy/docker/workspace.yaml": str(self.workspace),
        }
        return [there.get(word, word).replace(":3000/", f":{self.ports['3000']}/") for word in command]

    def start(self, service: str) -> None:
        self.processes[service] = subprocess.Popen(
            self.here(SERVICES[service]["command"]),
            env=self.environment,
            cwd=project_root(),
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        _, *check = self.here(SERVICES[service]["healthcheck"]["test"])
        wait_for(lambda: self.call(check).returncode == 0, 120, f"{service} to be healthy")

    def call(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment,
            cwd=project_root(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **options,
        )

    def ask(self, query: str, **variables: Any) -> Any:
        answer = requests.post(
            f"http://127.0.0.1:{self.ports['3000']}/graphql",
            json={"query": query, "variables": variables},
            timeout=60,
        ).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def loads(self, location: str) -> bool:
        try:
            return location in str(self.ask(LOADED))
        except (requests.RequestException, AssertionError):
            return False

    def launch(self, job: str, assets: list[str] | None = None) -> str:
        selection = [{"path": name.split(".")} for name in assets] if assets else None
        selector = {**PLACE, "jobName": job, "assetSelection": selection}
        told = self.ask(LAUNCH, params={"selector": selector, "runConfigData": {}})["launchRun"]
        return str(told["run"]["runId"])

    def ended(self, run_id: str) -> str:
        def status() -> str | None:
            found = str(self.ask(STATUS, id=run_id)["runOrError"]["status"])
            return found if found in ("SUCCESS", "FAILURE", "CANCELED") else None

        return str(wait_for(status, 240, f"run {run_id} to end"))

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):  # what it started may outlive it
                os.killpg(process.pid, 9)
            process.wait()
        self.log.close()


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds} s for {what}")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    with listening() as webhook:
        deployment = Deployment(folder, webhook)
        shutil.copytree(project_root() / "data/sample/raw", deployment.data / "raw")
        (deployment.data / "raw/events/broken.json").write_text("[{},\n")
        try:
            for service in ("code", "daemon", "webserver"):
                deployment.start(service)
            yield deployment
        finally:
            deployment.stop()
            print((folder / "log").read_text(errors="replace")[-5000:])


def test_runs_from_the_ui_and_from_the_shell_wait_for_each_other(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place,) = deployment.ask(LOADED)["repositoriesOrError"]["nodes"]
    assert place["location"]["name"] == "usage_warehouse"
    schedules = {schedule["name"] for schedule in place["schedules"]}
    assert schedules == {"every_night", "during_the_day", "at_the_end_of_the_day"}
    states = {sensor["name"]: sensor["sensorState"]["status"] for sensor in place["sensors"]}
    assert states == {"orphans": "RUNNING", "alerts": "RUNNING", "new_files": "STOPPED"}
    assert not deployment.data.joinpath("warehouse.duckdb").exists(), "who looks opens no database"

    launched = deployment.launch("nightly")
    shell = [
        subprocess.Popen(
            ["warehouse", "run"],
            env=deployment.environment,
            cwd=project_root(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    others = [deployment.launch("nightly"), deployment.launch("sync")]
    for process in shell:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
    assert [deployment.ended(run_id) for run_id in (launched, *others)] == ["SUCCESS"] * 3
    wait_for(lambda: deployment.webhook.texts, 120, "an alert")
    with duckdb.connect(str(deployment.data / "analytics.duckdb"), read_only=True) as analysts:
        assert analysts.sql("SELECT count(*) FROM marts.company_profiles").fetchall()[0][0] > 10
        # One asset by hand, beside a whole night, while an analyst has the file open.
        runs = [
            deployment.launch("__ASSET_JOB", ["marts.company_profiles"]),
            deployment.launch("__ASSET_JOB", ["raw.api_calls"]),
            deployment.launch("nightly"),
        ]
        assert [deployment.ended(run_id) for run_id in runs] == ["SUCCESS"] * 3
        assert analysts.sql("SELECT count(*) FROM marts.company_profiles").fetchall()[0][0] > 10
    (alert,) = deployment.webhook.texts
    assert "events/broken.json" in alert
    monkeypatch.setenv("DAGSTER_HOME", str(deployment.data / "dagster"))
    with dg.DagsterInstance.get() as instance:
        published = dg.AssetKey("analytics")
        fresh = instance.get_freshness_state_records([published])[published]
    assert fresh.freshness_state.value == "PASS"


def test_a_run_whose_code_server_is_killed_is_given_up_or_started_again(deployment: Deployment) -> None:
    file = deployment.data / "raw/events/many.jsonl"
    file.write_text('{"request": {"time": "2026-11-20T10:00:00Z"}, "company_id": "brand-new"}\n' * 300_000)
    run_id = deployment.launch("nightly")
    wait_for((deployment.data / "dagster/alive" / run_id).exists, 120, "the run's first step")
    os.killpg(deployment.processes["code"].pid, 9)
    deployment.processes["code"].wait()
    deployment.start("code")
    assert deployment.ended(run_id) == "FAILURE"
    done = deployment.call(["warehouse", "run"])
    assert done.returncode == 0, done.stderr


def test_the_ui_of_a_checkout_stands_open_beside_a_run(tmp_path: Path) -> None:
    with listening() as webhook:
        there = Deployment(tmp_path, webhook)
        shutil.copytree(project_root() / "data/sample/raw", there.data / "raw")
        try:
            there.processes["ui"] = subprocess.Popen(
                ["warehouse", "ui", "--port", there.ports["3000"]],
                env=there.environment,
                cwd=project_root(),
                stdout=there.log,
                stderr=there.log,
                start_new_session=True,
            )
            wait_for(lambda: there.loads("usage_warehouse"), 120, "the UI")
            done = there.call(["warehouse", "run"])
            assert done.returncode == 0, done.stderr
            assert there.ended(there.launch("nightly")) == "SUCCESS"
        finally:
            there.stop()


def test_the_multiprocess_executor_meets_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(project_root() / "data/sample/raw", tmp_path / "raw")
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    monkeypatch.setenv(
        "PYTHONPATH", str(Path(__file__).parent)
    )  # the steps' processes import the job by its name
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        # The steps' processes import the job by its name, from this folder.
        job = dg.build_reconstructable_job(
            "multiprocess_job", "nightly", reconstructor_working_directory=str(Path(__file__).parent)
        )
        done = dg.execute_job(job, instance=instance)
        assert done.success
    assert (tmp_path / "analytics.duckdb").exists()


def test_the_commands_of_the_systemd_units_are_those_of_compose() -> None:
    for part in ("daemon", "webserver"):
        unit = (project_root() / f"deploy/systemd/warehouse-{part}.service").read_text()
        (start,) = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
        assert shlex.split(start)[1:3] == SERVICES[part]["command"][1:3]
