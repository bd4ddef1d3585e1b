"""What a disk may hold after a power cut, and disks that fail, by a recorder that is built where there is a C compiler.

It sees what a night's own process (and `cp`, which it starts) asks of the kernel below the data folder: new files, writes,
truncations, syncs, renames, removals. It does not see what a disk does by itself: rotten bits, a cache that lies about
syncs, a file system that breaks its own promises.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import date, datetime
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def recorder(folder: Path) -> Path:
    """The recorder, built into a folder."""
    library = folder / "recorder.so"
    source = _HERE / "recorder.c"
    assert COMPILER is not None
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl", "-lpthread"],
        check=True,
        timeout=60,
    )
    return library


def night(
    library: Path, data: Path, as_of: date, now: datetime, run_id: str, full: bool, **given: str
) -> subprocess.CompletedProcess[str]:
    """Run a night in a process with the recorder. given: what it is told, such as RECORD_TO."""
    return subprocess.run(
        [
            *(sys.executable, str(_HERE / "one_night.py"), str(data)),
            *(as_of.isoformat(), now.isoformat(), run_id, "full" if full else ""),
        ],
        env={
            **os.environ,
            "LD_PRELOAD": str(library),
            "RECORD_BELOW": f"{data}/",
            "PYTHONPATH": f"{_HERE.parent.parent}:{os.environ.get('PYTHONPATH', '')}",
            **given,
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
