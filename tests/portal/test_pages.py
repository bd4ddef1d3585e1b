"""The other pages: overview, cohorts, features, data quality, HubSpot; and that nothing leads nowhere."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from harness import Warehouse
from starlette.testclient import TestClient

from dagster_project.portal import make_app
from dagster_project.portal.app import PAGES
from dagster_project.portal.asking import address
from dagster_project.settings import Settings
from dagster_project.warehouse.publish import note_outcome

from .conftest import BOM, HOSTILE, client


class _Page(HTMLParser):
    """What a browser would make of a page: its tags, links, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name in ("href", "src", "action")}

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def page(portal: TestClient, address: str) -> _Page:
    answer = portal.get(address)
    assert answer.status_code == 200, f"{address}: {answer.status_code}"
    return _Page(answer.text)


def test_every_link_of_every_page_leads_somewhere(portal: TestClient) -> None:
    waiting, seen = ["/"], {"/"}
    while waiting and len(seen) < 400:
        here = waiting.pop(0)
        answer = portal.get(here)
        assert answer.status_code == 200, here
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        made = _Page(answer.text)
        # Whatever names, ids, metadata, routes and rejected records say: no script, no style, no handler.
        assert not {"script", "iframe", "img", "object", "style", "base"} & set(made.tags), here
        assert not [name for name in made.attributes if name.startswith("on") or name == "style"], here
        for link in made.links:
            if link.startswith("https://app.hubspot.com/") or link.startswith("#"):
                continue
            assert link.startswith("/"), f"{here} leads to {link}"
            shape = re.sub(r"=[^&]*", "=", link)
            if link not in seen and sum(re.sub(r"=[^&]*", "=", s) == shape for s in seen) < 5:
                seen.add(link)
                waiting.append(link)
    assert {re.sub(r"\?.*", "", link) for link in seen} >= set(PAGES)


def test_an_empty_warehouse_has_all_pages(tmp_path: Path) -> None:
    empty = client(Warehouse(tmp_path).night(publishes=True))
    for here in PAGES:
        expected = 404 if here in ("/company", "/user", "/feature") else 200
        assert empty.get(here).status_code == expected, here


def test_the_overview_counts_and_warns(portal: TestClient, filled: Warehouse) -> None:
    text = page(portal, "/").text
    assert "Tables last changed" in text
    assert re.search(r"Companies\s*11\s", text)
    assert "files are readable" not in text


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put("events/torn.json.gz", b"no gzip")
    portal = client(warehouse.night(publishes=True))
    assert "files are readable" in page(portal, "/").text
    text = page(portal, "/quality/files?state=unreadable").text
    assert "events/torn.json.gz" in text


def test_features_show_adoption_and_what_hit_the_limits(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, features={"feature_limit": 1})
    warehouse.put(
        "features/a.jsonl",
        [
            {"account_id": account, "user_id": "u", "feature_id": name, "timestamp": "2026-03-31T10:00:00Z"}
            for account, name in [("acme", "Export"), ("bolt", "Export"), ("acme", "<b>Import</b>")]
        ],
    )
    portal = client(warehouse.night(publishes=True))
    text = page(portal, "/features").text
    assert "100 %" in text
    assert "<b>Import</b>" in text
    assert "feature limit" in text
    assert "of at most 1" in text
    one = page(portal, "/feature?feature=Export").text
    assert "acme" in one
    assert "bolt" in one
    assert portal.get("/feature?feature=Import").status_code == 404


def test_rejects_are_there_with_their_text(portal: TestClient) -> None:
    text = page(portal, "/quality/rejects?reason=bad_time").text
    assert "<script>window.hacked=1</script>" in text
    assert "events/a.jsonl" in text
    assert "None." in page(portal, "/quality/rejects?reason=bad_total").text
    rows = list(csv.DictReader(io.StringIO(portal.get("/quality/rejects?format=csv").text.removeprefix(BOM))))
    assert {row["reason"] for row in rows} == {"bad_time", "not_object"}


def test_metadata_conflicts_lead_to_whom_they_happened(portal: TestClient) -> None:
    made = page(portal, "/quality/metadata?key=plan_name")
    assert "/company?id=calm" in made.links


def test_hubspot_shows_the_push_and_what_is_not_acknowledged_yet(portal: TestClient) -> None:
    text = page(portal, "/hubspot").text
    assert "INVALID_OPTION" in text
    assert "no key" in text
    pending = portal.get("/hubspot/pending?format=csv&property=api_calls_30d").text
    found = {row["id"]: row for row in csv.DictReader(io.StringIO(pending.removeprefix(BOM)))}
    assert "acme" not in found  # acknowledged as it is
    assert found["bolt"]["value"] == "5"
    assert found["bolt"]["acknowledged"] == ""
    assert portal.get("/hubspot/pending?object=deals").status_code == 400
    told = page(portal, "/company?id=acme").text
    assert "What was sent: 2 values" in told
    assert "deals: amount" in told


