"""What tests of the command line share: a data folder after a first run, made once. And the suite's last line."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
from pathlib import Path

import pytest
from command_line import DAY, CommandLine

from dagster_project.settings import project_root


def pytest_unconfigure() -> None:
    """The result stays the last line: when Python is at its end, this process says no more.

    DuckDB's binding (nanobind) then names each object that some cycle or failed test still holds, a hundred lines of it, in
    every worker. It has no switch for that; and what is told of a process that ends is no news of a test.
    """
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


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
            said.write_text(CommandLine(data, forks=False).run("run", "--as-of", DAY))
    return data, said.read_text()


@pytest.fixture
def line(first_run: tuple[Path, str], tmp_path: Path) -> CommandLine:
    """A copy of the first run's folder, where nothing has been touched since."""
    shutil.copytree(first_run[0], tmp_path / "data")
    return CommandLine(tmp_path / "data")


@pytest.fixture
def empty(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "data")
