"""The night's work in its three steps: load what is new, build what follows from it, publish.

Plain functions on an open warehouse; the orchestrator (defs/) calls them as assets, tests call them as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache

from dagster_project.settings import Settings, project_root
from dagster_project.sources import all_sources, loading
from dagster_project.sources.loading import LoadSummary
from dagster_project.warehouse import registry
from dagster_project.warehouse.build import Built, build
from dagster_project.warehouse.database import Connection
from dagster_project.warehouse.models import Model, read_models

Tell = Callable[[str], None]


def _silent(_: str) -> None:
    pass


@dataclass
class LoadResult:
    """What a load found and did; summaries by source folder."""

    summaries: dict[str, LoadSummary] = field(default_factory=dict)
    known_files: int = 0
    new_files: int = 0
    replayed_files: int = 0
    unknown: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def day_of(text: str | None) -> date | None:
    """An as-of day as given by a person. Raises ValueError that says what is right."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"as-of {text!r}: must be a day such as 2026-03-31") from None


@cache
def models() -> Mapping[str, Model]:
    """All tables that are computed, in the order in which they are built."""
    return read_models(project_root() / "sql")


def load_new_files(
    connection: Connection,
    settings: Settings,
    *,
    now: datetime | None = None,
    full: bool = False,
    selected: Iterable[str] | None = None,
    tell: Tell = _silent,
) -> LoadResult:
    """Number and load what is new below raw/. full: load everything again, as it was loaded before.

    selected: raw tables (default: all). Raises MissingFiles where a full rebuild lacks a file; nothing is
    touched then.
    """
    sources = all_sources()
    folders = [source.as_folder for source in sources]
    registry.prepare(connection)
    loading.prepare(connection, sources)
    result = LoadResult()
    if full:
        tables = [table for source in sources for table in source.tables]
        result.replayed_files = registry.forget_loaded(connection, settings.raw, folders, tables)
        tell(f"full rebuild: {result.replayed_files} files are loaded again")
    found = registry.discover(connection, settings.raw, folders, now or utc_now(), tell)
    result.new_files, result.known_files, result.warnings = found.new_files, found.known_files, found.warnings
    result.unknown = [
        path for path in registry.walk(settings.raw) if registry.folder_of(path, folders) is None
    ]
    wanted = {s.folder: s for s in sources if selected is None or s.table in selected}
    pending = [part for part in found.pending if part.source in wanted]
    done = itertools.count(1)
    for folder, parts in itertools.groupby(pending, key=lambda part: part.source):
        source = wanted[folder]
        summary = loading.load(
            connection,
            settings,
            source,
            list(parts),
            lambda part: tell(f"loading {next(done)}/{len(pending)} {part.path}"),
        )
        result.summaries.setdefault(folder, LoadSummary()).merge(summary)
    return result


def build_tables(
    connection: Connection,
    settings: Settings,
    *,
    as_of: date | None = None,
    now: datetime | None = None,
    run_id: str = "manual",
    selected: set[str] | None = None,
    tell: Tell = _silent,
) -> dict[str, Built]:
    """Bring the computed tables up to date, with their checks, in one transaction."""
    now = now or utc_now()
    return build(
        connection,
        settings,
        models(),
        as_of=as_of or now.date(),
        now=now,
        run_id=run_id,
        selected=selected,
        progress=lambda name: tell(f"building {name}"),
    )
