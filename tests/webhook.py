"""A webhook on this machine that remembers what was posted to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Webhook:
    """answers: the status of each answer to come; 200 where none is left. 0: it is taken in, and the connection cut."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/services/s3cret-path"
        self.texts: list[str] = []
        self.answers: list[int] = []


@contextmanager
def listening() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert set(body) == {"text"}
            webhook.texts.append(body["text"])
            status = webhook.answers.pop(0) if webhook.answers else 200
            if status:
                self.send_response(status)
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhook = Webhook(server.server_port)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield webhook
        finally:
            server.shutdown()
