"""`ui` and `serve`: Dagster's own processes, on this warehouse."""

from __future__ import annotations

import click

from dagster_project.settings import Settings

from .root import explained, main


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1)
@explained
def ui(settings: Settings, options: tuple[str, ...]) -> None:
    """Open Dagster's UI, with its schedules, on this warehouse. OPTIONS are those of `dg dev`."""
    from dagster_project import launch

    launch.user_interface(settings, options)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("part", type=click.Choice(["webserver", "daemon", "code"]))
@click.argument("options", nargs=-1)
@explained
def serve(settings: Settings, part: str, options: tuple[str, ...]) -> None:
    """Become a part of a standing Dagster: its webserver, its daemon (schedules, sensors) or its code server.

    OPTIONS are those of Dagster's own command for it.
    """
    from dagster_project import launch

    launch.serve(settings, part, options)
