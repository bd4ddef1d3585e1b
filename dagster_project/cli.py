"""The `warehouse` command. Exit status: 0 all well; 1 it could not do its work; 2 wrong usage or settings.

Dagster is imported only where a run is launched: `warehouse status` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
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


@main.command()
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


@main.command()
@_explained
def status(settings: Settings) -> None:
    """What is published, which files could not be read, and which were left alone."""
    from dagster_project import summary

    summary.show_status(settings)


if __name__ == "__main__":
    main()
