"""What of the warehouse wants a person, most urgent first, each with what helps.

A finder looks at one kind of thing and yields findings; `FINDERS` has them in the order of their urgency. What people
see of it is in summary.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Literal

import duckdb

from dagster_project.orchestration.launch import LastRun, last_run
from dagster_project.pipeline.nightly import raw_storage, utc_now
from dagster_project.readers.raw_storage import RawStorageError
from dagster_project.settings import Settings
from dagster_project.sources import all_sources
from dagster_project.warehouse import discovery, loaded_under
from dagster_project.warehouse.database import Connection, DatabaseError, open_published

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing to know of.

    severity: `error` does not get well by itself, and `warehouse status --check` ends with 1; `warning` is worth a look.
    kind: its name for machines. what: one sentence. where: what it concerns, one thing a line, never cut.
    command: what helps: a command, or what to do.
    """

    severity: Severity
    kind: str
    what: str
    where: tuple[str, ...] = ()
    command: str = ""


@dataclass
class Look:
    """What finders look at. published: None where nothing that can be read is published."""

    settings: Settings
    run: LastRun | None
    published: Connection | None

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of what is published; none where it does not have the table."""
        if self.published is None:
            return []
        try:
            return self.published.execute(query).fetchall()
        except (duckdb.CatalogException, duckdb.BinderException):
            return []  # published by an older release


@dataclass
class Status:
    """Findings first, then what there is. tables: rows of `ops.files` by source, and of what was built."""

    findings: list[Finding] = field(default_factory=list)
    run: LastRun | None = None
    as_of: Any = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    unreadable: DatabaseError | None = None  # why what is published cannot be read

    @property
    def needs_a_person(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For machines; times are UTC."""
        return {
            "ok": not self.needs_a_person,
            "findings": [asdict(finding) for finding in self.findings],
            "last_run": None if self.run is None else asdict(self.run),
            "as_of": self.as_of,
            "sources": self.sources,
            "tables": self.tables,
        }


def look(settings: Settings) -> Status:
    """The status, of what Dagster recorded, of what is published, and of what lies below raw/."""
    status = Status()
    try:
        status.run = last_run(settings)
    except DatabaseError as error:
        status.findings.append(
            Finding("error", "storage", "What became of the last run is not known", (str(error),))
        )
    try:
        with open_published(settings) as connection:
            view = Look(settings, status.run, connection)
            status.findings += _found(view)
            status.as_of = next(iter(view.ask("SELECT as_of FROM marts.as_of")), (None,))[0]
            status.sources = _rows(connection, _SOURCES)
            status.tables = _rows(connection, _TABLES)
    except DatabaseError as error:
        status.unreadable = error
        nothing = Finding("error", "not_published", "Nothing that can be read is published", (str(error),))
        status.findings += [nothing, *_found(Look(settings, status.run, None))]
    # Stable: within a severity, the finders' order is that of urgency.
    status.findings.sort(key=lambda finding: finding.severity != "error")
    return status


_SOURCES = """
    SELECT source, count(*) AS files, sum(records)::BIGINT AS records, sum(loaded)::BIGINT AS loaded,
           sum(duplicates)::BIGINT AS duplicates, sum(rejected)::BIGINT AS rejected,
           sum(repaired)::BIGINT AS repaired, strftime(max(first_seen_at), '%Y-%m-%d %H:%M') AS newest
    FROM ops.files WHERE error IS NULL GROUP BY ALL ORDER BY source"""
_TABLES = """
    SELECT model AS "table", row_count AS rows, strftime(built_at, '%Y-%m-%d %H:%M') AS changed
    FROM core.builds WHERE model NOT LIKE 'core.%' ORDER BY model"""


def _rows(connection: Connection, query: str) -> list[dict[str, Any]]:
    relation = connection.sql(query)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def _found(view: Look) -> Iterator[Finding]:
    for finder in FINDERS:
        yield from finder(view)


