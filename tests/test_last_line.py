"""The last line that pytest writes is its result, whatever is still held when the process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.settings import project_root

LEAKING = """
import ctypes, duckdb

def test_something() -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(duckdb.connect()))
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_result_is_the_last_line(tmp_path: Path, workers: str) -> None:
    file = tmp_path / "test_leaking.py"
    file.write_text(LEAKING)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "conftest",
            "-n",
            workers,
            "--rootdir",
            project_root(),
            "-v",
            file,
        ],
        cwd=project_root(),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout.splitlines()[-1]
    assert "nanobind" not in done.stdout
