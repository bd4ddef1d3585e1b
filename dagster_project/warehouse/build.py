"""Builds the models: only what is out of date, in one transaction with its checks.

Either all tables that a build touches are new and checked, or none is changed. What each table was built from is
remembered in `core.builds` (`state.py`), so a table is computed again only when its file, its inputs or the day it looks
back from have changed, and then only as far as its `rebuild` says it must (`rebuild.py`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import duckdb

from dagster_project.settings import Settings

from . import state, tables
from .checks import SECRET_COLUMNS, ChecksFailed, check, checks_of
from .context import Build, BuildError
from .database import Connection, is_of_the_machine, transaction
from .engine import Engine, Local
from .models import Model
from .rebuild import compute
from .retention import RetentionError
from .state import CheckResult, Notes, TableState

__all__ = [
    "SECRET_COLUMNS",
    "Build",
    "BuildError",
    "Built",
    "CheckResult",
    "ChecksFailed",
    "build",
    "checks_of",
]

_log = logging.getLogger(__name__)
_lineage: dict[str, dict[str, list[tuple[str, str]]]] = {}  # by the hash of the model file


@dataclass(frozen=True)
class Built:
    """What became of one table. checked: its checks were run; where not, they went as the last time.

    seconds: what computing it took, of tables of one module (`by:`) all together.
    """

    model: str
    changed: bool
    rows: int
    checks: tuple[CheckResult, ...]
    checked: bool = False
    seconds: float = 0.0


def build(
    connection: Connection,
    settings: Settings,
    models: Mapping[str, Model],
    *,
    as_of: date,
    now: datetime,
    run_id: str,
    selected: set[str] | None = None,
    engine: Engine | None = None,
) -> dict[str, Built]:
    """Bring the selected tables (default: all) up to date, and check them.

    Raises ChecksFailed or BuildError, with nothing changed.
    """
    standing = tables.standing_tables(connection)
    state.prepare(connection, standing)
    with transaction(connection):
        states, results = state.table_states(connection), state.check_results(connection)
        versions = state.raw_versions(connection) | {name: of.version for name, of in states.items()}
        work = Build(
            connection, settings, models, as_of, now, run_id, states, versions, engine=engine or Local()
        )
        state.forget_tables(connection, set(states) - set(models))
        for model in models.values():
            # All tables are there before the first is computed: some are read as they were before.
            if tables.ensure(connection, model, standing.get(model.name, [])):
                states.pop(model.name, None)
        groups = _groups(models, _with_companions(selected, models))
        _require_columns(work, [model for group in groups for model in group])
        notes = Notes()
        built: dict[str, Built] = {}
        for group in groups:
            _log.debug("building %s", group[0].name)
            built |= _bring_up_to_date(work, group, notes)
        built = _check_all(work, built, results, notes)
        state.write(connection, notes)
        failed = [
            r for of_table in notes.check_results.values() for r in of_table if not r.passed and not r.warns
        ]
        if failed:
            raise ChecksFailed(failed)
    return built


def _groups(models: Mapping[str, Model], selected: set[str] | None) -> list[list[Model]]:
    """What is computed together, in order: one table, or all those of a module."""
    groups: list[list[Model]] = []
    done: set[str] = set()
    for model in models.values():
        if model.name not in done and (selected is None or model.name in selected):
            groups.append([m for m in models.values() if m.by == model.by] if model.by else [model])
            done |= {m.name for m in groups[-1]}
    return groups


def _with_companions(selected: set[str] | None, models: Mapping[str, Model]) -> set[str] | None:
    """Tables that tell of the step from one build to the next must take that step together."""
    together = {
        name
        for m in models.values()
        for name in (*m.previous, *([m.name] if m.previous or m.rebuild == "append" else []))
    }
    return selected | together if selected is not None and selected & together else selected


def _require_columns(work: Build, models: Iterable[Model]) -> None:
    """Queries and headers agree: looked at before anything is computed, where one of them, or what it reads, is new."""
    new = {model.name for model in work.models.values() if work.is_new_code(model)}
    for model in models:
        if model.query and new & {model.name, *model.inputs}:
            tables.require_columns(work, model)


def _bring_up_to_date(work: Build, group: Sequence[Model], notes: Notes) -> dict[str, Built]:
    # What is read as it was before counts, too: once it has moved on, what was computed from it is out of date.
    reads = sorted(
        {name for model in group for name in (*model.inputs, *model.days)} - {model.name for model in group}
    )
    inputs: dict[str, Any] = {name: work.versions.get(name, 0) for name in reads}
    inputs["generation"] = work.generation
    if any(model.uses_as_of for model in group):
        inputs["as_of"] = work.as_of.isoformat()
    text = json.dumps(inputs)
    if not any(work.is_new_code(model) or work.states[model.name].inputs != text for model in group):
        return {
            model.name: Built(model.name, False, work.states[model.name].row_count, ()) for model in group
        }
    began = time.monotonic()
    try:
        changed = compute(work, group, inputs)
    except RetentionError as error:
        raise BuildError(str(error)) from error
    except duckdb.Error as error:
        if is_of_the_machine(error):
            raise
        raise BuildError(f"{group[0].name}: {error}") from error
    built = {}
    for model in group:
        name = model.name
        work.versions[name] = work.versions.get(name, 0) + bool(changed[name])
        rows = tables.count(work.connection, name)
        if work.is_new_code(model):
            notes.pages[name] = [
                (name, entity, list(model.draws), list(model.grain)) for entity in model.page
            ]
            notes.column_lineage[name] = _lineage_of(model, work.models)
        # through_load is filled in at the end.
        now = TableState(work.code(model), text, work.versions[name], None, work.generation, rows)
        notes.built(name, now, work.now)
        built[name] = Built(name, changed[name], rows, (), seconds=round(time.monotonic() - began, 3))
    return built


def _check_all(
    work: Build, built: Mapping[str, Built], last: Mapping[str, list[CheckResult]], notes: Notes
) -> dict[str, Built]:
    """Run the checks that are out of date, of all tables: one may read what another's file does not know of."""
    checked = dict(built)
    there = {*work.states, *built}
    for model in work.models.values():
        if model.name not in there:
            continue  # of a build of chosen tables only: it was never computed
        before = last.get(model.name, [])
        results = check(work, model, before)
        if results is not None:
            notes.check_results[model.name] = results
        if model.name in built or results is not None:
            one = built.get(model.name) or Built(model.name, False, work.states[model.name].row_count, ())
            results_now = tuple(before if results is None else results)
            checked[model.name] = replace(one, checks=results_now, checked=results is not None)
    return checked


def _lineage_of(model: Model, models: Mapping[str, Model]) -> list[tuple[str, str, str, str]]:
    """Rows of `core.column_lineage`."""
    if model.code not in _lineage:
        from .lineage import column_lineage  # reads queries: only when one has changed

        _lineage[model.code] = column_lineage(model, models)
    return [
        (model.name, column, *source)
        for column, sources in _lineage[model.code].items()
        for source in sources
    ]
