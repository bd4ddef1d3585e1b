"""`sql`, `docs`: ways to look at what is published."""

from __future__ import annotations

from pathlib import Path

import click

from dagster_project.settings import Settings

from .root import Failed, explained, main


@main.command(context_settings={"ignore_unknown_options": True})  # a query may begin with a comment: --
@click.argument("query")
@explained
def sql(settings: Settings, query: str) -> None:
    """Ask the published database: warehouse sql "FROM marts.company_profiles"."""
    import duckdb

    from dagster_project import summary

    try:
        summary.show_query(settings, query)
    except duckdb.Error as error:
        raise Failed(str(error)) from error


@main.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/site"),
    show_default=True,
    metavar="FOLDER",
    help="Where to write it.",
)
@explained
def docs(settings: Settings, out: Path) -> None:
    """Write a static site of the tables, their columns and lineage, and the project's own pages."""
    from dagster_project import site

    try:
        pages = site.write(out)
    except OSError as error:
        raise Failed(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
    click.echo(f"{pages} pages: {out / 'index.html'}")
