"""Deciding over what was read: SQL over whole batches, in the files of `sql/load/`. Here they are found and run.

A file is one SELECT. Its header tells which relations it `reads`, with the columns that it takes of them, and which
`columns` it gives. It names no table of the warehouse, so it runs over any relations, on any engine: it keeps to the
portable subset. The order of the decisions is their source's (`events`, `features`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dagster_project.settings import project_root
from dagster_project.warehouse.columns import Column, leading_type
from dagster_project.warehouse.database import Connection
from dagster_project.warehouse.engine import Engine, Rows
from dagster_project.warehouse.models import bare

from . import RawColumn
from .reading import StagingTable

FOLDER = "load"
# What tells two events apart is hashed, and kept as two numbers: 16 bytes an event, of types that every engine has.
KEY_FIRST = RawColumn("key_first", "BIGINT", "the first 63 bits of its md5")
KEY_LAST = RawColumn("key_last", "BIGINT", "the last 63 bits of its md5")
KEY = (KEY_FIRST, KEY_LAST)
_BITS = 2**63 - 1
KEY_MACROS = f"""
CREATE OR REPLACE TEMP MACRO key_first(t) AS CAST(md5_number(t) & {_BITS}::UHUGEINT AS BIGINT);
CREATE OR REPLACE TEMP MACRO key_last(t) AS CAST(md5_number(t) >> 65 AS BIGINT);
"""


def key_numbers(text: str | None) -> tuple[int, int] | tuple[None, None]:
    """A key as it is kept."""
    if text is None:
        return None, None
    number = int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest(), "little")
    return number & _BITS, number >> 65


@dataclass(frozen=True)
class Decision:
    """reads: the relations that it takes, with their columns. columns: what it gives."""

    name: str
    reads: Mapping[str, tuple[str, ...]]
    columns: tuple[Column, ...]
    query: str


def decision(name: str) -> Decision:
    return _read(project_root() / "sql" / FOLDER / f"{name}.sql")


@cache
def _read(file: Path) -> Decision:
    text = file.read_text(encoding="utf-8")
    header = text[: re.search(r"^(?!--)", text, re.M).start()]  # type: ignore[union-attr]
    reads = dict(re.findall(r"^--   (\w+): (.+)$", header, re.M))
    _, _, columns = header.partition("-- columns:\n")
    return Decision(
        file.stem,
        {relation: tuple(names.split(", ")) for relation, names in reads.items()},
        tuple(
            Column(name, *leading_type(rest))
            for name, rest in re.findall(r"^--   (\w+) +(\S.*)$", columns, re.M)
        ),
        bare(text[len(header) :]),
    )


def decide(
    engine: Engine, connection: Connection, name: str, table: str, **relations: Rows | StagingTable | str
) -> None:
    """Make a temporary table of what a file gives. relations: what it reads, each a table, or SQL to select from."""
    wanted = decision(name)
    assert set(relations) == set(wanted.reads), f"sql/{FOLDER}/{name}.sql reads {', '.join(wanted.reads)}"
    engine.select(
        connection,
        wanted.query,
        wanted.columns,
        table,
        {relation: (_rows(of), wanted.reads[relation]) for relation, of in relations.items()},
    )


def _rows(of: Rows | StagingTable | str) -> Rows:
    return Rows(of) if isinstance(of, str) else of if isinstance(of, Rows) else of.rows
