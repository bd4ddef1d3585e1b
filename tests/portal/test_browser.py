"""The portal in a real browser. Pictures of what it saw are kept in build/screens/."""

from __future__ import annotations

import csv
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dagster_project.cli import site
from dagster_project.portal.asking import address
from dagster_project.settings import project_root

from .conftest import HOSTILE, Served
from .test_front import Fronted

PATIENCE = 20_000  # milliseconds, for machines that are busy
expect.set_options(timeout=PATIENCE)
SCREENS = project_root() / "build" / "screens"
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium, without a window. Not for longer than this module: Playwright keeps an event loop
    running, which other tests would stumble over.
    """
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: install it to run the browser tests")
    # Chromium refuses its sandbox to root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


class Watched:
    """A browser window that remembers what it should not have done."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrongs: list[str] = []
        page.on("dialog", lambda dialog: (self.wrongs.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "console", lambda message: self.wrongs.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: self.wrongs.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        self.base = ""

    def _asked(self, url: str) -> None:
        if self.base and not url.startswith((self.base, "data:", "about:")):
            self.wrongs.append(f"asked elsewhere: {url}")


@contextmanager
def window(browser: Browser, served: Served, name: str, **given: Any) -> Iterator[Page]:
    """A fresh window on the portal. Ends with a picture, and fails where anything ran that should not."""
    options = {"viewport": {"width": 1200, "height": 800}, "base_url": served.address, **given}
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    watched = Watched(page)
    watched.base = served.address
    yield page
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"{name}.png", full_page=True)
    assert page.evaluate("window.hacked") is None
    assert watched.wrongs == []
    context.close()


def test_from_the_start_page_to_an_address_that_is_shared(browser: Browser, served: Served) -> None:
    with window(browser, served, "company") as page:
        page.goto("/")
        page.get_by_role("navigation", name="Pages").get_by_role("link", name="Companies").click()
        page.get_by_label("Add a filter").select_option("metadata.plan_name")
        page.get_by_role("button", name="Show").click()
        page.get_by_label("How plan_name is compared").select_option("is")
        page.get_by_label("Value of plan_name").fill("Growth")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("tbody tr")).to_have_count(1)
        shared = page.url
        page.get_by_role("link", name="Acme Ltd").click()
        expect(page.get_by_role("heading", name="Acme Ltd")).to_be_visible()
        page.get_by_role("link", name="90 days").click()
        expect(page.locator(".switch [aria-current]")).to_have_text("90 days")
        company = page.url
    with window(browser, served, "companies") as page:
        page.goto(shared)
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.get_by_label("Value of plan_name")).to_have_value("Growth")
        page.get_by_role("link", name="Remove the filter on plan_name").click()
        expect(page.locator("tbody tr")).to_have_count(3 + len(HOSTILE))
        page.goto(company)
        expect(page.locator("h1")).to_have_text("Acme Ltd")


def test_a_chart_tells_its_days(browser: Browser, served: Served) -> None:
    with window(browser, served, "chart") as page:
        page.goto("/company?id=acme")
        bar = page.locator(".chart").first.locator(".bars li").last
        bar.hover()
        expect(bar.locator(".tip")).to_contain_text("2026-03-31")
        expect(bar.locator(".tip")).to_contain_text("5xx: 4")
        page.locator(".chart summary").first.click()
        expect(page.locator(".chart table").first).to_contain_text("34")


def test_hostile_names_and_metadata_run_nothing(browser: Browser, served: Served) -> None:
    with window(browser, served, "hostile") as page:
        for text in HOSTILE:
            page.goto(address("/users", q=text))
            page.locator("tbody a").first.click()
            expect(page.locator("h1")).to_have_text(text)
            page.goto(address("/companies", q=text))
            page.locator("tbody tr", has_text=text.strip()[:20]).locator("a").first.click()
            expect(page.locator("h1")).to_have_text(text)
            expect(page.get_by_text("javascript:window.hacked=1").first).to_be_visible()
            assert page.locator("a[href^='javascript']").count() == 0
            assert page.evaluate("window.hacked") is None


def test_hostile_records_and_features_run_nothing(browser: Browser, served: Served) -> None:
    with window(browser, served, "rejects") as page:
        for path in ("/features", "/hubspot/refusals", "/cohorts/changes", "/quality/rejects"):
            page.goto(path)
            assert page.evaluate("window.hacked") is None
        expect(page.get_by_text("<script>window.hacked=1</script>").first).to_be_visible()