@pytest.mark.parametrize(
    "wrong", ["/companies?plan=Growth", "/quality/files?sauce=events", "/hubspot/skips?cohort=x"]
)
def test_a_filter_that_is_not_known_says_so(portal: TestClient, wrong: str) -> None:
    answer = portal.get(wrong)
    assert answer.status_code == 400
    assert "knows nothing of that name" in html.unescape(answer.text)


def test_what_nobody_has_is_said(portal: TestClient) -> None:
    text = html.unescape(portal.get("/companies?field=metadata.plam&op=set&cohort=near_qouta").text)
    assert "No company has a metadata key 'plam'." in text
    assert "There is no cohort 'near_qouta' of companies." in text


def test_cohort_changes_are_listed(portal: TestClient) -> None:
    rows = list(
        csv.DictReader(
            io.StringIO(portal.get("/cohorts/changes?cohort=near_quota&format=csv").text.removeprefix(BOM))
        )
    )
    assert [(row["change"], row["id"]) for row in rows] == [("entered", "acme")]


_NASTY = [*HOSTILE[:6], "\x00", "%00%ff", "1e999", "9" * 40, "$v0", "\ud7ff"]
_PARAMETERS = (
    *("q", "cohort", "field", "op", "value", "sort", "page", "days", "id", "feature"),
    *("object", "property", "reason", "source", "file_seq", "format"),
)


@pytest.mark.parametrize("path", PAGES)
def test_whatever_an_address_says_it_gets_an_answer(portal: TestClient, path: str) -> None:
    place = list(PAGES).index(path)
    for number, text in enumerate(_NASTY):
        name = _PARAMETERS[(place + number) % len(_PARAMETERS)]
        answer = portal.get(address(path, [(name, text), ("id", "acme"), ("feature", "Feature 1")]))
        assert answer.status_code in (200, 400, 404), (name, text)
        if answer.headers["content-type"].startswith("text/html"):
            assert "<script" not in answer.text


def test_the_published_file_is_all_it_needs_and_it_writes_nothing(filled: Warehouse, tmp_path: Path) -> None:
    shutil.copyfile(filled.settings.analytics_file, tmp_path / "analytics.duckdb")
    before = (tmp_path / "analytics.duckdb").read_bytes()
    alone = TestClient(make_app(Settings(data=tmp_path, raw=tmp_path / "raw")), base_url="http://127.0.0.1")
    of_one = {"/company": {"id": "acme"}, "/user": {"id": "ann"}, "/feature": {"feature": "Feature 1"}}
    for path in PAGES:
        assert alone.get(address(path, **of_one.get(path, {}))).status_code == 200, path
    assert [file.name for file in tmp_path.iterdir()] == ["analytics.duckdb"]
    assert (tmp_path / "analytics.duckdb").read_bytes() == before


def test_a_list_ends_with_its_last_page(portal: TestClient) -> None:
    for path in ("/companies", "/quality/files"):
        assert portal.get(f"{path}?page=2").status_code == 404


def test_metadata_goes_as_deep_as_it_likes(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    nested = '{"a":' * 190 + '"bottom"' + "}" * 190
    many = ", ".join(f'"key{i}": {i}' for i in range(700))
    warehouse.put(
        "companies/a.jsonl",
        f'{{"company_id":"deep","metadata":{nested}}}\n{{"company_id":"wide","metadata":{{{many}}}}}\n',
    )
    portal = client(warehouse.night(publishes=True))
    assert "bottom" in page(portal, "/company?id=deep").text
    assert portal.get("/companies").text.count('<option value="metadata.') == 500
    # A key that is not among those offered can be asked for, by its own type.
    last = "/companies?field=metadata.key99&op=ge&value=99"
    assert "/company?id=wide" in page(portal, last).links


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_feature_has_a_page(portal: TestClient, text: str) -> None:
    links = [html.unescape(link) for link in page(portal, "/features").links if link.startswith("/feature?")]
    assert len(links) == 10 + len(HOSTILE)
    assert [link for link in links if text[:64] in page(portal, link).text]


def test_every_page_has_a_form_for_programs(portal: TestClient) -> None:
    of_one = {"/company": {"id": "acme"}, "/user": {"id": "ann"}, "/feature": {"feature": "Feature 1"}}
    for path in PAGES:
        if path.endswith(".csv"):
            continue
        name = "/overview" if path == "/" else path
        answer = portal.get(address(f"{name}.json", **of_one.get(path, {})))
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.json()["title"]
        assert "tok-acme-0123456789abcdef" not in answer.text
    acme = portal.get("/company.json?id=acme").json()
    assert acme["one"]["company_id"] == "acme"
    assert acme["one"]["metadata"]["plan_name"] == "Growth"
    assert acme["aliases"][0]["session_token"] == "tok…def"
    assert portal.get("/company.json?id=nobody").status_code == 404
    assert portal.get("/company.json?id=nobody").json()["error"] == "Not found"
    assert portal.get("/companies.json?plan=x").status_code == 400


def test_features_are_a_file_too_and_who_does_not_use_one(portal: TestClient) -> None:
    def rows(path: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(portal.get(path).text.removeprefix(BOM))))

    assert "Feature 1" in {row["feature_id"] for row in rows("/features.csv")}
    assert [row["company_id"] for row in rows("/feature.csv?feature=Feature%201")] == ["acme"]
    never = {row["company_id"] for row in rows("/feature.csv?feature=Feature%201&who=never")}
    assert "bolt" in never
    assert "acme" not in never
    assert "calm" not in never  # it was not there in this time
    text = page(portal, "/feature?feature=Feature%201").text
    assert "never used it" in text
    assert portal.get("/feature?feature=Feature%201&who=nobody").status_code == 400


