"""Builds the models: only what is out of date, in one transaction with its checks.

Either all tables that a build touches are new and checked, or none is changed. What each table was built from is
remembered in `core.builds`, so a table is computed again only when its file, its inputs or the day it looks back
from have changed, and then only as far as its `rebuild` says it must.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import duckdb

from dagster_project.settings import Settings

from .database import Connection, append_rows, is_of_the_machine, transaction, value
from .functions import written_out
from .models import Check, Model
from .retention import DROPPED, RetentionError, dropped_sums

_log = logging.getLogger(__name__)
_STATE = """
CREATE SCHEMA IF NOT EXISTS core; CREATE SCHEMA IF NOT EXISTS marts; CREATE SCHEMA IF NOT EXISTS ops;
CREATE SCHEMA IF NOT EXISTS outbound;
CREATE TABLE IF NOT EXISTS core.builds (
    model VARCHAR, code VARCHAR, inputs VARCHAR, version BIGINT, through_load BIGINT, generation BIGINT,
    built_at TIMESTAMP, row_count BIGINT);
CREATE TABLE IF NOT EXISTS core.changed_days (model VARCHAR, day DATE, version BIGINT);
CREATE TABLE IF NOT EXISTS core.check_results (
    model VARCHAR, name VARCHAR, warns BOOLEAN, failures BIGINT, sample VARCHAR);
CREATE TABLE IF NOT EXISTS core.compactions (version BIGINT);
CREATE TABLE IF NOT EXISTS core.column_lineage (
    model VARCHAR, column_name VARCHAR, source_model VARCHAR, source_column VARCHAR);
