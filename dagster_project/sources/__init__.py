"""Sources: raw files to raw tables, one module a source. To add one, drop in a module that defines SOURCE.

A source knows its folder, its formats, its raw tables and the rules for one record. It knows neither the
orchestrator nor any table that is computed from the raw ones.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from dagster_project.warehouse.registry import Folder

if TYPE_CHECKING:
    from .loading import LoadContext, Loader

PLACE = "load_seq BIGINT, file_seq BIGINT, line BIGINT, element BIGINT"


@dataclass(frozen=True)
class Source:
    """folder: below raw/. table: the main raw table. tables: all its raw tables, name to column definitions.

    about: one sentence for people. loader: makes what turns a batch of files into rows. subjects: the columns that say
    whom a row is about, to the kind of id; when that company, user, email or domain is erased, the row goes.
    """

    folder: str
    table: str
    about: str
    formats: frozenset[str]
    tables: Mapping[str, str]
    loader: Callable[[LoadContext], Loader]
    subjects: Mapping[str, str]
    replaces: bool = False

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the main raw table, to their types."""
        return dict(column.strip().split(" ", 1) for column in self.tables[self.table].split(","))

    @property
    def as_folder(self) -> Folder:
        return Folder(self.folder, self.formats, self.replaces)


@cache
def all_sources() -> tuple[Source, ...]:
    """Every source, in the order in which a night loads them."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        source = getattr(importlib.import_module(f"{__name__}.{module.name}"), "SOURCE", None)
        if source is not None:
            found.append(source)
    return tuple(sorted(found, key=lambda s: s.folder))
