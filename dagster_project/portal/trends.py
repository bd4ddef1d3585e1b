"""How figures move: against the period before, by day, and against a quota.

All of it goes by names: `calls_prev_30d` is what `calls_30d` was in the period before; a number in the metadata whose
key ends with `quota_calls_30d` is the quota of `calls_30d`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .asking import Ask
from .columns import Column
from .entities import Entity
from .spans import last_day

BY_DAY = Column("calls_by_day", "BIGINT[]", "its calls on each of the last 30 days")
_DAYS = 30
_QUOTA = re.compile(r"(?:^|.*[._])quota_(\w+)")
_MOST = 1000  # percent; beyond, a change is told as a multiple


@dataclass(frozen=True)
class Change:
    """A figure against the period before. way: up, down or same."""

    now: float
    before: float

    @property
    def way(self) -> str:
        return "same" if self.now == self.before else "up" if self.now > self.before else "down"

    def __str__(self) -> str:
        if self.now == self.before:
            return "±0 %"
        if not self.before:
            return "new"
        percent = 100 * (self.now - self.before) / self.before
        if percent > _MOST:
            return f"×{self.now / self.before:,.0f}"
        return f"{'+' if percent > 0 else '−'}{abs(percent):,.0f} %"


def before_of(name: str) -> str | None:
    """The column with what a figure was in the period before, by its name."""
    found = re.fullmatch(r"(\w+)_(\d+[dh])", name)
    return f"{found[1]}_prev_{found[2]}" if found else None


def befores(names: Iterable[str], columns: Mapping[str, Column]) -> dict[str, str]:
    """Of some columns, those with what they were before: by the figure's name."""
    pairs = ((name, before_of(name)) for name in names)
    return {name: before for name, before in pairs if before is not None and before in columns}


def changes(row: Mapping[str, Any], pairs: Mapping[str, str]) -> dict[str, Change]:
    """What moved in a row: by the figure's name."""
    return {
        name: Change(row[name], row[before])
        for name, before in pairs.items()
        if row[name] is not None and row[before] is not None and (row[name] or row[before])
    }


def by_day(ask: Ask, entity: Entity, ids: Sequence[str]) -> dict[str, list[int]]:
    """The calls of each on each of the last days, the as-of day last."""
    if not ids:
        return {}
    last = last_day(ask)
    first = last - timedelta(days=_DAYS - 1)
    found: dict[str, list[int]] = {id_: [0] * _DAYS for id_ in ids}
    for row in ask.rows(
        f"SELECT {entity.id} AS id, day, calls FROM {entity.usage} "
        f"WHERE day BETWEEN $first AND $last AND {entity.id} IN (SELECT unnest($ids::VARCHAR[]))",
        ids=list(ids),
        first=first,
        last=last,
    ):
        found[row["id"]][(row["day"] - first).days] = row["calls"]
    return found


def quotas(ask: Ask, entity: Entity, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """The quotas of each, by the figure that they are of. Of several, the first by its key."""
    found: dict[str, dict[str, float]] = {}
    if not ids:
        return found
    for row in ask.rows(
        f"SELECT {entity.id} AS id, path, value_number AS quota FROM {entity.metadata} "
        f"WHERE {entity.id} IN (SELECT unnest($ids::VARCHAR[])) AND type = 'number' AND contains(path, 'quota_') ORDER BY path",
        ids=list(ids),
    ):
        named = _QUOTA.fullmatch(row["path"])
        if named and row["quota"] is not None:
            found.setdefault(row["id"], {}).setdefault(named[1], row["quota"])
    return found
