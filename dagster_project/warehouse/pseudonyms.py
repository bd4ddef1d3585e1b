"""Keyed hashes in the place of values that are not to be kept: hashed session tokens, erased ids.

The same value gives the same hash, so that what belonged together still does; without the key nobody can tell by
trying which value a hash stands for.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from .columns import identifier
from .database import Connection, append_rows


def keyed_hash(key: bytes, text: str) -> str:
    """HMAC-SHA256, hexadecimal."""
    return hmac.digest(key, text.encode(), "sha256").hex()


def replace_values(connection: Connection, table: str, column: str, by: Callable[[str], str | None]) -> bool:
    """Put other values in a column, each distinct one asked for once; None leaves it. Returns whether any changed."""
    name = identifier(column)
    values = connection.execute(f"SELECT DISTINCT {name} FROM {table} WHERE {name} IS NOT NULL").fetchall()
    replaced = [(value, new) for (value,) in values if (new := by(value)) is not None and new != value]
    if replaced:
        connection.execute("CREATE OR REPLACE TEMP TABLE replaced (value VARCHAR, new VARCHAR)")
        append_rows(connection, "replaced", replaced)
        connection.execute(
            f"UPDATE {table} AS t SET {name} = r.new FROM replaced AS r WHERE r.value = t.{name}"
        )
        connection.execute("DROP TABLE replaced")
    return bool(replaced)
