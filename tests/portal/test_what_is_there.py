"""The portal shows what is there: a column or a daily model that is added in SQL, without an edit in the portal."""

from __future__ import annotations

import csv
import html
import io
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from harness import Warehouse
from starlette.testclient import TestClient

from dagster_project.portal.entities import COMPANY
from dagster_project.settings import project_root
from dagster_project.warehouse.build import build
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.models import ModelError, parse_model, read_models
from dagster_project.warehouse.publish import publish

from .conftest import BOM, client
from .test_people import ids

_VISITS = """-- Visits to the documentation, by day and page.
-- grain: day, company_id, shelf
-- columns:
--   day         DATE     GMT day
--   company_id  VARCHAR  the company
--   shelf       VARCHAR  where
--   visits      BIGINT   how often
-- page: company
-- draws: visits
SELECT day, company_id, 'guides' AS shelf, calls * 3 AS visits FROM marts.company_usage_daily WHERE company_id IS NOT NULL
"""
_PLANS = """-- What each user is offered.
-- grain: user_id
-- columns:
--   user_id        VARCHAR    the user
--   offer          VARCHAR    what
--   session_token  VARCHAR    a token
-- page: user
SELECT user_id, 'Offer of ' || user_id AS offer, 'tok-0123456789abcdef' AS session_token FROM core.user_profiles
"""


