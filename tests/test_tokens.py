"""Session tokens may be real API keys: kept as hashes where the settings ask for it, and never in logs and previews."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from harness import Row, Warehouse
from hypothesis import given, settings
from oracle import Night
from raw_traffic import AS_OF, claim_nights
from soak import budget
from test_against_oracle import QUICK, bytes_are_there, every_table, ran, write
from test_cli import CommandLine, files_with
from test_erase import DAY, NIGHT, call, erased, left_in_bytes

from dagster_project.settings import SettingsError
from dagster_project.sources import typed
from dagster_project.warehouse.pseudonyms import keyed_hash

KEY = "a key of sixteen characters or more"
TOKEN, NUMBER = "sk_live_51H8xQ2eZvKYlo2C", 998877665544332211
HASHES: dict[str, Any] = {"privacy": {"hash_tokens": True}}


def hashed(token: object) -> str:
    return keyed_hash(KEY.encode(), str(token))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_TOKEN_KEY", KEY)


def traffic(warehouse: Warehouse) -> Warehouse:
    """The token wherever a token can be: in what is loaded, refused, kept as it came, repaired."""
    token = {"session_token": TOKEN}
    calls = [call(n, **token) for n in range(5)] + [call(9, session_token=NUMBER)]
    refused: list[Row] = [
        {**token, "request": {"time": "never"}},
        {"session_token": NUMBER, "request": {}},
        {"request": {}, "body": json.dumps(token)},
        {"request": {}, "headers": [["session_token", TOKEN]]},
    ]
    warehouse.put("events/a.jsonl", [*calls, *refused])
    warehouse.put(
        "events/broken.jsonl",
        f'{{"session_token": "{TOKEN}", \n{{"session\\u005ftoken": "{TOKEN}"\n{{"x": "{{\\"session_token\\": \\"{TOKEN}\n',
    )
    warehouse.put("actions/a.jsonl", [{**token, "action_name": "x", "request": {"time": "2026-03-10"}}])
    warehouse.put(
        "companies/a.jsonl",
        [{"company_id": "acme", **token, "metadata": [token]}, {"company_id": "bolt", **token}, token],
    )
    warehouse.put("users/a.jsonl", [{"user_id": "u", "session_token": NUMBER, "metadata": {"plan": "x"}}])
    return warehouse.night(DAY, NIGHT, publishes=True)


def test_hashes_stand_for_tokens_everywhere_and_all_joins(tmp_path: Path) -> None:
    plain = traffic(Warehouse(tmp_path / "plain"))
    warehouse = traffic(Warehouse(tmp_path / "hashed", **HASHES))
    assert left_in_bytes(plain, TOKEN)
    assert left_in_bytes(warehouse, TOKEN, str(NUMBER), KEY) == []
    alias = warehouse.one("marts.company_aliases", session_token=hashed(TOKEN), company_id="acme")
    assert alias["calls"] == 5
    assert warehouse.one("marts.user_aliases")["session_token"] == hashed(NUMBER)
    assert warehouse.one("marts.alias_conflicts")["company_ids"] == ["acme", "bolt"]
    for name in ("marts.company_profiles", "marts.user_profiles", "marts.company_usage_daily", "ops.files"):
        skipped = ("updated_at", "first_seen_at", "loaded_under")
        rows = [
            sorted(({k: v for k, v in r.items() if k not in skipped} for r in w.table(name)), key=repr)
            for w in (plain, warehouse)
        ]
        assert rows[0] == rows[1], name
    assert all("***" in r["raw"] for r in warehouse.table("ops.rejects"))


def large(warehouse: Warehouse, *tokens: str, **ids: Any) -> None:
    """A file that is large enough to be read typed."""
    body = {"request_body": "x" * 600}
    warehouse.put(
        "events/large.jsonl", [call(n, session_token=t, **ids, **body) for n, t in enumerate(tokens * 1000)]
    )


def test_large_files_too(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, **HASHES)
    large(warehouse, TOKEN, "another-token")
    warehouse.night(DAY, NIGHT, publishes=True)
    assert (warehouse.raw / "events/large.jsonl").stat().st_size > typed.SMALLEST_BYTES
    assert {r["session_token"] for r in warehouse.table("core.api_usage_daily")} == {
        hashed(TOKEN),
        hashed("another-token"),
    }
    assert left_in_bytes(warehouse, TOKEN) == []


def test_large_files_of_erased_ones_too(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.put("users/a.jsonl", [{"user_id": "person-4711", "company_id": "acme", "session_token": TOKEN}])
    warehouse.night(DAY, NIGHT)
    erased(warehouse, users=["person-4711"], companies=["gone-company"])
    large(warehouse, TOKEN, "another-token", user_id="person-4711")
    warehouse.put(
        "actions/a.jsonl", [{"action_name": "x", "user_id": "person-4711", "company_id": "gone-company"}]
    )
    warehouse.night(DAY, NIGHT, publishes=True)
    assert left_in_bytes(warehouse, TOKEN, "person-4711", "gone-company") == []
    places = warehouse.query("SELECT line, day(event_at) AS day FROM raw.api_calls")
    assert [(n, 10 + (n - 1) % 5) for n in range(1, 2001)] == sorted((r["line"], r["day"]) for r in places)
    assert {r["company_id"]: r["calls"] for r in warehouse.table("marts.company_profiles")} == {"acme": 2000}


def test_another_key_stops_the_run_until_all_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = traffic(Warehouse(tmp_path, **HASHES))
    before = every_table(warehouse)
    monkeypatch.setenv("WAREHOUSE_TOKEN_KEY", "another key of sixteen")
    for _ in range(2):
        with pytest.raises(SettingsError, match="another key"):
            warehouse.night(DAY, NIGHT)
    assert every_table(warehouse) == before
    warehouse.night(DAY, NIGHT, full=True, apply_settings=True).night(DAY, NIGHT)
    assert warehouse.one("marts.user_aliases")["session_token"] == keyed_hash(
        b"another key of sixteen", str(NUMBER)
    )


def test_a_token_that_stands_in_its_record_again_does_not_stay(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, **HASHES)
    token = "tok|of/someone=17"
    failed = {"response": {"status": 404}, "session_token": token}
    uris = [f"/sessions/{quote(token, safe='')}/x", f"/s/{token}"]
    calls = [
        call(n, **failed) | {"request": {"time": "2026-03-12", "uri": uri}} for n, uri in enumerate(uris)
    ]
    odd = [{"session_token": token, "request": {"time": f"no {token}", "uri": uri}} for uri in uris]
    warehouse.put("events/a.jsonl", [*calls, *odd])
    warehouse.night(DAY, NIGHT, publishes=True)
    assert left_in_bytes(warehouse, token, quote(token, safe="")) == []
    assert {row["route"] for row in warehouse.table("marts.error_usage_daily")} == {
        "/sessions/:id/x",
        "/s/:id",
    }


@pytest.mark.parametrize("first", [True, False])
def test_hashes_and_plain_tokens_do_not_mix(tmp_path: Path, first: bool) -> None:
    traffic(Warehouse(tmp_path, privacy={"hash_tokens": first}))
    switched = Warehouse(tmp_path, privacy={"hash_tokens": not first})
    with pytest.raises(SettingsError, match=f"set it to {str(first).lower()}, or .* --full --apply-settings"):
        switched.night(DAY, NIGHT)
    with pytest.raises(SettingsError, match="Nothing was touched"):
        switched.night(DAY, NIGHT, full=True)
    switched.night(DAY, NIGHT, full=True, apply_settings=True).night(DAY, NIGHT, publishes=True)
    assert switched.one("marts.user_aliases")["session_token"] == (str(NUMBER) if first else hashed(NUMBER))
    assert left_in_bytes(switched, hashed(TOKEN) if first else TOKEN) == []


def test_a_crash_in_the_full_rebuild_goes_on_with_the_new_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = traffic(Warehouse(tmp_path, **HASHES))
    monkeypatch.setenv("WAREHOUSE_TOKEN_KEY", "another key of sixteen")
    with monkeypatch.context() as broken:
        broken.setattr("dagster_project.sources.loading._account", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            warehouse.night(DAY, NIGHT, full=True, apply_settings=True)
    warehouse.night(DAY, NIGHT)
    assert warehouse.one("marts.user_aliases")["session_token"] == keyed_hash(
        b"another key of sixteen", str(NUMBER)
    )


@pytest.mark.soak
@settings(QUICK, max_examples=budget(2, 30))
@given(nights=claim_nights().filter(bytes_are_there))
def test_no_table_can_tell_but_by_the_tokens(
    tmp_path_factory: pytest.TempPathFactory, nights: Sequence[Night]
) -> None:
    warehouse = Warehouse(tmp_path_factory.mktemp("hashed"), **HASHES)
    for index, night in enumerate(nights):
        write(warehouse, night)
        warehouse.night(AS_OF, night.at, run_id=str(index))
    with ran(nights) as plain:
        tables = ("core.api_usage_daily", "marts.company_aliases", "marts.user_aliases")
        tokens = {r["session_token"] for table in tables for r in plain.table(table)}
        wanted = every_table(plain)
    files = [row.replace('tokens\\": false', 'tokens\\": true') for row in wanted["ops.files"]]
    wanted["ops.files"] = files
    known = {json.dumps(token, ensure_ascii=False): json.dumps(hashed(token)) for token in tokens if token}
    for name, rows in every_table(warehouse).items():
        if name != "ops.rejects":
            assert rows == sorted(_with_hashes(row, known) for row in wanted[name]), name


def _with_hashes(row: str, known: dict[str, str]) -> str:
    before, key, after = row.partition('"session_token": ')
    _, ending = json.JSONDecoder().raw_decode(after) if key else ("", 0)
    return before + key + known.get(after[:ending], after[:ending]) + after[ending:]


@pytest.mark.parametrize("key", [None, "", "too short"])
def test_without_a_key_nothing_is_begun(tmp_path: Path, key: str | None) -> None:
    line = CommandLine(tmp_path / "data")
    config = tmp_path / "warehouse.toml"
    config.write_text("[privacy]\nhash_tokens = true\n")
    given = {"WAREHOUSE_CONFIG": str(config), **({"WAREHOUSE_TOKEN_KEY": key} if key is not None else {})}
    said = line.run("run", status=2, **given)
    assert "WAREHOUSE_TOKEN_KEY" in said
    assert "openssl rand" in said
    assert not key or key not in said
    assert not line.data.exists()


def test_logs_previews_and_samples_show_no_token(tmp_path: Path) -> None:
    """A whole run, with tokens as they are, in tables that fail and warn."""
    line = CommandLine(tmp_path / "data")
    warehouse = Warehouse(line.data)
    rows = [{"company_id": c, "session_token": TOKEN} for c in ("acme", "bolt")]
    warehouse.put("companies/a.jsonl", rows)
    warehouse.put("users/a.jsonl", [{"user_id": "u", "session_token": TOKEN}])
    warehouse.put("events/a.jsonl", [call(1, session_token=TOKEN), {"session_token": TOKEN}])
    warehouse.put("events/b.jsonl.gz", b"no gzip " + TOKEN.encode())
    said = line.run("run", "--log-format", "json") + line.run("status")
    assert TOKEN not in said
    assert set(files_with(line, TOKEN)) == {"raw.duckdb", "warehouse.duckdb", "analytics.duckdb"}
