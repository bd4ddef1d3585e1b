"""What the published database says of a table's columns, and how pages show values of such columns.

A column's type decides what can be asked of it and how it looks; where a type says too little, its name does, by the
project's conventions (`company_id`, `session_token`, `_seconds`). Nothing here knows a table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .asking import Ask

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "U")
# How a column looks by its name: the first pattern that fits, whatever its type.
_LOOKS = (
    (r"(session_)?token", "token"),
    (r"(company|account)_id(_before|_after)?", "company"),
    (r"user_id", "user"),
    (r"company_ids", "companies"),
    (r"feature_id", "feature"),
    (r"file_seq", "file"),
    (r"cohorts", "cohorts"),
    (r".*_by_day", "spark"),
    (r".*_trend(_\d+[dh])?", "trend"),
    (r"(.*_)?seconds", "span"),
    (r"(.*_)?bytes", "size"),
    (r"raw|sample", "raw"),
    (r"error|stopped|left_out", "bad"),
    (r"detail|message|note|about", "long"),
    (r"(.*_)?share", "share"),
    (r"reason|what|cohort", "words"),
    (r"path|route|key|property|value|digest|correlation_id|sha256|code|run", "code"),
)
_LOOKS_OF_KINDS = {"number": "number", "boolean": "text", "array": "list", "object": "json", "string": "text"}
_RIGHT = ("number", "size", "span", "trend", "share")  # looks that stand at the right of their cell


@dataclass(frozen=True)
class Column:
    """One column: name and type as DuckDB says them, about: its comment."""

    name: str
    type: str
    about: str = ""

    @property
    def kind(self) -> str:
        """string, number, boolean, time, array or object (JSON, structures)."""
        if self.type.endswith("]") or self.type.startswith("LIST"):
            return "array"
        if self.type.startswith(("TIMESTAMP", "DATE")):
            return "time"
        if self.type.startswith(_NUMBERS):
            return "number"
        return {"VARCHAR": "string", "BOOLEAN": "boolean"}.get(self.type, "object")

    @property
    def look(self) -> str:
        """How a page shows a value of it (see the macro `value` in _show.html)."""
        named = next((look for pattern, look in _LOOKS if re.fullmatch(pattern, self.name)), None)
        if named in ("span", "size", "trend", "share") and self.kind != "number":
            named = None
        if self.kind == "time":
            return "day" if self.type == "DATE" else "moment"
        if self.kind == "object":
            return "json"
        return named or _LOOKS_OF_KINDS[self.kind]

    @property
    def label(self) -> str:
        """Its name for people: calls_30d is "calls, 30 d"."""
        words = re.sub(r"_prev_(\d+)(d|h)$", r", the \1 \2 before", self.name)
        words = re.sub(r"_(\d+)(d|h)$", r", \1 \2", words)
        return re.sub(r"_(id|at|seconds)$", "", words).replace("_", " ") or words

    @property
    def is_figure(self) -> bool:
        return self.kind == "number"

    @property
    def is_right(self) -> bool:
        return self.look in _RIGHT

    @property
    def sorts(self) -> bool:
        return self.kind in ("string", "number", "boolean", "time")

    @property
    def falls(self) -> bool:
        """Whether a list that is sorted by it begins with the greatest, unless it is asked for the other way."""
        return self.kind in ("number", "time")

    @property
    def sql(self) -> str:
        return quoted(self.name)


def quoted(name: str) -> str:
    """A name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def of_table(ask: Ask, table: str) -> dict[str, Column]:
    """The columns of a published table, `schema.table`, in their order. Empty: there is no such table."""
    schema, _, name = table.partition(".")
    found = ask.rows(
        """
        SELECT column_name AS name, data_type AS type, coalesce(comment, '') AS about FROM duckdb_columns()
        WHERE database_name = 'published' AND schema_name = $schema AND table_name = $name ORDER BY column_index""",
        schema=schema,
        name=name,
    )
    return {row["name"]: Column(**row) for row in found}


def of_query(ask: Ask, query: str, **given: object) -> dict[str, Column]:
    """The columns that a query returns, in their order."""
    found = ask.rows(f"DESCRIBE {query}", **given)
    return {row["column_name"]: Column(row["column_name"], row["column_type"]) for row in found}
