"""Dagster's UI behind the access rules of access.py.

Dagster's webserver asks nobody who they are, and takes mutations by GET from whatever page sends them. So it listens on
an address of this machine that no page can guess, and what people open is this: a proxy that lets through what the
rules let through. It knows HTTP and websockets, and of Dagster only where mutations go.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import IO
from urllib.parse import parse_qsl

import httpx
import websockets
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from dagster_project.settings import Settings

from .access import UI_HEADERS, Guard, Rules
from .server import Patience, address_of, listen, require_password, server

_BODY = 32 * 1024**2  # bytes of a request
_ANSWER_SECONDS = 600  # a mutation may wait for a code location to load
_END_SECONDS = 5  # for Dagster to end, before it is made to
# What belongs to one connection, and is not handed on; nor is the password, which is for us.
_OF_THE_CONNECTION = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "host", "authorization", "expect", "content-length"),
    )
)


class Front:
    """Hands requests and websockets on to a server that only this process knows the address of."""

    def __init__(self, upstream: str) -> None:
        """upstream: host:port."""
        self.upstream = upstream
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            request = Request(scope, receive)
            await (_mutation_by_get(request) or await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if self._client is None:  # made in the loop that it is used in
            self._client = httpx.AsyncClient(
                trust_env=False,  # no proxy stands between us
                timeout=httpx.Timeout(_ANSWER_SECONDS, connect=5),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=50),
            )
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _BODY:
                return PlainTextResponse(f"A request has at most {_BODY:,} bytes.", 413)
        asked = self._client.build_request(
            request.method,
            f"http://{self.upstream}{_target(request.scope)}",
            headers=[pair for pair in request.headers.items() if pair[0] not in _OF_THE_CONNECTION],
            content=body or None,
        )
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx.ConnectError:
            return PlainTextResponse(
                "Dagster is starting. This page asks again by itself.",
                503,
                {"refresh": "2", "retry-after": "2"},
            )
        except httpx.HTTPError as error:
            return PlainTextResponse(f"Dagster gave no answer: {type(error).__name__}.", 502)
        response = StreamingResponse(_passed_on(answer), answer.status_code)
        response.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.lower().decode("latin-1") not in _OF_THE_CONNECTION or name.lower() == b"content-length"
        ]
        return response

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            other = await connect(
                f"ws://{self.upstream}{_target(scope)}",
                subprotocols=[Subprotocol(name) for name in scope["subprotocols"]] or None,
                max_size=None,
                proxy=None,
                compression=None,
            )
        except (OSError, websockets.WebSocketException):
            await send({"type": "websocket.close", "code": 1013})
            return
        async with other:
            await send({"type": "websocket.accept", "subprotocol": other.subprotocol})
            both = [asyncio.create_task(_up(receive, other)), asyncio.create_task(_down(other, send))]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        with suppress(RuntimeError, OSError):  # it was the browser that closed it
            await send({"type": "websocket.close", "code": 1000})


async def _passed_on(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()


async def _up(receive: Receive, other: ClientConnection) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        await other.send(message["bytes"] if text is None else text)


async def _down(other: ClientConnection, send: Send) -> None:
    async for message in other:
        key = "text" if isinstance(message, str) else "bytes"
        await send({"type": "websocket.send", key: message})


def _target(scope: Scope) -> str:
    """Path and query as the browser wrote them."""
    query = scope["query_string"].decode("latin-1")
    path = scope["raw_path"].decode("latin-1")
    return f"/{path.lstrip('/')}{'?' + query if query else ''}"


def _mutation_by_get(request: Request) -> Response | None:
    """Dagster carries out what stands in the address, too. A link must not be able to start a run."""
    if request.method in ("GET", "HEAD") and request.url.path.rstrip("/").endswith("/graphql"):
        asked = {name.lower() for name, _ in parse_qsl(request.url.query, keep_blank_values=True)}
        if asked & {"query", "id", "operationname", "variables"}:
            return PlainTextResponse("Queries are taken by POST.", 405, {"allow": "POST"})
    return None


def serve(
    settings: Settings,
    command: Sequence[str],
    *,
    host: str,
    port: int,
    password: str | None,
    is_open: bool,
    tell: Callable[[str], None],
) -> int:
    """Start Dagster by a command, which is told an address by --host and --port, and stand in front of it.

    Returns Dagster's exit status where it ends by itself, 0 where this process was told to stop. Raises PortalError.
    """
    listener = listen(host, port)
    require_password(listener, password, "WAREHOUSE_UI_PASSWORD", is_open)
    shown = address_of(listener)
    names = frozenset({host, socket.gethostname()})
    inner_host, inner_port = _hidden_place()
    inner = f"{inner_host}:{inner_port}"
    front = Guard(
        Front(inner), Rules("Dagster's UI", names, frozenset(settings.portal.names), password, UI_HEADERS)
    )
    serving = server(front, Patience(body=60))
    tell(f"Dagster's UI: {shown}/  (Ctrl-C ends it)")
    dagster = subprocess.Popen(
        [*command, "--host", inner_host, "--port", str(inner_port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,  # with all that it starts
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    assert dagster.stdout is not None

    def watch(said: IO[bytes]) -> None:
        # It would name an address that is nobody's business.
        for line in said:
            with suppress(OSError, ValueError):
                sys.stdout.buffer.write(line.replace(f"http://{inner}".encode(), shown.encode()))
                sys.stdout.buffer.flush()
        dagster.wait()
        serving.should_exit = True

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(
        signal.SIGTERM, stop
    )  # uvicorn raises what it was sent again: Dagster is still to be ended then
    threading.Thread(target=watch, args=(dagster.stdout,), daemon=True).start()
    with suppress(KeyboardInterrupt):
        serving.run(sockets=[listener])
    ended = dagster.poll()
    if ended is not None:
        return ended
    with suppress(KeyboardInterrupt):
        dagster.terminate()
        try:
            dagster.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(dagster.pid, signal.SIGKILL)
    tell(
        "Stopped: Dagster's UI and what it had started. A run that was going on is given up; nothing is lost."
    )
    return 0


def _hidden_place() -> tuple[str, int]:
    """An address that only this machine reaches, and a page in its browser cannot guess: one in 2^24, at a random port.

    Where 127.0.0.1 is the only such address (macOS), the port alone is to be guessed.
    """
    # The first and the last are what others use and scan.
    hidden = ipaddress.IPv4Address((127 << 24) + secrets.randbelow((1 << 24) - (1 << 17)) + (1 << 16))
    for host in (str(hidden), "127.0.0.1"):
        with suppress(OSError), socket.create_server((host, 0)) as taken:
            return host, int(taken.getsockname()[1])
    raise OSError("no address of this machine can be listened on")


def _end_with_parent() -> None:
    """In the child: end when the process that started it is gone, however it went (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
