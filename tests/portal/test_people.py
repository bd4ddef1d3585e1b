"""Lists of companies and users: search, filters, sorting, pages, CSV. Through the application, no browser."""

from __future__ import annotations

import codecs
import csv
import html
import io
import re

import pytest
from harness import Warehouse
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from dagster_project.portal.asking import address
from dagster_project.rendering import csv_text

from .conftest import BOM, HOSTILE


def ids(portal: TestClient, path: str, *pairs: tuple[str, str], **given: str) -> list[str]:
    """Who is in a list, by the CSV of the same address, which must agree with the page's count."""
    page = portal.get(address(path, list(pairs), **given))
    assert page.status_code == 200, page.text
    rows = list(
        csv.DictReader(
            io.StringIO(portal.get(address(f"{path}.csv", list(pairs), **given)).text.removeprefix(BOM))
        )
    )
    shown = re.search(r'<span class="count">([\d,]+)</span>', page.text)
    assert shown
    assert int(shown[1].replace(",", "")) == len(rows)
    return [re.sub("^'(?==)", "", next(iter(row.values()))) for row in rows]


def companies(portal: TestClient, *conditions: tuple[str, str, str], **given: str) -> set[str]:
    pairs = [(n, v) for c in conditions for n, v in zip(("field", "op", "value"), c, strict=True)]
    return set(ids(portal, "/companies", *pairs, **given))


NORMAL = {"acme", "bolt", "calm"}


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("Acme L", {"acme"}),
        ("ACME", {"acme"}),
        ("bolt.example", {"bolt"}),
        ("ann@acme.example", {"acme"}),
        ("%", {HOSTILE[4], HOSTILE[3]}),
        ("nobody at all", set()),
    ],
)
def test_search_finds_names_ids_domains_and_emails(portal: TestClient, q: str, expected: set[str]) -> None:
    assert companies(portal, q=q) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (("metadata.plan_name", "is", "Growth"), {"acme"}),
        (("metadata.plan_name", "has", "row"), {"acme"}),
        (("metadata.plan_name", "begins", "gro"), {"acme"}),
        (("metadata.plan_name", "set", ""), {"acme", "bolt"}),
        (("metadata.plan_name", "unset", ""), {"calm"}),
        (("metadata.plan_name", "not", "Growth"), {"bolt", "calm"}),
        (("metadata.seats", "ge", "12"), {"acme"}),
        (("metadata.seats", "lt", "12"), {"bolt"}),
        (("metadata.seats", "is", "3"), {"bolt"}),
        (("metadata.seats", "not", "3"), {"acme", "calm"}),
        (("metadata.trial", "is", "true"), {"acme"}),
        (("metadata.trial", "is", "false"), {"bolt"}),
        (("metadata.tags", "has", "beta"), {"acme"}),
        (("metadata.tags", "without", "beta"), {"bolt", "calm"}),
        (("metadata.address.city", "is", "Sampleton"), {"acme"}),
        (("metadata.nobody_has_it", "set", ""), set()),
        (("calls_30d", "ge", "6"), {"acme"}),
        (("calls_30d", "lt", "1"), {"calm"}),
        (("actions_30d", "ge", "1"), {"acme"}),
        (("last_seen_at", "since", "2026-03-31"), {"acme", "bolt"}),
        (("last_seen_at", "before", "2026-03-31"), set()),
        (("last_seen_at", "unset", ""), {"calm"}),
        (("company_domain", "begins", "acme"), {"acme"}),
        (("cohorts", "has", "near_quota"), {"acme"}),
        (("cohorts", "without", "near_quota"), {"bolt", "calm"}),
        # Not yet filled in: excludes nobody.
        (("metadata.plan_name", "is", ""), NORMAL),
    ],
)
def test_filters_fit_the_type_of_their_field(
    portal: TestClient, condition: tuple[str, str, str], expected: set[str]
) -> None:
    assert companies(portal, condition) & NORMAL == expected


