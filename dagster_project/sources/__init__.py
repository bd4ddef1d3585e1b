"""Sources: raw files to raw tables, one module a source. To add one, drop in a module that defines SOURCE.

A source knows its folder, its formats, its raw tables and the rules for one record. It knows neither the
orchestrator nor any table that is computed from the raw ones. What it declares here is all that is said of it: the
settings, retention and erasures follow.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from dagster_project.settings import Settings, unknown_key
from dagster_project.warehouse.columns import Column, Kind, canonical_type
from dagster_project.warehouse.registry import Folder

if TYPE_CHECKING:
    from .reading import LoadContext, Loader

Person = Literal["company", "user"]


@dataclass(frozen=True)
class RawColumn(Column):
    """A column of a raw table, with what an erase must know of it.

    holds: the kind of id in it; those that were erased become pseudonyms. erases_row: the row is about this one, and
    goes with it; where not, it only mentions it and stays. as_it_came: text of a record as it was sent, which may name
    anybody; it goes where the row names somebody erased. names_anybody: text that may name anybody, also in rows of others:
    of a path the segment goes, of a JSON object the value, else the text.
    """

    holds: Kind | None = None
    erases_row: bool = False
    as_it_came: bool = False
    names_anybody: Literal["path", "json", "text"] | None = None


POSITION = (
    RawColumn("load_seq", "BIGINT", "the order in which files were loaded"),
    RawColumn("file_seq", "BIGINT", "the file, see ops.files"),
    RawColumn("line", "BIGINT", "its line, from 1"),
    RawColumn("element", "BIGINT", "which of several records on the line, from 1"),
)


# Of tables that remember what was there first: a withdrawn file takes what it brought with it.
FIRST_LOAD = RawColumn("load_seq", "BIGINT", "the load that brought it; null: one of an older release")


@dataclass(frozen=True)
class RawTable:
    """A table of raw rows. about: one sentence for people.

    retained_by: the column with the time by which rows grow old; the setting `[retention] <name>_days` follows from it.
    None: they are kept for ever. is_large: it grows with the number of events; where a cluster works, it lies in files that
    the cluster sees (`warehouse/stored.py`).
    """

    name: str
    about: str
    columns: Sequence[RawColumn]
    retained_by: str | None = None
    is_large: bool = False

    def __post_init__(self) -> None:
        if self.retained_by not in (None, *(column.name for column in self.columns)):
            raise ValueError(f"raw.{self.name}: retained_by={self.retained_by!r}: no such column")
        for column in self.columns:
            if canonical_type(column.type) != column.type:
                raise ValueError(
                    f"raw.{self.name}: {column.name} {column.type}: write {canonical_type(column.type)}"
                )

    @property
    def own_columns(self) -> tuple[RawColumn, ...]:
        """All but the position."""
        return tuple(column for column in self.columns if column not in POSITION)

    @property
    def ids(self) -> dict[str, Kind]:
        """The columns that hold ids, to the kind of id."""
        return {column.name: column.holds for column in self.columns if column.holds}

    @property
    def subjects(self) -> dict[str, Kind]:
        """Those of them that say whom a row is about."""
        return {column.name: column.holds for column in self.columns if column.holds and column.erases_row}


@dataclass(frozen=True)
class Owns:
    """What the main table's rows say is somebody's own, so that it is erased with them.

    whose: the kind of its owner, whom a column names that `erases_row`. holds: what it is. text: where it stands, an SQL
    expression. key: makes the id of the text; None where it is none. keeps_shared: what others have too stays with them.
    """

    whose: Person
    holds: Kind
    text: str
    key: Callable[[object], str | None] = lambda text: text if isinstance(text, str) else None
    keeps_shared: bool = True


@dataclass(frozen=True)
class Source:
    """folder: below raw/. tables: its raw tables, the main one first, whose rows are the records of its files.

    loader: makes what turns a batch of files into rows. owns: what else is erased with whom a row is about.
    remains: the one of the tables that keeps what its columns name of rows that are erased. replaces: other content at a
    path takes the place of what that path held.
    """

    folder: str
    formats: frozenset[str]
    tables: Sequence[RawTable]
    loader: Callable[[LoadContext], Loader]
    owns: Sequence[Owns] = ()
    remains: RawTable | None = None
    replaces: bool = False

    def __post_init__(self) -> None:
        if self.remains is not None and self.remains not in self.tables:
            raise ValueError(f"{self.folder}: remains: raw.{self.remains.name} is not among its tables")
        for own in self.owns:
            if own.whose not in self.main.subjects.values():
                raise ValueError(
                    f"{self.folder}: owns: no column of raw.{self.table} says which {own.whose} a row is about"
                )

    @property
    def main(self) -> RawTable:
        return self.tables[0]

    @property
    def table(self) -> str:
        """The name of the main raw table."""
        return self.main.name

    @property
    def about(self) -> str:
        return self.main.about

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


def retained_tables() -> dict[str, RawTable]:
    """The raw tables of which old rows may be dropped, by name."""
    return {table.name: table for source in all_sources() for table in source.tables if table.retained_by}


def require_known_retention(settings: Settings) -> None:
    """Raises SettingsError where `[retention]` names what no source has."""
    known = {f"{name}_days" for name in retained_tables()}
    for key, days in settings.retention.by_source.items():
        if key not in known:
            raise unknown_key(f"retention.{key}", days, {*known, *type(settings.retention).model_fields})
