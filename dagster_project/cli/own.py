"""`new`: a project of one's own, beside an installed package."""

from __future__ import annotations

from pathlib import Path

import click

from dagster_project import projects
from dagster_project.settings import shipped_root

from .root import main


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--sample", is_flag=True, help="With invented raw files, to try it on.")
def new(folder: Path, sample: bool) -> None:
    """Make a project in FOLDER: settings, queries of your own, a place for raw files. Upgrades leave it alone."""
    try:
        projects.make(shipped_root(), folder, sample=sample)
    except projects.ProjectError as error:
        raise click.ClickException(str(error)) from error
    day = " --as-of 2026-11-21" if sample else ""
    click.echo(f"Made: {folder}. Next: cd {folder}, then warehouse run{day}, warehouse portal.")
