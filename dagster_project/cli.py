"""The `warehouse` command. Exit status: 0 all well; 1 it could not do its work; 2 wrong usage or settings.

Dagster is imported only where a run is launched or looked up.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from dagster_project import log
from dagster_project.settings import Settings, SettingsError, load_settings, portal_password, token_key

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger(__name__)
_json_log: log.JsonLog | None = None  # where it is for machines what is told


class Failed(Exception):
    """The command could not do its work. The text is for people."""


class RunFailed(Failed):
    """The job failed, and whoever launched it has posted the alert."""


def _explained(command: F) -> F:
    """Errors for people: what is wrong, where, and what to do; no traceback."""
    sleeps = command.__name__ == "run"  # whom its errors concern may be asleep

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from dagster_project.readers.places import PlaceError
        from dagster_project.warehouse.database import DatabaseError
        from dagster_project.warehouse.models import ModelError

        settings = None
        _log_as(kwargs.get("log_format"))
        try:
            settings = load_settings()
            command(settings, *args, **kwargs)
        except RunFailed as error:
            _fail(f"Error: {error}", 1)
        except (SettingsError, Failed, DatabaseError, ModelError, PlaceError) as error:
            wrong_settings = isinstance(error, SettingsError)
            if sleeps:
                _alert(settings, str(error))
            _fail(f"Wrong settings.\n{error}" if wrong_settings else f"Error: {error}", 1 + wrong_settings)
        except KeyboardInterrupt:
            _fail("Stopped. Nothing is lost: run the same command again.", 1)
        except Exception as error:  # a bug, or a machine that fails: told of, and then shown in full
            if sleeps:
                _alert(settings, f"{type(error).__name__}: {error}")
            raise

    return run  # type: ignore[return-value]


def _log_as(wanted: str | None) -> None:
    """Begin the log for machines where it is wanted; before the settings are read, where an option says so."""
    global _json_log
    if _json_log is None and wanted == "json":
        _json_log = log.JsonLog()
    elif _json_log is None:
        log.for_people()


def _fail(text: str, status: int) -> NoReturn:
    if _json_log is not None:
        _json_log.error("run_failed", text)
    else:
        click.echo(text, err=True)
    sys.exit(status)


def _alert(settings: Settings | None, wrong: str) -> None:
    from dagster_project import alerts

    with suppress(SettingsError):  # it may be the webhook that is wrong
        to_do = "set right what is named above, then run `warehouse run`; nothing is lost"
        if problem := alerts.send(settings, "The warehouse did not run", [wrong], to_do):
            _log.error(problem, extra={"event": "alert_not_posted"})


def _ids(context: click.Context, parameter: click.Parameter, ids: tuple[str, ...]) -> tuple[str, ...]:
    if any(not id_.strip() for id_ in ids):
        raise click.BadParameter("an id is not blank")
    return ids


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="usage-warehouse")
def main() -> None:
    """Product usage from raw files to profiles in DuckDB and HubSpot.

    Folders: WAREHOUSE_DATA (default data/), WAREHOUSE_RAW (default <data>/raw). Settings: warehouse.toml.
    """


@main.command()
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The day at whose end all windows and cohorts end. Default: today (GMT).",
)
@click.option("--full", is_flag=True, help="Rebuild every table from the raw files.")
@click.option(
    "--retries",
    type=click.IntRange(0, 10),
    default=0,
    help="How often a step that failed for a lock or a disk is tried again ([retries] wait_seconds between).",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="text: a report for people. json: a line an event on stderr. Default: [logging] format.",
)
@_explained
def run(settings: Settings, as_of: datetime | None, full: bool, retries: int, log_format: str | None) -> None:
    """Load what is new, build what follows from it, publish it.

    Launches the same Dagster job as the nightly schedule, and shows it in Dagster's UI.
    """
    from dagster_project import launch, summary

    token_key(settings)  # without it, where it is needed, nothing is begun
    _log_as(log_format or settings.logging.format)
    report: Any = _json_log or summary
    with report.progress():
        outcome = launch.nightly(
            settings,
            run_id=_json_log.run_id if _json_log else None,
            as_of=as_of.date() if as_of else None,
            full=full,
            retries=retries,
        )
    if outcome.failure is not None:
        what = (
            "the push failed; all tables are built and published"
            if outcome.built
            else "the run failed; what is published is as it was"
        )
        raise RunFailed(f"{what}.\n{outcome.failure}")
    report.show_run(settings, outcome)
    if outcome.pushed is not None:
        sys.exit(outcome.pushed.exit_status)


@main.command(context_settings={"ignore_unknown_options": True})  # a query may begin with a comment: --
@click.argument("query")
@_explained
def sql(settings: Settings, query: str) -> None:
    """Ask the published database: warehouse sql "FROM marts.company_profiles"."""
    import duckdb

    from dagster_project import summary

    try:
        summary.show_query(settings, query)
    except duckdb.Error as error:
        raise Failed(str(error)) from error


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1)
@_explained
def ui(settings: Settings, options: tuple[str, ...]) -> None:
    """Open Dagster's UI, with its schedules, on this warehouse. OPTIONS are those of `dg dev`."""
    from dagster_project import launch

    launch.user_interface(settings, options)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("part", type=click.Choice(["webserver", "daemon", "code"]))
