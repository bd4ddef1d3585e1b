"""Checks: queries for rows that should not be. They run when all tables of a build are there, and before it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache

import duckdb

from .context import Build, BuildError
from .database import is_of_the_machine
from .models import Check, Model, ModelError, tables_in
from .state import CheckResult
from .tables import count

_SAMPLE_ROWS = 5
# Tokens may be real API keys, and stand in records as they came, too. Samples and previews, which go to logs and to
# Dagster, do not show them.
SECRET_COLUMNS = frozenset({"session_token", "raw"})


class ChecksFailed(Exception):
    """Checks that must hold do not; nothing of the build was kept. Names each with its first rows."""

    def __init__(self, results: list[CheckResult]) -> None:
        super().__init__(
            "\n".join(f"{r.model}: {r.name}: {r.failures} rows, such as {r.sample}" for r in results)
        )
        self.results = results


def checks_of(model: Model) -> Iterator[Check]:
    """The checks of a table: those of its file, and that its grain is its grain."""
    if model.grain and model.schema != "core":
        keys = model.grain_names
        yield Check(
            "grain_is_unique",
            f"SELECT {keys}, count(*) AS copies FROM {model.name} GROUP BY {keys} HAVING count(*) > 1",
        )
    yield from model.checks


def check(work: Build, model: Model, last: list[CheckResult]) -> list[CheckResult] | None:
    """Run those checks of a table whose query, or one of whose tables, is other than when they last ran.

    last: how they went then. Returns how all of them went, or None where none was to be run.
    """
    known = {result.name: result for result in last}
    results, ran = [], False
    for one in checks_of(model):
        inputs = _inputs(work, model, one)
        before = known.get(one.name)
        if before is not None and (before.inputs, before.warns) == (inputs, one.warns):
            results.append(before)
        else:
            results.append(_run(work, model, one, inputs))
            ran = True
    return results if ran or len(results) != len(last) else None


def _inputs(work: Build, model: Model, one: Check) -> str:
    """What a check's result depends on."""
    try:
        read = {model.name, *_tables(one.query)}
    except ModelError as error:
        raise BuildError(f"{model.name}: check {one.name}: {error}") from error
    versions = {name: work.versions.get(name, 0) for name in sorted(read)}
    digest = hashlib.sha256(one.query.encode()).hexdigest()[:16]
    return json.dumps({"query": digest, "generation": work.generation, **versions})


@cache
def _tables(query: str) -> tuple[str, ...]:
    return tables_in(query)


def _run(work: Build, model: Model, one: Check, inputs: str) -> CheckResult:
    try:
        work.connection.execute(f"CREATE OR REPLACE TEMP TABLE failures AS {one.query}")
    except duckdb.Error as error:
        if is_of_the_machine(error):
            raise
        raise BuildError(f"{model.name}: check {one.name}: {error}") from error
    failures = count(work.connection, "failures")
    rows = []
    if failures:
        found = work.connection.sql(f"SELECT * FROM failures LIMIT {_SAMPLE_ROWS}")
        rows = [
            {c: "***" if c in SECRET_COLUMNS else str(v) for c, v in zip(found.columns, row, strict=True)}
            for row in found.fetchall()
        ]
    return CheckResult(
        model.name, one.name, one.warns, failures, json.dumps(rows, ensure_ascii=False), inputs
    )