CREATE TABLE IF NOT EXISTS core.pages (model VARCHAR, entity VARCHAR, draws VARCHAR[], grain VARCHAR[]);
COMMENT ON TABLE core.pages IS 'Which tables are shown on the portal''s page of a company or user.';
COMMENT ON TABLE core.column_lineage IS 'Which columns each column of a query is computed from.';
COMMENT ON TABLE core.compactions IS 'When the files were last rewritten without what was erased.';
COMMENT ON TABLE core.builds IS 'What each table was last built from.';
COMMENT ON TABLE core.changed_days IS 'Which days of a daily table changed in which version of it.';
COMMENT ON TABLE core.check_results IS 'The last result of each check.';
"""
_STATE_COMMENTS = {
    "core.builds": {
        "model": "schema.table",
        "code": "hash of the model file",
        "inputs": "versions of what it reads, JSON",
        "version": "counts the times its content changed",
        "through_load": "the last load_seq that is merged in",
        "generation": "of the raw rows; a full rebuild begins a new one",
        "built_at": "UTC",
        "row_count": "rows after the build",
    },
    "core.compactions": {"version": "counts the erasures that were done before"},
    "core.column_lineage": {
        "model": "schema.table",
        "column_name": "a column of it",
        "source_model": "schema.table that it is computed from",
        "source_column": "a column of that",
    },
    "core.pages": {
        "model": "schema.table",
        "entity": "company or user",
        "draws": "its measures that are drawn",
        "grain": "its key",
    },
    "core.changed_days": {
        "model": "schema.table",
        "day": "GMT day",
        "version": "version of the table, see core.builds",
    },
    "core.check_results": {
        "model": "schema.table",
        "name": "of the check",
        "warns": "true: a failure does not stop the build",
        "failures": "rows that should not be",
        "sample": "the first of them, JSON",
    },
}
_SAMPLE_ROWS = 5
# Tokens may be real API keys, and stand in records as they came, too. Samples and previews, which go to logs and to
# Dagster, do not show them.
SECRET_COLUMNS = frozenset({"session_token", "raw"})
_HISTORY = ("destinations.history", "frames.cohorts")  # modules whose tables remember what was
_lineage: dict[str, dict[str, list[tuple[str, str]]]] = {}  # by the hash of the model file


class ChecksFailed(Exception):
    """Checks that must hold do not; nothing of the build was kept. Names each with its first rows."""

    def __init__(self, results: list[CheckResult]) -> None:
        super().__init__(
            "\n".join(f"{r.model}: {r.name}: {r.failures} rows, such as {r.sample}" for r in results)
        )
        self.results = results


class BuildError(Exception):
    """A model could not be computed. Names it and says what DuckDB said."""


@dataclass(frozen=True)
class CheckResult:
    model: str
    name: str
    warns: bool
    failures: int
    sample: str

    @property
    def passed(self) -> bool:
        return self.failures == 0


@dataclass(frozen=True)
class Built:
    """What became of one table."""

    model: str
    changed: bool
    rows: int
    checks: tuple[CheckResult, ...]


@dataclass
class Build:
    """One build: what the modules that compute tables are handed.

    as_of: the day whose end all windows have. now: UTC. run_id: the run's name, for the tables that keep history.
    """

    connection: Connection
    settings: Settings
    models: Mapping[str, Model]
    as_of: date
    now: datetime
    run_id: str
    _versions: dict[str, int] = field(default_factory=dict)
    _state: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    _stored_checks: dict[str, tuple[CheckResult, ...]] = field(default_factory=dict)
    _built: dict[str, Built] = field(default_factory=dict)
    # What is to be noted of each table at the end: rows of `core`, by table and model.
    _notes: dict[str, dict[str, list[tuple[Any, ...]]]] = field(
        default_factory=lambda: {"builds": {}, "check_results": {}, "column_lineage": {}, "pages": {}}
    )

    def since(self, model: str) -> int:
        """The last load_seq that a table already holds; 0 where it is to be computed from the start."""
        state = self._state.get(model)
        if (
            state is None
            or state[4] != self._versions["raw.generation"]
            or state[0] != self._code(self.models[model])
        ):
            return 0
        return int(state[3] or 0)

    def _code(self, model: Model) -> str:
        return _module_code(self.models, model.by, self.settings) if model.by else model.code


def build(
    connection: Connection,
    settings: Settings,
    models: Mapping[str, Model],
    *,
    as_of: date,
    now: datetime,
    run_id: str,
    selected: set[str] | None = None,
) -> dict[str, Built]:
    """Bring the selected tables (default: all) up to date, and check them.

    Raises ChecksFailed or BuildError, with nothing changed.
    """
    standing = _standing(connection)
    if not set(_STATE_COMMENTS) <= set(standing):
        connection.execute(_STATE)
        for table, comments in _STATE_COMMENTS.items():
            connection.execute(_comments(table, comments))
    with transaction(connection):
        state = {
            row[0]: row[1:]
            for row in connection.execute(
                "SELECT model, code, inputs, version, through_load, generation, row_count FROM core.builds"
            ).fetchall()
        }
        versions = {
            f"raw.{name}": version
            for name, version in connection.execute("SELECT name, version FROM raw.versions").fetchall()
        }
        versions.setdefault("raw.generation", 0)
        versions |= {name: row[2] for name, row in state.items()}
        work = Build(connection, settings, models, as_of, now, run_id, versions, state, _checked(connection))
        _drop_gone(work)
        for model in models.values():
            # All tables are there before the first is computed: some are read as they were before.
            if _ensure_table(work, model, standing.get(model.name, [])):
                state.pop(model.name, None)
        selected = _with_companions(selected, models)
        done: set[str] = set()
        for model in models.values():
            if model.name in done or (selected is not None and model.name not in selected):
                continue
            group = [m for m in models.values() if m.by == model.by] if model.by else [model]
            done |= {m.name for m in group}
            _log.debug("building %s", model.name)
            _bring_up_to_date(work, group)
        _write_notes(work)
        failed = [r for built in work._built.values() for r in built.checks if not r.passed and not r.warns]
        if failed:
            raise ChecksFailed(failed)
    return work._built


def _with_companions(selected: set[str] | None, models: Mapping[str, Model]) -> set[str] | None:
    """Tables that tell of the step from one build to the next must take that step together."""
    together = {
        name
        for m in models.values()
        for name in (*m.previous, *([m.name] if m.previous or m.rebuild == "append" else []))
    }
    return selected | together if selected is not None and selected & together else selected


def _bring_up_to_date(work: Build, group: list[Model]) -> None:
    # What is read as it was before counts, too: once it has moved on, what was computed from it is out of date.
    reads = sorted(
        {name for model in group for name in (*model.inputs, *model.days)} - {model.name for model in group}
    )
    inputs: dict[str, Any] = {name: work._versions.get(name, 0) for name in reads}
    inputs["generation"] = work._versions["raw.generation"]
    if any(model.uses_as_of for model in group):
        inputs["as_of"] = work.as_of.isoformat()
    text = json.dumps(inputs)
    stale = [
        model
        for model in group
        if (state := work._state.get(model.name)) is None or state[0] != work._code(model) or state[1] != text
    ]
    if not stale:
        for model in group:
            rows = int(work._state[model.name][5])
            work._built[model.name] = Built(model.name, False, rows, work._stored_checks.get(model.name, ()))
        return
    try:
        changed = (
            _compute_module(work, group) if group[0].by else {group[0].name: _compute(work, group[0], inputs)}
        )
    except RetentionError as error:
        raise BuildError(str(error)) from error
    except duckdb.Error as error:
        if is_of_the_machine(error):
            raise
        raise BuildError(f"{group[0].name}: {error}") from error
    for model in group:
        version = work._versions.get(model.name, 0) + bool(changed[model.name])
        work._versions[model.name] = version
        rows = _count(work.connection, model.name)
        if (state := work._state.get(model.name)) is None or state[0] != work._code(model):
            _note_lineage(work, model)
            work._notes["pages"][model.name] = [
                (model.name, entity, list(model.draws), list(model.grain)) for entity in model.page
            ]
        generation = work._versions["raw.generation"]
        work._notes["builds"][model.name] = [
            (model.name, work._code(model), text, version, None, generation, work.now, rows)
        ]
        checks = (
            _check(work, model)
            if changed[model.name] or model.name not in work._state
            else work._stored_checks.get(model.name, ())
        )
        work._built[model.name] = Built(model.name, changed[model.name], rows, checks)


def _compute(work: Build, model: Model, inputs: dict[str, Any]) -> bool:
    """Compute one table by its query. Returns whether its content may have changed."""
    connection = work.connection
    state = work._state.get(model.name)
    whole = state is None or state[0] != model.code or state[4] != inputs["generation"]
    if state is not None and model.rebuild == "merge":
        # An older warehouse.duckdb: rows that it never merged are gone, only their sums are kept.
        whole = whole or state[3] < work._versions.get(f"raw.{DROPPED}", 0)
    if model.rebuild == "merge":
        return _merge(work, model, whole)
    if model.rebuild == "day":
        return _rebuild_days(work, model, whole)
    if model.rebuild == "append":
        if state is not None and state[0] != model.code and state[1] == json.dumps(inputs):
            return False  # its text changed, not what it tells of
        before = _count(connection, model.name)
        _run(work, model, f"INSERT INTO {model.name} SELECT {_names(model)} FROM ({model.query})")
        return _count(connection, model.name) != before
    _run(work, model, f"CREATE OR REPLACE TEMP TABLE computed AS SELECT {_names(model)} FROM ({model.query})")
    if model.stamp:
        _stamp(work, model)
    replaced = _replace_if_different(work, model)
    # What tells of a step from one build to the next is news each time, even where it reads the same.
    return replaced or (bool(model.previous) and _count(connection, model.name) > 0)


def _replace_if_different(work: Build, model: Model) -> bool:
    """Put `computed` in the table's place. The same rows as before count as no change, so nothing follows."""
    connection = work.connection
    if value(
        connection,
        f"""
        SELECT (SELECT count(*) FROM computed) = (SELECT count(*) FROM {model.name})
           AND NOT EXISTS (FROM (SELECT {_names(model)} FROM computed EXCEPT ALL SELECT {_names(model)} FROM {model.name}))
    """,
    ):
        return False
    _empty(work, model)
    connection.execute(f"INSERT INTO {model.name} SELECT {_names(model)} FROM computed")
    return True


