"""Erasing companies and users: what goes, what stays, that nothing is left in any byte, and that nothing comes back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Row, Warehouse
from hypothesis import given, settings
from hypothesis.strategies import one_of
from oracle import Night
from raw_traffic import AS_OF, claim_nights, nights
from soak import LONG, budget
from test_against_oracle import HISTORY, QUICK, bytes_are_there, every_table, ran, write

from dagster_project.destinations import all_destinations
from dagster_project.pipeline import erase
from dagster_project.warehouse import compaction
from dagster_project.warehouse.database import open_warehouse

DAY = date(2026, 3, 31)
NIGHT = datetime(2026, 4, 1, 2)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
LEDGER = "portal_id, object, key, hubspot_id, property, value, acknowledged_at"
USER, EMAIL, TOKEN = "person-4711", "jo.doe@acme.example", "token-of-person-4711"
ANONYMOUS = "browser-of-person-4711"
SECRETS = (USER, "person\\u002d4711", EMAIL, "jo.doe", "Johanna", TOKEN, ANONYMOUS)


def call(number: int, **ids: Any) -> Row:
    return {
        "transaction_id": f"t{number}",
        "request": {"time": f"2026-03-{10 + number % 5:02d}T10:00:00Z"},
        "response": {"status": 200},
        **ids,
    }


def usage(**ids: Any) -> Row:
    return {"user_id": "other", "feature_id": "export", "timestamp": "2026-03-11T10:00:00Z", **ids}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person with everything that a person can have, beside others. Made once."""
    folder = tmp_path_factory.mktemp("made")
    warehouse = Warehouse(folder)
    warehouse.put(
        "events/a.jsonl",
        [
            call(1, user_id=USER, company_id="acme"),
            call(2, user_id=USER),  # the company's by the user's claim
            call(3, session_token=TOKEN),  # the company's by the token's user
            call(4, user_id="other", company_id="acme"),
            call(5, user_id="other", session_token=TOKEN, company_id="bolt"),
            call(6, user_id="other", session_token="shared"),
            {**call(7, user_id=USER), "request": {"time": "never"}},
            call(8, anonymous_id=ANONYMOUS),  # the company's by the anonymous id's user
        ],
    )
    warehouse.put("events/broken.jsonl", f'{{"user_id": "{USER}", "company_id": "acme"\n{{"other": \n')
    warehouse.put(
        "actions/a.jsonl", [{"action_name": "Signed In", "user_id": USER, "received_at": "2026-03-12"}]
    )
    warehouse.put(
        "users/a.jsonl",
        [
            {
                "user_id": USER,
                "company_id": "acme",
                "session_token": TOKEN,
                "anonymous_id": ANONYMOUS,
                "modified_time": "2026-03-01",
                "metadata": {"email": EMAIL.upper(), "name": "Johanna", "seats": "x"},
            },
            {
                "user_id": "other",
                "company_id": "bolt",
                "session_token": "shared",
                "metadata": {"email": "o@bolt.example"},
            },
        ],
    )
    warehouse.put(
        "companies/a.jsonl",
        [
            {
                "company_id": "acme",
                "session_token": "own-token-acme",
                "company_domain": "acme.example",
                "modified_time": "2026-03-02",
            },
            {"company_id": "acme", "session_token": "shared"},
            {"company_id": "bolt", "session_token": "shared", "company_domain": "bolt.example"},
        ],
    )
    warehouse.put(
        "subscriptions/a.jsonl",
        [
            {"subscription_id": "sub-of-acme", "company_id": "acme"},
            {"subscription_id": "sub-of-acme", "status": "canceled"},
            {"subscription_id": "sub-of-bolt", "company_id": "bolt"},
        ],
    )
    warehouse.put(
        "features/a.jsonl",
        [
            usage(account_id="acme", user_id=USER),
            usage(account_id="acme", total=3),
            usage(account_id="bolt", user_id=USER, feature_id="search"),
            usage(account_id="bolt", user_id=USER, total="none"),
        ],
    )
    warehouse.put(
        "crm/contacts/a.csv", f"Record ID,First Name,Email\n21,Johanna,{EMAIL}\n22,Otto,o@bolt.example\n"
    )
    warehouse.put(
        "crm/companies/a.csv", "Record ID,Company name,Company Domain Name\n11,Acme Inc,www.acme.example\n"
    )
    warehouse.night(DAY, NIGHT, run_id="first", publishes=True)
    with open_warehouse(warehouse.settings) as connection:
        for key in (EMAIL, "o@bolt.example"):
            connection.execute(
                f"INSERT INTO ops.hubspot_ledger ({LEDGER}) VALUES (7, 'contacts', ?, '31', 'email', ?, now())",
                [key, key],
            )
        connection.execute(
            "INSERT INTO ops.hubspot_skips VALUES ('contacts', ?, ?, 'stopped')", [USER, EMAIL]
        )
    return folder


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Warehouse:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Warehouse(tmp_path)


