"""What a command costs: each is a process of its own, measured by the operating system when it ends."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Measured:
    """Seconds of the command and of all that it started; and the peak memory of all these processes together."""

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
        ended = threading.Event()
        peaks: list[float] = []
        watch = threading.Thread(target=_watch, args=(child.pid, ended, peaks))
        watch.start()
        _, status, used = os.wait4(child.pid, 0)
        ended.set()
        watch.join()
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if child.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")
            raise CommandFailed(f"{' '.join(command)} ended with {child.returncode}:\n{said}")
    # The largest process by itself is known to the byte; what several hold together is looked at now and then.
    return Measured(wall, used.ru_utime + used.ru_stime, max(used.ru_maxrss / 1024, *peaks, 0.0))


def _watch(pid: int, ended: threading.Event, peaks: list[float]) -> None:
    """Note how much memory a process and all that it started hold together, in MB, until it has ended (on Linux)."""
    while not ended.wait(_LOOK_SECONDS):
        family = [pid]
        for one in family:  # it grows while it is walked through
            with suppress(OSError):
                for children in Path(f"/proc/{one}/task").glob("*/children"):
                    family += map(int, children.read_text().split())
        peaks.append(sum(map(_held, family)) if len(family) > 1 else 0.0)


def _held(pid: int) -> float:
    """The memory of a process, what it shares with others in parts."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def median(found: Sequence[Measured]) -> Measured:
    values = [asdict(m) for m in found]
    return Measured(**{name: statistics.median(v[name] for v in values) for name in values[0]})
