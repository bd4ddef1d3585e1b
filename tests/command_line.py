"""The `warehouse` command in a process of its own, as a person or a timer starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import duckdb
from forking import Forked
from harness import release

from dagster_project.settings import project_root

DAY = "2026-11-21"  # the last of the sample
Process = subprocess.Popen[str] | Forked
ANSI = re.compile(r"\x1b|\x9b")


class CommandLine:
    """A data folder and the command that works on it."""

    def __init__(self, data: Path, *, forks: bool = True) -> None:
        """forks: its processes are forks of one that has imported what most need (forking.py)."""
        self.forks = forks
        self.data, self.raw, self.analytics = data, data / "raw", data / "analytics.duckdb"

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("WAREHOUSE_", "DAGSTER_", "HUBSPOT_"))
        }
        return {**kept, "WAREHOUSE_DATA": str(self.data), **given}

    def start(self, *command: str, **given: str) -> Process:
        release()
        if self.forks and sys.platform == "linux":
            return Forked(command, self.environment(given))
        return subprocess.Popen(
            [sys.executable, "-m", "dagster_project.cli", *command],
            env=self.environment(given),
            cwd=project_root(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, status: int = 0, **given: str) -> str:
        """What the command said. It is for a pipe: no colours, no traceback."""
        return self.finish(self.start(*command, **given), status)

    def finish(self, process: Process, status: int = 0) -> str:
        out, err = process.communicate(timeout=240)
        assert process.returncode == status, f"exit status {process.returncode}:\n{out}\n{err}"
        assert not ANSI.search(out + err)
        assert "Traceback" not in out + err
        if status:
            assert out == "", "an error belongs on stderr"
        return out + err

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.analytics), read_only=True) as connection:
            return connection.execute(query).fetchall()
