"""A project of one's own beside an installed package: its folder, and its files laid over those of the release.

Knows neither settings nor databases.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

_MERGED = ".warehouse"
# Folders to drop files into. (That sources are found in `sources/` is what this must not know; a test holds them together.)
_SOURCES = (
    "events", "actions", "companies", "users", "subscriptions", "features", "crm/companies", "crm/contacts"
)  # fmt: skip
_UNUSED_DAYS, _HALF_DONE_DAYS = 30, 1
_EXPLAINED = {
    "cohorts": """# Cohorts of your own

One file is one cohort: `company__<name>.sql` or `user__<name>.sql`, a SELECT over the marts that returns `company_id` or
`user_id`. A file of the same name as one that comes with the release takes its place. A query that finds nobody
(`SELECT company_id FROM marts.company_profiles WHERE false`) switches a cohort off.
""",
    "outbound": """# What is pushed to HubSpot

A file of your own takes the place of the one that comes with the release: `hubspot_companies.sql`,
`hubspot_contacts.sql`. Look at it with `warehouse plan --offline`.
""",
    "alerts": """# Alert rules of your own

One file is one rule, `<name>.sql`: a SELECT over the marts that returns `company_id` or `user_id`, and perhaps `detail`. A file
of the same name as one that comes with the release takes its place.
""",
    "health": """# How well companies do

`company.sql` of your own takes the place of the one that comes with the release. With nothing in it but a comment, nobody
has a score.
""",
    "meters": """# Meters of your own

One file is one meter, `<name>.sql`: a SELECT over the marts that returns `company_id`, `day` and `quantity`. `-- quota:` at
its top names the metadata keys that hold a quota. A file of the same name as one that comes with the release takes its place.
""",
    "views": """# Saved views of the portal

One file is one view, `<name>.toml`, with a title and an address of the portal; it stands in the portal's menu. Any list
that is narrowed down has "Save this view", with the text of the file.
""",
}
_README = """# A usage warehouse

Made by `warehouse new`. What is here is yours; an upgrade of the package does not touch it.

    warehouse run          loads what is in data/raw, builds, publishes data/analytics.duckdb
    warehouse status       what needs a person
    warehouse sql "SHOW TABLES"
    warehouse portal       companies, users and the rest as web pages

- `data/raw/` is for your files, a folder a source: `events/`, `actions/`, `companies/`, `users/`, `features/`,
  `subscriptions/`, `crm/companies/`, `crm/contacts/`. To try it on invented data: `warehouse new FOLDER --sample`, then
  `warehouse run --as-of 2026-11-21` in there.
- `sql/cohorts/`, `sql/alerts/`, `sql/outbound/`, `sql/health/`, `sql/meters/`, `sql/views/`: queries and saved views of your
  own; they add to those of the release, or take their place.
- `warehouse.toml`: settings, each with its default.
- `workspace.yaml`: for Dagster's own commands, run from here.

Commands find this folder from where you are, or by WAREHOUSE_PROJECT.
"""


class ProjectError(Exception):
    """A project cannot be made. The text says why."""


def make(shipped: Path, folder: Path, *, sample: bool) -> None:
    """Make a project in a folder that is new or empty. Raises ProjectError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{folder} is there and not empty; name a new folder")
    try:
        for name, text in _EXPLAINED.items():
            (folder / "sql" / name).mkdir(parents=True)
            (folder / "sql" / name / "README.md").write_text(text, encoding="utf-8")
        for name in ("warehouse.toml", "workspace.yaml"):
            shutil.copyfile(shipped / name, folder / name)
        (folder / "README.md").write_text(_README, encoding="utf-8")
        (folder / ".gitignore").write_text(f"data/\n{_MERGED}/\n*.env\n", encoding="utf-8")
        if sample:
            shutil.copytree(shipped / "data" / "sample" / "raw", folder / "data" / "raw")
        else:
            for source in _SOURCES:
                (folder / "data" / "raw" / source).mkdir(parents=True)
    except OSError as error:
        raise ProjectError(f"cannot make {folder}: {error.strerror}") from error


def laid_over(shipped: Path, own: Path) -> Path:
    """A folder with the release's files, and the project's own `sql/` laid over its `sql/`.

    Made anew whenever a file of either changed; nobody edits it.
    """
    mine = _queries(own)
    if not mine:
        return shipped
    stamp = hashlib.sha256()
    for path in (*mine, *_queries(shipped)):
        found = path.stat()
        stamp.update(f"{path}|{found.st_size}|{found.st_mtime_ns}\n".encode())
    merged = own / _MERGED / stamp.hexdigest()[:16]
    if merged.is_dir():
        with suppress(OSError):
            os.utime(merged)  # in use
        return merged
    part = merged.with_name(f"{merged.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    for entry in shipped.iterdir():
        if entry.name != "sql":
            (part / entry.name).symlink_to(entry)
    shutil.copytree(shipped / "sql", part / "sql")
    for path in mine:
        target = part / path.relative_to(own)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    try:
        part.rename(merged)
    except OSError:  # another process was faster
        shutil.rmtree(part, ignore_errors=True)
    _prune(merged.parent, keep=merged)
    return merged


def _prune(folder: Path, *, keep: Path) -> None:
    """Remove what was merged before, and what was left half done. A portal that stands since then may read it still, so
    only what nobody has begun to use for a month, or a day where it is half done.
    """
    now = time.time()
    for old in folder.iterdir():
        days = _HALF_DONE_DAYS if old.suffix == ".part" else _UNUSED_DAYS
        with suppress(OSError):
            if old != keep and now - old.stat().st_mtime > days * 86_400:
                shutil.rmtree(old, ignore_errors=True)


def _queries(folder: Path) -> list[Path]:
    return sorted((folder / "sql").glob("*/*.sql"))
