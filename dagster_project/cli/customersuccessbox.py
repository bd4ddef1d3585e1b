"""`csb plan`, `csb push`: the day's totals that CustomerSuccessBox is told, and whether."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from dagster_project.settings import Settings

from .root import Failed, explained, main


@main.group()
def csb() -> None:
    """Tell CustomerSuccessBox the day's totals of features."""


@csb.command("plan")
@click.option(
    "--retry-unknown", is_flag=True, help="With today's totals of which it is not known whether they arrived."
)
@explained
def csb_plan(settings: Settings, retry_unknown: bool) -> None:
    """Show what a push would send now: what of today's totals was not told yet. Nothing is sent, nobody is asked."""
    from dagster_project.cli import plans, screen
    from dagster_project.destinations import customersuccessbox

    with _errors(), screen.progress():
        made = customersuccessbox.make_plan(settings, retry_unknown=retry_unknown)
    plans.show_csb_plan(made)


@csb.command("push")
@click.option("--live", is_flag=True, help="Send to CustomerSuccessBox. Without it this is a rehearsal.")
@click.option("--digest", metavar="HEX", help="Push only if the plan still has this digest.")
@click.option(
    "--retry-unknown",
    is_flag=True,
    help="Send today's totals again of which it is not known whether they arrived. They may then count twice.",
)
@explained
def csb_push(settings: Settings, live: bool, digest: str | None, retry_unknown: bool) -> None:
    """Send what the plan says, each total at most once and only while its day lasts; or rehearse it."""
    from dagster_project.cli import plans, screen
    from dagster_project.destinations import customersuccessbox

    with _errors(), screen.progress():
        result = customersuccessbox.push(settings, live=live, digest=digest, retry_unknown=retry_unknown)
    plans.show_csb_push(result)
    sys.exit(result.exit_status)


@contextmanager
def _errors() -> Iterator[None]:
    from dagster_project.destinations.parts.errors import DestinationError

    try:
        yield
    except DestinationError as error:
        raise Failed(str(error)) from error
