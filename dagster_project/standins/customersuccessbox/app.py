"""What the stand-in does: checks a call, adds its total up under today, and goes wrong as it is told.

As its documents have it, CustomerSuccessBox does not aggregate what is dated before the day on which it arrives: that is
kept in `misdated`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
FEATURE = "/api/v1_1/feature"
DEFAULT_KEY = "csb-stand-in-key"
_FIELDS = ("account_id", "user_id", "product_id", "module_id", "feature_id")
_LONGEST = 1 << 20

Key = tuple[str, ...]  # day, and the ids in the order of _FIELDS


@dataclass(frozen=True)
class Fault:
    """What happens to one call. status: answered instead, nothing is added. cut: the connection ends without an answer;
    adds: it is added before that. body: answered with 200 instead of success, nothing is added."""

    status: int = 0
    cut: bool = False
    adds: bool = False
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Arrival:
    at: datetime
    body: dict[str, Any]
    status: int


class CustomerSuccessBox:
    """faults: one for each call that arrives, in their order; None: all is well. now: its clock, naive UTC."""

    def __init__(
        self,
        port: int = 0,
        *,
        key: str = DEFAULT_KEY,
        faults: Iterable[Fault | None] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC).replace(tzinfo=None),
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self.key, self.now, self.heard = key, now, heard
        self.totals: Counter[Key] = Counter()
        self.misdated: list[dict[str, Any]] = []
        self.calls: list[Arrival] = []
        self._faults = iter(faults)
        self._lock = threading.Lock()
        self._http = _Http(port, type("Handler", (_Handler,), {"box": self}))
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self._http.server_port}"

    def __enter__(self) -> CustomerSuccessBox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str, authorization: str, raw: bytes) -> tuple[int, bytes, Fault | None]:
        """Status and body of the answer to a call, and the fault that it meets."""
        self.heard()
        with self._lock:
            fault = next(self._faults, None)
            at = self.now()
            try:
                body = json.loads(raw)
            except ValueError:
                body = {}
            status, said = self._accept(at, path, authorization, body, fault)
            self.calls.append(Arrival(at, body, status))
        return status, said, fault

    def _accept(
        self, at: datetime, path: str, authorization: str, body: Any, fault: Fault | None
    ) -> tuple[int, bytes]:
        if path != FEATURE:
            return 404, _said("no such address")
        if authorization != f"Bearer {self.key}":
            return 401, _said("the key is not accepted")
        if fault is not None and fault.status:
            return fault.status, _said("as it was told")
        if fault is not None and fault.body is not None:
            return 200, fault.body
        wrong = _wrong(body)
        if wrong:
            return 400, _said(wrong)
        if fault is None or not fault.cut or fault.adds:
            self._add(at, body)
        return 200, b'{"success": true}'

    def _add(self, at: datetime, body: dict[str, Any]) -> None:
        day = date.fromisoformat(body["timestamp"][:10])
        if day != at.date():
            self.misdated.append(body)
            return
        self.totals[(day.isoformat(), *(body[name] for name in _FIELDS))] += body["total"]


def _said(what: str) -> bytes:
    return json.dumps({"success": False, "message": what}).encode()


def _wrong(body: Any) -> str | None:
    """What is wrong with a call's body, if anything."""
    if not isinstance(body, dict) or set(body) != {*_FIELDS, "total", "type", "timestamp"}:
        return "fields are missing, or not known"
    if body["type"] != "feature" or not all(isinstance(body[name], str) for name in _FIELDS):
        return "type must be feature, and ids must be text"
    if not body["account_id"] or not body["user_id"] or not body["feature_id"]:
        return "account_id, user_id and feature_id must not be empty"
    if type(body["total"]) is not int or body["total"] <= 0:
        return "total must be a whole number above 0"
    try:
        datetime.fromisoformat(body["timestamp"])
    except (TypeError, ValueError):
        return "timestamp must be a time in ISO 8601"
    return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    box: CustomerSuccessBox

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdigit() or int(length) > _LONGEST:
            self.close_connection = True
            return
        raw = self.rfile.read(int(length))
        status, body, fault = self.box.answer(self.path, self.headers.get("Authorization") or "", raw)
        if fault is not None and fault.cut:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            for name, value in fault.headers if fault is not None else ():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what arrived is in `calls`."""


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, handler: type[_Handler]) -> None:
        super().__init__((HOST, port), handler)

    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the host's name, which can hang where there is no DNS.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