def test_filters_add_up(portal: TestClient) -> None:
    seats, plan = ("metadata.seats", "ge", "1"), ("metadata.plan_name", "is", "Free")
    assert companies(portal, seats, plan) == {"bolt"}
    assert companies(portal, seats, q="acme") == {"acme"}
    assert companies(portal, seats, cohort="never_called") == set()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_key_or_value_finds_its_company_only(portal: TestClient, text: str) -> None:
    # In a key, dots become underscores; a key that is cut or changed would not be found.
    key = "metadata." + text.replace(".", "_")
    assert companies(portal, (key, "is", text)) == {text}
    assert text in companies(portal, q=text)


def test_a_cohort_is_a_filter(portal: TestClient) -> None:
    assert companies(portal, cohort="near_quota") == {"acme"}
    assert companies(portal, cohort="never_called") & NORMAL == {"calm"}


def test_a_cohort_shows_who_entered_it_when(portal: TestClient) -> None:
    entered = address("/companies", cohort="never_called", sort="-entered_at")
    assert re.search(r'aria-sort="descending">\s*<a [^>]*>Entered ↓', portal.get(entered).text)
    rows = csv.DictReader(io.StringIO(portal.get(entered.replace("?", ".csv?")).text.removeprefix(BOM)))
    assert {"calm"} <= {row["company_id"] for row in rows if row["entered_at"]}
    assert (
        "Entered" not in portal.get("/companies?sort=-entered_at").text
    )  # as a form says without the cohort


def test_a_cohort_that_nobody_is_in_is_there(portal: TestClient) -> None:
    assert '<option value="over_quota">' in portal.get("/companies").text
    assert companies(portal, cohort="over_quota") == set()
    text = html.unescape(portal.get("/cohorts").text)
    assert "/companies?cohort=over_quota" in text
    assert "Companies that have used more than a quota in the period that goes on" in text


def test_users_have_the_same(portal: TestClient) -> None:
    assert ids(portal, "/users", q="ann@acme.example") == ["ann"]
    assert ids(portal, "/users", ("field", "metadata.logins"), ("op", "gt"), ("value", "3")) == ["ann"]
    assert ids(portal, "/users", ("field", "company_id"), ("op", "is"), ("value", "bolt")) == ["bob"]


def test_a_list_is_sorted_by_what_the_address_says(portal: TestClient) -> None:
    filters = [("field", "metadata.plan_name"), ("op", "set"), ("value", "")]
    assert ids(portal, "/companies", *filters, sort="company_name") == ["acme", "bolt"]
    assert ids(portal, "/companies", *filters, sort="-company_name") == ["bolt", "acme"]
    assert ids(portal, "/companies", *filters, sort="calls_30d") == ["bolt", "acme"]


@pytest.mark.parametrize(
    "wrong",
    [
        "/companies?sort=password",
        "/companies?sort=company_id;--",
        "/companies?page=0",
        "/companies?page=x",
        "/companies?field=secret&op=is&value=1",
        "/companies?field=calls_30d&op=ge&value=many",
        "/companies?field=calls_30d&op=ge&value=nan",
        "/companies?field=calls_30d&op=LIKE&value=1",
        "/companies?field=metadata.trial&op=is&value=perhaps",
        "/companies?field=last_seen_at&op=since&value=soon",
        "/companies?" + "&".join(["field=calls&op=ge&value=1"] * 21),
        "/company?id=acme&days=31",
    ],
)
def test_an_address_that_cannot_be_is_explained(portal: TestClient, wrong: str) -> None:
    answer = portal.get(wrong)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text
    assert re.search("must be|nothing of that name|is no ", html.unescape(answer.text))


def test_a_form_s_empty_fields_are_taken_out_of_the_address(portal: TestClient) -> None:
    answer = portal.get(
        "/companies?q=&cohort=&field=metadata.seats&op=ge&value=3&field=", follow_redirects=False
    )
    assert answer.headers["location"] == "/companies?field=metadata.seats&op=ge&value=3"
    added = portal.get("/companies?q=a&field=metadata.seats", follow_redirects=True)
    assert "seats" in added.text
    assert added.status_code == 200