def erased(
    warehouse: Warehouse, *, users: Sequence[str] = (), companies: Sequence[str] = ()
) -> erase.Erasure:
    with open_warehouse(warehouse.settings) as connection:
        erasure = erase.look(connection, warehouse.settings, users, companies)
        erase.carry_out(connection, warehouse.settings, erasure)
    erase.publish_without(warehouse.settings)
    return erasure


def left_in_bytes(warehouse: Warehouse, *texts: str) -> list[tuple[str, str]]:
    """Which files of the data folder hold which texts."""
    files = [f for f in warehouse.folder.rglob("*") if f.is_file() and warehouse.raw not in f.parents]
    assert {"warehouse.duckdb", "raw.duckdb", "analytics.duckdb"} <= {f.name for f in files}
    return [(f.name, text) for f in files for text in texts if text.encode() in f.read_bytes()]


def accounted(warehouse: Warehouse) -> bool:
    return all(
        f["records"] == f["loaded"] + f["duplicates"] + f["rejected"] for f in warehouse.table("ops.files")
    )


def company_calls(warehouse: Warehouse) -> dict[str | None, int]:
    return {
        row["company_id"]: row["calls"]
        for row in warehouse.query(
            "SELECT company_id, CAST(sum(calls) AS BIGINT) AS calls FROM marts.company_usage_daily GROUP BY 1"
        )
    }


def test_a_user_goes_and_the_companies_calls_stay(warehouse: Warehouse) -> None:
    calls, files = company_calls(warehouse), warehouse.table("ops.files")
    others = [r for r in warehouse.table("marts.user_profiles") if r["user_id"] == "other"]
    assert left_in_bytes(warehouse, USER)
    erasure = erased(warehouse, users=[USER])

    assert left_in_bytes(warehouse, *SECRETS) == []
    assert company_calls(warehouse) == calls == {"acme": 6, "bolt": 1}
    assert warehouse.one("marts.company_profiles", company_id="acme")["users"] == 1
    assert warehouse.table("marts.user_profiles") == others, "also its updated_at"
    assert {r["user_id"] for r in warehouse.table("marts.user_aliases")} == {"other"}
    assert [r["total"] for r in warehouse.table("marts.daily_feature_totals")] == [3]
    assert [r["key"] for r in warehouse.table("ops.hubspot_ledger")] == ["o@bolt.example"]
    assert warehouse.table("ops.hubspot_skips") == []
    assert [r["record_id"] for r in warehouse.table("core.crm_contacts")] == ["22"]
    rejects = {(r["file_seq"], r["line"]): r["raw"] for r in warehouse.table("ops.rejects")}
    assert sorted(map(bool, rejects.values())) == [False, False, False, True]
    assert accounted(warehouse)
    counted = ("records", "loaded", "duplicates", "rejected")
    assert [[f[c] for c in counted] for f in warehouse.table("ops.files")] == [
        [f[c] for c in counted] for f in files
    ]

    user, *_ = [r for r in warehouse.table("ops.erasures") if r["entity"] == "user"]
    assert (user["rows_removed"], user["run"]) == (6, erasure.run)
    assert len(user["id_hash"]) == 64
    assert erasure.elsewhere == {"HubSpot": [("contacts", "21"), ("contacts", "31")]}
    assert erasure.files == [
        "actions/a.jsonl",
        "crm/contacts/a.csv",
        "events/a.jsonl",
        "events/broken.jsonl",  # its rejects named them
        "features/a.jsonl",
        "users/a.jsonl",
    ]


