"""`erase`: whom the warehouse is to forget."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dagster_project.settings import Settings

from .root import Failed, explained, main

if TYPE_CHECKING:
    from dagster_project.pipeline.erase import Erasure


def _ids(context: click.Context, parameter: click.Parameter, ids: tuple[str, ...]) -> tuple[str, ...]:
    if any(not id_.strip() for id_ in ids):
        raise click.BadParameter("an id is not blank")
    return ids


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
@click.option(
    "--hubspot",
    "in_hubspot",
    is_flag=True,
    help="Delete their contacts in HubSpot, too. Without --live: show which, and erase nothing.",
)
@click.option("--live", is_flag=True, help="With --hubspot: delete there for good, then erase here.")
@explained
def erase(
    settings: Settings,
    users: tuple[str, ...],
    companies: tuple[str, ...],
    yes: bool,
    in_hubspot: bool,
    live: bool,
) -> None:
    """Remove users or companies from every database, for good, and keep later files from bringing them back.

    First shows what would go. Raw files are not touched, HubSpot only with --hubspot --live (contacts; companies are no
    persons): it names what is to be removed there.
    """
    from dagster_project.cli import screen
    from dagster_project.pipeline import erase as erasing
    from dagster_project.warehouse.build import BuildError, ChecksFailed
    from dagster_project.warehouse.database import open_warehouse

    if not users and not companies:
        raise click.UsageError("name whom to erase, with --user or --company")
    if live and not in_hubspot:
        raise click.UsageError("--live goes with --hubspot")
    try:
        with screen.progress(), open_warehouse(settings) as connection:
            erasure = erasing.look(connection, settings, users, companies)
        _show(erasure)
        contacts = _contacts(settings, erasure) if in_hubspot else []
        if in_hubspot and not live:
            click.echo("A rehearsal: nothing was erased. Add --live to delete in HubSpot and erase here.")
            return
        if not yes and not (sys.stdin.isatty() and click.confirm("Erase this for good?")):
            raise Failed("nothing was erased. To erase it, run the command again with --yes")
        if contacts:
            _delete(settings, contacts)
        with screen.progress():
            with open_warehouse(settings) as connection:
                erasure = erasing.look(connection, settings, users, companies)
                erasing.carry_out(connection, settings, erasure)
            erasing.publish_without(settings)
            _forget_old_records(settings)
            torn = erasing.forget_torn_logs(settings, erasure)
    except (erasing.CannotErase, BuildError, ChecksFailed) as error:
        raise Failed(str(error)) from error
    _show_erased(settings, erasure)
    for file in torn:
        click.echo(f"{file}, the end of a log that was torn by a power cut, held what was erased: removed.")


def _show(erasure: Erasure) -> None:
    """What an erase would remove, before it does."""
    from dagster_project.cli import screen

    table = screen.new_table("To be erased", "table", ">rows that name them")
    for name, rows in sorted(erasure.rows.items()):
        if rows:
            table.add_row(name, f"{rows:,}")
    screen.console.print(table if table.row_count else "Nothing that is loaded names them.")
    for id_ in erasure.unknown:
        screen.attend(f"{id_} is not known here: only later files would be kept from bringing it")
    for text, others in sorted(erasure.theirs.shared_with.items()):
        screen.attend(f"{text} stays, as others have it, too: {', '.join(sorted(others))}")


def _show_erased(settings: Settings, erasure: Erasure) -> None:
    """What was erased, and what is left to do elsewhere."""
    from dagster_project.cli import screen
    from dagster_project.pipeline.nightly import raw_storage

    screen.console.print("Erased, and published without them. ops.erasures has the record.")
    if erasure.files:
        screen.attend(
            f"files below {raw_storage(settings).name} still hold records of erased ones; they stay out when they are loaded "
            "again:"
        )
        for path in erasure.files:
            screen.console.print(f"    {screen.safe(path)}")
    for title, records in erasure.elsewhere.items():
        screen.attend(f"{title} is not touched. Delete there, for good:")
        for thing, record in records:
            screen.console.print(f"    {screen.safe(thing)} {screen.safe(record)}")


def _contacts(settings: Settings, erasure: Erasure) -> list[str]:
    """The contacts that would be deleted in HubSpot, shown by name. Returns their record ids."""
    from dagster_project.destinations.hubspot import HubspotError, privacy

    known = [
        record for records in erasure.elsewhere.values() for thing, record in records if thing == "contacts"
    ]
    try:
        found = privacy.contacts_of(settings, erasure.theirs.ids["email"], known)
    except HubspotError as error:
        raise Failed(f"nothing was erased: {error}") from error
    for record, email in found:
        click.echo(f"In HubSpot, for good: contact {record}, {email}")
    if not found:
        click.echo("HubSpot has no contact of theirs.")
    return [record for record, _ in found]


def _delete(settings: Settings, contacts: list[str]) -> None:
    from dagster_project.destinations.hubspot import HubspotError, privacy

    try:
        privacy.delete_contacts(settings, contacts)
    except HubspotError as error:
        raise Failed(f"nothing was erased here; in HubSpot, some may be: {error}") from error


def _forget_old_records(settings: Settings) -> None:
    """What Dagster recorded under an older release may show rows of anybody."""
    from dagster_project.orchestration import dagster_home

    try:
        dagster_home.make_ready(settings.dagster_home)
    except OSError as error:
        raise Failed(
            f"erased from the databases, but old records in {settings.dagster_home} cannot be removed: {error}. "
            "See to it, and run the command again"
        ) from error
