"""`plan`, `push`, `hubspot-init`: what is written to HubSpot, and whether."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from dagster_project.settings import Settings

from .root import Failed, explained, main


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
@explained
def plan(settings: Settings, offline: bool, file: Path | None) -> None:
    """Show what a push would write to HubSpot: every create, and every field's old and new value.

    Nothing is written. Without a token this is the offline part: against what HubSpot last acknowledged.
    """
    from dagster_project.cli import plans, screen
    from dagster_project.destinations import hubspot

    with _hubspot_errors(), screen.progress():
        made = hubspot.make_plan(settings, offline=offline)
    plans.show_plan(made)
    if file is not None:
        try:
            plans.write_plan(made, file)
        except OSError as error:
            raise Failed(f"cannot write {file}: {error.strerror}") from error
    if made.offline and not offline:
        raise Failed(f"this is the offline part only: {hubspot.MissingToken()}")
    sys.exit(int(bool(made.left_out or made.unreadable)))


@main.command()
@click.option("--live", is_flag=True, help="Write to HubSpot. Without it this is a rehearsal.")
@click.option("--digest", metavar="HEX", help="Push only if the plan still has this digest.")
@click.option(
    "--resend",
    is_flag=True,
    help="Send what HubSpot has acknowledged once more: of the named properties, or all.",
)
@click.option("--company", "companies", multiple=True, metavar="ID", help="Resend only this company's.")
@click.option("--user", "users", multiple=True, metavar="ID", help="Resend only this user's.")
@click.argument("properties", nargs=-1, metavar="[PROPERTY]...")
@explained
def push(
    settings: Settings,
    live: bool,
    digest: str | None,
    resend: bool,
    companies: tuple[str, ...],
    users: tuple[str, ...],
    properties: tuple[str, ...],
) -> None:
    """Write to HubSpot what the plan says, or rehearse it."""
    if (companies or users or properties) and not resend:
        raise click.UsageError("a property, --company and --user go with --resend only")
    from dagster_project.cli import plans, screen
    from dagster_project.destinations import hubspot

    with _hubspot_errors(), screen.progress():
        result = hubspot.push(
            settings,
            live=live,
            digest=digest,
            resend=hubspot.Resend(properties, companies, users) if resend else None,
        )
    plans.show_push(result)
    sys.exit(result.exit_status)


@main.command("hubspot-init")
@click.option("--live", is_flag=True, help="Make them in HubSpot. Without it they are only shown.")
@explained
def hubspot_init(settings: Settings, live: bool) -> None:
    """Show (with --live: make) the property group and the properties that the mapping names and HubSpot lacks."""
    from dagster_project.cli import plans, screen
    from dagster_project.destinations import hubspot

    with _hubspot_errors(), screen.progress():
        result = hubspot.init_properties(settings, live=live)
    plans.show_init(result)
    sys.exit(result.exit_status)


@contextmanager
def _hubspot_errors() -> Iterator[None]:
    from dagster_project.destinations.parts.errors import DestinationError

    try:
        yield
    except DestinationError as error:
        raise Failed(str(error)) from error
