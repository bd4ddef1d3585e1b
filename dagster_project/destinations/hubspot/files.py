"""The project's own files that a push reads: the SELECTs in `sql/outbound/`, the cohorts."""

from __future__ import annotations

from pathlib import Path

from dagster_project.settings import project_root

_PREFIX = "hubspot_"
EVENTS = "events"  # `hubspot_events.sql` is of events, not of an object


def outbound_files() -> list[Path]:
    """All SELECTs, in order."""
    return sorted((project_root() / "sql" / "outbound").glob(f"{_PREFIX}*.sql"))


def outbound_file(object_type: str) -> Path:
    return project_root() / "sql" / "outbound" / f"{_PREFIX}{object_type}.sql"


def outbound_objects() -> list[str]:
    """The object types that have a SELECT: the names of the files."""
    names = [file.stem.removeprefix(_PREFIX) for file in outbound_files()]
    return [name for name in names if name != EVENTS]


def cohorts_of(entity: str) -> set[str]:
    """The cohorts of companies or users: `sql/cohorts/<entity>__<name>.sql`."""
    files = (project_root() / "sql" / "cohorts").glob(f"{entity}__*.sql")
    return {file.stem.partition("__")[2] for file in files}
