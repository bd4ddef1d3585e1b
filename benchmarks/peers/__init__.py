"""What a user would pick instead of the warehouse, doing the same first load in the straightforward way.

Each peer is a script that runs in a virtual environment of its own, below `.bench/`, and writes three tables, which are
compared with the warehouse's. All of them simplify the contract in the same way, to what the benchmark's data have:
no actions, no metadata, no rejects, no claims of a token by a user; which of two equal records is kept does not matter.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ..measuring import CommandFailed, Measured, measure

# What each one is installed from. All that they need besides is resolved by pip.
PEERS = {
    "dlt": ["dlt[duckdb]==1.31.0", "duckdb==2.0.0"],
    "pandas": ["pandas==3.1.1", "pyarrow==26.0.1"],
    "polars": ["polars==2.1.0"],
    "pyspark": ["pyspark==4.3.0"],
}

_SCRIPTS = Path(__file__).parent
_CACHE = _SCRIPTS.parents[1] / ".bench"

# The tables that a peer makes, with the columns that are compared.
_COMPARED = {
    "company_usage_daily": "day, company_id, events, calls, errors_4xx, errors_5xx, users, first_at, last_at",
    "daily_feature_totals": "day, account_id, user_id, product_id, module_id, feature_id, total, events",
    "company_profiles": "company_id, events, calls, calls_30d, errors_4xx, errors_5xx, users, first_seen_at, last_seen_at",
}


class LeftOut(Exception):
    """The peer cannot be had here; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """What a peer cost, and how many rows of its tables and ours have no equal on the other side."""

    cost: Measured
    differing: int

    @property
    def verdict(self) -> str:
        return f"{self.differing:,} rows differ" if self.differing else "equal"


def install(name: str) -> Path:
    """The Python of the peer's own environment. Raises LeftOut."""
    if name == "pyspark" and shutil.which("java") is None:
        raise LeftOut("needs Java (the command `java`), which is not installed")
    folder, wanted = _CACHE / name, "\n".join(PEERS[name])
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _install_step([sys.executable, "-m", "venv", str(folder)])
        _install_step([str(python), "-m", "pip", "install", "--quiet", *PEERS[name]])
        ready.write_text(wanted)
    return python


def _install_step(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LeftOut(f"could not be installed: {_last_line(done.stderr)}")


def first_load(name: str, raw: Path, out: Path, as_of: str, analytics: Path) -> Outcome:
    """Have the peer load the raw files into `out`, which is emptied first. Raises LeftOut where it fails."""
    python = install(name)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    environment = {
        "TMPDIR": str(out),
        "SPARK_LOCAL_DIRS": str(out),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "DLT_DATA_DIR": str(out),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    try:
        cost = measure(
            [str(python), str(_SCRIPTS / f"{name}_peer.py"), str(raw), str(out), as_of], environment
        )
    except CommandFailed as failed:
        raise LeftOut(f"failed: {_last_line(str(failed))}") from failed
    return Outcome(cost, differing(out, analytics))


def differing(out: Path, analytics: Path) -> int:
    """Rows of either side, of the three tables, that the other has not."""
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; ATTACH '{analytics}' AS ours (READ_ONLY)")
        count = 0
        for table, columns in _COMPARED.items():
            path = out / f"{table}.parquet"
            files = str(path / "*.parquet" if path.is_dir() else path)
            connection.execute(f"CREATE TEMP TABLE ours_now AS SELECT {columns} FROM ours.marts.{table}")
            connection.execute("CREATE TEMP TABLE theirs AS FROM ours_now LIMIT 0")  # the same types
            connection.execute(
                f"INSERT INTO theirs BY NAME SELECT {columns} FROM read_parquet($files)", {"files": files}
            )
            count += connection.execute("""
                SELECT (SELECT count(*) FROM (FROM ours_now EXCEPT ALL FROM theirs))
                     + (SELECT count(*) FROM (FROM theirs EXCEPT ALL FROM ours_now))
            """).fetchall()[0][0]
            connection.execute("DROP TABLE ours_now; DROP TABLE theirs")
    return count


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
