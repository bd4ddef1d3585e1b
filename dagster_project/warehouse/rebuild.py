"""How a table follows its inputs: the ways that `rebuild:` names, and modules (`by:`)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from .columns import identifier, literal
from .context import Build
from .database import Connection
from .functions import of_one_row, written_out
from .models import Model
from .python_models import python_model
from .retention import DROPPED, dropped_sums
from .tables import count, empty


def compute(work: Build, group: Sequence[Model], inputs: dict[str, Any]) -> dict[str, bool]:
    """Compute a table, or all tables of one module. Returns of each whether its content may have changed.

    inputs: the versions of what they read.
    """
    first = group[0]
    if first.by:
        return _by_module(work, group, first.by)
    return {first.name: _by_query(work, first, inputs) if first.query else False}


def _by_module(work: Build, group: Sequence[Model], by: str) -> dict[str, bool]:
    """It is told what is new by `Build.since`."""
    before = {model.name: count(work.connection, model.name) for model in group}
    changed = python_model(by).build(work)
    return {
        model.name: model.name in changed or before[model.name] != count(work.connection, model.name)
        for model in group
    }


def _by_query(work: Build, model: Model, inputs: dict[str, Any]) -> bool:
    state = work.states.get(model.name)
    whole = state is None or state.code != model.code or state.generation != inputs["generation"]
    if model.rebuild == "merge":
        # An older warehouse.duckdb: rows that it never merged are gone, only their sums are kept.
        dropped = work.versions.get(f"raw.{DROPPED}", 0)
        return _merge(work, model, whole or state is None or (state.through_load or 0) < dropped)
    if model.rebuild == "day":
        return _rebuild_days(work, model, whole)
    if model.rebuild == "append":
        return _append(work, model, inputs)
    return _whole(work, model)


def _whole(work: Build, model: Model) -> bool:
    connection, names = work.connection, model.column_names
    # In the table's own types: rows are compared by their hashes.
    cast = ", ".join(f"CAST({identifier(c.name)} AS {c.type}) AS {identifier(c.name)}" for c in model.columns)
    work.run(model, f"CREATE OR REPLACE TEMP TABLE computed AS SELECT {cast} FROM ({model.query})")
    if model.stamp:
        _stamp(work, model)
    replaced = not _is_same(connection, model)
    if replaced:
        empty(work, model)
        connection.execute(f"INSERT INTO {model.name} SELECT {names} FROM computed")
    # What tells of a step from one build to the next is news each time, even where it reads the same.
    return replaced or (bool(model.previous) and count(connection, model.name) > 0)


def _is_same(connection: Connection, model: Model) -> bool:
    """Whether `computed` holds the rows that the table has, in any order: then nothing that follows is out of date."""
    # Sums of two hashes of each row: a fraction of what EXCEPT ALL costs, and as good as never wrong.
    names = model.column_names
    told = f"SELECT count(*), sum(hash({names})), bit_xor(hash('and', {names})) FROM"
    before, after = connection.execute(
        f"SELECT * FROM ({told} computed) UNION ALL ({told} {model.name})"
    ).fetchall()
    return bool(before == after)


def _stamp(work: Build, model: Model) -> None:
    """A row that is what it was keeps its stamp."""
    assert model.stamp is not None
    stamp = identifier(model.stamp)
    same = " AND ".join(
        f"old.{name} IS NOT DISTINCT FROM computed.{name}"
        for name in (identifier(c.name) for c in model.columns)
        if name != stamp
    )
    key = " AND ".join(f"old.{name} = computed.{name}" for name in map(identifier, model.grain))
    work.connection.execute(
        f"UPDATE computed SET {stamp} = old.{stamp} FROM {model.name} AS old WHERE {key} AND {same}"
    )


def _append(work: Build, model: Model, inputs: dict[str, Any]) -> bool:
    state = work.states.get(model.name)
    if state is not None and state.code != model.code and state.inputs == json.dumps(inputs):
        return False  # its text changed, not what it tells of
    before = count(work.connection, model.name)
    work.run(model, f"INSERT INTO {model.name} SELECT {model.column_names} FROM ({model.query})")
    return count(work.connection, model.name) != before


def _merge(work: Build, model: Model, whole: bool) -> bool:
    """Aggregate what is new, and merge it into the days that it is of."""
    connection, names = work.connection, model.column_names
    since = 0 if whole else work.since(model.name)
    sums = work.engine.sums(connection, model, since, work.parameters(model, since))
    query = f"SELECT {names} FROM {sums}"
    if whole and (dropped := dropped_sums(connection, model)):
        query += f" UNION ALL SELECT {names} FROM {dropped}"
    elif whole and _gives_grain_once(work, model):
        # There is nothing to merge it with.
        days = _days(connection, model.name)
        empty(work, model)
        columns = ", ".join(
            of_one_row(model.merge.get(c.name, ""), identifier(c.name)) for c in model.columns
        )
        work.run(
            model, f"INSERT INTO {model.name} SELECT {columns} FROM ({query}) ORDER BY {model.grain_names}"
        )
        _log_days(work, model, sorted({*days, *_days(connection, model.name)}))
        return True
    work.run(model, f"CREATE OR REPLACE TEMP TABLE computed AS {query}", since)
    days = _days(connection, "computed")
    if whole:
        days = sorted({*days, *_days(connection, model.name)})
        empty(work, model)
    elif not days:
        return False
    else:
        connection.execute(f"INSERT INTO computed SELECT {names} FROM {model.name} WHERE {_among(days)}")
        connection.execute(f"DELETE FROM {model.name} WHERE {_among(days)}")
    columns = ", ".join(_aggregate(model, c.name) for c in model.columns)
    grain = model.grain_names
    connection.execute(
        f"INSERT INTO {model.name} SELECT {columns} FROM computed GROUP BY {grain} ORDER BY {grain}"
    )
    _log_days(work, model, days)
    return True


def _gives_grain_once(work: Build, model: Model) -> bool:
    """Whether its query gives each row of the grain once, as its end says: GROUP BY with the numbers of these columns."""
    end = re.search(r"\bGROUP BY ([\d, ]+)$", model.query)
    if end is None or re.search(r"\b(UNION|ROLLUP|CUBE|GROUPING)\b", model.query, re.IGNORECASE):
        return False
    described = work.connection.execute(f"DESCRIBE {model.query}", work.parameters(model)).fetchall()
    grouped = {int(number) for number in end[1].split(",") if number.strip()}
    return grouped == {number for number, row in enumerate(described, 1) if row[0] in model.grain}


def _aggregate(model: Model, column: str) -> str:
    function, name = model.merge.get(column), identifier(column)
    if function is None:
        return name
    return written_out(f"{'saturating_sum' if function == 'sum' else function}({name})")


def _rebuild_days(work: Build, model: Model, whole: bool) -> bool:
    """Compute again the days that changed in the inputs."""
    connection = work.connection
    insert = f"INSERT INTO {model.name} SELECT {model.column_names} FROM ({model.query})"
    if whole:
        days = _days(connection, model.name)
        empty(work, model)
        work.run(model, insert)
        _log_days(work, model, sorted({*days, *_days(connection, model.name)}))
        return True
    changed = _changed_days(work, model)
    if not changed:
        return False
    connection.execute(f"DELETE FROM {model.name} WHERE {_among(changed)}")
    work.run(model, f"{insert} WHERE {_among(changed)}")
    _log_days(work, model, changed)
    return True


def _changed_days(work: Build, model: Model) -> list[date]:
    """The days that changed in its inputs, or in those that decide, since it was last built."""
    seen = json.loads(work.states[model.name].inputs)
    changed: set[date] = set()
    for name in model.days or [n for n in model.inputs if n not in model.previous]:
        if name in seen and work.versions.get(name, 0) == seen[name]:
            continue
        if work.models[name].rebuild in ("merge", "day"):
            logged = work.connection.execute(
                "SELECT day FROM core.changed_days WHERE model = ? AND version > ?", [name, seen.get(name, 0)]
            ).fetchall()
            changed |= {row[0] for row in logged}
        else:
            changed |= set(_days(work.connection, name))
    return sorted(changed)


def _log_days(work: Build, model: Model, days: list[date]) -> None:
    if days:
        work.connection.execute(
            f"DELETE FROM core.changed_days WHERE model = ? AND {_among(days)}", [model.name]
        )
        work.connection.execute(
            "INSERT INTO core.changed_days SELECT ?, unnest(?::DATE[]), ?",
            [model.name, days, work.versions.get(model.name, 0) + 1],
        )


def _among(days: list[date]) -> str:
    """A condition on `day` that DuckDB can push down to what is scanned."""
    return f"day IN ({', '.join(f'DATE {literal(day.isoformat())}' for day in days)})"


def _days(connection: Connection, table: str) -> list[date]:
    return [row[0] for row in connection.execute(f"SELECT DISTINCT day FROM {table} ORDER BY day").fetchall()]