def test_long_lists_come_in_pages_that_miss_nobody(
    portal: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_project.portal.people.PAGE", 4)
    found: list[str] = []
    address_ = "/companies?sort=company_id"
    while address_:
        text = portal.get(address_).text
        found += re.findall(r'<th scope="row"><a href="/company\?id=([^"]*)"', text)
        onward = re.search(r'rel="next" href="([^"]*)"', text)
        address_ = html.unescape(onward[1]) if onward else ""
    assert len(found) == len(set(found)) == len(NORMAL) + len(HOSTILE)


def test_a_spreadsheet_takes_no_cell_for_a_formula(portal: TestClient) -> None:
    answer = portal.get("/companies.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(codecs.BOM_UTF8)
    assert [csv_text.cell(text) for text in ("-1", " =1", "\uff1d1", "1=1", -1)] == [
        *("'-1", "' =1", "'\uff1d1", "1=1", -1)
    ]
    assert 'filename="companies.csv"' in answer.headers["content-disposition"]
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix(BOM))))
    assert len(rows) == 1 + len(NORMAL) + len(HOSTILE)
    assert not [cell for row in rows for cell in row if cell.lstrip().startswith(("=", "+", "@", "\t"))]
    assert "'" + HOSTILE[5] in [row[0] for row in rows]
    acme = dict(zip(rows[0], next(row for row in rows if row[0] == "acme"), strict=True))
    assert acme["company_domain"] == "acme.example"
    assert acme["calls_30d"] == "38"


@pytest.mark.fast
@given(
    rows=st.lists(
        st.tuples(
            *3 * [st.one_of(st.none(), st.integers(), st.floats(), st.text('a,";\r\n \x00é', max_size=9))],
            st.sampled_from(["", "x" * 70_000, 'long, "quoted"\r\n' * 9_000, "\n" + 70_000 * "y"]),
        ),
        max_size=5,
    )
)
def test_long_values_are_written_as_short_ones_are(rows: list[tuple[object, ...]]) -> None:
    written = io.StringIO()
    csv.writer(written).writerows([["a", "b", "c", "d"], *(map(csv_text.cell, row) for row in rows)])
    parts = list(csv_text.lines([(["a", "b", "c", "d"], rows)]))
    assert "".join(parts) == written.getvalue()
    assert all(len(part) < 150_000 for part in parts)


def test_a_company_s_page_tells_its_story(portal: TestClient) -> None:
    text = html.unescape(portal.get("/company?id=acme").text)
    for said in (
        "Acme Ltd", "acme.example", "near quota", "Ann Sample", "Sampleton", "utm_source", "Signed up", "GET /v1/orders/:id",
        "api_calls_30d", "INVALID_OPTION", "record/0-2/501", "tok…def",
    ):  # fmt: skip
        assert said in text, said
    assert "tok-acme-0123456789abcdef" not in text
    calm = portal.get("/company?id=calm").text
    assert "no key" in calm
    assert "plan_name" in calm  # a number where text is due was dropped


def test_a_user_s_page_leads_to_its_company(portal: TestClient) -> None:
    text = portal.get("/user?id=ann").text
    assert '<a href="/company?id=acme">Acme Ltd</a>' in text
    assert "ann@acme.example" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_every_link_in_a_list_leads_to_its_page(portal: TestClient, text: str) -> None:
    listed = portal.get(address("/companies", q=text)).text
    links = [html.unescape(a) for a in re.findall(r'href="(/company\?[^"]*)"', listed)]
    assert links
    for link in links:
        page = portal.get(link)
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "49" not in re.findall(r"<h1>(.*?)</h1>", page.text)  # {{7*7}} stays what it is


def test_nobody_is_not_found(portal: TestClient, filled: Warehouse) -> None:
    for path in ("/company?id=nobody", "/user?id=", "/company", "/no/such/page", "/static/../app.py"):
        assert portal.get(path).status_code == 404, path