@click.argument("options", nargs=-1)
@_explained
def serve(settings: Settings, part: str, options: tuple[str, ...]) -> None:
    """Become a part of a standing Dagster: its webserver, its daemon (schedules, sensors) or its code server.

    OPTIONS are those of Dagster's own command for it.
    """
    from dagster_project import launch

    launch.serve(settings, part, options)


@main.command()
@click.option("--host", help="The address to listen on. Default: [portal] host, which is this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: [portal] port. 0: any that is free.")
@_explained
def portal(settings: Settings, host: str | None, port: int | None) -> None:
    """Companies, users, cohorts, features and data quality as web pages, from the published database.

    With WAREHOUSE_PORTAL_PASSWORD set, it asks for that password (any user name).
    """
    from dagster_project import portal as pages

    try:
        pages.serve(
            settings,
            host=settings.portal.host if host is None else host,
            port=settings.portal.port if port is None else port,
            password=portal_password(),
            tell=click.echo,
        )
    except pages.PortalError as error:
        raise Failed(str(error)) from error


@main.command()
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="ID",
    callback=_ids,
    help="A user to erase; several times for several.",
)
@click.option(
    "--company", "companies", multiple=True, metavar="ID", callback=_ids, help="A company to erase."
)
@click.option(
    "--yes", is_flag=True, help="Do not ask. Without a terminal to ask on, nothing is erased but with --yes."
)
@_explained
def erase(settings: Settings, users: tuple[str, ...], companies: tuple[str, ...], yes: bool) -> None:
    """Remove users or companies from every database, for good, and keep later files from bringing them back.

    First shows what would go. Raw files and HubSpot are not touched: it names what is to be removed there.
    """
    from dagster_project import erase as erasing
    from dagster_project import run_history, summary
    from dagster_project.warehouse.build import BuildError, ChecksFailed
    from dagster_project.warehouse.database import open_warehouse

    if not users and not companies:
        raise click.UsageError("name whom to erase, with --user or --company")
    try:
        with summary.progress(), open_warehouse(settings) as connection:
            erasure = erasing.look(connection, settings, users, companies)
        summary.show_erasure(erasure)
        if not yes and not (sys.stdin.isatty() and click.confirm("Erase this for good?")):
            raise Failed("nothing was erased. To erase it, run the command again with --yes")
        with summary.progress():
            with open_warehouse(settings) as connection:
                erasure = erasing.look(connection, settings, users, companies)
                erasing.carry_out(connection, settings, erasure)
            erasing.publish_without(settings)
            run_history.forget(settings.dagster_home, erasure.names)
    except (erasing.CannotErase, BuildError, ChecksFailed) as error:
        raise Failed(str(error)) from error
    except sqlite3.Error as error:
        raise Failed(
            f"erased from the databases, but not from Dagster's storage in {settings.dagster_home}: {error}. "
            "Stop what uses it, and run the command again"
        ) from error
    summary.show_erased(settings, erasure)


