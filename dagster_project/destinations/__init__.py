"""Destinations: what is published, told to other systems, one package each.

A package says what the rest of the warehouse must know of it in a DESTINATION; it is found by itself. `parts/` is what
they have in common.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Destination:
    """title: what people call it. records_of: a SELECT that tells what is to be deleted there, by hand, when somebody is
    erased: the kind of record and its id, for people. It reads `forgotten` (kind, id), with the kinds of
    `warehouse.columns.Kind`, and whatever tables know.

    What was sent is kept in tables below `sql/ops/` with `history: true`; their headers say what of them an erase takes.
    """

    title: str
    records_of: str


@cache
def all_destinations() -> tuple[Destination, ...]:
    """Every destination. Raises TypeError where a package says nothing of itself."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        if module.name == "parts":
            continue
        destination = getattr(importlib.import_module(f"{__name__}.{module.name}"), "DESTINATION", None)
        if not isinstance(destination, Destination):
            raise TypeError(
                f"destinations/{module.name} defines no DESTINATION; see destinations/__init__.py"
            )
        found.append(destination)
    return tuple(found)