def _stamp(work: Build, model: Model) -> None:
    """A row that is what it was keeps its stamp."""
    same = " AND ".join(
        f"old.{c.name} IS NOT DISTINCT FROM computed.{c.name}" for c in model.columns if c.name != model.stamp
    )
    key = " AND ".join(f"old.{name} = computed.{name}" for name in model.grain)
    work.connection.execute(
        f"UPDATE computed SET {model.stamp} = old.{model.stamp} FROM {model.name} AS old WHERE {key} AND {same}"
    )


def _merge(work: Build, model: Model, whole: bool) -> bool:
    connection = work.connection
    since = 0 if whole else work.since(model.name)
    query = f"SELECT {_names(model)} FROM ({model.query})"
    if whole and (dropped := dropped_sums(connection, model)):
        query += f" UNION ALL SELECT {_names(model)} FROM {dropped}"
    _run(work, model, f"CREATE OR REPLACE TEMP TABLE computed AS {query}", since=since)
    days = _days(connection, "computed")
    if whole:
        days = sorted({*days, *_days(connection, model.name)})
        _empty(work, model)
    elif not days:
        return False
    else:
        connection.execute(
            f"INSERT INTO computed SELECT {_names(model)} FROM {model.name} WHERE {_among(days)}"
        )
        connection.execute(f"DELETE FROM {model.name} WHERE {_among(days)}")
    columns = ", ".join(_aggregate(model, c.name) for c in model.columns)
    grain = ", ".join(model.grain)
    connection.execute(
        f"INSERT INTO {model.name} SELECT {columns} FROM computed GROUP BY {grain} ORDER BY {grain}"
    )
    _log_days(work, model, days)
    return True