def _last_run_failed(view: Look) -> Iterator[Finding]:
    run = view.run
    if run is not None and run.failure is not None:
        at = f", {run.ended_at:%Y-%m-%d %H:%M} UTC" if run.ended_at else ""
        yield Finding(
            "error",
            "run_failed",
            f"The last run ({run.job}{at}) failed; what is published is as it was before it",
            tuple(run.failure.splitlines()),
            "set right what is named, then: warehouse run",
        )


def _stale(view: Look) -> Iterator[Finding]:
    hours = view.settings.freshness.published_hours
    good = view.run.last_good_at if view.run else None
    if view.published is None or good is None or utc_now() - good <= timedelta(hours=hours):
        return
    yield Finding(
        "error",
        "stale",
        f"No run ended well since {good:%Y-%m-%d %H:%M} UTC, more than {hours} hours ago: "
        "what is published is old",
        command="warehouse run; is the schedule on? (warehouse ui, or `systemctl list-timers`)",
    )


def _folders_in_trouble(view: Look) -> Iterator[Finding]:
    """Folders that cannot be read, and files that no source reads."""
    folders = [source.as_folder for source in all_sources()]
    try:
        listing = raw_storage(view.settings).listing()
    except RawStorageError as error:
        yield Finding("error", "raw_unreadable", "The raw files cannot be read", (str(error),))
        return
    if listing.troubles:
        yield Finding(
            "error",
            "folders_unreadable",
            "Folders below raw/ cannot be read",
            tuple(listing.troubles),
            "make them readable for this user; the next run loads them",
        )
    unknown = tuple(path for path in listing.files if discovery.folder_of(path, folders) is None)
    if unknown:
        yield Finding(
            "warning",
            "left_alone",
            f"{len(unknown):,} files were left alone: their folder or format is not known",
            unknown,
            "move them to the folder of their source, or away (README, What goes in)",
        )


def _unreadable_files(view: Look) -> Iterator[Finding]:
    rows = view.ask(
        """SELECT path || ': ' || error FROM ops.files
        WHERE error IS NOT NULL AND note IS NULL ORDER BY file_seq"""
    )
    if rows:
        yield Finding(
            "error",
            "files_unreadable",
            f"{len(rows):,} files could not be read: nothing of them is loaded",
            tuple(line for (line,) in rows),
            "put a whole version in their storage, or move them away; each run tries again",
        )


def _raw_is_gone(view: Look) -> Iterator[Finding]:
    """Raw files were loaded from where there is nothing now."""
    files = next(iter(view.ask("SELECT count(*) FROM ops.files WHERE records > 0")), (0,))[0]
    try:
        storage = raw_storage(view.settings)
        if not files or storage.is_there():
            return
    except RawStorageError:
        return  # told of already
    yield Finding(
        "error",
        "raw_gone",
        f"{storage.name} is not there, but {files:,} files were loaded from it: no run does anything",
        command="mount the disk, or set WAREHOUSE_RAW right, then: warehouse run",
    )


def _settings_wait(view: Look) -> Iterator[Finding]:
    """Settings that act while loading, and were others when files were loaded."""
    rows = view.ask(
        "SELECT source, loaded_under, count(*) FROM ops.files WHERE loaded_under IS NOT NULL GROUP BY ALL"
    )
    found = loaded_under.differences(view.settings, rows)
    if found:
        yield Finding(
            "warning",
            "settings_wait",
            "Settings changed that act while files are loaded: what was loaded keeps to the old ones",
            tuple(map(str, found)),
            "to load all files again under what is set now: warehouse run --full --apply-settings",
        )


def _noticed(view: Look) -> Iterator[Finding]:
    """What the last night noticed."""
    for kind, message, helps in view.ask("SELECT kind, message, help FROM ops.warnings ORDER BY ALL"):
        if kind != "trouble":  # those are looked at as they are now
            yield Finding("warning", kind, message, command=helps or "")


