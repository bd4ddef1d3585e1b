"""SQL that means the same on DuckDB and on Spark: what a query must keep to, and how it is carried over.

The models that read events and the decisions of `sql/load/` are written once, in DuckDB's dialect. SQLGlot writes Spark's;
what it would write as something else is refused (`portability`), or written by a rule here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlglot
from sqlglot import exp

from dagster_project.warehouse.functions import LARGEST


def portability(query: str) -> list[str]:
    """What in a query another engine would refuse, or read as something else; each with the reason."""
    found: list[str] = []
    for node in sqlglot.parse_one(query, dialect="duckdb").walk():
        name = node.sql(dialect="duckdb")[:80]
        match node:
            case exp.ArgMax() | exp.ArgMin():
                found.append(f"{name}: which row wins a tie differs; use QUALIFY row_number()")
            case exp.AggFunc() if node.find(exp.Order):
                found.append(f"{name}: an ordered aggregate is not understood everywhere; use QUALIFY")
            case exp.Pivot():
                found.append("PIVOT: differs in every engine; use sum(CASE ...)")
            case exp.Join() if node.args.get("method") == "ASOF":
                found.append("ASOF JOIN: DuckDB's own; use a range of days")
            case exp.Columns():
                found.append(f"{name}: DuckDB's own; name the columns")
            case exp.SetOperation() if node.args.get("by_name"):
                found.append("BY NAME: DuckDB's own; list the columns in one order")
            case exp.DateDiff() | exp.TimestampDiff() | exp.DatetimeDiff():
                found.append(f"{name}: counts borders here and elapsed units there; compare days")
            case exp.TimeToUnix() | exp.UnixToTime():
                found.append(f"{name}: units and rounding differ; keep timestamps")
            case exp.Extract() if node.name.lower() == "epoch":
                found.append(f"{name}: units and rounding differ; keep timestamps")
            case exp.Cast() if node.to.this in exp.DataType.TEXT_TYPES:
                found.append(f"{name}: how a value is written as text differs; keep its type")
            case exp.DataType() if node.this in _ZONED:
                found.append(f"{name}: depends on the session's time zone; TIMESTAMP is UTC here")
            case exp.AtTimeZone():
                found.append(f"{name}: depends on the session's time zone; TIMESTAMP is UTC here")
            case exp.RegexpReplace() if not node.args.get("modifiers"):
                found.append(f"{name}: replaces the first match here, all of them there; say 'g'")
            case exp.DataType() if node.this in (exp.DataType.Type.JSON, exp.DataType.Type.JSONB):
                found.append(f"{name}: JSON types differ; take it apart when loading")
            case exp.Anonymous():
                found.append(f"{name}: no function that other engines are known to have")
            case exp.Func() if "JSON" in type(node).__name__.upper():
                found.append(f"{name}: JSON functions and paths differ; take it apart when loading")
    return found


_ZONED = {exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMPLTZ, exp.DataType.Type.TIMETZ}


class NotPortable(Exception):
    """A query that would not mean the same on a cluster. Says which part of it, and why."""


def carried(query: str, tables: Mapping[str, str], given: Mapping[str, object]) -> str:
    """A query in Spark's SQL. tables: those that it reads, to what they are called there. given: its parameters, numbers only.

    Raises NotPortable.
    """
    wrong = portability(query)
    if wrong:
        raise NotPortable("; ".join(wrong))
    tree = sqlglot.parse_one(query, dialect="duckdb").transform(_of_spark, tables, given)
    text: str = tree.sql(
        dialect="spark", pretty=True, comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    return text


def _of_spark(node: Any, tables: Mapping[str, str], given: Mapping[str, object]) -> Any:
    match node:
        case exp.Table() if (name := f"{node.db}.{node.name}") in tables:
            alias = node.alias or node.name
            return exp.to_table(tables[name]).as_(alias)
        case exp.Placeholder():
            value = given[node.name]
            if not isinstance(value, int):
                raise NotPortable(f"${node.name}: only numbers are carried over")
            return exp.Literal.number(value)
        case exp.Least() if isinstance(node.this, exp.Sum) and _is_largest(node.expressions):
            # A sum of DuckDB's is wider than what it sums up; Spark's stops with an error.
            total = exp.Anonymous(this="TRY_SUM", expressions=[node.this.this])
            return exp.Coalesce(this=total, expressions=[exp.Literal.number(LARGEST)])
        case exp.Filter() if isinstance(node.this, exp.ArrayAgg):
            # A list of nothing is null there, and empty here.
            number = exp.Filter(this=exp.Count(this=exp.Star()), expression=node.expression.copy())
            return exp.Case(ifs=[exp.If(this=number > 0, true=node.copy())])
    return node


def _is_largest(expressions: list[Any]) -> bool:
    return len(expressions) == 1 and expressions[0].name == str(LARGEST)