def test_a_company_goes_with_all_that_was_its_own(warehouse: Warehouse) -> None:
    warehouse.put(
        "events/own.jsonl",
        [
            call(20, session_token="own-token-acme"),
            call(21, session_token="own-token-acme", company_id="bolt"),
        ],
    )
    warehouse.night(DAY, NIGHT)
    assert company_calls(warehouse) == {"acme": 7, "bolt": 2}
    erased(warehouse, companies=["acme"])

    assert left_in_bytes(warehouse, '"acme"', "own-token-acme", "Acme Inc", "www.acme", "sub-of-acme") == []
    assert [r["subscription_id"] for r in warehouse.table("marts.subscriptions")] == ["sub-of-bolt"]
    assert [r["company_id"] for r in warehouse.table("marts.company_profiles")] == ["bolt"]
    # What it did with its own id or its own token is gone; what only its user's claim made its own is nobody's.
    assert company_calls(warehouse) == {"bolt": 3, None: 3}
    assert warehouse.table("marts.alias_conflicts") == []
    assert warehouse.one("marts.user_profiles", user_id=USER)["company_id"] is None
    assert {r["account_id"] for r in warehouse.table("marts.daily_feature_totals")} == {"bolt"}
    assert accounted(warehouse)


def later(warehouse: Warehouse) -> None:
    """Files that know the erased ones still, under names that were not known to be theirs, too."""
    warehouse.put(
        "events/c.jsonl",
        [call(30, user_id=USER, company_id="acme"), call(31, session_token="second-of-4711"), call(1)],
    )
    warehouse.night(DAY, NIGHT + timedelta(days=1), run_id="second")
    warehouse.put(
        "users/c.jsonl",
        [
            {
                "user_id": USER,
                "company_id": "acme",
                "session_token": "second-of-4711",
                "metadata": {"email": "jo@home.example"},
            }
        ],
    )
    warehouse.put("crm/contacts/b.csv", f"Record ID,Email\n21,{EMAIL}\n23,jo@home.example\n")
    warehouse.put(
        "features/c.jsonl", [usage(account_id="acme", user_id=USER, feature_id="new"), {"user_id": USER}]
    )
    warehouse.night(DAY, NIGHT + timedelta(days=2), run_id="third")


def test_later_files_and_a_full_rebuild_bring_nothing_back(warehouse: Warehouse) -> None:
    erased(warehouse, users=[USER])
    later(warehouse)
    after = every_table(warehouse)
    assert [r["user_id"] for r in warehouse.table("marts.user_profiles")] == ["other"]
    assert company_calls(warehouse) == {"acme": 8, "bolt": 1}
    assert accounted(warehouse)
    assert {r["what"] for r in warehouse.table("ops.repairs")} == {"erased"}
    assert {r["record_id"] for r in warehouse.table("core.crm_contacts")} == {"22"}

    warehouse.night(DAY, NIGHT + timedelta(days=3), run_id="full", full=True, publishes=True)
    assert every_table(warehouse) == after
    warehouse.night(DAY, NIGHT + timedelta(days=3), publishes=True)
    assert left_in_bytes(warehouse, *SECRETS, "second-of-4711", "jo@home") == []


def test_what_others_have_too_stays(warehouse: Warehouse) -> None:
    warehouse.put("users/b.jsonl", [{"user_id": "twin", "metadata": {"email": EMAIL}}])
    warehouse.night(DAY, NIGHT)
    erasure = erased(warehouse, users=[USER])
    assert erasure.theirs.shared_with == {EMAIL: {"twin"}}
    assert warehouse.one("marts.user_profiles", user_id="twin")["hubspot_id"] == "21"
    before = every_table(warehouse)
    warehouse.night(DAY, NIGHT, full=True)
    assert every_table(warehouse) == before
    erased(warehouse, users=["twin"])
    assert left_in_bytes(warehouse, *SECRETS) == []


def test_an_id_that_is_not_known_is_said_and_kept_out(warehouse: Warehouse) -> None:
    assert erased(warehouse, users=["nobody-yet"]).unknown == ["nobody-yet"]
    warehouse.put("events/n.jsonl", [call(40, user_id="nobody-yet")])
    warehouse.night(DAY, NIGHT)
    assert not [r for r in warehouse.table("marts.user_profiles") if r["user_id"] == "nobody-yet"]


def test_records_elsewhere_are_named_also_by_a_key_of_their_own(warehouse: Warehouse) -> None:
    """Where an own property is the key, the ledger has ids in the place of emails."""
    with open_warehouse(warehouse.settings) as connection:
        connection.execute(
            f"INSERT INTO ops.hubspot_ledger ({LEDGER}) VALUES (7, 'companies', 'acme', '51', 'name', 'Acme', now())"
        )
    erasure = erased(warehouse, companies=["acme"])
    assert erasure.elsewhere == {"HubSpot": [("companies", "11"), ("companies", "51")]}
    assert [r["key"] for r in warehouse.table("ops.hubspot_ledger")] == [EMAIL, "o@bolt.example"]


