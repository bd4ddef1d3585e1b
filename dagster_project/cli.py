"""The `warehouse` command. Exit status: 0 all well; 1 it could not do its work; 2 wrong usage or settings.

Dagster is imported only where a run is launched: `warehouse status` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

import click

from dagster_project.settings import Settings, SettingsError, load_settings

F = TypeVar("F", bound=Callable[..., Any])


class Failed(Exception):
    """The command could not do its work. The text is for people."""


def _explained(command: F) -> F:
    """Errors for people: what is wrong, where, and what to do; no traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from dagster_project.warehouse.database import DatabaseError

        try:
            command(load_settings(), *args, **kwargs)
        except SettingsError as error:
            click.echo(f"Wrong settings.\n{error}", err=True)
            sys.exit(2)
        except (Failed, DatabaseError) as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. Nothing is lost: run the same command again.", err=True)
            sys.exit(1)

    return run  # type: ignore[return-value]


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
@_explained
def run(settings: Settings, as_of: datetime | None, full: bool) -> None:
    """Load what is new, build what follows from it, publish it.

    Launches the same Dagster job as the nightly schedule, and shows it in Dagster's UI.
    """
    from dagster_project import launch, summary

    with summary.progress() as tell:
        outcome = launch.nightly(settings, as_of=as_of.date() if as_of else None, full=full, tell=tell)
    if outcome.failure is not None:
        raise Failed(f"the run failed; what is published is as it was.\n{outcome.failure}")
    summary.show_run(settings, outcome)


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

    sys.exit(launch.user_interface(settings, options))


@main.command()
@_explained
def status(settings: Settings) -> None:
    """What is published, which files could not be read, and which were left alone."""
    from dagster_project import summary

    summary.show_status(settings)


@main.command()
@click.option(
    "--offline", is_flag=True, help="Do not ask HubSpot: compare with what it last acknowledged only."
)
@_explained
def plan(settings: Settings, offline: bool) -> None:
    """Show what a push would write to HubSpot: every create, and every field's old and new value.

    Nothing is written. Without a token this is the offline part: against what HubSpot last acknowledged.
    """
    from dagster_project import summary
    from dagster_project.destinations import hubspot

    with _hubspot_errors(), summary.progress() as tell:
        made = hubspot.make_plan(settings, tell=tell, offline=offline)
    summary.show_plan(made)
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

    with _hubspot_errors(), summary.progress() as tell:
        result = hubspot.push(settings, live=live, tell=tell, digest=digest)
    summary.show_push(result)
    sys.exit(result.exit_status)


@main.command("hubspot-init")
@click.option("--live", is_flag=True, help="Make them in HubSpot. Without it they are only shown.")
@_explained
def hubspot_init(settings: Settings, live: bool) -> None:
    """Show (with --live: make) the property group and the properties that the mapping names and HubSpot lacks."""
    from dagster_project import summary
    from dagster_project.destinations import hubspot

    with _hubspot_errors(), summary.progress() as tell:
        result = hubspot.init_properties(settings, live=live, tell=tell)
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
