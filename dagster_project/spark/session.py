"""One session with the cluster a process, through Spark Connect; and what goes wrong with it, in words.

The package's own code goes along, so that the cluster's Python runs what this release says.
"""

from __future__ import annotations

import atexit
import logging
import re
import socket
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from dagster_project.settings import Settings, spark_token, without_passwords, without_secrets
from dagster_project.warehouse.database import DatabaseError

_log = logging.getLogger(__name__)
_SECONDS = 10  # in which a server answers that is there
_RETRIES = 2  # a session whose server is gone would hang for minutes
# On the session, so that nothing hangs on how a cluster is set up: times without zones, and errors instead of nulls.
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # One row is a share of files, and takes as long as it takes to read them.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
}
_INSTALL = "the extra `spark` is not installed: pip install 'usage-warehouse[spark]' (docs/scale.md)"
_AGAIN = "Run the same again: nothing is lost"
_sessions: dict[str, Any] = {}
_operations: dict[str, None] = {}  # what the cluster was asked for, by its own names


def session(settings: Settings) -> Any:
    """The session with the cluster that the settings name. Raises DatabaseError, and SettingsError on an unsafe address."""
    engine = settings.engine
    token = spark_token(settings)
    found = _sessions.get(engine.remote)
    if found is not None:
        return found
    _require_answer(*engine.address)
    with telling(settings):
        import warnings

        # PySpark tells of versions that it does not know yet, which is nothing to who runs a night.
        warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
        from pyspark.sql import SparkSession
        from pyspark.sql.connect.client.retries import DefaultPolicy

        address = engine.remote
        if token:
            address = f"{address if '/' in address[5:] else address + '/'};token={token}"
        made: Any = SparkSession.builder.remote(address).create()
        made.client.set_retry_policies([DefaultPolicy(max_retries=_RETRIES)])
        atexit.register(_stop, made)
        made.registerProgressHandler(_note)
        for name, wanted in _SETTINGS.items():
            made.conf.set(name, wanted)
        with tempfile.TemporaryDirectory() as folder:
            made.addArtifacts(str(packed(Path(folder))), pyfile=True)
    _log.info("a session with the Spark cluster at %s", shown(settings))
    _sessions[engine.remote] = made
    return made


def shown(settings: Settings) -> str:
    """The cluster's address, for people."""
    host, port = settings.engine.address
    return f"sc://{host}:{port}"


def operations() -> list[str]:
    """What the cluster was asked for since this was last called, by the names that its own pages and logs have for it."""
    found = list(_operations)
    _operations.clear()
    return found


def _note(stages: Any, inflight_tasks: int, operation_id: str | None, done: bool) -> None:
    if operation_id:
        _operations[operation_id] = None


def packed(folder: Path) -> Path:
    """The package's modules, as an archive that Python imports from."""
    package = Path(__file__).parents[1]
    archive = folder / "usage_warehouse.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        for file in sorted(package.rglob("*.py")):
            if not {"shipped", "standins", "portal"} & set(file.relative_to(package).parts):
                # Always the same bytes: the time of a file is none of the cluster's business.
                entry = zipfile.ZipInfo(file.relative_to(package.parent).as_posix())
                written.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive


def close() -> None:
    """End the sessions of this process."""
    for made in _sessions.values():
        _stop(made)
    _sessions.clear()


def _stop(made: Any) -> None:
    with suppress(Exception):  # whatever it is: nothing is lost with it
        made.stop()


def _require_answer(host: str, port: int) -> None:
    try:
        with closing(socket.create_connection((host, port), _SECONDS)):
            pass
    except OSError as error:
        raise DatabaseError(
            f"no Spark Connect server answers at {host}:{port} ({error.strerror or error}): is it running, and is "
            f"[engine] remote right? {_AGAIN}"
        ) from None


# What Spark's errors say, and what that means.
_MEANINGS = (
    (
        r"No module named '([\w.]+)'",
        "Python on the cluster has no module {0}: install the same release there (docs/scale.md)",
    ),
    (
        r"OutOfMemoryError|Java heap space|Cannot allocate memory|exit code 137|exited with code 137",
        "the cluster ran out of memory: give its executors more (spark.executor.memory, and beside it for Python)",
    ),
    (
        r"failed (\d+) times, most recent failure: ([^\n]+)",
        "a task failed {0} times: {1}",
    ),
    (
        r"UNAVAILABLE|Connection refused|Socket closed|RetriesExceeded|RETRIES_EXCEEDED|failed to connect",
        "the cluster is gone: its Connect server does not answer any more",
    ),
    (
        r"INVALID_HANDLE|SESSION_(?:NOT_FOUND|CHANGED|CLOSED)|SESSION_NOT_SAME",
        "the cluster was started anew, and knows this session no more",
    ),
    (r"UNAUTHENTICATED|PERMISSION_DENIED", "the cluster refuses the token in WAREHOUSE_SPARK_TOKEN"),
)


@contextmanager
def telling(settings: Settings, what: str = "") -> Iterator[None]:
    """Errors of Spark's as DatabaseError, in words. what: was being done."""
    try:
        yield
    except ImportError as error:
        raise DatabaseError(f"{_INSTALL} ({error})") from error
    except Exception as error:
        module = type(error).__module__
        if not module.startswith(("pyspark", "grpc")):
            raise
        _sessions.pop(settings.engine.remote, None)  # the next one asks anew
        said = without_secrets(without_passwords(str(error)))
        where = f"Spark at {shown(settings)}{', ' + what if what else ''}"
        for pattern, meaning in _MEANINGS:
            if match := re.search(pattern, said):
                raise DatabaseError(f"{where}: {meaning.format(*match.groups())}. {_AGAIN}") from error
        lines = [line for line in said.splitlines() if line.strip()]
        raise DatabaseError(f"{where}: {' '.join(lines[:3])[:600]}. {_AGAIN}") from error