def _built(warehouse: Warehouse, sql: Path) -> None:
    with open_warehouse(warehouse.settings) as connection:
        now = datetime.now(UTC).replace(tzinfo=None)
        models = read_models(sql)
        build(connection, warehouse.settings, models, as_of=date(2026, 3, 31), now=now, run_id="own")
        publish(connection, warehouse.settings)


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, with columns of every type and two tables more."""
    folder = tmp_path_factory.mktemp("models") / "sql"
    shutil.copytree(project_root() / "sql", folder)
    profiles = folder / "marts/company_profiles.sql"
    text = profiles.read_text()
    text = text.replace(
        "--   updated_at",
        "--   own_score  DOUBLE  how well it does, by our own reckoning\n--   wait_seconds  BIGINT  how long\n"
        "--   owner  VARCHAR  who looks after it\n--   vip  BOOLEAN  whether it is\n--   renewal  DATE  when it ends\n"
        "--   regions  VARCHAR[]  where\n--   extra  JSON  more\n--   updated_at",
        1,
    ).replace(
        "CAST($now AS TIMESTAMP) AS updated_at",
        "CAST(p.calls / 4 AS DOUBLE) AS own_score, 3600 AS wait_seconds, 'Owner of ' || p.company_id AS owner, "
        "p.calls > 20 AS vip, DATE '2026-05-01' AS renewal, ['eu', 'us'] AS regions, "
        'CAST(\'{"inner": "leaf"}\' AS JSON) AS extra, CAST($now AS TIMESTAMP) AS updated_at',
    )
    profiles.write_text(text)
    (folder / "marts/visits_daily.sql").write_text(_VISITS)
    (folder / "marts/user_offers.sql").write_text(_PLANS)
    return folder


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, sql: Path) -> Warehouse:
    made = Warehouse(tmp_path_factory.mktemp("own"))
    made.put("companies/a.jsonl", [{"company_id": "acme", "metadata": {"name": "Acme", "seats": 3}}])
    made.put("users/a.jsonl", [{"user_id": "ann", "company_id": "acme"}])
    call = {"request": {"time": "2026-03-31T10:00:00Z"}, "user_id": "ann", "company_id": "acme"}
    made.put("events/a.jsonl", [call] * 30 + [{**call, "company_id": "bolt"}] * 2)
    made.night()
    _built(made, sql)
    return made


@pytest.fixture(scope="module")
def portal(warehouse: Warehouse) -> TestClient:
    return client(warehouse)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (("own_score", "ge", "5"), ["acme"]),
        (("owner", "has", "OWNER of b"), ["bolt"]),
        (("vip", "is", "true"), ["acme"]),
        (("vip", "is", "false"), ["bolt"]),
        (("renewal", "before", "2026-05-02"), ["acme", "bolt"]),
        (("renewal", "since", "2026-05-02"), []),
        (("regions", "has", "eu"), ["acme", "bolt"]),
        (("regions", "without", "eu"), []),
        (("extra", "set", ""), ["acme", "bolt"]),
        (("metadata", "unset", ""), ["bolt"]),
    ],
)
def test_a_profile_s_new_column_can_be_filtered_by(
    portal: TestClient, condition: tuple[str, str, str], expected: list[str]
) -> None:
    assert ids(portal, "/companies", *zip(("field", "op", "value"), condition, strict=True)) == expected


def test_a_profile_s_new_column_is_everywhere(portal: TestClient) -> None:
    listed = portal.get("/companies").text
    assert (
        '<option value="own_score" title="how well it does, by our own reckoning">own score</option>'
        in listed
    )
    assert '<option value="-own_score">own score ↓</option>' in listed
    assert "Own score ↓</a>" in portal.get("/companies?sort=-own_score").text
    assert ids(portal, "/companies", sort="own_score") == ["bolt", "acme"]
    assert ids(portal, "/companies", q="owner of b") == ["bolt"]
    [row] = csv.DictReader(io.StringIO(portal.get("/companies.csv?q=acme").text.removeprefix(BOM)))
    assert (row["own_score"], row["owner"], row["vip"]) == ("7.5", "Owner of acme", "True")
    page = html.unescape(portal.get("/company?id=acme").text)
    for said in (
        *("Own score", "7.5", "how well it does, by our own reckoning", "1 h", "Owner of acme"),
        *("2026-05-01", "eu, us", "leaf"),
    ):
        assert said in page, said


def test_columns_are_chosen_in_the_address(portal: TestClient) -> None:
    chosen = portal.get("/companies?column=owner&column=metadata.seats").text
    heads = chosen.split("<thead>")[1].split("</thead>")[0]
    assert "Owner" in heads
    assert "seats" in heads
    assert "Features used" not in heads
    assert "Owner of acme" in chosen
    # What it is narrowed down and sorted by is shown, too.
    assert "Own score" in portal.get("/companies?field=own_score&op=ge&value=1").text.split("<thead>")[1]
    assert portal.get("/companies?column=nothing").status_code == 400
    usual = "/companies?" + "&".join(f"column={name}" for name in COMPANY.shown)
    assert portal.get(usual, follow_redirects=False).headers["location"] == "/companies"


def test_a_daily_model_is_on_its_page_by_its_header(portal: TestClient) -> None:
    text = html.unescape(portal.get("/company?id=acme").text)
    assert "Visits to the documentation, by day and page." in text
    section = text.split("Visits to the documentation")[1].split("</section>")[0]
    assert "guides" in section
    assert "guides: 90" in section  # drawn, a colour for each shelf
    assert '<td class="n" data-label="Visits">90</td>' in section
    assert "Visits daily" not in html.unescape(portal.get("/user?id=ann").text)


def test_another_model_is_a_plain_table_and_shows_no_token(portal: TestClient) -> None:
    text = html.unescape(portal.get("/user?id=ann").text)
    assert "Offer of ann" in text
    assert "tok-0123456789abcdef" not in text


def test_what_is_taken_off_a_page_is_gone(warehouse: Warehouse, sql: Path) -> None:
    model = sql / "marts/user_offers.sql"
    text = model.read_text()
    try:
        model.write_text(text.replace("-- page: user\n", ""))
        _built(warehouse, sql)
        assert "Offer of ann" not in client(warehouse).get("/user?id=ann").text
        model.unlink()
        _built(warehouse, sql)
        assert client(warehouse).get("/user?id=ann").status_code == 200
    finally:
        model.write_text(text)
        _built(warehouse, sql)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("page: company", "page: account", "must be one of company, user"),
        ("page: company", "page: user", "needs a column user_id"),
        ("draws: visits", "draws: shelf", "must be a column of whole numbers"),
        ("draws: visits", "draws: highest(shelf)", "or highest"),
        ("-- page: company\n", "", "needs `page:`"),
        ("grain: day, company_id", "grain: company_id", "a grain with day"),
    ],
)
def test_a_header_that_cannot_be_shown_is_refused(before: str, after: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        parse_model("marts.visits_daily", _VISITS.replace(before, after))
