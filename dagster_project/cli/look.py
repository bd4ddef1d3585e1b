"""`sql`, `docs`: ways to look at what is published."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from dagster_project.settings import Settings

from .root import Failed, explained, main


@main.command(context_settings={"ignore_unknown_options": True})  # a query may begin with a comment: --
@click.argument("query")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "markdown"]),
    help="Default: table; with --output, what the file's ending says (.csv, .json, .md).",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write all rows to a file.",
)
@explained
def sql(settings: Settings, query: str, form: str | None, output: Path | None) -> None:
    """Ask the published database: warehouse sql "FROM company_profiles". SHOW TABLES and DESCRIBE work, too.

    A table fits the screen: wide rows stand one below the other, or only their first columns are shown.
    """
    import duckdb

    from dagster_project.rendering import answers
    from dagster_project.warehouse.database import open_published

    if form is None:
        form = _ENDINGS.get(output.suffix.lower(), "csv") if output else "table"
    try:
        with open_published(settings) as connection:
            answer = answers.ask(connection, query)
            if form == "table":
                # Where nobody says how wide the screen is (a log, a pipe), tables get the room they need.
                width = 160 if output else shutil.get_terminal_size((160, 24)).columns
                pieces: Iterator[str] = (f"{line}\n" for line in answers.as_table(answer, width))
            else:
                pieces = answers.WRITERS[form](answer)
            if output is None:
                for piece in pieces:
                    sys.stdout.write(piece)
                sys.stdout.flush()
            else:
                with output.open("w", encoding="utf-8", newline="") as stream:
                    stream.writelines(pieces)
    except duckdb.Error as error:
        raise Failed(str(error)) from error
    except OSError as error:
        if output is None:
            raise
        raise Failed(f"cannot write {output}: {error.strerror}") from error


_ENDINGS = {".csv": "csv", ".json": "json", ".md": "markdown", ".txt": "table"}


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
    from dagster_project.cli import site

    try:
        pages = site.write(out, site.published(settings))
    except OSError as error:
        raise Failed(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
    click.echo(f"{pages} pages: {out / 'index.html'}")