def test_a_phone_never_scrolls_sideways(browser: Browser, served: Served) -> None:
    with window(browser, served, "phone", viewport=PHONE, has_touch=True) as page:
        for path in (
            "/", "/companies?field=metadata.plan_name&op=set&value=", "/users", "/cohorts", "/features", "/quality",
            "/quality/rejects", "/hubspot", "/hubspot/refusals", address("/company", id=HOSTILE[7]), "/company?id=acme",
            "/alerts", "/meters", "/meters/adjustments", "/cohorts/notifications", "/retention", "/views",
        ):  # fmt: skip
            page.goto(path)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= PHONE["width"], f"{path} is {wide} wide"


def test_the_keyboard_is_enough(browser: Browser, served: Served) -> None:
    with window(browser, served, "keyboard") as page:
        page.goto("/companies")

        def tab_to(is_there: Callable[[str], bool]) -> None:
            for _ in range(60):
                page.keyboard.press("Tab")
                if is_there(page.evaluate("document.activeElement.outerHTML")):
                    return
            raise AssertionError("the keyboard does not get there")

        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        tab_to(lambda html: 'name="q"' in html)
        page.keyboard.type("acme")
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_have_count(1)
        tab_to(lambda html: "/company?id=acme" in html)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", "one must see where one is"
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Acme Ltd")


def test_the_export_is_a_file(browser: Browser, served: Served, tmp_path: Path) -> None:
    with window(browser, served, "users") as page:
        page.goto("/users?q=ann%40acme.example")
        with page.expect_download() as found:
            page.get_by_role("link", name="Export CSV").click()
        file = tmp_path / found.value.suggested_filename
        found.value.save_as(file)
    assert file.name == "users.csv"
    with file.open(newline="", encoding="utf-8-sig") as stream:
        assert [row["user_id"] for row in csv.DictReader(stream)] == ["ann"]


def test_the_password_is_asked_for(browser: Browser, filled: Warehouse) -> None:
    served = Served(filled.folder, WAREHOUSE_PORTAL_PASSWORD="sesame")
    try:
        context = browser.new_context(base_url=served.address)
        assert context.request.get("/companies").status == 401
        context.close()
        with window(
            browser, served, "password", http_credentials={"username": "me", "password": "sesame"}
        ) as page:
            page.goto("/company?id=acme")
            expect(page.locator("h1")).to_have_text("Acme Ltd")
    finally:
        served.stop()


_ATTACK = """<!doctype html><title>A page elsewhere</title><body><form method="post" enctype="text/plain" target="frame"
action="TARGET/graphql"><input name='{"query":"mutation{x}","' value='":1}'></form><iframe name="frame"></iframe>
<img src="TARGET/graphql?query=mutation%7Bx%7D"><script src="TARGET/graphql?query=mutation%7Bx%7D"></script>
<link rel="prefetch" href="TARGET/graphql?query=mutation%7Bx%7D"><script>
const query = JSON.stringify({query: "mutation{x}"});
const tries = [
  fetch("TARGET/graphql?query=mutation%7Bx%7D", {mode: "no-cors", credentials: "include"}),
  fetch("TARGET/graphql", {method: "POST", body: query, mode: "no-cors", credentials: "include"}),
  fetch("TARGET/graphql", {method: "POST", body: query, headers: {"content-type": "application/json"}}),
  fetch("TARGET/report_asset_materialization/a?metadata=1", {method: "POST", mode: "no-cors"}),
  new Promise(done => { navigator.sendBeacon("TARGET/graphql", new Blob([query], {type: "text/plain"})); done(); }),
  new Promise(done => { const s = new WebSocket("TARGET/graphql".replace("http", "ws"), "graphql-ws");
                        s.onopen = () => { window.opened = true; done(); }; s.onerror = done; }),
];
document.forms[0].submit();
Promise.allSettled(tries).then(() => setTimeout(() => document.title = "Done", 500));
</script>"""


def test_a_page_elsewhere_cannot_command_dagster(browser: Browser, tmp_path: Path) -> None:
    fronted = Fronted(tmp_path)
    try:
        for name in ("127.0.0.1", "localhost"):  # another port of the same name; another name
            with _page_elsewhere(_ATTACK.replace("TARGET", fronted.address)) as port:
                context = browser.new_context()
                page = context.new_page()
                before = [line for line in fronted.reached() if not line.startswith("GET /favicon")]
                page.goto(f"http://{name}:{port}/")
                expect(page).to_have_title("Done")
                assert page.evaluate("window.opened") is None
                # A window of its own, which a page may open: a link that is followed, but no command.
                page.evaluate(f"window.open('{fronted.address}/graphql?query=mutation%7Bx%7D')")
                page.wait_for_timeout(500)
                commands = [line for line in fronted.reached() if not line.startswith("GET /favicon")]
                assert commands == before
                context.close()
        context = browser.new_context()
        page = context.new_page()
        page.goto(fronted.address + "/runs")
        sent = (
            "fetch('/graphql', {method: 'POST', body: '{}', headers: {'content-type': 'application/json'}})"
        )
        assert page.evaluate(sent + ".then(a => a.status)") == 200
        heard = (
            "new Promise(done => { const s = new WebSocket('ws://' + location.host + '/graphql', 'graphql-ws');"
            " s.onopen = () => s.send('you'); s.onmessage = m => done(m.data); s.onerror = () => done('error'); })"
        )
        assert page.evaluate(heard) == "heard you"
        context.close()
    finally:
        fronted.stop()