def _aggregate(model: Model, column: str) -> str:
    function = model.merge.get(column)
    if function is None:
        return column
    return written_out(f"{'saturating_sum' if function == 'sum' else function}({column})")


def _rebuild_days(work: Build, model: Model, whole: bool) -> bool:
    connection = work.connection
    if whole:
        days = _days(connection, model.name)
        _empty(work, model)
        _run(work, model, f"INSERT INTO {model.name} SELECT {_names(model)} FROM ({model.query})")
        _log_days(work, model, sorted({*days, *_days(connection, model.name)}))
        return True
    seen = json.loads(work._state[model.name][1])
    changed: set[date] = set()
    for name in model.days or [n for n in model.inputs if n not in model.previous]:
        if work._versions.get(name, 0) == seen.get(name, 0) and name in seen:
            continue
        logged = connection.execute(
            "SELECT day FROM core.changed_days WHERE model = ? AND version > ?", [name, seen.get(name, 0)]
        ).fetchall()
        changed |= (
            {row[0] for row in logged}
            if work.models[name].rebuild in ("merge", "day")
            else set(_days(connection, name))
        )
    if not changed:
        return False
    days = sorted(changed)
    connection.execute(f"DELETE FROM {model.name} WHERE {_among(days)}")
    _run(
        work,
        model,
        f"INSERT INTO {model.name} SELECT {_names(model)} FROM ({model.query}) WHERE {_among(days)}",
    )
    _log_days(work, model, days)
    return True


