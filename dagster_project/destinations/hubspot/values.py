"""From DuckDB's types to HubSpot's text: which goes with which, how a value is written, whether it would be taken.

Every value travels as text. The same value always gives the same text, so that texts can be compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import UTC, datetime

LONGEST_TEXT = 65_536
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
    "FLOAT",
    "DOUBLE",
)
# What a column of each kind may be sent to, by the property's type.
ACCEPTED = {
    "text": ("string", "phone_number", "enumeration"),
    "number": ("number",),
    "boolean": ("bool",),
    "date": ("date",),
    "date with time": ("datetime", "string"),
    "list": ("enumeration",),
}
# What is made for a column of each kind where HubSpot has no such property: type and field type.
MADE = {
    "text": ("string", "text"),
    "number": ("number", "number"),
    "boolean": ("bool", "booleancheckbox"),
    "date": ("date", "date"),
    "date with time": ("datetime", "date"),
    "list": ("enumeration", "checkbox"),
}


def kind_of(duckdb_type: str) -> str | None:
    """The kind of a column: a key of ACCEPTED; None for types that HubSpot has nothing for."""
    if duckdb_type in ("VARCHAR[]",) or re.fullmatch(r"ENUM\(.*\)\[\]", duckdb_type, re.DOTALL):
        return "list"
    if duckdb_type == "VARCHAR" or re.fullmatch(r"ENUM\(.*\)", duckdb_type, re.DOTALL):
        return "text"
    if duckdb_type in _NUMBERS or duckdb_type.startswith("DECIMAL("):
        return "number"
    if duckdb_type == "BOOLEAN":
        return "boolean"
    if duckdb_type == "DATE":
        return "date"
    return "date with time" if duckdb_type.startswith("TIMESTAMP") else None


def text_of(column: str, duckdb_type: str, yes_no: tuple[str, str] | None = None) -> str:
    """A DuckDB expression for a column's text; null stays null, blank text is null, an empty list becomes ''.

    yes_no: the options that a boolean stands for, where these are not true and false.
    """
    kind = kind_of(duckdb_type)
    if yes_no:
        yes, no = ("'" + one.replace("'", "''") + "'" for one in yes_no)
        return f"CASE WHEN {column} THEN {yes} WHEN NOT {column} THEN {no} END"
    if kind == "text":
        text = f"CAST({column} AS VARCHAR)"
        return f"CASE WHEN regexp_matches({text}, '\\S') THEN {text} END"
    if kind == "list":
        # Sorted: the order of options means nothing, and must not look like a change.
        held = f"list_filter(CAST({column} AS VARCHAR[]), lambda x: x IS NOT NULL)"
        return f"array_to_string(list_sort(list_distinct({held})), ';')"
    if kind == "date":
        return f"CASE WHEN isfinite({column}) THEN strftime({column}, '%Y-%m-%d') ELSE CAST({column} AS VARCHAR) END"
    if kind == "date with time":
        at = f"CAST({column} AS TIMESTAMP)"
        return f"CASE WHEN isfinite({at}) THEN strftime({at}, '%Y-%m-%dT%H:%M:%S.%gZ') ELSE CAST({at} AS VARCHAR) END"
    if duckdb_type.startswith("DECIMAL("):
        plain = f"CAST({column} AS VARCHAR)"
        return f"CASE WHEN contains({plain}, '.') THEN rtrim(rtrim({plain}, '0'), '.') ELSE {plain} END"
    if duckdb_type in ("FLOAT", "DOUBLE"):
        return (
            f"CASE WHEN isfinite({column}) AND {column} = trunc({column}) AND abs({column}) < 1e15 "
            f"THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE CAST({column} AS VARCHAR) END"
        )
    return f"CAST({column} AS VARCHAR)"


# A value `u.value` of an enumeration `p` as HubSpot takes it: an option's label stands for the option.
_BY_LABEL = (
    "CASE WHEN list_contains(p.options, {0}) THEN {0} ELSE coalesce(p.labels[lower(trim({0}))], {0}) END"
)
AS_OPTIONS = f"""CASE
    WHEN p.type IS DISTINCT FROM 'enumeration' OR p.external_options OR u.value = '' THEN u.value
    WHEN p.field_type = 'checkbox' AND contains(u.value, ';') AND p.labels[lower(trim(u.value))] IS NULL
        THEN array_to_string(list_transform(string_split(u.value, ';'), lambda x: {_BY_LABEL.format("x")}), ';')
    ELSE {_BY_LABEL.format("u.value")}