def test_who_stopped_using_a_feature_is_told_from_who_never_did(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    used = {"user_id": "u", "feature_id": "Export"}
    warehouse.put(
        "features/dt=2026-01-10/a.jsonl", [{**used, "account_id": "was", "timestamp": "2026-01-10T10:00:00Z"}]
    )
    warehouse.put(
        "features/dt=2026-03-30/a.jsonl", [{**used, "account_id": "is", "timestamp": "2026-03-30T10:00:00Z"}]
    )
    portal = client(warehouse.night(publishes=True))
    found = portal.get("/feature.json?feature=Export").json()
    assert [row["company_id"] for row in found["companies"]] == ["is"]
    assert [row["company_id"] for row in found["stopped"]] == ["was"]
    assert found["never"] == []


def test_pages_say_how_fresh_they_are(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path).night(publishes=True)
    portal = client(warehouse)
    now = datetime.now(UTC).replace(tzinfo=None)
    note_outcome(warehouse.settings, now)
    text = page(portal, "/companies").text
    assert f"The last good run ended {now:%Y-%m-%d %H:%M}" in text
    assert "No run has ended well" not in text
    note_outcome(warehouse.settings, now, "build_tables")
    assert "The last run failed (step build_tables)" in page(portal, "/companies").text
    note_outcome(warehouse.settings, now - timedelta(hours=27))
    text = page(portal, "/").text
    assert "The last run failed" not in text
    assert "more than 26 hours ago" in text


def test_crm_records_with_one_key_are_named(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put("companies/a.jsonl", [{"company_id": "acme", "company_domain": "acme.example"}])
    warehouse.put("crm/companies/a.csv", "Record ID,Company Domain Name\n11,acme.example\n12,acme.example\n")
    made = page(client(warehouse.night(publishes=True)), "/company?id=acme")
    assert "11, 12" in made.text
    assert "/quality/crm?object=companies&match_key=acme.example" in made.links


def test_what_a_night_noticed_is_on_the_overview(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put("evnets/a.jsonl", [{"request": {"time": "2026-03-31T10:00:00Z"}}])
    portal = client(warehouse.night(publishes=True))
    assert "evnets" in page(portal, "/").text
    assert portal.get("/overview.json").json()["warnings"]


def test_a_company_s_page_has_what_it_used_of_its_quota_and_what_moved(portal: TestClient) -> None:
    text = " ".join(page(portal, "/company?id=acme").text.split())
    assert "calls 2026-03-25 to 2026-04-24 sub-acme 38 40 95 % goes on, near quota" in text
    assert "7 became 0" in text
    assert "Own rule" in text, "an alert that is open stands at the top"
    assert "from 2026-03-01 10:00 to 2026-03-02 10:00" in text, "and those that ended are there, too"
    assert "Endpoint usage" not in text, "a table that is empty for everybody is on no page"
    metered = portal.get("/company.json?id=acme").json()
    assert metered["metered"]["periods"][0]["share"] == 0.95
    assert metered["health"]["components"]["quota"] is not None


def test_all_meters_are_listed_by_their_share_of_the_quota(portal: TestClient) -> None:
    rows = list(csv.DictReader(io.StringIO(portal.get("/meters.csv?state=near").text.removeprefix(BOM))))
    assert [(row["company_id"], row["meter"], row["used"], row["quota"]) for row in rows] == [
        ("acme", "calls", "38", "40.0")
    ]
    assert "95 %" in page(portal, "/meters").text
    moved = page(portal, "/meters/adjustments?company_id=acme").text
    assert "−7" in moved or "-7" in moved
    assert "waiting" in page(portal, "/cohorts/notifications").text


def test_every_column_that_is_offered_can_be_shown(portal: TestClient) -> None:
    for path in ("/companies", "/users"):
        offered = re.findall(r'name="column" value="([^"]+)"', portal.get(path).text)
        assert "calls_trend_30d" in offered
        pairs = [("column", html.unescape(name)) for name in offered]
        for place in range(0, len(pairs), 50):
            assert portal.get(address(path, pairs[place : place + 50])).status_code == 200, pairs[place]
