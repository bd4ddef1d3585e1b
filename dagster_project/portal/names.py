"""The names of companies and users that rows refer to by id: people know the name, tables hold the id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .asking import Ask
from .entities import COMPANY, USER

Names = dict[str, dict[str, str]]
_ENTITIES = {"company": COMPANY, "user": USER}
_OBJECTS = {"companies": "company", "contacts": "user"}


def of(ask: Ask, rows: Iterable[Mapping[str, Any]], looks: Iterable[tuple[str, str]]) -> Names:
    """Names by kind and id. looks: which columns of the rows there are, and how each looks (columns.py)."""
    looks = list(looks)
    wanted: dict[str, set[str]] = {name: set() for name in _ENTITIES}
    for row in rows:
        for column, look in looks:
            value = row.get(column)
            kind = {"companies": "company", "entity": row.get("entity")}.get(look, look)
            kind = _OBJECTS.get(row.get("object", "")) if look == "object" else kind
            if value is not None and kind in wanted:
                wanted[kind].update(value if isinstance(value, list) else [value])
    found: Names = {}
    for kind, ids in wanted.items():
        entity = _ENTITIES[kind]
        named = ids and ask.rows(
            f"SELECT {entity.id} AS id, left({entity.label}, 200) AS name FROM {entity.profiles} "
            f"WHERE {entity.id} IN (SELECT unnest($ids::VARCHAR[])) AND {entity.label} IS NOT NULL",
            ids=sorted(ids),
        )
        found[kind] = {row["id"]: row["name"] for row in named or ()}
    return found
