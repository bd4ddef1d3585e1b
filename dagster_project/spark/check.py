"""What a cluster lacks, in words: asked of its workers before a night needs them."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from dagster_project.settings import Settings
from dagster_project.warehouse.database import DatabaseError
from dagster_project.warehouse.storage import remove, storage_at

from .probe import look
from .session import session, shown, telling

# What reading needs of a worker's Python, beside what comes with Spark and with this release's own code.
_MODULES = ("duckdb", "pyarrow", "orjson", "simdjson", "zstandard", "python_calamine", "idna", "pydantic")
_TASKS = 8


@dataclass(frozen=True)
class Finding:
    """is_good: nothing is to be done. text: what was found; and where it is not good, what to do."""

    is_good: bool
    text: str


def check(settings: Settings) -> list[Finding]:
    """Look at the cluster that the settings name. What cannot be asked for is a finding, too."""
    try:
        with telling(settings):
            return list(_findings(settings))
    except DatabaseError as error:
        return [Finding(False, str(error))]


def _findings(settings: Settings) -> Iterator[Finding]:
    import pyspark

    spark = session(settings)
    yield Finding(True, f"a Spark Connect server answers at {shown(settings)}: Spark {spark.version}")
    ours, theirs = (".".join(version.split(".")[:2]) for version in (pyspark.__version__, spark.version))
    if ours != theirs:
        yield Finding(
            False,
            f"its version is {theirs}, the client's is {ours}: they should be the same (pip install 'pyspark=={spark.version}')",
        )
    storage = storage_at(settings.engine.storage)
    address, mark = storage.address, storage.file(f"check-{uuid4().hex}")
    try:
        if not storage.is_there():
            yield Finding(
                False,
                f"storage: there is no bucket for {address}: make it"
                if storage.is_bucket
                else f"storage: there is no folder {address} on this machine: mount or make it",
            )
            return
        storage.write(mark, b"seen")
    except (OSError, ValueError) as error:
        yield Finding(False, f"storage: {address} cannot be written to from this machine: {error}")
        return
    left = [f"{mark}-{number}" for number in range(_TASKS)]
    try:
        answers = [
            json.loads(row.answer)
            for row in spark.range(0, _TASKS, 1, _TASKS)
            .mapInArrow(partial(look, storage, mark, str(settings.raw), _MODULES), "answer string")
            .collect()
        ]
        unseen = [file for file in left if not storage.has(file)]
    finally:
        for file in (mark, *left):
            remove(file)
    hosts = sorted({answer["host"] for answer in answers})
    yield Finding(True, f"its workers answer: {', '.join(hosts)}")
    yield from _of_python(answers)
    blind = sorted({answer["host"] for answer in answers if not answer["reads"]})
    if blind and storage.is_bucket:
        said = next((a["wrong"] for a in answers if a["wrong"]), "it is empty there")
        yield Finding(
            False,
            f"storage: {address} cannot be read on {', '.join(blind)} ({said}): give the workers' Python credentials, in its "
            "environment or by the machine's role",
        )
    elif blind:
        yield Finding(False, f"storage: {address} is not seen on {', '.join(blind)}: mount it there, too")
    elif unseen or any(not answer["writes"] for answer in answers):
        said = next((a["wrong"] for a in answers if a["wrong"]), "not seen here")
        yield Finding(
            False, f"storage: what workers write to {address} does not arrive ({said}): make it writable"
        )
    else:
        yield Finding(True, f"storage: all see {address} and can write to it")
    blind = sorted({answer["host"] for answer in answers if not answer["raw"]})
    if isinstance(settings.raw, Path) and blind:
        yield Finding(
            False,
            f"raw files: {settings.raw} is not seen on {', '.join(blind)}: this machine would read all of them. Mount it there",
        )
    elif isinstance(settings.raw, Path):
        yield Finding(True, f"raw files: all see {settings.raw}")
    else:
        yield Finding(
            True, "raw files: objects in a bucket are read by this machine, which needs the credentials alone"
        )


def _of_python(answers: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    here = platform.python_version_tuple()[:2]
    others = sorted({a["python"] for a in answers if tuple(a["python"].split(".")[:2]) != here})
    if others:
        yield Finding(
            False,
            f"Python there is {', '.join(others)}, here {'.'.join(here)}: let PYSPARK_PYTHON name the same",
        )
    missing = sorted({name for answer in answers for name in answer["missing"]})
    if missing:
        yield Finding(
            False, f"Python there lacks {', '.join(missing)}: pip install usage-warehouse on every worker"
        )
    versions = sorted({a["duckdb"] for a in answers if a["duckdb"]} - {duckdb.__version__})
    if versions:
        yield Finding(
            False,
            f"DuckDB there is {', '.join(versions)}, here {duckdb.__version__}: it reads the files, so let it be the same",
        )
    if not others and not missing and not versions:
        yield Finding(
            True, f"Python {'.'.join(here)} and DuckDB {duckdb.__version__} on all of them, as here"
        )
