"""The socket. ``http.server`` with a thread for each connection, HTTP/1.1 with keep-alive and no Nagle
delay.

An ASGI server hides the socket, and a test needs it: an answer cut off in the middle, a connection
reset, a call that hangs until somebody gives up. The standard library leaves all of that in our hands
and adds no dependency. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal

HOST = "127.0.0.1"
MAX_BODY = 64 * 1024 * 1024


@dataclass
class Reply:
    """``cut``: close the connection instead of answering (``all``), or after half of the answer
    (``half``).
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: Literal["", "all", "half"] = ""
    reset: bool = False


Answer = Callable[[str, str, Any, bytes, threading.Event], Reply]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120
    answer: ClassVar[Answer]
    closing: ClassVar[threading.Event]

    def _serve(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            self._send(Reply(411, b""))
            return
        raw = self.rfile.read(int(length))
        if len(raw) < int(length):
            self.close_connection = True
            return
        reply = type(self).answer(self.command, self.path, self.headers, raw, self.closing)
        if self.closing.is_set():
            reply = Reply(0, b"", cut="all")
        self._send(reply)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _send(self, reply: Reply) -> None:
        if reply.cut == "all":
            self._cut(reply.reset)
            return
        try:
            phrase = HTTPStatus(reply.status).phrase
        except ValueError:
            phrase = "Unknown"
        head = [f"HTTP/1.1 {reply.status} {phrase}", f"Date: {self.date_time_string()}"]
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        if reply.status != 204:
            head.append(f"Content-Length: {len(reply.body)}")
        if self.close_connection:
            head.append("Connection: close")
        data = "\r\n".join([*head, "", ""]).encode("latin-1") + reply.body
        try:
            if reply.cut == "half":
                self.wfile.write(data[: len(data) - max(1, len(reply.body) // 2)])
                self.wfile.flush()
                self._cut(reply.reset)
            else:
                self.wfile.write(data)
        except OSError:
            self.close_connection = True

    def _cut(self, reset: bool) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the calls are in the emulator's own log."""


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int, handler: type[_Handler]) -> None:
        self.open: set[socket.socket] = set()
        self.open_lock = threading.Lock()
        super().__init__((HOST, port), handler)

    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the host's name, which can hang where there is no DNS.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.open_lock:
            self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.open_lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else shows its trace."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Server:
    def __init__(self, port: int, answer: Answer) -> None:
        self._closing = threading.Event()
        handler = type("Handler", (_Handler,), {"answer": staticmethod(answer), "closing": self._closing})
        self._http = _Http(port, handler)
        self.port: int = self._http.server_port
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="hubspot-emulator",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stops listening, wakes what hangs and closes every connection."""
        self._closing.set()
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()
        with self._http.open_lock:
            left = list(self._http.open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
