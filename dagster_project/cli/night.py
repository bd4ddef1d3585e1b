"""`run` and `status`: a night, and what became of it."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from dagster_project.settings import Settings, token_key

from .root import RunFailed, explained, log_as, main


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
@explained
def run(settings: Settings, as_of: datetime | None, full: bool, retries: int, log_format: str | None) -> None:
    """Load what is new, build what follows from it, publish it.

    Launches the same Dagster job as the nightly schedule, and shows it in Dagster's UI.
    """
    from dagster_project import launch, summary

    token_key(settings)  # without it, where it is needed, nothing is begun
    json_log = log_as(log_format or settings.logging.format)
    report: Any = json_log or summary
    with report.progress():
        outcome = launch.nightly(
            settings,
            run_id=json_log.run_id if json_log else None,
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


@main.command()
@explained
def status(settings: Settings) -> None:
    """What became of the last run, what is published, which files could not be read, which were left alone."""
    from dagster_project import summary

    summary.show_status(settings)