def test_a_destination_that_says_nothing_of_itself_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("dagster_project.destinations.hubspot.DESTINATION")
    with pytest.raises(TypeError, match="destinations/hubspot defines no DESTINATION"):
        all_destinations.__wrapped__()


@pytest.mark.parametrize("moment", ["in the raw tables", "in what is kept as history"])
def test_an_erase_that_fails_changes_nothing(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("of a source")

    raw = ("raw.api_calls", "raw.user_updates", "raw.rejects", "raw.versions", "raw.erasures")
    before = every_table(warehouse), [warehouse.query(f"FROM {table} ORDER BY ALL") for table in raw]
    owner = erase.erasures.registry if moment == "in the raw tables" else erase.forgetting
    monkeypatch.setattr(owner, "bump" if owner is erase.erasures.registry else "_names", fails)
    with open_warehouse(warehouse.settings) as connection:
        erasure = erase.Erasure(erase.erasures.Belongings(), DAY)
        erasure.theirs.ids["user"] = {USER}
        with pytest.raises(ValueError, match="of a source"):
            erase.carry_out(connection, warehouse.settings, erasure)
    assert (
        every_table(warehouse),
        [warehouse.query(f"FROM {table} ORDER BY ALL") for table in raw],
    ) == before


class Crash(BaseException):
    """A power cut, as far as a test can have one."""


def crash(*_: object, **__: object) -> None:
    raise Crash


MOMENTS: dict[str, tuple[object, str]] = {
    "before the raw tables are touched": (erase.erasures.Erasures, "erase"),
    "in the raw transaction": (erase.erasures.registry, "bump"),
    "before the build": (erase.nightly, "build_tables"),
    "before the first file is rewritten": (compaction, "put_in_place"),
    "while the files are put in place": (compaction, "put_in_place"),
    "before it is published": (erase, "publish"),
}


@pytest.mark.soak
@pytest.mark.parametrize("moment", MOMENTS if LONG else [m for m in MOMENTS if m.startswith(("in", "while"))])
def test_a_crash_at_any_moment_and_the_same_command_again(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    owner, name = MOMENTS[moment]
    original: Callable[..., Any] = getattr(owner, name)
    left = {"before the build": 1, "while the files are put in place": 1}.get(moment, 0)

    def soon(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        return crash() if left < 0 else original(*arguments, **named)

    with monkeypatch.context() as broken:
        broken.setattr(owner, name, soon)
        with pytest.raises(Crash):
            erased(warehouse, users=[USER])
    erased(warehouse, users=[USER])
    assert left_in_bytes(warehouse, *SECRETS) == []
    assert company_calls(warehouse) == {"acme": 6, "bolt": 1}
    assert [r["user_id"] for r in warehouse.table("marts.user_profiles")] == ["other"]
    assert [r["key"] for r in warehouse.table("ops.hubspot_ledger")] == ["o@bolt.example"]


@pytest.mark.soak
@settings(QUICK, max_examples=budget(2, 30))
@given(traffic=one_of(nights(), claim_nights()).filter(bytes_are_there))
def test_full_equals_incremental_after_an_erase(traffic: list[Night]) -> None:
    """The first user and company go after half of the nights; the others follow."""
    half = (len(traffic) + 1) // 2
    with ran(traffic[:half]) as warehouse:
        ids = {
            kind: [r[f"{kind}_id"] for r in warehouse.table(f"marts.{kind}_profiles")][:1]
            for kind in ("user", "company")
        }
        erased(warehouse, users=ids["user"], companies=ids["company"])
        for index, night in enumerate(traffic[half:], half):
            write(warehouse, night)
            warehouse.night(AS_OF, night.at, run_id=str(index))
        warehouse.night(AS_OF, traffic[-1].at, run_id="last")  # what waited for its end is rejected by it
        before = every_table(warehouse)
        for kind, gone in ids.items():
            known = {r[f"{kind}_id"] for r in warehouse.table(f"marts.{kind}_profiles")}
            assert not known & set(gone)
        assert accounted(warehouse)
        warehouse.night(AS_OF, traffic[-1].at, full=True, run_id="full")
        after = every_table(warehouse)
        assert {n: after[n] for n in after.keys() - HISTORY} == {
            n: before[n] for n in before.keys() - HISTORY
        }
