"""`engine`: the cluster that does the heavy half, where the settings name one."""

from __future__ import annotations

import click

from dagster_project.settings import Settings

from .root import Failed, explained, main


@main.group()
def engine() -> None:
    """A Spark cluster for the heavy half of a night (docs/scale.md)."""


@engine.command()
@explained
def check(settings: Settings) -> None:
    """Ask the cluster's workers, and say what is missing there. Changes nothing."""
    from dagster_project.cli import screen
    from dagster_project.spark.check import check as look

    if settings.engine.kind == "local":
        click.echo('[engine] kind = "local": this machine does everything. Nothing to check.')
        return
    with screen.progress():
        findings = look(settings)
    for finding in findings:
        click.echo(f"{'ok     ' if finding.is_good else 'MISSING'}  {finding.text}")
    if any(not finding.is_good for finding in findings):
        raise Failed("the cluster cannot do its half as it is: see above, and docs/scale.md")


@engine.command()
@click.option("--to", "kind", type=click.Choice(["spark", "local"]), required=True, help="As [engine] kind.")
@explained
def move(settings: Settings, kind: str) -> None:
    """Move the large raw tables to the folder that the cluster sees, or back into raw.duckdb. Their rows stay the same.

    The next run would do so, too, once the settings say it: set [engine] kind first.
    """
    from dagster_project.cli import screen
    from dagster_project.pipeline import nightly
    from dagster_project.sources import all_sources, loading
    from dagster_project.warehouse import registry
    from dagster_project.warehouse.database import open_warehouse

    if settings.engine.kind != kind:
        raise Failed(
            f'[engine] kind = "{settings.engine.kind}" in the settings, so the next run would move them back: set it to '
            f'"{kind}" first'
        )
    with screen.progress(), open_warehouse(settings) as connection:
        registry.prepare(connection)
        loading.prepare(connection, all_sources())
        done = nightly.move_tables(connection, settings)
    click.echo(f"Moved: {done}." if done else "They lie there already: nothing to do.")