@main.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/site"),
    show_default=True,
    metavar="FOLDER",
    help="Where to write it.",
)
@_explained
def docs(settings: Settings, out: Path) -> None:
    """Write a static site of the tables, their columns and lineage, and the project's own pages."""
    from dagster_project import site

    try:
        pages = site.write(out)
    except OSError as error:
        raise Failed(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
    click.echo(f"{pages} pages: {out / 'index.html'}")


@main.command()
@_explained
def status(settings: Settings) -> None:
    """What became of the last run, what is published, which files could not be read, which were left alone."""
    from dagster_project import summary

    summary.show_status(settings)


@main.command()
@click.option(
    "--offline", is_flag=True, help="Do not ask HubSpot: compare with what it last acknowledged only."
)
@click.option(
    "--csv",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write every change to a file, too.",
)
@_explained
def plan(settings: Settings, offline: bool, file: Path | None) -> None:
    """Show what a push would write to HubSpot: every create, and every field's old and new value.

    Nothing is written. Without a token this is the offline part: against what HubSpot last acknowledged.
    """
    from dagster_project import summary
    from dagster_project.destinations import hubspot

    with _hubspot_errors(), summary.progress():
        made = hubspot.make_plan(settings, offline=offline)
    summary.show_plan(made)
    if file is not None:
        try:
            summary.write_plan(made, file)
        except OSError as error:
            raise Failed(f"cannot write {file}: {error.strerror}") from error
    if made.offline and not offline:
        raise Failed(f"this is the offline part only: {hubspot.MissingToken()}")
    sys.exit(int(bool(made.left_out)))


@main.command()
@click.option("--live", is_flag=True, help="Write to HubSpot. Without it this is a rehearsal.")
@click.option("--digest", metavar="HEX", help="Push only if the plan still has this digest.")
@_explained
def push(settings: Settings, live: bool, digest: str | None) -> None:
    """Write to HubSpot what the plan says, or rehearse it."""
    from dagster_project import summary
    from dagster_project.destinations import hubspot

    with _hubspot_errors(), summary.progress():
        result = hubspot.push(settings, live=live, digest=digest)
    summary.show_push(result)
    sys.exit(result.exit_status)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_explained
def backup(settings: Settings, folder: Path) -> None:
    """Copy the databases to a new FOLDER, as they are together. Waits for a run to end; raw files are not in it."""
    from dagster_project import summary
    from dagster_project.warehouse import backup as backups

    with _backup_errors(), summary.progress():
        size = backups.make(settings, folder.absolute())
    click.echo(f"Backup made: {folder}, {size:,} bytes.")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask before the databases that are there are replaced.")
@_explained
def restore(settings: Settings, folder: Path, yes: bool) -> None:
    """Put the backup in FOLDER in the place of the databases, and publish it."""
    from dagster_project import summary
    from dagster_project.warehouse import backup as backups

    with _backup_errors():
        at = backups.made_at(folder)
        there = settings.warehouse_file.exists() or settings.raw_file.exists()
        question = f"Replace the databases in {settings.data} by the backup of {at}?"
        if there and not yes and not (sys.stdin.isatty() and click.confirm(question)):
            raise Failed(
                f"nothing was restored: there are databases in {settings.data}. To replace them, add --yes"
            )
        with summary.progress():
            backups.restore(settings, folder.absolute())
    click.echo(f"Restored and published: the backup of {at}. `warehouse run` loads what came since.")


@contextmanager
def _backup_errors() -> Iterator[None]:
    from dagster_project.warehouse.backup import BackupError

    try:
        yield
    except BackupError as error:
        raise Failed(str(error)) from error


@main.command("hubspot-init")
@click.option("--live", is_flag=True, help="Make them in HubSpot. Without it they are only shown.")
@_explained
def hubspot_init(settings: Settings, live: bool) -> None:
    """Show (with --live: make) the property group and the properties that the mapping names and HubSpot lacks."""
    from dagster_project import summary
    from dagster_project.destinations import hubspot

    with _hubspot_errors(), summary.progress():
        result = hubspot.init_properties(settings, live=live)
    summary.show_init(result)
    sys.exit(result.exit_status)


@contextmanager
def _hubspot_errors() -> Iterator[None]:
    from dagster_project.destinations.hubspot import HubspotError

    try:
        yield
    except HubspotError as error:
        raise Failed(str(error)) from error


if __name__ == "__main__":
    main()
