"""How figures move, by what names people know, and views that are saved as files."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dagster_project.portal import show, trends, views
from dagster_project.portal.app import PAGES
from dagster_project.portal.columns import Column
from dagster_project.portal.trends import Change


@pytest.mark.parametrize(
    ("now", "before", "said", "way"),
    [
        (112, 100, "+12 %", "up"),
        (92, 100, "−8 %", "down"),
        (5, 5, "±0 %", "same"),
        (3, 0, "new", "up"),
        (0, 3, "−100 %", "down"),
        (900, 3, "×300", "up"),
    ],
)
def test_a_change_is_told_against_the_period_before(now: int, before: int, said: str, way: str) -> None:
    change = Change(now, before)
    assert (str(change), change.way) == (said, way)


def test_what_a_figure_was_is_found_by_its_name() -> None:
    columns = {name: Column(name, "BIGINT") for name in ("calls_30d", "calls_prev_30d", "calls_7d", "users")}
    pairs = trends.befores(columns, columns)
    assert pairs == {"calls_30d": "calls_prev_30d"}
    assert columns["calls_prev_30d"].label == "calls, the 30 d before"
    assert trends.changes({"calls_30d": 4, "calls_prev_30d": 2}, pairs) == {"calls_30d": Change(4, 2)}
    assert trends.changes({"calls_30d": 0, "calls_prev_30d": 0}, pairs) == {}


def test_a_trend_is_told_in_percent() -> None:
    assert [show.percent(value) for value in (0.5, -0.081, 0.0, None)] == ["+50 %", "−8 %", "±0 %", "–"]
    assert Column("calls_trend_30d", "DOUBLE").look == "trend"


def test_a_line_by_day_has_a_point_a_day_and_stays_in_its_box() -> None:
    path = show.outline([0, 5, 10])
    assert path == "M0 20L0 19L50 10L100 1L100 20Z"
    assert show.outline([3]).startswith("M0 20L0 1")


def test_a_list_draws_calls_by_day_and_says_the_quota(portal: TestClient) -> None:
    text = html.unescape(portal.get("/companies?q=acme.example").text)
    assert '<svg class="spark"' in text
    assert '38 <span class="none">of 40</span>' in text
    (row,) = json.loads(portal.get("/companies.json?q=acme.example").text)["rows"]
    assert row["calls_by_day"] == [0] * 29 + [38]
    assert portal.get("/companies.json?q=acme.example").json()["quotas"] == {"acme": {"calls_30d": 40}}
    page = html.unescape(portal.get("/company?id=acme").text)
    assert '38 <span class="of">of 40</span>' in page
    assert "38 calls in 30 days, 0 in the 30 days before" in page


def test_features_are_told_with_what_they_were_before(portal: TestClient) -> None:
    features = portal.get("/features.json").json()["features"]
    one = next(row for row in features if row["feature_id"] == "Feature 3")
    assert (one["total"], one["total_before"], sum(one["by_part"])) == (4, 0, 4)
    assert '<small class="change up"' in portal.get("/features").text
    assert len(portal.get("/features.json?days=365").json()["features"][0]["by_part"]) == 30


def test_companies_are_told_by_name(portal: TestClient) -> None:
    assert '<a href="/company?id=acme">Acme Ltd</a>' in portal.get("/users?q=ann").text
    changes = portal.get("/cohorts/changes?cohort=near_quota").text
    assert '<a href="/company?id=acme">Acme Ltd</a>' in changes


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    shipped, own = (tmp_path / name / "sql" / "views" for name in ("shipped", "own"))
    for folder in (shipped, own):
        folder.mkdir(parents=True)
    monkeypatch.setattr(views, "shipped_root", lambda: tmp_path / "shipped")
    monkeypatch.setattr(views, "project_folder", lambda: tmp_path / "own")
    return shipped, own


def test_a_saved_view_is_a_file_and_stands_in_the_menu(
    portal: TestClient, folders: tuple[Path, Path]
) -> None:
    shipped, own = folders
    (shipped / "a.toml").write_text('title = "Shipped"\naddress = "/users"\n')
    (shipped / "b.toml").write_text('title = "Kept"\naddress = "/users?sort=name"\n')
    copied = "http://127.0.0.1:8321/companies?q=a%26b&sort=-calls_7d"
    (own / "a.toml").write_text(f'title = "<b>Mine</b>"\nabout = "Own"\naddress = "{copied}"\n')
    menu = portal.get("/").text.split('<details class="menu">')[1].split("</details>")[0]
    assert '<a href="/companies?q=a%26b&amp;sort=-calls_7d" title="Own">&lt;b&gt;Mine&lt;/b&gt;</a>' in menu
    assert "Kept" in menu
    assert "Shipped" not in menu
    listed = portal.get("/views.json").json()["listed"]
    assert [view["name"] for view in listed] == ["a", "b"]
    # Any list says how to save what it shows.
    offered = (
        html.unescape(portal.get("/companies?q=x%22y").text).split('<pre tabindex="0">')[1].split("</pre>")[0]
    )
    (own / "c.toml").write_text(offered)
    assert portal.get("/views.json").json()["listed"][2]["address"] == "/companies?q=x%22y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "c.toml"),
        ('adress = "/users"', "adress"),
        ('address = "https://elsewhere.example"', "address"),
        ('address = "//elsewhere.example/x"', "/x"),
        ("address = 3", "quotation"),
    ],
)
def test_a_view_that_is_wrong_is_told_of_and_harms_no_page(
    portal: TestClient, folders: tuple[Path, Path], text: str, said: str
) -> None:
    (folders[1] / "c.toml").write_text(text)
    assert portal.get("/").status_code == 200
    page = html.unescape(portal.get("/views").text)
    assert said in page
    assert "elsewhere" not in portal.get("/").text


def test_what_is_shipped_works(portal: TestClient) -> None:
    saved = views.saved()
    assert len(saved) >= 4
    for view in saved:
        assert not view.problem
        assert view.address.partition("?")[0] in PAGES
        answer = portal.get(view.address)
        assert answer.status_code == 200, answer.text
        assert 'class="notice"' not in answer.text.split("</form>")[1], view
