"""`run` and `status`: a night, and what became of it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

import click

from dagster_project.settings import Settings, token_key

from .root import RunFailed, explained, log_as, main

_log = logging.getLogger(__name__)


@main.command()
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The day at whose end all windows and cohorts end. Default: today (GMT).",
)
@click.option(
    "--full", is_flag=True, help="Rebuild every table from the raw files, each loaded as it was before."
)
@click.option(
    "--apply-settings",
    is_flag=True,
    help="With --full: load all files under what is set now, also where they were loaded under something else.",
)
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
@explained
def run(
    settings: Settings,
    as_of: datetime | None,
    full: bool,
    apply_settings: bool,
    retries: int,
    log_format: str | None,
) -> None:
    """Load what is new, build what follows from it, publish it.

    Launches the same Dagster job as the nightly schedule, and shows it in Dagster's UI.
    """
    from dagster_project.cli import screen, summary
    from dagster_project.orchestration import launch

    if apply_settings and not full:
        raise click.UsageError(
            "--apply-settings is for --full: what is loaded keeps to what it was loaded under"
        )
    token_key(settings)  # without it, where it is needed, nothing is begun
    json_log = log_as(log_format or settings.logging.format)
    if as_of is not None and as_of.date() > datetime.now(UTC).date():
        _log.warning(
            "--as-of %s is a day to come: windows and cohorts end then, so what happened lately counts for less. Run again "
            "without it, if that is not what you want",
            as_of.date(),
            extra={"event": "as_of_is_to_come"},
        )
    with (json_log or screen).progress():
        outcome = launch.nightly(
            settings,
            run_id=json_log.run_id if json_log else None,
            as_of=as_of.date() if as_of else None,
            full=full,
            apply_settings=apply_settings,
            retries=retries,
        )
    if outcome.failure is not None:
        what = (
            "the push failed; all tables are built and published"
            if outcome.built
            else "the run failed; what is published is as it was"
        )
        raise RunFailed(f"{what}.\n{outcome.failure}")
    (json_log or summary).show_run(settings, outcome)
    if outcome.pushed is not None:
        sys.exit(outcome.pushed.exit_status)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object on stdout.")
@click.option("--check", is_flag=True, help="End with 1 where something is to be set right, for a monitor.")
@explained
def status(settings: Settings, as_json: bool, check: bool) -> None:
    """What needs a person, most urgent first, with the command that helps; then the last run and what is published."""
    from dagster_project.cli import status as looking
    from dagster_project.cli import summary

    found = looking.look(settings)
    if found.unreadable is not None and found.run is None and not (as_json or check):
        raise found.unreadable
    if as_json:
        click.echo(json.dumps(found.as_json(), default=str, ensure_ascii=False, indent=1))
    else:
        summary.show_status(found)
    if found.unreadable is not None or (check and found.needs_a_person):
        sys.exit(1)
