"""Columns as they are declared, by sources and in model headers; and how they are written in SQL.

Names are quoted wherever they stand, so that a column may be called `order`; types are any that DuckDB knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import duckdb

from .database import parser

# What an erase knows: ids of companies and users, and what is theirs.
Kind = Literal["company", "user", "token", "anonymous", "subscription", "email", "phone", "domain"]


@dataclass(frozen=True)
class Column:
    """type: any of DuckDB's, in its own spelling (`canonical_type`). about: a comment for people."""

    name: str
    type: str
    about: str


def identifier(name: str) -> str:
    """A name as SQL takes it, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def identifiers(names: Iterable[str]) -> str:
    return ", ".join(map(identifier, names))


def names_of(columns: Iterable[Column]) -> str:
    """The names, to select or insert."""
    return identifiers(column.name for column in columns)


def definitions(columns: Iterable[Column]) -> str:
    """Names and types, to create a table."""
    return ", ".join(f"{identifier(column.name)} {column.type}" for column in columns)


def comments(table: str, columns: Mapping[str, str], about: str | None = None) -> str:
    """Statements that put comments on a table and on its columns. columns: name to comment."""
    first = f"COMMENT ON TABLE {table} IS {literal(about)};" if about else ""
    return first + "".join(
        f"COMMENT ON COLUMN {table}.{identifier(name)} IS {literal(text)};" for name, text in columns.items()
    )


def literal(text: str) -> str:
    """A text as SQL takes it."""
    return "'" + text.replace("'", "''") + "'"


@cache
def canonical_type(text: str) -> str:
    """A type as DuckDB itself spells it: `DECIMAL(10,2)` for `decimal(10, 2)`. Raises ValueError on what is none."""
    try:
        return str(parser().sqltype(text))
    except duckdb.Error as error:
        raise ValueError(f"{text!r} is no type that DuckDB knows") from error


def leading_type(text: str) -> tuple[str, str]:
    """The type at the beginning of a text, and what follows: `STRUCT(a INTEGER)[]  what it is`. Raises ValueError.

    A type is a word, what is in brackets behind it, and any number of `[]`. (`TIMESTAMP WITH TIME ZONE` is TIMESTAMPTZ.)
    """
    match = re.match(r"[A-Za-z]\w*", text)
    if not match:
        raise ValueError(f"{text!r} does not begin with a type")
    end = match.end()
    if text[end : end + 1] == "(":
        end = _closing(text, end) + 1
    while found := re.match(r"\[\d*\]", text[end:]):
        end += found.end()
    if text[end : end + 1].strip():
        raise ValueError(f"{text!r} does not begin with a type")
    return canonical_type(text[:end]), text[end:].strip()


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed. What is quoted is passed over."""
    depth, quote = 0, ""
    for at in range(start, len(text)):
        sign = text[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                return at
    raise ValueError(f"{text!r}: a bracket is not closed")