def _checks_that_warn(view: Look) -> Iterator[Finding]:
    for table, check, rows, sample in view.ask(
        """SELECT model, name, failures, sample FROM core.check_results
        WHERE failures > 0 AND (model, name) NOT IN (
            ('ops.files', 'files_are_readable'), ('ops.warnings', 'nothing_is_noticed')) ORDER BY model, name"""
    ):
        yield Finding(
            "warning",
            "check",
            f"{table}: {check.replace('_', ' ')}: {rows:,} rows",
            (f"such as {sample}",) if sample else (),
            "warehouse portal: Data quality has the rows",
        )


def _push_stopped(view: Look) -> Iterator[Finding]:
    for ended, stopped, left_out in view.ask(
        """SELECT ended_at, stopped, left_out FROM ops.hubspot_pushes
        WHERE exit_status = 1 AND push = (SELECT max(push) FROM ops.hubspot_pushes)"""
    ):
        yield Finding(
            "error",
            "push",
            f"The last push to HubSpot ({ended:%Y-%m-%d %H:%M} UTC) did not do all of it",
            tuple(line for line in (stopped, left_out) if line),
            "set right what is named, look at `warehouse plan`, then: warehouse push --live",
        )


def _csb_push_stopped(view: Look) -> Iterator[Finding]:
    for ended, stopped, unknown, over in view.ask(
        """SELECT ended_at, stopped, unknown, day_over FROM ops.csb_pushes
        WHERE exit_status = 1 AND push = (SELECT max(push) FROM ops.csb_pushes)"""
    ):
        said = (
            stopped,
            f"of {unknown:,} totals it is not known whether they arrived" if unknown else None,
            f"the day of {over:,} totals was over before they could be sent" if over else None,
        )
        yield Finding(
            "error",
            "push",
            f"The last push to CustomerSuccessBox ({ended:%Y-%m-%d %H:%M} UTC) did not send all of it",
            tuple(line for line in said if line),
            "each of them: warehouse sql \"FROM ops.csb_ledger WHERE state <> 'sent'\"; while the day lasts: warehouse csb plan",
        )


def _held_back_by_hubspot(view: Look) -> Iterator[Finding]:
    rows = view.ask(
        """SELECT object, property, code, any_value(message), count(DISTINCT key) AS records FROM ops.hubspot_rejects
        GROUP BY object, property, code ORDER BY records DESC, object, property, code LIMIT 8"""
    )
    if rows:
        yield Finding(
            "warning",
            "push",
            "HubSpot refused records or values: they wait until the value or the property changes",
            tuple(
                f"{records:,} of {thing}, {name or 'the whole record'}: {said or code}"
                for thing, name, code, said, records in rows
            ),
            'each of them: warehouse sql "FROM ops.hubspot_rejects"; again at once: warehouse push --resend PROPERTY',
        )


Finder = Callable[[Look], Iterable[Finding]]


def _untold(view: Look) -> Iterator[Finding]:
    """Notifications that wait, or of which nobody knows whether they arrived."""
    for name, state, count, problem in view.ask(
        """SELECT coalesce('WAREHOUSE_WEBHOOK_' || upper(notify_to), 'WAREHOUSE_ALERT_WEBHOOK'), state, count(*),
                  max(coalesce(problem, 'nothing was tried: it is not set'))
           FROM ops.notifications
           WHERE state = 'waiting' OR (state = 'unknown'
               AND tried_at > (SELECT max(tried_at) - INTERVAL 1 DAY FROM ops.notifications))
           GROUP BY 1, 2 ORDER BY 1, 2"""
    ):
        what = "wait" if state == "waiting" else "may not have arrived, and are not sent again"
        yield Finding(
            "warning",
            "notifications",
            f"Notifications of cohorts {what}",
            (f"{name}: {count:,} ({problem})",),
            f"set {name}, or put right what is there; the next run sends them" if state == "waiting" else "",
        )


FINDERS: tuple[Finder, ...] = (
    _last_run_failed,
    _stale,
    _folders_in_trouble,
    _raw_is_gone,
    _unreadable_files,
    _push_stopped,
    _csb_push_stopped,
    _held_back_by_hubspot,
    _settings_wait,
    _untold,
    _noticed,
    _checks_that_warn,
)
