"""`withdraw`: files that are not to count any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dagster_project.settings import Settings

from .root import Failed, explained, main

if TYPE_CHECKING:
    from dagster_project.sources.withdrawal import Withdrawal


@main.command()
@click.argument("names", nargs=-1, metavar="[PATH|FOLDER/|FILE_SEQ]...")
@click.option("--gone", is_flag=True, help="All loaded files whose content is no longer in raw/.")
@click.option(
    "--yes",
    is_flag=True,
    help="Do not ask. Without a terminal to ask on, nothing is withdrawn but with --yes.",
)
@explained
def withdraw(settings: Settings, names: tuple[str, ...], gone: bool, yes: bool) -> None:
    """Take files back: the next run is as if they had never been loaded. They stay in ops.files, with a note.

    First shows what would go. Raw files are not touched. A duplicate that had lost to a withdrawn record counts then.
    """
    from dagster_project.cli import screen
    from dagster_project.pipeline import nightly
    from dagster_project.sources import all_sources, loading, withdrawal
    from dagster_project.warehouse import registry
    from dagster_project.warehouse.database import open_warehouse

    if not names and not gone:
        raise click.UsageError("name files by path, folder/ or file_seq, or say --gone")
    storage = nightly.raw_storage(settings)
    try:
        with screen.progress(), open_warehouse(settings) as connection:
            registry.prepare(connection)
            loading.prepare(connection, all_sources())
            nightly.move_tables(connection, settings)
            nightly.require_raw(connection, storage)
            plan = withdrawal.look(connection, storage, names, gone=gone)
        _show(plan)
        if not plan.files:
            return
        if not yes and not (sys.stdin.isatty() and click.confirm("Withdraw these files?")):
            raise Failed("nothing was withdrawn. To do it, run the command again with --yes")
        with screen.progress(), open_warehouse(settings) as connection:
            plan = withdrawal.look(connection, storage, names, gone=gone)
            withdrawal.carry_out(connection, plan, nightly.utc_now())
    except withdrawal.CannotWithdraw as error:
        raise Failed(str(error)) from error
    click.echo("Withdrawn. `warehouse run` builds all tables without them.")


def _show(plan: Withdrawal) -> None:
    """What a withdrawal would take back, before it does."""
    from dagster_project.cli import screen

    if not plan.files:
        screen.console.print("Nothing is to be withdrawn.")
        return
    table = screen.new_table(
        "To be withdrawn", ">file_seq", "source", "path", ">records", ">loaded", longest=screen.LONGEST
    )
    for file in plan.files:
        table.add_row(
            str(file.file_seq), file.source, screen.safe(file.path), f"{file.records:,}", f"{file.loaded:,}"
        )
    screen.console.print(table)
    if plan.again:
        screen.console.print(
            f"{len(plan.again):,} files are loaded again by the next run: what they lost may count now."
        )
