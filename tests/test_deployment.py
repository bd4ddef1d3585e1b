"""The files in deploy/: that what they name is there, and that the tools that read them take them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml

from dagster_project import settings
from dagster_project.cli import main
from dagster_project.settings import project_root

ROOT = project_root()
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
COMPOSE = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text()


# Whose secrets a service gets.
OWN_SECRETS = {
    "warehouse": "night",
    "warehouse-daemon": "night",
    "warehouse-webserver": "ui",
    "warehouse-portal": "portal",
}
EXAMPLES = sorted(DEPLOY.glob("*.env.example"))


def directives(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def parse(command: list[str]) -> None:
    """The command as click takes it. Raises click.UsageError."""
    tool, name, *arguments = command
    assert Path(tool).name == "warehouse"
    assert isinstance(main, click.Group)
    main.commands[name].make_context(name, list(arguments))


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_is_there_as_a_user_who_may_little(unit: Path) -> None:
    said = directives(unit)
    (start,) = said["ExecStart"]
    parse(shlex.split(start))
    assert said["User"] == ["warehouse"]
    assert said["Environment"][0] == "WAREHOUSE_DATA=/var/lib/warehouse"
    assert said["ProtectSystem"] == ["strict"], "all else is read-only"
    assert said["UMask"] == ["0077"]
    if unit.stem == "warehouse-portal":
        assert "StateDirectory" not in said, "that would be writable"
        assert said["ReadOnlyPaths"] == ["-/var/lib/warehouse"]
        assert "-/var/lib/warehouse/raw" in said["InaccessiblePaths"][0].split()
    else:
        assert (said["StateDirectory"], said["StateDirectoryMode"]) == (["warehouse"], ["0700"])
    assert said["EnvironmentFile"] == [
        f"-/etc/warehouse/{name}.env" for name in ("warehouse", OWN_SECRETS[unit.stem])
    ]
    (documentation,) = said["Documentation"]
    assert (ROOT / documentation.removeprefix("file:///opt/usage-warehouse/")).exists()


def test_all_units_protect_the_machine_alike() -> None:
    hardening = [unit.read_text().split("UMask=")[1].split("\n\n")[0].strip() for unit in SERVICES]
    assert len(set(hardening)) == 1
    assert len(hardening[0].splitlines()) > 18


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Where the checkout and the user are said to be, this one and root stand in."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/warehouse").symlink_to(Path(sys.executable).with_name("warehouse"))
    copies = []
    for unit in UNITS:
        text = unit.read_text().replace("/opt/usage-warehouse", str(tmp_path))
        text = re.sub(r"^(User|Group)=warehouse$", r"\1=root", text, flags=re.MULTILINE)
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, copies)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "warehouse" in line]
    assert (done.returncode, ours) == (0, [])
    (when,) = directives(DEPLOY / "systemd/warehouse.timer")["OnCalendar"]
    subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, timeout=60, check=True)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_of_compose_starts_a_command_that_is_there(name: str) -> None:
    service = COMPOSE["services"][name]
    command: list[str] = service["command"]
    part = ["portal"] if name == "portal" else ["serve", name]
    assert command[: 1 + len(part)] == ["warehouse", *part]
    parse(command)
    assert service["healthcheck"]["test"][0] == "CMD"
    tool = service["healthcheck"]["test"][1]
    assert Path(sys.executable).with_name(tool).exists()
    assert ("data:/data:ro" if name == "portal" else "data:/data") in service["volumes"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "it may ask for no password"
    context = (DEPLOY / "docker" / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).exists()
    for needed in service.get("depends_on", {}):
        assert "healthcheck" in COMPOSE["services"][needed]
    for volume in service["volumes"]:
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or source.startswith("${")


def test_only_the_code_server_sees_the_raw_files_and_cannot_write_them() -> None:
    given = {
        name: [v for v in service["volumes"] if not v.startswith("data:")]
        for name, service in COMPOSE["services"].items()
    }
    assert given == {
        "code": ["${WAREHOUSE_RAW:-../../data/raw}:/raw:ro"],
        "daemon": [],
        "webserver": [],
        "portal": [],
    }
    assert COMPOSE["services"]["code"]["environment"] == {"WAREHOUSE_RAW": "/raw"}


def test_webserver_and_daemon_find_the_code_server() -> None:
    code = COMPOSE["services"]["code"]["command"]
    for name in ("daemon", "webserver"):
        command = COMPOSE["services"][name]["command"]
        file = ROOT / command[command.index("--workspace") + 1]
        config = yaml.safe_load(file.read_text())
        assert list(config) == ["load_from"]
        (server,) = [entry.pop("grpc_server") for entry in config["load_from"]]
        assert config["load_from"] == [{}]
        # What Dagster's documentation names, and nothing else.
        assert {key: type(value) for key, value in server.items()} == {
            "host": str,
            "port": int,
            "location_name": str,
        }
        assert server["host"] in COMPOSE["services"]
        assert str(server["port"]) == code[code.index("--port") + 1]
        local = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
        assert server["location_name"] == local["location_name"]


def test_the_image_holds_what_a_run_needs_and_belongs_to_nobody_special() -> None:
    copied = [
        source for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")]
    assert ignored[1] == "*"
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / name).exists() for name in copied)
    secrets = [line for line in ignored if line.endswith(".env")]
    assert any(fnmatch("deploy/docker/warehouse.env", pattern) for pattern in secrets)
    assert "--require-hashes" in DOCKERFILE
    lines = [line.split()[0] for line in DOCKERFILE.splitlines() if line and line[0].isupper()]
    assert lines.index("USER") < lines.index("CMD")
    assert re.search(r"^USER warehouse$", DOCKERFILE, re.MULTILINE)
    assert "HEALTHCHECK" in lines


def test_each_service_gets_its_own_secrets_and_no_others() -> None:
    given = {
        name: [file["path"] for file in service["env_file"]] for name, service in COMPOSE["services"].items()
    }
    assert given == {
        "code": ["warehouse.env", "night.env"],
        "daemon": ["warehouse.env"],
        "webserver": ["warehouse.env", "ui.env"],
        "portal": ["warehouse.env", "portal.env"],
    }
    named = {file.name: re.findall(r"^#?([A-Z_]+)=", file.read_text(), re.MULTILINE) for file in EXAMPLES}
    assert named["ui.env.example"] == ["WAREHOUSE_UI_PASSWORD"]
    assert named["portal.env.example"] == ["WAREHOUSE_PORTAL_PASSWORD"]
    assert {"HUBSPOT_ACCESS_TOKEN", "WAREHOUSE_TOKEN_KEY"} <= set(named["night.env.example"])
    assert not [name for name in named["warehouse.env.example"] if name in settings._SECRETS]


def test_the_base_image_is_pinned_by_its_digest() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(
        re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image)
        for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    )


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_files_of_secrets_name_secrets_that_are_read_and_hold_none(file: Path) -> None:
    named = re.findall(r"^#?([A-Z_]+)=(.*)$", file.read_text(), re.MULTILINE)
    source = Path(settings.__file__).read_text()
    assert [name for name, _ in named if f'"{name}"' not in source] == []
    assert {value for _, value in named} == {""}
    assert "*.env" in (ROOT / ".gitignore").read_text().splitlines(), "the filled-in copy is not for git"


def test_dagster_takes_its_settings_and_lets_one_run_write_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.get() as instance:
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        pools: Any = instance.get_concurrency_config().pool_config
        assert (pools.default_pool_limit, pools.pool_granularity.value) == (1, "run")
        assert instance.run_retries_enabled
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_enabled
        assert instance.freshness_enabled
        assert not instance.telemetry_enabled


def test_looking_at_the_definitions_opens_and_makes_nothing(tmp_path: Path) -> None:
    """What the webserver and the daemon do, also beside a run that writes."""
    code = (
        "import duckdb; connect = duckdb.connect; duckdb.connect = lambda: connect()\n"  # in memory only
        "from dagster_project.definitions import defs\n"
        "d = defs; d.resolve_all_job_defs(); print(len(d.sensors), len(d.schedules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "WAREHOUSE_DATA": str(tmp_path / "data")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "3 3\n"), done.stderr
    assert not (tmp_path / "data").exists()
