"""Serves an application of this project on an address until the process is told to stop, and drops who dawdles."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dagster_project.settings import Settings

from .access import Guard, Rules
from .app import make_pages


class PortalError(Exception):
    """It cannot be served. The text says why, and what to do."""


class NotOpen(PortalError):
    """An address that others reach, without a password. The text says what to do."""


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    password: str | None,
    is_open: bool = False,
    tell: Callable[[str], None],
) -> None:
    """The portal, until the process is told to stop. Raises PortalError where that cannot be."""
    listener = listen(host, port)
    require_password(listener, password, "WAREHOUSE_PORTAL_PASSWORD", is_open)
    names = frozenset({host, socket.gethostname()})
    tell(f"Portal: {address_of(listener)}/  (Ctrl-C ends it)")
    run(
        Guard(make_pages(settings), Rules("The portal", names, frozenset(settings.portal.names), password)),
        listener,
    )


def listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise PortalError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose others with --host and --port"
        ) from error


def require_password(listener: socket.socket, password: str | None, variable: str, is_open: bool) -> None:
    """Raises NotOpen where others can reach the address, nothing asks for a password, and nobody said that this is meant."""
    address = listener.getsockname()[0]
    if password is None and not is_open and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        listener.close()
        raise NotOpen(
            f"{address} can be reached by others, and there is no password: set {variable}, or say --open where "
            "something in front asks for one (everybody who can reach this address can use it then)"
        )


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass(frozen=True)
class Patience:
    """How long a client may take, in seconds, and how many there may be.

    request: from the connection, or the answer before, to the end of a request's headers. body: for the next part of a
    request's body. reading: until what is sent has been taken. connections: more are answered 503.
    """

    request: float = 15
    body: float = 30
    reading: float = 30
    connections: int = 400
    header_bytes: int = 64 * 1024


def run(app: ASGIApp, listener: socket.socket, patience: Patience | None = None) -> None:
    """Serve until the process is told to stop."""
    with suppress(KeyboardInterrupt):  # the way to end it
        server(app, patience or Patience()).run(sockets=[listener])


def server(app: ASGIApp, patience: Patience) -> uvicorn.Server:
    lines = _Lines(app, patience)
    config = uvicorn.Config(
        lines,
        http=lines.protocol(),
        log_level="warning",
        access_log=False,
        server_header=False,
        # Who asks is told by the connection: a header that says otherwise may be anybody's.
        proxy_headers=False,
        lifespan="off",
        limit_concurrency=patience.connections,
        h11_max_incomplete_event_size=patience.header_bytes,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


class _Lines:
    """The application with a clock on each connection. uvicorn has one for connections that idle after an answer only."""

    def __init__(self, app: ASGIApp, patience: Patience) -> None:
        self.app = app
        self.patience = patience
        self._open: dict[Any, _Line] = {}  # by the client's address

    def protocol(self) -> type[asyncio.Protocol]:
        lines = self

        class Watched(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                lines._open[self.client] = _Line(transport, lines.patience.request)

            def connection_lost(self, exc: Exception | None) -> None:
                line = lines._open.pop(self.client, None)
                if line is not None:
                    line.stop()
                super().connection_lost(exc)

        return Watched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = self._open.get(scope.get("client"))
        if line is not None:
            line.stop()
        if scope["type"] != "http":
            self._open.pop(scope.get("client"), None)  # a websocket's pings tell whether anybody is there
            await self.app(scope, receive, send)
            return
        # uvicorn's own limit is of headers that have not come whole yet.
        if sum(len(name) + len(text) for name, text in scope["headers"]) > self.patience.header_bytes:
            await PlainTextResponse("The headers are too long.", 431)(scope, receive, send)
            if line is not None:
                line.drop()
            return

        is_answered = has_come = False

        async def receive_soon() -> Message:
            nonlocal has_come
            if has_come:
                return await receive()  # waits for the end of the connection
            try:
                async with asyncio.timeout(self.patience.body):
                    message = await receive()
            except TimeoutError:
                raise _Dropped from None
            has_come = not message.get("more_body")
            return message

        async def send_soon(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            try:
                async with asyncio.timeout(self.patience.reading):
                    await send(message)
            except TimeoutError:
                if line is not None:
                    line.drop()
                raise _Dropped from None

        try:
            await self.app(scope, receive_soon, send_soon)
        except (_Dropped, ClientDisconnect):
            if not is_answered:
                await PlainTextResponse("The request did not come.", 408)(scope, receive, send)
            if line is not None:
                line.drop()
        else:
            if line is not None:
                line.start()


class _Dropped(OSError):
    """The client took too long. (Starlette takes an OSError while it sends for a client that is gone.)"""


class _Line:
    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self.start()

    def start(self) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self.drop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def drop(self) -> None:
        self.stop()
        self._transport.abort()
