"""What tests of the command line share: a data folder after a first run, made once."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from command_line import DAY, CommandLine

from dagster_project.settings import project_root


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder after a first run on the sample, and what the run said. Made once, also where tests run in
    several processes."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    data, said = base / "first-run", base / "first-run.txt"
    with (base / "first-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            shutil.rmtree(data, ignore_errors=True)
            shutil.copytree(project_root() / "data/sample/raw", data / "raw")
            said.write_text(CommandLine(data).run("run", "--as-of", DAY))
    return data, said.read_text()


@pytest.fixture
def line(first_run: tuple[Path, str], tmp_path: Path) -> CommandLine:
    """A copy of the first run's folder, where nothing has been touched since."""
    shutil.copytree(first_run[0], tmp_path / "data")
    return CommandLine(tmp_path / "data")


@pytest.fixture
def empty(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "data")
