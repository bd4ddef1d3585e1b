"""What a command costs: each is a process of its own, measured by the operating system when it ends."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Measured:
    """Seconds, and the peak memory of the largest process."""

    wall: float
    cpu: float
    peak_mb: float


class CommandFailed(SystemExit):
    """A measured command failed; the text is its output."""


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Measured:
    """Run a command to its end. Raises CommandFailed with its output where it fails."""
    # Those who use it have bytecode.
    given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        child = subprocess.Popen(
            command, env={**given, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if child.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")
            raise CommandFailed(f"{' '.join(command)} ended with {child.returncode}:\n{said}")
    return Measured(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def median(found: Sequence[Measured]) -> Measured:
    values = [asdict(m) for m in found]
    return Measured(**{name: statistics.median(v[name] for v in values) for name in values[0]})
