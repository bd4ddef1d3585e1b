"""Serves the portal until it is stopped."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from dagster_project.settings import Settings

from .app import make_app


class PortalError(Exception):
    """The portal cannot be served. The text says why, and what to do."""


def serve(
    settings: Settings, *, host: str, port: int, password: str | None, tell: Callable[[str], None]
) -> None:
    """Listen on an address until the process is told to stop. Raises PortalError where that cannot be."""
    listener = _listen(host, port)
    app = make_app(settings, password=password, names={host, socket.gethostname()})
    bound = listener.getsockname()
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    tell(f"Portal: http://{shown}:{bound[1]}/  (Ctrl-C ends it)")
    if password is None and not ipaddress.ip_address(bound[0]).is_loopback:
        tell(
            "Everybody who can reach this address can read the warehouse. Set WAREHOUSE_PORTAL_PASSWORD, "
            "or put a proxy with a login and TLS in front."
        )
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
    with suppress(KeyboardInterrupt):  # the way to end it
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise PortalError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose others with --host and --port"
        ) from error
