"""Which columns of which tables a model's column is computed from, read from its query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from .models import Model

Source = tuple[str, str]  # schema.table, column


def column_lineage(model: Model, models: Mapping[str, Model]) -> dict[str, list[Source]]:
    """Column to the columns of other models that it is computed from; empty where a query cannot be read."""
    if not model.query:
        return {}
    schema: dict[str, Any] = {}
    for name in model.inputs:
        if name in models:
            schema.setdefault(models[name].schema, {})[models[name].table] = {
                c.name: c.type for c in models[name].columns
            }
    try:
        tree = qualify(
            parse_one(model.query, dialect="duckdb"),
            dialect="duckdb",
            schema=schema,
            quote_identifiers=False,
            validate_qualify_columns=False,
        )
        scope = build_scope(tree)
    except SqlglotError:
        return {}
    if scope is None:
        return {}
    known = {(name, c.name) for name in model.inputs if name in models for c in models[name].columns}
    return {c.name: sorted(_sources(c.name, scope, {}) & known) for c in model.columns}


def _sources(column: str, scope: Scope, found: dict[tuple[str, int], set[Source]]) -> set[Source]:
    """Where a column of a scope's result comes from, through subqueries and common table expressions. found: those known."""
    place = column, id(scope)
    if place not in found:
        found[place] = set()
        found[place] = set(_of_column(column, scope, found))
    return found[place]


def _of_column(column: str, scope: Scope, known: dict[tuple[str, int], set[Source]]) -> Iterator[Source]:
    query: Any = scope.expression
    if isinstance(query, exp.SetOperation):
        names = [e.alias_or_name for e in query.selects]
        for branch in scope.set_operation_scopes:
            selects = [e.alias_or_name for e in branch.expression.selects]  # type: ignore[attr-defined]
            if column in names and names.index(column) < len(selects):
                yield from _sources(selects[names.index(column)], branch, known)
        return
    for projection in query.selects:
        if projection.alias_or_name != column:
            continue
        for found in projection.find_all(exp.Column):
            source = scope.sources.get(found.table)
            if isinstance(source, exp.Table):
                yield f"{source.db}.{source.name}", found.name
            elif isinstance(source, Scope):
                yield from _sources(found.name, source, known)
