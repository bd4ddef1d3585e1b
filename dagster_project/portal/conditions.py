"""Filters: what an address says (`field`, `op` and `value`, once a filter) as SQL with bound parameters.

A field is a column of the profile or a metadata key, `metadata.<path>`. Which operators it has follows from its type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import zip_longest
from typing import Any

from .asking import Ask, WrongAddress
from .columns import Column
from .entities import Entity

METADATA = "metadata."
PARAMETERS = ("field", "op", "value")
Written = tuple[str, str, str]
_MOST = 20  # filters
_OFFERED = 500  # metadata keys
_OPERATORS: Mapping[str, Mapping[str, str]] = {
    "string": {"has": "contains", "is": "is", "not": "is not", "begins": "begins with"},
    "number": {"ge": "≥", "gt": ">", "is": "=", "not": "≠", "lt": "<", "le": "≤"},
    "boolean": {"is": "is"},
    "array": {"has": "has", "without": "has not"},
    "time": {"since": "on or after", "before": "before"},
    "object": {},
}
_EXISTENCE = {"set": "is there", "unset": "is missing"}
_COMPARISONS = {"ge": ">=", "gt": ">", "is": "=", "not": "<>", "lt": "<", "le": "<="}
# What is the case for all that lack the value, too.
_OPPOSITES = {"not": "is", "without": "has", "unset": "set"}


@dataclass(frozen=True)
class Field:
    """Something to filter by. column None: a metadata key."""

    name: str
    kind: str
    column: Column | None = None

    @property
    def label(self) -> str:
        return self.name.removeprefix(METADATA) if self.column is None else self.column.label

    @property
    def about(self) -> str:
        return self.column.about if self.column is not None else ""

    @property
    def operators(self) -> dict[str, str]:
        return {**_OPERATORS[self.kind], **_EXISTENCE}

    @property
    def input(self) -> str:
        return {"number": "number", "time": "date", "boolean": "boolean"}.get(self.kind, "text")


@dataclass(frozen=True)
class Condition:
    """One filter. Without a value that its operator needs, it waits for one and excludes nobody."""

    field: Field
    op: str
    value: str

    @property
    def waits(self) -> bool:
        return not self.value and self.op not in _EXISTENCE


@dataclass
class Where:
    """SQL over the profiles as `p`, and its parameters."""

    tests: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        name = f"v{len(self.given)}"
        self.given[name] = value
        return f"${name}"

    @property
    def sql(self) -> str:
        return " AND ".join(self.tests) or "TRUE"


def columns_of(columns: Mapping[str, Column]) -> list[Field]:
    """What a profile's own columns can be filtered by."""
    return [Field(column.name, column.kind, column) for column in columns.values()]


def metadata_of(ask: Ask, entity: Entity) -> list[Field]:
    """Metadata keys with their type (where the locks allow several: the most frequent).

    Those that most have, as there may be any number of them, and those that the address asks for.
    """
    found = ask.rows(
        f"""
        SELECT path, mode(type) AS type FROM {entity.metadata} GROUP BY path
        QUALIFY row_number() OVER (ORDER BY count(*) DESC, path) <= {_OFFERED} OR list_contains($asked, path)
        ORDER BY path""",
        asked=[name.removeprefix(METADATA) for name in (*ask.all("field"), *ask.all("column"))],
    )
    return [Field(METADATA + row["path"], row["type"]) for row in found]


def written(ask: Ask) -> list[Written]:
    """The filters of an address as they stand there. The one that is being added has a field only."""
    return [
        (name, op, value)
        for name, op, value in zip_longest(*(ask.all(name) for name in PARAMETERS), fillvalue="")
        if name
    ]


def read(ask: Ask, fields: Mapping[str, Field]) -> list[Condition]:
    """The filters of an address. Raises WrongAddress on what is no filter."""
    found = []
    for name, op, value in written(ask):
        known = fields.get(name)
        if known is None and name.startswith(METADATA):
            known = Field(name, "string")  # a key that nobody has, any more
        if known is None:
            raise WrongAddress(f"field = {name!r}: there is nothing of that name to filter by")
        op = op or next(iter(known.operators))
        if op not in known.operators:
            raise WrongAddress(
                f"{known.label} is a {known.kind}; op = {op!r} must be one of {', '.join(known.operators)}"
            )
        found.append(Condition(known, op, value))
    if len(found) > _MOST:
        raise WrongAddress(f"{len(found)} filters: must be at most {_MOST}")
    return found


def add(where: Where, entity: Entity, condition: Condition) -> None:
    """Raises WrongAddress where the value is none of the field's type."""
    if condition.waits:
        return
    column = condition.field.column
    op = _OPPOSITES.get(condition.op, condition.op)
    if column is not None:
        test = f"coalesce({_on_column(where, condition, op, f'p.{column.sql}')}, FALSE)"
    else:
        test = (
            f"p.{entity.id} IN (SELECT {entity.id} FROM {entity.metadata} "
            f"WHERE path = {where.bind(condition.field.name.removeprefix(METADATA))} "
            f"AND {_on_metadata(where, condition, op)})"
        )
    where.tests.append(test if op == condition.op else f"NOT {test}")


def _on_column(where: Where, condition: Condition, op: str, column: str) -> str:
    if op == "set":
        return f"{column} IS NOT NULL"
    if condition.field.kind == "array":
        return f"list_contains(CAST({column} AS VARCHAR[]), {where.bind(condition.value)})"
    if condition.field.kind == "boolean":
        return f"{column} = {where.bind(_boolean(condition) == 'true')}"
    if condition.field.kind == "time":
        return f"{column} {'>=' if op == 'since' else '<'} {where.bind(_day(condition))}"
    if condition.field.kind == "number":
        return f"{column} {_COMPARISONS[op]} {where.bind(_number(condition))}"
    return _on_text(where, condition, op, column)


def _on_metadata(where: Where, condition: Condition, op: str) -> str:
    if op == "set":
        return "TRUE"
    kind = condition.field.kind
    if kind == "number":
        return f"value_number {_COMPARISONS[op]} {where.bind(_number(condition))}"
    if kind == "boolean":
        return f"type = 'boolean' AND value = {where.bind(_boolean(condition))}"
    if kind == "array":
        elements = "CASE WHEN type = 'array' THEN json_extract_string(value, '$[*]') END"
        return f"list_contains({elements}, {where.bind(condition.value)})"
    return _on_text(where, condition, op, "value")


def _on_text(where: Where, condition: Condition, op: str, column: str) -> str:
    value = where.bind(condition.value)
    if op == "is":
        return f"{column} = {value}"
    return f"{'contains' if op == 'has' else 'starts_with'}(lower({column}), lower({value}))"


def _boolean(condition: Condition) -> str:
    if condition.value not in ("true", "false"):
        raise WrongAddress(f"{condition.field.label}: {condition.value!r} must be true or false")
    return condition.value


def _number(condition: Condition) -> float:
    try:
        number = float(condition.value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise WrongAddress(f"{condition.field.label}: {condition.value!r} is no number")
    return number


def _day(condition: Condition) -> date:
    try:
        return date.fromisoformat(condition.value)
    except ValueError:
        raise WrongAddress(
            f"{condition.field.label}: {condition.value!r} is no day such as 2026-03-31"
        ) from None
