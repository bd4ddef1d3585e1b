"""The night's work in its three steps: load what is new, build what follows from it, publish.

Plain functions on an open warehouse; the orchestrator (defs/) calls them as assets, tests call them as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, partial

from dagster_project.readers.raw_storage import RawStorage, RawStorageError, raw_storage_at
from dagster_project.rendering.progress import Steps
from dagster_project.settings import Settings, project_root, token_key
from dagster_project.sources import all_sources, loading, require_known_retention, retained_tables
from dagster_project.sources.loading import LoadSummary
from dagster_project.spark.engine import engine_of
from dagster_project.warehouse import (
    compaction,
    continuity,
    discovery,
    forgetting,
    loaded_under,
    registry,
    replay,
    retention,
    stored,
    tails,
)
from dagster_project.warehouse.build import Built, build
from dagster_project.warehouse.database import Connection, transaction, value
from dagster_project.warehouse.models import Model, read_models
from dagster_project.warehouse.pseudonyms import keyed_hash

_log = logging.getLogger(__name__)


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


def raw_storage(settings: Settings) -> RawStorage:
    """Where the raw files lie."""
    return raw_storage_at(settings.raw, settings.data / "tmp", settings.warehouse.raw_links)


def require_raw(connection: Connection, storage: RawStorage) -> None:
    """Raises RawStorageError where raw/ is not there although files were loaded from it: an unmounted disk, a typo."""
    files = value(connection, "SELECT count(*) FROM raw.files WHERE load_seq IS NOT NULL")
    if files and not storage.is_there():
        raise RawStorageError(
            f"{storage.name} is not there, but {files:,} files were loaded from it: is the disk mounted, and is "
            "WAREHOUSE_RAW right? Nothing was touched"
        )


def load_new_files(
    connection: Connection,
    settings: Settings,
    *,
    now: datetime | None = None,
    full: bool = False,
    apply_settings: bool = False,
    selected: Iterable[str] | None = None,
) -> LoadResult:
    """Number and load what is new below raw/. full: load everything again, as it was loaded before.

    apply_settings: of a full load: under what is set now, not under what each file was loaded under before.
    selected: raw tables (default: all). Raises MissingFiles where a full rebuild lacks a file, and DatabaseError
    where the databases do not belong together or the clock jumped; nothing is touched then. Also RetentionError where a
    table needs rows that the settings would have dropped, and SettingsError where tokens are hashed otherwise than before.
    """
    sources = all_sources()
    require_known_retention(settings)
    folders = [source.as_folder for source in sources]
    registry.prepare(connection)
    loading.prepare(connection, sources)
    move_tables(connection, settings)
    if now is None:
        now = utc_now()
        continuity.require_steady_clock(connection, now, settings.warehouse.clock_jump_days)
    if not full:
        continuity.require_loaded_files(connection)
    key = token_key(settings)
    fingerprint = keyed_hash(key, "the key's own fingerprint")[:16] if key else None
    result = LoadResult()
    waited = tails.waiting(connection)
    storage = raw_storage(settings)
    require_raw(connection, storage)
    storage.tidy()
    loaded_under.note_unknown(connection, settings)
    if not (full and apply_settings):
        registry.require_token_key(connection, fingerprint)
    if full:
        _say_what_stays(connection, settings, apply_settings)
        result.replayed_files = replay.forget_loaded(
            connection,
            storage,
            folders,
            [table for source in sources for table in source.tables],
            retention.tables(connection),
            fingerprint,
            apply_settings=apply_settings,
        )
        _log.info("full rebuild: %d files are loaded again", result.replayed_files)
    else:
        _drop_old_rows(connection, settings, now.date())
    found = discovery.discover(connection, storage, folders, now)
    result.new_files, result.known_files = found.new_files, found.known_files
    result.warnings = [f"{w.message}. {w.help}" if w.help else w.message for w in found.warnings]
    result.unknown = found.unknown
    wanted = {s.folder: s for s in sources if selected is None or s.table in selected}
    pending = [part for part in found.pending if part.source in wanted]
    steps = Steps("loading", len(pending))
    result.summaries = loading.load(connection, settings, wanted, pending, steps)
    tails.refuse(connection, waited)
    registry.note_warnings(connection, found.warnings, now)
    if compaction.is_due(connection):
        # Something is not to be kept any more: no table may hold it on as what was before.
        with transaction(connection):
            forgetting.forget(connection, models(), {})
    return result


def move_tables(connection: Connection, settings: Settings) -> str | None:
    """Move the large raw tables to where the settings say, if they are elsewhere. Returns what was done, for people, or None.

    Raises DatabaseError, with nothing changed.
    """
    tables = [table for source in all_sources() for table in source.tables if table.is_large]
    return stored.agree(connection, settings, tables, partial(loading.create, connection))


def _say_what_stays(connection: Connection, settings: Settings, apply_settings: bool) -> None:
    for difference in loaded_under.of_loaded(connection, settings):
        what = "now all are" if apply_settings else "and are again; what is set now is for --apply-settings"
        _log.warning("%s, %s", difference, what, extra={"event": "warning"})


def _drop_old_rows(connection: Connection, settings: Settings, today: date) -> None:
    """What is past its retention goes; what was computed from it stays. Raises RetentionError."""
    tables = retained_tables()
    for table, before in settings.retention.limits(today).items():
        if table == "rejects":
            dropped = registry.drop_rejects(connection, before)
        else:
            dropped = retention.drop(
                connection, models(), tables[table], tables[table].retained_by or "", before
            )
        if dropped:
            _log.info("dropped %s rows of raw.%s, older than %s", f"{dropped:,}", table, before)


def build_tables(
    connection: Connection,
    settings: Settings,
    *,
    as_of: date | None = None,
    now: datetime | None = None,
    run_id: str = "manual",
    selected: set[str] | None = None,
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
        engine=engine_of(settings),
    )