def test_websockets_work_with_a_password(browser: Browser, tmp_path: Path) -> None:
    fronted = Fronted(tmp_path, "sesame")
    try:
        context = browser.new_context(http_credentials={"username": "me", "password": "sesame"})
        page = context.new_page()
        page.goto(fronted.address + "/runs")
        heard = (
            "new Promise(done => { const s = new WebSocket('ws://' + location.host + '/graphql', 'graphql-ws');"
            " s.onopen = () => s.send('you'); s.onmessage = m => done(m.data); s.onerror = () => done('error'); })"
        )
        assert page.evaluate(heard) == "heard you"
        context.close()
    finally:
        fronted.stop()


@contextmanager
def _page_elsewhere(text: str) -> Iterator[int]:
    """A web server on this machine that is not ours. Its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_from_nothing_published_to_a_first_and_a_second_publish(browser: Browser, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    served = Served(tmp_path)
    try:
        context = browser.new_context(base_url=served.address)
        page = context.new_page()
        page.goto("/")
        expect(page.locator("h1")).to_have_text("Nothing is published yet")
        warehouse.night(date(2026, 3, 30), publishes=True)
        page.reload()
        expect(page.locator("h1")).to_have_text("What is in the warehouse")
        context.close()
        with window(browser, served, "empty", color_scheme="dark") as page:
            page.goto("/companies")
            expect(page.get_by_text("There are no companies yet.")).to_be_visible()
            warehouse.put("companies/a.jsonl", [{"company_id": "acme"}])
            warehouse.night(date(2026, 3, 31), publishes=True)
            page.reload()
            expect(page.locator("tbody tr")).to_have_count(1)
            expect(page.locator("footer")).to_contain_text("2026-03-31")
    finally:
        served.stop()


# What each page is held against: WCAG 2.2 AA, as far as a tool can tell.
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.mark.parametrize(
    ("scheme", "viewport", "paths"),
    [
        ("light", {"width": 1200, "height": 800}, ("/", "/company?id=acme", "/quality/rejects", "/meters")),
        (
            "dark",
            PHONE,
            (
                "/users?q=ann",
                "/companies?field=metadata.plan_name&op=set&value=",
                "/hubspot",
                "/alerts",
                "/retention",
                "/meters/adjustments",
                "/company?id=acme",
            ),
        ),
    ],
)
def test_pages_can_be_read_by_everybody(
    browser: Browser, served: Served, tmp_path: Path, scheme: str, viewport: Any, paths: tuple[str, ...]
) -> None:
    """Contrast, labels, what the keyboard reaches."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing: make setup")
    site.write(tmp_path)
    addresses = [f"{served.address}{path}" for path in paths]
    addresses += [
        (tmp_path / "tables/ops.files.html").as_uri(),
        f"{(tmp_path / 'search.html').as_uri()}?q=reject",
    ]
    # The tool is a script; pages allow none.
    context = browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    found = []
    for place in addresses:
        page.goto(place)
        for wrong in axe.Axe().run(page, options=_RULES).response["violations"]:
            found += [f"{place}: {wrong['help']}: {node['html'][:120]}" for node in wrong["nodes"][:3]]
    # The last page is the site's search, opened from a disk.
    expect(page.locator("#found a", has_text="ops.rejects").first).to_be_visible()
    context.close()
    assert found == []


@pytest.mark.parametrize("width", [360, 700, 1000, 1280])
def test_a_list_is_whole_at_every_width(browser: Browser, served: Served, width: int) -> None:
    """No figure is behind an edge; where there is no room for columns, rows are cards."""
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    for path in ("/users?q=ann", "/companies?q=acme.example"):
        page.goto(served.address + path)
        assert page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scroll'))") == 0
        expect(page.locator("tbody td", has_text="38").first).to_be_visible()
    context.close()
