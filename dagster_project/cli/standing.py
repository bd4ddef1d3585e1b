"""`ui`, `serve` and `portal`: what stays, and is looked at in a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from dagster_project.settings import Settings, portal_password, ui_password

from .root import Failed, explained, main

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--host", help="The address to listen on. Default: this machine only."),
    click.option("--port", "-p", type=click.IntRange(0, 65535), help="The port. 0: any that is free."),
    click.option(
        "--open",
        "is_open",
        is_flag=True,
        help="Listen on an address that others reach without asking for a password.",
    ),
)


def _listens(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1)
@_listens
@explained
def ui(
    settings: Settings, options: tuple[str, ...], host: str | None, port: int | None, is_open: bool
) -> None:
    """Open Dagster's UI, with its schedules, on this warehouse. OPTIONS are others of `dagster dev`.

    With WAREHOUSE_UI_PASSWORD set, it asks for that password (any user name).
    """
    from dagster_project.orchestration import launch

    _stand_in_front(settings, launch.user_interface(settings, options), host, port, is_open)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("part", type=click.Choice(["webserver", "daemon", "code"]))
@click.argument("options", nargs=-1)
@_listens
@explained
def serve(
    settings: Settings,
    part: str,
    options: tuple[str, ...],
    host: str | None,
    port: int | None,
    is_open: bool,
) -> None:
    """Become a part of a standing Dagster: its webserver, its daemon (schedules, sensors) or its code server.

    OPTIONS are those of Dagster's own command for it. The webserver asks for WAREHOUSE_UI_PASSWORD, where that is set.
    """
    from dagster_project.orchestration import launch

    if part == "webserver":
        command = launch.part_command(settings, part, options)
        _stand_in_front(settings, command, host, port, is_open)
    where = [*(["--host", host] if host else []), *(["--port", str(port)] if port else [])]
    launch.serve(settings, part, [*where, *options])


def _stand_in_front(
    settings: Settings, command: list[str], host: str | None, port: int | None, is_open: bool
) -> NoReturn:
    from dagster_project.portal import NotOpen, PortalError, front

    try:
        status = front.serve(
            settings,
            command,
            host="127.0.0.1" if host is None else host,
            port=3000 if port is None else port,
            password=ui_password(),
            is_open=is_open,
            tell=click.echo,
        )
    except NotOpen as error:
        raise click.UsageError(str(error)) from error
    except PortalError as error:
        raise Failed(str(error)) from error
    sys.exit(status)


@main.command()
@_listens
@explained
def portal(settings: Settings, host: str | None, port: int | None, is_open: bool) -> None:
    """Companies, users, cohorts, features and data quality as web pages, from the published database.

    With WAREHOUSE_PORTAL_PASSWORD set, it asks for that password (any user name). [portal] of warehouse.toml says where
    it listens.
    """
    from dagster_project import portal as pages

    try:
        pages.serve(
            settings,
            host=settings.portal.host if host is None else host,
            port=settings.portal.port if port is None else port,
            password=portal_password(),
            is_open=is_open,
            tell=click.echo,
        )
    except pages.NotOpen as error:
        raise click.UsageError(str(error)) from error
    except pages.PortalError as error:
        raise Failed(str(error)) from error