END"""
# What plainly is no address is not worth a call.
_WORD, _LABEL = r"[^\s@.,;:<>()\[\]\\\"]+", r"[^\s@.,;:<>()\[\]\\\"_]+"
EMAIL = rf"{_WORD}(\.{_WORD})*@{_LABEL}(\.{_LABEL})*\.[^\s@.,;:<>()\[\]\\\"_]{{2,}}"
# For a value `v.value` of a property `p` (a row of ops.hubspot_properties): the code that HubSpot would refuse it
# with, or null. '' is no value: it clears.
PROBLEM = rf"""CASE
    WHEN v.value = '' THEN NULL
    WHEN p.name = 'email' AND NOT regexp_full_match(v.value, '{EMAIL}') THEN 'INVALID_EMAIL'
    WHEN p.type IN ('string', 'phone_number') AND length(v.value) > {LONGEST_TEXT} THEN 'VALUE_TOO_LONG'
    WHEN p.type = 'number' AND coalesce(NOT isfinite(TRY_CAST(v.value AS DOUBLE)), true) THEN 'INVALID_NUMBER'
    WHEN p.type = 'date' AND NOT regexp_full_match(v.value, '\d{{4}}-\d\d-\d\d') THEN 'INVALID_DATE'
    WHEN p.type = 'datetime' AND NOT regexp_full_match(v.value, '\d{{4}}-\d\d-\d\dT[\d:.]+Z') THEN 'INVALID_DATE'
    WHEN p.type = 'enumeration' AND NOT p.external_options AND NOT list_contains(p.options, v.value)
        AND (p.field_type <> 'checkbox' OR NOT list_has_all(p.options, string_split(v.value, ';'))) THEN 'INVALID_OPTION'
    WHEN p.type = 'enumeration' AND p.external_options
        AND (starts_with(v.value, ';') OR p.field_type <> 'checkbox' AND contains(v.value, ';')) THEN 'INVALID_OPTION'
END"""
EXPLAINED = {
    "VALUE_TOO_LONG": f"longer than the {LONGEST_TEXT} characters that HubSpot takes",
    "INVALID_NUMBER": "not a finite number",
    "INVALID_DATE": "not a date that HubSpot knows",
    "INVALID_OPTION": "not among the options of the property; add the option in HubSpot, or change the value",
    "INVALID_EMAIL": "not an email address",
}


def are_same(sent: str, found: object, property_type: str | None, field_type: str | None = None) -> bool:
    """Whether what HubSpot shows is what was sent: it rewrites numbers, times and lists in its own way."""
    text = "" if found is None else str(found)
    if sent == text:
        return True
    if not sent or not text:
        return False
    if property_type == "number":
        return _number(sent) == _number(text)
    if property_type == "bool":
        return sent.lower() == text.lower()
    if property_type in ("date", "datetime"):
        return _moment(sent) is not None and _moment(sent) == _moment(text)
    if property_type == "enumeration":
        return _options(sent) == _options(text)
    if field_type == "html":
        return True  # rewritten by HubSpot's editor
    if field_type == "phonenumber" or property_type == "phone_number":
        return re.sub(r"\W", "", sent) == re.sub(r"\W", "", text)
    return sent.split() == text.split()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _moment(text: str) -> datetime | None:
    """A date, a date with time or epoch milliseconds."""
    try:
        if re.fullmatch(r"-?\d{5,}", text):
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _options(text: str) -> Collection[str]:
    return {part.strip() for part in text.split(";") if part.strip()}
