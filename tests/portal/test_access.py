"""Who may ask the portal, what it tells browsers, and how it follows what is published."""

from __future__ import annotations

import base64
import socket
import threading
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from harness import Warehouse

from dagster_project.cli import main
from dagster_project.portal.access import Guesses
from dagster_project.portal.published import Published, Rows
from dagster_project.warehouse.database import DatabaseError

from .conftest import Served, client


def test_browsers_are_told_to_run_nothing(filled: Warehouse) -> None:
    for path in ("/companies", "/company?id=nobody", "/companies.csv", "/static/portal.css"):
        headers = client(filled).get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "private" in headers["cache-control"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8321", 200),
        ("[::1]:8321", 200),
        ("localhost", 200),
        ("192.0.2.7", 200),
        ("usage.example.org", 200),
        ("rebound.example.com", 421),
        ("127.0.0.1.example.com", 421),
        ("", 421),
    ],
)
def test_other_names_are_not_answered(filled: Warehouse, host: str, status: int) -> None:
    portal = client(filled, names={"usage.example.org"})
    assert portal.get("/companies", headers={"host": host}).status_code == status
    assert portal.get("/static/portal.css", headers={"host": host}).status_code == status


def _login(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_a_password_opens_everything_and_nothing_opens_without(filled: Warehouse) -> None:
    portal = client(filled, password="open:sésame")
    for path in ("/", "/companies", "/companies.csv", "/static/portal.css", "/nowhere"):
        refused = portal.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
    wrong: list[dict[str, str]] = [
        _login("me:open"),
        _login("open:sésame"),
        _login("me:"),
        {"authorization": "Basic %%%"},
    ]
    for headers in [*wrong, {"authorization": "Bearer open"}]:
        assert portal.get("/companies", headers=headers).status_code == 401
    assert portal.get("/companies", headers=_login("me:open:sésame")).status_code == 200
    # With a password, a name that resolves here does not help a page elsewhere.
    assert (
        portal.get("/companies", headers={**_login("x:open:sésame"), "host": "any.example"}).status_code
        == 200
    )


def test_nothing_is_published_yet(tmp_path: Path) -> None:
    answer = client(Warehouse(tmp_path)).get("/companies")
    assert answer.status_code == 503
    assert "warehouse run" in answer.text


def test_what_is_published_may_be_empty(tmp_path: Path) -> None:
    portal = client(Warehouse(tmp_path).night(publishes=True))
    for path in ("/companies", "/users", "/companies.csv"):
        assert portal.get(path).status_code == 200, path


def test_what_is_published_may_be_broken(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.settings.analytics_file.write_bytes(b"no database")
    assert client(warehouse).get("/companies").status_code == 503


def test_a_publish_is_seen_at_once_and_who_is_reading_reads_on(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    published = Published(warehouse.settings)
    with pytest.raises(DatabaseError, match="warehouse run"), published.cursor():
        pass
    portal = client(warehouse)
    count = "SELECT count(*) FROM marts.company_profiles"

    def put(name: str) -> None:
        warehouse.put(f"companies/{name}.jsonl", [{"company_id": name}])
        warehouse.night(date(2026, 3, 31), publishes=True)

    put("acme")
    with published.cursor() as reading:
        assert Rows(reading).value(count) == 1
        assert "bolt" not in portal.get("/companies").text
        put("bolt")  # the publish does not wait for the reader
        assert "bolt" in portal.get("/companies").text
        with published.cursor() as later:
            assert Rows(later).value(count) == 2
        assert Rows(reading).value(count) == 1
    with published.cursor() as cursor:
        assert Rows(cursor).value(count) == 2


def test_many_ask_at_once(filled: Warehouse) -> None:
    portal = client(filled)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(portal.get("/company?id=acme").status_code))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [200] * 8


def test_the_command_serves_this_machine_only(filled: Warehouse) -> None:
    process = Served(filled.folder)
    assert process.address.startswith("http://127.0.0.1:")
    assert process.stop() in (0, -15)
    process = Served(filled.folder, "--host", "0.0.0.0", "--open")
    assert process.stop() in (0, -15)
    process = Served(filled.folder, "--host", "0.0.0.0", WAREHOUSE_PORTAL_PASSWORD="sesame")
    assert process.stop() in (0, -15)


def test_a_page_elsewhere_gets_nothing_and_a_link_is_followed(filled: Warehouse) -> None:
    portal = client(filled)
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert portal.get("/companies", headers=link).status_code == 200
    for headers in (
        {**link, "sec-fetch-dest": "iframe"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:8000"},
    ):
        assert portal.get("/companies.csv", headers=headers).status_code == 403, headers
    ours = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert portal.get("/companies", headers=ours).status_code == 200


def test_guesses_are_limited_and_logged(filled: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    portal = client(filled, password="sesame")
    answers = [portal.get("/companies", headers=_login(f"me:{i}")).status_code for i in range(15)]
    assert answers == [401] * 10 + [429] * 5
    assert int(portal.get("/companies", headers=_login("me:sesame")).headers["retry-after"]) <= 4
    assert portal.get("/companies").status_code == 401  # a browser that was not asked yet has guessed nothing
    said = [record.getMessage() for record in caplog.records if "wrong password" in record.getMessage()]
    assert len(said) == 10
    assert "sesame" not in "".join(said)


def test_guesses_come_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    guesses = Guesses()
    for _ in range(10):
        assert guesses.wait("a") == 0
        guesses.wrong("a")
    assert guesses.wait("a") == 3
    assert guesses.wait("b") == 0
    now += 3.1
    assert guesses.wait("a") == 0
    guesses.wrong("a")
    assert guesses.wait("a") > 0


def test_a_port_that_is_taken_is_explained(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_DATA", str(filled.folder))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(main, ["portal", "--port", str(taken.getsockname()[1])])
    assert result.exit_code == 1
    assert "--port" in result.output
    assert "Traceback" not in result.output
