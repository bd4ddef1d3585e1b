"""Who dawdles is dropped, and downloads take no more memory than there is, however long their values are."""

from __future__ import annotations

import csv
import io
import shutil
import socket
import statistics
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb
import httpx
import pytest
import soak
from harness import Warehouse
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from dagster_project.portal.server import Patience, listen, server

from .conftest import BOM, Served

_MB = 1024 * 1024
SOON = Patience(request=0.4, body=0.4, reading=0.4, connections=10)


@contextmanager
def serving(patience: Patience = SOON) -> Iterator[tuple[int, list[str]]]:
    """A small application behind the clocks: its port, and what became of long answers."""
    ends: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/long":

            def parts() -> Generator[bytes, None, None]:
                try:
                    for _ in range(1_000):
                        yield b"x" * 100_000
                    ends.append("read")
                finally:
                    ends.append("closed")

            given = parts()
            try:
                await StreamingResponse(given)(scope, receive, send)
            finally:
                given.close()
            return
        body = b""
        if scope["method"] == "POST":
            while (message := await receive()).get("more_body"):
                body += message["body"]
        await PlainTextResponse("well")(scope, receive, send)

    listener = listen("127.0.0.1", 0)
    running = server(app, patience)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield listener.getsockname()[1], ends
    running.should_exit = True
    thread.join(10)


def dropped_after(connection: socket.socket, most: float = 8.0) -> float:
    """Seconds until the other side ends a connection."""
    began = time.monotonic()
    connection.settimeout(most)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX-More: "])
def test_half_a_request_is_dropped(sent: bytes) -> None:
    with serving() as (port, _), closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(sent)
        assert dropped_after(connection) < 5


def test_a_request_that_comes_byte_by_byte_is_dropped() -> None:
    with serving() as (port, _), closing(socket.create_connection(("127.0.0.1", port))) as connection:
        began = time.monotonic()
        with suppress(ConnectionError):
            for byte in b"GET / HTTP/1.1\r\nHost: " + b"a" * 1000:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - began < 5


def test_half_a_body_is_dropped() -> None:
    with serving() as (port, _), closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        assert dropped_after(connection) < 5


def test_a_second_request_on_a_connection_has_the_same_clock() -> None:
    with serving() as (port, _), closing(socket.create_connection(("127.0.0.1", port))) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while b"well" not in answer:
                answer += connection.recv(65536)
        connection.sendall(b"GET / HT")
        assert dropped_after(connection) < 5


def test_headers_have_a_length() -> None:
    with serving() as (port, _):
        headers = {f"x-{i}": "y" * 1000 for i in range(100)}
        with suppress(httpx.HTTPError):  # it may end the connection before all was sent
            assert httpx.get(f"http://127.0.0.1:{port}/", headers=headers).status_code in (400, 431)


def test_who_does_not_read_is_dropped_and_the_answer_ended() -> None:
    with serving() as (port, ends), closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(100):
            if ends:
                break
            time.sleep(0.1)
        assert ends == ["closed"]


def test_there_are_only_so_many_connections_and_they_come_free() -> None:
    with serving() as (port, _):
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(15)]
        time.sleep(0.1)
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 503
        for connection in idle:
            assert dropped_after(connection) < 5
            connection.close()
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200


@pytest.fixture(scope="module")
def long_values(filled: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is published, with companies whose metadata is 30 MB long: a company's name and so on are long, too."""
    folder = tmp_path_factory.mktemp("long")
    file = folder / "analytics.duckdb"
    shutil.copyfile(filled.settings.analytics_file, file)
    with duckdb.connect(str(file)) as connection:
        connection.execute("SET threads = 1")
        for number in range(8 if soak.LONG else 3):
            connection.execute(
                """INSERT INTO marts.company_profiles BY NAME SELECT 'long' || ? AS company_id, 1 AS calls_30d,
                   CAST(json_object('name', repeat('a"', 15000000)) AS JSON) AS metadata, repeat('n', 1000000) AS company_name""",
                [number],
            )
    yield folder
    shutil.rmtree(folder)


def _peak(pid: int) -> float:
    """The most memory that a process had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.soak
def test_downloads_are_bounded_and_nobody_waits_for_them(long_values: Path) -> None:
    count = 8 if soak.LONG else 3
    served = Served(long_values)
    try:
        host, _, port = served.address.removeprefix("http://").partition(":")
        stalled = [socket.create_connection((host, int(port))) for _ in range(100 if soak.LONG else 20)]
        for connection in stalled:
            connection.sendall(f"GET /companies.csv HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        sizes: list[tuple[int, int]] = []

        def download() -> None:
            size = 0
            with httpx.stream("GET", f"{served.address}/companies.csv", timeout=600) as answer:
                for part in answer.iter_bytes():
                    size += len(part)
            sizes.append((answer.status_code, size))

        threads = [threading.Thread(target=download) for _ in range(10 if soak.LONG else 3)]
        for thread in threads:
            thread.start()
        took = []
        while any(thread.is_alive() for thread in threads):
            for path in ("/companies", "/company?id=long1", "/"):
                began = time.monotonic()
                assert httpx.get(served.address + path, timeout=60).status_code == 200
                took.append(time.monotonic() - began)
            time.sleep(0.2)
        for thread in threads:
            thread.join()
        for connection in stalled:
            connection.close()
        peak = _peak(served.process.pid)
        print(
            f"peak {peak:,.0f} MB; pages {statistics.median(took):.2f} s, at most {max(took):.2f} s; {sizes}"
        )
        assert [status for status, _ in sizes] == [200] * len(threads)
        assert {size for _, size in sizes if size > count * 30 * _MB} == {size for _, size in sizes}
        assert peak < 1_000
        assert statistics.median(took) < (1 if soak.LONG else 5)
    finally:
        served.stop()


def test_a_download_has_every_value_whole(long_values: Path) -> None:
    served = Served(long_values)
    try:
        text = httpx.get(served.address + "/companies.csv?q=long0&sort=company_id", timeout=120).text
        csv.field_size_limit(100 * _MB)
        [row] = csv.DictReader(io.StringIO(text.removeprefix(BOM)))
        assert row["company_id"] == "long0"
        assert row["metadata"] == '{"name":"' + 'a\\"' * 15_000_000 + '"}'
        page = httpx.get(served.address + "/company?id=long0", timeout=60).text
        assert "too long to be shown here" in page
        assert len(page) < _MB
        assert len(httpx.get(served.address + "/companies", timeout=60).text) < _MB
    finally:
        served.stop()