def _compute_module(work: Build, group: list[Model]) -> dict[str, bool]:
    """Compute tables by the module that they name. It is told what is new by `Build.since`."""
    before = {model.name: _count(work.connection, model.name) for model in group}
    module = importlib.import_module(f"dagster_project.{group[0].by}")
    changed: set[str] = module.build(work)
    return {
        model.name: model.name in changed or before[model.name] != _count(work.connection, model.name)
        for model in group
    }


def _run(work: Build, model: Model, statement: str, since: int = 0) -> None:
    given = {"since": since, "as_of": work.as_of, "run_id": work.run_id, "now": work.now}
    work.connection.execute(statement, {k: v for k, v in given.items() if f"${k}" in model.query})


def _standing(connection: Connection) -> dict[str, list[tuple[str, str]]]:
    """The tables that are there, with names and types of their columns."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in connection.execute(
        "SELECT schema_name || '.' || table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() ORDER BY 1, column_index"
    ).fetchall():
        found.setdefault(table, []).append((column, kind))
    return found


def _ensure_table(work: Build, model: Model, found: list[tuple[str, str]]) -> bool:
    """Make the table if it is missing or has other columns than its file says. Returns whether it is new."""
    wanted = [(c.name, c.type) for c in model.columns]
    if found == wanted:
        return False
    if found and remembers(model):
        _carry_over(work, model, {name for name, _ in found})
        return False
    _create(work, model)
    return True


def remembers(model: Model) -> bool:
    """Whether a table holds what cannot be computed again."""
    return model.rebuild == "append" or model.by in _HISTORY


def _carry_over(work: Build, model: Model, found: set[str]) -> None:
    """Give a table that cannot be computed again the columns of its file, with the rows that it has."""
    columns = ", ".join(f"CAST({c.name} AS {c.type}) AS {c.name}" for c in model.columns if c.name in found)
    try:
        work.connection.execute(f"CREATE OR REPLACE TEMP TABLE carried AS SELECT {columns} FROM {model.name}")
    except duckdb.Error as error:
        raise BuildError(
            f"{model.name} is history, and its rows do not fit the columns of its file: {error}. Nothing was changed; "
            "give the column a new name, or add a step to warehouse/migrations.py"
        ) from error
    _create(work, model)
    work.connection.execute(f"INSERT INTO {model.name} BY NAME FROM carried")


def _create(work: Build, model: Model) -> None:
    columns = ", ".join(f"{c.name} {c.type}" for c in model.columns)
    work.connection.execute(f"CREATE OR REPLACE TABLE {model.name} ({columns})")
    work.connection.execute(
        f"COMMENT ON TABLE {model.name} IS {_text(model.about)};"
        + _comments(model.name, {c.name: c.about for c in model.columns})
    )


def _empty(work: Build, model: Model) -> None:
    """Take out all rows. Where its file changed, the table is made anew: its comments may have changed, too."""
    state = work._state.get(model.name)
    if state is not None and state[0] != model.code:
        _create(work, model)
    else:
        work.connection.execute(f"DELETE FROM {model.name}")


def _comments(table: str, comments: Mapping[str, str]) -> str:
    return "".join(f"COMMENT ON COLUMN {table}.{name} IS {_text(about)};" for name, about in comments.items())


def _drop_gone(work: Build) -> None:
    """Tables whose file is gone go too."""
    for name in set(work._state) - set(work.models):
        work.connection.execute(f"DROP TABLE IF EXISTS {name}")
        for table in ("builds", "changed_days", "check_results", "column_lineage", "pages"):
            work.connection.execute(f"DELETE FROM core.{table} WHERE model = ?", [name])


def _check(work: Build, model: Model) -> tuple[CheckResult, ...]:
    results = []
    for check in checks_of(model):
        work.connection.execute(f"CREATE OR REPLACE TEMP TABLE failures AS {check.query}")
        count = _count(work.connection, "failures")
        found = work.connection.sql(f"SELECT * FROM failures LIMIT {_SAMPLE_ROWS}")
        rows = (
            [
                {c: "***" if c in SECRET_COLUMNS else str(v) for c, v in zip(found.columns, row, strict=True)}
                for row in found.fetchall()
            ]
            if count
            else []
        )
        results.append(
            CheckResult(model.name, check.name, check.warns, count, json.dumps(rows, ensure_ascii=False))
        )
    work._notes["check_results"][model.name] = [
        (r.model, r.name, r.warns, r.failures, r.sample) for r in results
    ]
    return tuple(results)


def checks_of(model: Model) -> Iterator[Check]:
    """The checks of a table: those of its file, and that its grain is its grain."""
    if model.grain and model.schema != "core":
        keys = ", ".join(model.grain)
        yield Check(
            "grain_is_unique",
            f"SELECT {keys}, count(*) AS copies FROM {model.name} GROUP BY {keys} HAVING count(*) > 1",
        )
    yield from model.checks


def _note_lineage(work: Build, model: Model) -> None:
    if model.code not in _lineage:
        from .lineage import column_lineage  # reads queries: only when one has changed

        _lineage[model.code] = column_lineage(model, work.models)
    work._notes["column_lineage"][model.name] = [
        (model.name, column, *source)
        for column, sources in _lineage[model.code].items()
        for source in sources
    ]


def _write_notes(work: Build) -> None:
    """Write down what was built, from what, and how its checks went: all at once, a statement a table is dear."""
    for table, notes in work._notes.items():
        if notes:
            work.connection.execute(
                f"DELETE FROM core.{table} WHERE model IN (SELECT unnest(?::VARCHAR[]))", [list(notes)]
            )
            append_rows(work.connection, f"core.{table}", [row for rows in notes.values() for row in rows])
    if work._notes["builds"]:
        work.connection.execute(
            "UPDATE core.builds SET through_load = (SELECT coalesce(max(load_seq), 0) FROM raw.files) "
            "WHERE through_load IS NULL"
        )


def _checked(connection: Connection) -> dict[str, tuple[CheckResult, ...]]:
    """The last results of the checks, by table."""
    found: dict[str, list[CheckResult]] = {}
    for row in connection.execute(
        "SELECT model, name, warns, failures, sample FROM core.check_results ORDER BY rowid"
    ).fetchall():
        found.setdefault(row[0], []).append(CheckResult(*row))
    return {model: tuple(results) for model, results in found.items()}


def _module_code(models: Mapping[str, Model], by: str, settings: Settings) -> str:
    """The hash of a module that computes tables, of their headers, and of the settings that it says it obeys."""
    module = importlib.import_module(f"dagster_project.{by}")
    obeys = getattr(module, "OBEYS", None)
    parts = [inspect.getsource(module), *sorted(m.code for m in models.values() if m.by == by)]
    if obeys:
        parts.append(getattr(settings, obeys).model_dump_json())
    if hasattr(module, "fingerprint"):
        parts.append(module.fingerprint())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _log_days(work: Build, model: Model, days: list[date]) -> None:
    if days:
        work.connection.execute(
            f"DELETE FROM core.changed_days WHERE model = ? AND {_among(days)}", [model.name]
        )
        work.connection.execute(
            "INSERT INTO core.changed_days SELECT ?, unnest(?::DATE[]), ?",
            [model.name, days, work._versions.get(model.name, 0) + 1],
        )


def _among(days: list[date]) -> str:
    """A condition on `day` that DuckDB can push down to what is scanned."""
    return f"day IN ({', '.join(f'DATE {_text(day.isoformat())}' for day in days)})"


def _days(connection: Connection, table: str) -> list[date]:
    return [row[0] for row in connection.execute(f"SELECT DISTINCT day FROM {table} ORDER BY day").fetchall()]


def _count(connection: Connection, table: str) -> int:
    return int(value(connection, f"SELECT count(*) FROM {table}"))


def _names(model: Model) -> str:
    return ", ".join(c.name for c in model.columns)


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
