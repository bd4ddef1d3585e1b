"""`backup` and `restore`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from dagster_project.settings import Settings

from .root import Failed, explained, main


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@explained
def backup(settings: Settings, folder: Path) -> None:
    """Copy the databases to a new FOLDER, as they are together. Waits for a run to end; raw files are not in it."""
    from dagster_project.cli import screen
    from dagster_project.warehouse import backup as backups

    with _backup_errors(), screen.progress():
        size = backups.make(settings, folder.absolute())
    click.echo(f"Backup made: {folder}, {size:,} bytes.")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask before the databases that are there are replaced.")
@explained
def restore(settings: Settings, folder: Path, yes: bool) -> None:
    """Put the backup in FOLDER in the place of the databases, and publish it."""
    from dagster_project.cli import screen
    from dagster_project.warehouse import backup as backups

    with _backup_errors():
        at = backups.made_at(folder)
        there = settings.warehouse_file.exists() or settings.raw_file.exists()
        question = f"Replace the databases in {settings.data} by the backup of {at}?"
        if there and not yes and not (sys.stdin.isatty() and click.confirm(question)):
            raise Failed(
                f"nothing was restored: there are databases in {settings.data}. To replace them, add --yes"
            )
        with screen.progress():
            backups.restore(settings, folder.absolute())
    click.echo(f"Restored and published: the backup of {at}. `warehouse run` loads what came since.")


@contextmanager
def _backup_errors() -> Iterator[None]:
    from dagster_project.warehouse.backup import BackupError

    try:
        yield
    except BackupError as error:
        raise Failed(str(error)) from error
