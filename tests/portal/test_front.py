"""What stands in front of Dagster's UI: which requests reach it, and which do not, whatever page sends them."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soak
from click.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from dagster_project.cli import main
from dagster_project.settings import project_root

_SERVED = """
import sys
from pathlib import Path
from dagster_project.portal import front
from dagster_project.settings import Settings
data, record, script, password = sys.argv[1:]
settings = Settings(data=Path(data), raw=Path(data) / "raw")
command = [sys.executable, script, record]
tell = lambda text: print(text, flush=True)
sys.exit(front.serve(settings, command, host="127.0.0.1", port=0, password=password or None, is_open=False, tell=tell))
"""
PASSWORD = "sesame"
MUTATION = "mutation { launchRun }"


class Fronted:
    """A server that writes down what reaches it, behind the front, in processes of their own."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.record = folder / "record.txt"
        self.record.touch()
        script = Path(__file__).with_name("recording_server.py")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVED, str(folder), str(self.record), str(script), password],
            cwd=project_root(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().removeprefix("Dagster's UI: ").split("/  ")[0]
        self.said = self.process.stdout.readline()
        self.login = {"authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}
        self._until_it_answers(self.login if password else {})

    def _until_it_answers(self, headers: dict[str, str]) -> None:
        for _ in range(200):
            answer = httpx.get(self.address + "/up", headers=headers)
            if answer.status_code == 200:
                return
            assert answer.status_code == 503
            time.sleep(0.1)
        raise AssertionError("it does not start")

    @property
    def host(self) -> str:
        return self.address.removeprefix("http://")

    def reached(self) -> list[str]:
        return self.record.read_text().splitlines()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    made = Fronted(tmp_path_factory.mktemp("front"))
    yield made
    made.stop()


def test_what_a_page_of_ours_asks_gets_through(fronted: Fronted) -> None:
    ours = {"origin": fronted.address, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    before = len(fronted.reached())
    answer = httpx.post(f"{fronted.address}/graphql", json={"query": MUTATION}, headers=ours)
    assert answer.text.startswith("answered ")
    assert answer.headers["x-own"] == "kept"
    assert answer.headers["x-frame-options"] == "DENY"
    assert httpx.get(f"{fronted.address}/slowly", headers=ours).text == "first second"
    assert httpx.get(
        f"{fronted.address}/runs/a%2Fb?x=%20y", headers={**ours, "authorization": "mine"}
    ).is_success
    assert httpx.head(f"{fronted.address}/").status_code == 200
    # A program that is no browser says nothing of sites.
    assert httpx.post(f"{fronted.address}/graphql", json={"query": "x"}).is_success
    assert fronted.reached()[before:] == [
        f"POST /graphql? {len(answer.request.content)} None",
        "GET /slowly? 0 None",
        "GET /runs/a%2Fb?x=%20y 0 None",
        "HEAD /? 0 None",
        "POST /graphql? 13 None",
    ]


_EVIL = "https://evil.example"
_LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
_QUERY = "/graphql?" + urllib.parse.urlencode({"query": MUTATION})


@pytest.mark.parametrize(
    ("method", "target", "headers", "content", "status"),
    [
        ("GET", _QUERY, {}, "", 405),
        ("HEAD", _QUERY, {}, "", 405),
        ("GET", _QUERY, _LINK, "", 405),
        ("GET", "/graphql/?query=x", {}, "", 405),
        ("GET", "/%67raphql?query=x", {}, "", 405),
        ("GET", "/graphql?%71uery=x", {}, "", 405),
        ("GET", "/runs", {"host": "evil.example"}, "", 421),
        ("POST", "/graphql", {"host": "evil.example", "content-type": "application/json"}, "{}", 421),
        ("POST", "/graphql", {"origin": _EVIL, "content-type": "application/json"}, "{}", 403),
        ("POST", "/graphql", {"origin": "null", "content-type": "application/json"}, "{}", 403),
        ("POST", "/graphql", {"origin": "http://127.0.0.1:1", "content-type": "application/json"}, "{}", 403),
        ("POST", "/graphql", {"content-type": "text/plain"}, "{}", 403),
        ("POST", "/graphql", {"content-type": "text/plain; application/json"}, "{}", 403),
        ("POST", "/graphql", {"content-type": "application/x-www-form-urlencoded"}, "query=x", 403),
        ("POST", "/graphql", {}, "{}", 403),
        ("POST", "/graphql", {"sec-fetch-site": "same-site", "content-type": "application/json"}, "{}", 403),
        ("POST", "/graphql", {**_LINK, "content-type": "application/json"}, "{}", 403),
        ("POST", "/report_asset_materialization/a", {"content-type": "text/plain"}, "{}", 403),
        ("GET", "/runs", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "", 403),
        ("GET", "/runs", {**_LINK, "sec-fetch-dest": "iframe"}, "", 403),
        ("OPTIONS", "/graphql", {"origin": _EVIL, "access-control-request-method": "POST"}, "", 403),
    ],
)
def test_what_another_page_can_send_does_not(
    fronted: Fronted, method: str, target: str, headers: dict[str, str], content: str, status: int
) -> None:
    before = fronted.reached()
    answer = httpx.request(method, fronted.address + target, headers=headers, content=content)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert fronted.reached() == before


def test_a_link_that_is_followed_shows_the_page(fronted: Fronted) -> None:
    assert httpx.get(f"{fronted.address}/runs/1", headers=_LINK).is_success


def test_websockets_go_on_working_for_pages_of_ours(fronted: Fronted) -> None:
    address = f"ws://{fronted.host}/graphql"
    with connect(
        address, subprotocols=[Subprotocol("graphql-ws")], origin=Origin(fronted.address)
    ) as socket_:
        assert socket_.subprotocol == "graphql-ws"
        socket_.send("you")
        assert socket_.recv() == "heard you"
        socket_.send("end")
        with pytest.raises(Exception, match="1000"):
            socket_.recv(10)
    before = fronted.reached()
    for origin in (_EVIL, "null", "http://127.0.0.1:1"):
        with pytest.raises(InvalidStatus), connect(address, origin=Origin(origin)):
            pass
    assert fronted.reached() == before


def test_where_it_really_listens_is_said_to_nobody(fronted: Fronted) -> None:
    assert fronted.said == f"Serving on {fronted.address}\n"


def test_a_password_is_asked_for_and_not_handed_on(tmp_path: Path) -> None:
    fronted = Fronted(tmp_path, PASSWORD)
    try:
        before = len(fronted.reached())
        assert httpx.get(fronted.address + "/runs").status_code == 401
        assert httpx.get(fronted.address + "/runs", headers=fronted.login).is_success
        address = f"ws://{fronted.host}/graphql"
        with pytest.raises(InvalidStatus), connect(address):
            pass
        with connect(
            address, additional_headers=fronted.login, subprotocols=[Subprotocol("graphql-ws")]
        ) as socket_:
            socket_.send("you")
            assert socket_.recv() == "heard you"
        evil = {**fronted.login, "origin": _EVIL}  # a browser sends the password by itself
        assert httpx.post(fronted.address + "/graphql", json={}, headers=evil).status_code == 403
        assert fronted.reached()[before:] == ["GET /runs? 0 None", "websocket"]
    finally:
        fronted.stop()


def test_they_end_together(tmp_path: Path) -> None:
    fronted = Fronted(tmp_path)
    children = subprocess.run(
        ["pgrep", "-f", f"recording_server.py {fronted.record}"], capture_output=True, text=True, check=False
    ).stdout.split()
    inner = [int(pid) for pid in children if int(pid) != fronted.process.pid]
    assert fronted.stop() == 0
    for pid in inner:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("command", [["ui"], ["serve", "webserver"], ["portal"]])
def test_an_address_that_others_reach_needs_a_password_or_to_be_meant(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*command, "--host", "0.0.0.0", "--port", "0"])
    assert result.exit_code == 2
    assert "_PASSWORD" in result.output
    assert "--open" in result.output


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.skipif(not soak.LONG, reason="starts Dagster's webserver: in `make soak`")
@pytest.mark.soak
def test_dagster_itself_takes_nothing_from_another_page(tmp_path: Path) -> None:
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.cli", "serve", "webserver", "--port", str(port)],
        cwd=project_root(),
        env={**os.environ, "WAREHOUSE_DATA": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")},
    )
    try:
        for _ in range(240):
            try:
                if httpx.get(f"{address}/server_info").is_success:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        query = {"query": "{ version }"}
        assert "version" in httpx.post(f"{address}/graphql", json=query).json()["data"]
        assert httpx.get(f"{address}/graphql", params=query).status_code == 405
        text = {"content-type": "text/plain"}
        assert httpx.post(f"{address}/graphql", content=json.dumps(query), headers=text).status_code == 403
        with connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[Subprotocol("graphql-ws")]) as socket_:
            socket_.send(json.dumps({"type": "connection_init"}))
            assert json.loads(socket_.recv())["type"] == "connection_ack"
    finally:
        process.terminate()
        process.wait(120)
