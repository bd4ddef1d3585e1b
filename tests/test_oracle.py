"""The oracle itself, pinned to the contract by cases small enough to compute by hand."""

# ruff: noqa: DTZ001  (the contract keeps times as naive UTC)
from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from oracle import (
    Night,
    OracleSettings,
    attributed_via,
    domain_key,
    expected,
    leaf_times,
    restatements,
    time_of,
)
from raw_traffic import AS_OF as TRAFFIC_AS_OF
from raw_traffic import nights as any_nights

pytestmark = pytest.mark.fast

AS_OF = date(2026, 3, 31)
NOW = datetime(2026, 4, 1, 3, 0)


def lines(*records: Any) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records)


def night(files: dict[str, bytes], after: int = 0) -> Night:
    return Night(NOW + timedelta(days=after), files)


def tables(*files: dict[str, bytes], settings: OracleSettings | None = None) -> dict[str, list[Any]]:
    nights = [night(changed, after) for after, changed in enumerate(files)]
    return expected(nights, AS_OF, settings or OracleSettings())


def call(time: str = "2026-03-31T10:00:00Z", **more: Any) -> dict[str, Any]:
    return {"request": {"time": time}, "response": {"status": 200}, **more}


def feature(**more: Any) -> dict[str, Any]:
    return {"account_id": "a", "user_id": "u", "feature_id": "f", "timestamp": "2026-03-31", **more}


def column(rows: list[Any], *names: str) -> list[Any]:
    return [row[names[0]] if len(names) == 1 else tuple(row[name] for name in names) for row in rows]


# Attribution


def test_a_late_alias_moves_history_and_says_so() -> None:
    nights = [
        night({"events/1.jsonl": lines(call(session_token="t", weight=3), call(session_token="t"))}),
        night(
            {
                "companies/1.jsonl": lines(
                    {"company_id": "acme", "session_token": "t", "modified_time": "2026-04-01T00:00:00Z"}
                )
            },
            after=1,
        ),
    ]
    before = expected(nights[:1], AS_OF)["marts.company_usage_daily"]
    after = expected(nights, AS_OF)["marts.company_usage_daily"]
    assert column(before, "company_id", "calls", "events") == [(None, 4, 2)]
    assert column(after, "company_id", "calls", "events") == [("acme", 4, 2)]
    assert restatements(nights) == [
        {"night": 1, "day": AS_OF, "company_id_before": None, "company_id_after": "acme", "calls": 4}
    ]


def test_the_last_claim_on_or_before_the_day_and_the_first_claimant_before_all() -> None:
    def claim(company: str, day: str) -> dict[str, Any]:
        return {"company_id": company, "session_token": "t", "modified_time": f"{day}T18:00:00Z"}

    found = tables(
        {
            # "late" comes first in O, yet its day is later; "b" beats "a" on the same day by O
            "companies/1.jsonl": lines(
                claim("late", "2026-03-20"), claim("a", "2026-03-10"), claim("b", "2026-03-10")
            ),
            "events/1.jsonl": lines(
                call("2026-03-01T00:00:00Z", session_token="t"),
                call("2026-03-10T00:00:00Z", session_token="t"),  # before 18:00, but the day counts
                call("2026-03-19T23:59:59Z", session_token="t"),
                call("2026-03-20T00:00:00Z", session_token="t"),
            ),
        }
    )
    assert column(found["marts.company_usage_daily"], "day", "company_id") == [
        (date(2026, 3, 1), "a"),
        (date(2026, 3, 10), "b"),
        (date(2026, 3, 19), "b"),
        (date(2026, 3, 20), "late"),
    ]
    assert found["marts.alias_conflicts"] == [{"session_token": "t", "company_ids": ["a", "b", "late"]}]
    assert column(found["marts.company_aliases"], "company_id", "claims", "events") == [
        ("a", 1, 1),
        ("b", 1, 2),
        ("late", 1, 1),
    ]


def test_attribution_goes_event_then_token_then_token_user_then_user() -> None:
    nights = [
        night(
            {
                "companies/1.jsonl": lines({"company_id": "by_token", "session_token": "t1"}),
                "users/1.jsonl": lines(
                    {"user_id": "u1", "session_token": "t1", "company_id": "by_u1"},
                    {"user_id": "u2", "session_token": "t2", "company_id": "by_u2"},
                ),
                "events/1.jsonl": lines(
                    call(company_id="own", session_token="t1", user_id="u1"),
                    call(session_token="t1", user_id="u2"),
                    call(session_token="t2", user_id="u1"),
                    call(session_token="t3", user_id="u1"),
                    call(session_token="t3", user_id="nobody"),
                ),
            }
        )
    ]
    assert list(attributed_via(nights).values()) == [
        ("own", "event", "u1"),
        ("by_token", "token", "u2"),
        ("by_u2", "token_user", "u1"),
        ("by_u1", "user", "u1"),
        (None, "none", "nobody"),
    ]


# API calls


def test_dedupe_by_transaction_id_else_header_in_one_key_space() -> None:
    def with_header(name: str, value: str, **more: Any) -> dict[str, Any]:
        return {"request": {"time": "2026-03-31T10:00:00Z", "headers": {name: value}}, **more}

    found = tables(
        {
            "events/1.jsonl": lines(
                call("no time at all", transaction_id="x"),  # rejected: takes no key
                call(transaction_id="x", company_id="first"),
                with_header("X-MOESIF-Transaction-Id", "x", company_id="second"),
                with_header("x-moesif-transaction-id", "x", transaction_id="y", company_id="third"),
                call(transaction_id=" ", company_id="no key"),
                call(transaction_id=" ", company_id="no key"),
            ),
            "actions/1.jsonl": lines(
                {"transaction_id": "x", "company_id": "first", "request": {"time": "2026-03-30"}}
            ),
        }
    )
    assert column(found["marts.company_usage_daily"], "company_id", "events") == [
        ("first", 1),
        ("no key", 2),
        ("third", 1),
    ]
    # actions are numbered first, and have keys of their own
    assert column(found["ops.files"], "file_seq", "records", "loaded", "duplicates", "rejected") == [
        (1, 1, 1, 0, 0),
        (2, 6, 4, 1, 1),
    ]
    assert column(found["ops.rejects"], "file_seq", "line", "reason") == [(2, 1, "bad_time")]


@pytest.mark.parametrize(
    ("weight", "calls"),
    [(5, 5), (None, 1), (0, 1), (-3, 1), (2.0, 2), (2.5, 1), ("7", 1), (True, 1), (2**60, 2**53)],
)
def test_weight_is_a_positive_json_integer_or_one(weight: Any, calls: int) -> None:
    found = tables({"events/1.jsonl": lines(call(company_id="c", weight=weight, blocked_by="rule"))})
    [profile] = found["marts.company_profiles"]
    assert (profile["events"], profile["calls"], profile["blocked_calls"]) == (1, calls, calls)
    repaired = {2**60: ["weight_clamped"], 2.0: ["whole_float"]}
    assert column(found["ops.repairs"], "what") == repaired.get(weight, [])


def test_a_call_without_status_counts_and_only_json_integers_are_statuses() -> None:
    found = tables(
        {
            "events/1.jsonl": lines(
                *(
                    {**call(company_id="c"), "response": r}
                    for r in (None, {"status": "500"}, {"status": 503.5})
                ),
                {**call(company_id="c", weight=2), "response": {"status": 503}},
                {**call(company_id="c"), "response": {"status": 499}},
            )
        }
    )
    [profile] = found["marts.company_profiles"]
    assert (profile["calls"], profile["errors_4xx"], profile["errors_5xx"]) == (6, 1, 2)
    assert profile["first_call_seconds"] is None


def test_a_day_is_a_gmt_day_and_windows_are_whole_days() -> None:
    found = tables(
        {
            "events/1.jsonl": lines(
                call("2026-03-31T23:59:59.9999999Z", company_id="c"),  # cut, not rounded into April
                call("2026-03-31T00:30:00+01:00", company_id="c"),  # 30 March
                call("2026-03-25", company_id="c"),  # first day of 7d
                call("2026-03-24 23:59", company_id="c"),  # last one outside
                call("2026-03-02T00:00:00-00", company_id="c"),  # first day of 30d
                call("2026-03-01T23:59:59Z", company_id="c"),  # outside of 30d
                call("2026-04-01T00:00:00Z", company_id="c"),  # after as-of
            )
        }
    )
    [profile] = found["marts.company_profiles"]
    assert [profile[name] for name in ("calls", "calls_24h", "calls_7d", "calls_30d")] == [7, 1, 3, 5]
    assert profile["active_days_30d"] == 5
    assert profile["last_seen_at"] == datetime(2026, 4, 1)
    assert [profile[name] for name in ("calls_prev_7d", "calls_prev_30d", "calls_trend_30d")] == [1, 1, 4.0]
    assert (profile["first_active_day"], profile["last_active_day"]) == (date(2026, 3, 1), date(2026, 4, 1))
    assert profile["days_since_last_seen"] == 0  # what is after as-of is left out
    assert profile["created_at"] == datetime(2026, 3, 1, 23, 59, 59)
    assert profile["first_call_seconds"] == 0.0


def test_future_is_24_hours_after_the_received_date_or_first_seen() -> None:
    found = tables(
        {
            "events/dt=2026-03-01/x/date=2026-02-30/1.jsonl": lines(
                call("2026-03-03T00:00:00Z"),
                call("2026-03-03T00:00:00.000001Z"),
                call("2026-03-11T12:00:00Z", received_at="2026-03-10T08:00:00Z"),
            ),
            "events/2.jsonl": lines(call("2026-04-02T03:00:00Z"), call("2026-04-02T03:00:00.000001Z")),
        }
    )
    assert column(found["ops.rejects"], "file_seq", "line", "reason") == [(1, 2, "future"), (2, 2, "future")]


def test_an_action_without_a_time_takes_the_received_one_and_is_no_call() -> None:
    found = tables(
        {
            "actions/1.jsonl": lines({"company_id": "c"}, {"company_id": "c", "request": {"time": "soon"}}),
            "actions/dt=2026-03-30/2.jsonl": lines({"company_id": "c", "request": {"time": None}}),
            "actions/3.jsonl": lines({"company_id": "c", "received_at": "2026-03-29T05:00Z"}),
        }
    )
    [profile] = found["marts.company_profiles"]
    assert (profile["first_seen_at"], profile["last_seen_at"]) == (datetime(2026, 3, 29, 5), NOW)
    assert (profile["calls"], profile["events"], profile["active_days_30d"]) == (0, 0, 2)
    assert found["marts.company_usage_daily"] == []
    assert column(found["ops.rejects"], "line", "reason") == [(2, "bad_time")]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-31T10:00", datetime(2026, 3, 31, 10)),
        ("2026-03-31 10:00:00.1234567+0530", datetime(2026, 3, 31, 4, 30, 0, 123456)),
        ("2026-03-31T10:00-08", datetime(2026, 3, 31, 18)),
        ("2026-03-31", datetime(2026, 3, 31)),
        *((bad, None) for bad in ("2026-02-29", "2026-03-31T24:00", "2026-03-31Z", " 2026-03-31")),
        *(
            (bad, None)
            for bad in ("2026-03-31T10", "2026-03-31T10:00:60Z", "2026-03-31T10:00:00.Z", 17, None)
        ),
        ("0001-01-01T00:00+01:00", None),
    ],
)
def test_times(text: Any, at: datetime | None) -> None:
    assert time_of(text) == at


# Metadata


def test_updates_merge_deep_by_modified_time_and_null_clears() -> None:
    def update(time: str, metadata: dict[str, Any]) -> dict[str, Any]:
        return {"company_id": "c", "modified_time": time, "metadata": metadata}

    nights = [
        night(
            {
                "companies/1.jsonl": lines(
                    update("2026-03-03", {"a": {"y": None, "z": 3}, "gone": None, "list": [3]}),
                    update("2026-03-01", {"a": {"x": 1, "y": 1}, "gone": "soon", "list": [1, 2], "b": {}}),
                    update("2026-03-02", {"a": {"x": 2}, "late": None}),
                )
            }
        )
    ]
    found = expected(nights, AS_OF)
    assert found["marts.company_profiles"][0]["metadata"] == {
        "a": {"x": 2, "y": None, "z": 3},
        "gone": None,
        "list": [3],
        "b": {},
        "late": None,
    }
    assert column(found["marts.company_metadata"], "path", "type", "value", "value_number") == [
        ("a.x", "number", "2", 2.0),
        ("a.z", "number", "3", 3.0),
        ("list", "array", "[3]", None),
        ("b", "object", "{}", None),
    ]
    assert leaf_times(nights) == {
        ("company", "c", "a.x"): datetime(2026, 3, 2),
        ("company", "c", "a.z"): datetime(2026, 3, 3),
        ("company", "c", "list"): datetime(2026, 3, 3),
        ("company", "c", "b"): datetime(2026, 3, 1),
    }


def test_an_object_that_meets_a_null_starts_afresh_and_an_empty_one_clears_nothing() -> None:
    found = tables(
        {
            "users/1.jsonl": lines(
                {"user_id": "u", "metadata": {"o": {"a": 1}, "p": {"a": 1}}, "campaign": {"x": {"a": 1}}},
                {"user_id": "u", "metadata": {"o": None, "p": {}}, "campaign": {"x": 5}},
                {"user_id": "u", "metadata": {"o": {"b": 2}}, "campaign": None},
                {"user_id": "u", "metadata": None, "campaign": "no object"},
                {"user_id": "u", "metadata": ["no object"]},
                {"user_id": "v", "metadata": {}, "campaign": {}},
            )
        }
    )
    assert column(found["marts.user_profiles"], "user_id", "metadata", "campaign") == [
        ("u", {"o": {"b": 2}, "p": {"a": 1}}, {"x": 5}),
        ("v", {}, None),
    ]
    assert column(found["ops.repairs"], "line", "what") == [
        (4, "campaign_not_object"),
        (5, "metadata_not_object"),
    ]


def test_dots_become_underscores_and_of_two_the_last_in_the_document_wins() -> None:
    found = tables(
        {
            "companies/1.jsonl": lines(
                {
                    "company_id": "c",
                    "metadata": {
                        "a_b": {"lost.x": 1, "lost_x": 2},  # was never there: no lock, no second repair
                        "a.b": 1,
                        "comp.any.na.me": "v.a.l",
                        "deep": [{"k.k": {"l.l": True}}],
                    },
                }
            )
        }
    )
    assert found["marts.company_profiles"][0]["metadata"] == {
        "a_b": 1,
        "comp_any_na_me": "v.a.l",
        "deep": [{"k_k": {"l_l": True}}],
    }
    assert column(found["ops.repairs"], "what") == ["key_collision"]
    assert column(found["marts.metadata_schema"], "key", "type") == [
        ("a_b", "number"),
        ("comp_any_na_me", "string"),
        ("deep", "array"),
        ("k_k", "object"),
        ("l_l", "boolean"),
    ]


def test_a_key_locks_before_the_keys_inside_its_value() -> None:
    found = tables({"companies/1.jsonl": lines({"company_id": "c", "metadata": {"k": {"k": 5, "j": 1}}})})
    assert found["marts.company_profiles"][0]["metadata"] == {"k": {"j": 1}}
    assert column(
        found["marts.metadata_conflicts"], "key", "path", "expected_type", "actual_type", "value"
    ) == [("k", "k.k", "object", "number", "5")]


def test_a_conflict_drops_that_value_alone_and_the_keys_inside_it_lock_nothing() -> None:
    nights = [
        night(
            {
                "companies/1.jsonl": lines({"company_id": "c", "metadata": {"phone": "555", "n": 1}}),
                "users/1.jsonl": lines(
                    {"user_id": "u", "metadata": {"phone": {"inner": "text"}, "n": 1.5}},
                    {"user_id": "u", "metadata": {"inner": 7, "n": None}},
                    {"user_id": " ", "metadata": {"never": 1}},  # rejected: locks nothing
                ),
            }
        )
    ]
    found = expected(nights, AS_OF)
    assert found["marts.user_profiles"][0]["metadata"] == {"n": None, "inner": 7}
    assert column(
        found["marts.metadata_conflicts"], "entity", "entity_id", "key", "value", "file_seq", "line"
    ) == [("user", "u", "phone", '{"inner":"text"}', 2, 1)]
    assert column(found["marts.metadata_schema"], "key", "type", "first_file_seq", "first_line") == [
        ("inner", "number", 2, 2),
        ("n", "number", 1, 1),
        ("phone", "string", 1, 1),
    ]
    pinned = expected(nights, AS_OF, OracleSettings(pins={"phone": "object"}))
    assert pinned["marts.company_profiles"][0]["metadata"] == {"n": 1}
    assert pinned["marts.user_profiles"][0]["metadata"] == {"phone": {"inner": "text"}, "n": None}
    apart = expected(nights, AS_OF, OracleSettings(lock_scope="entity"))
    assert apart["marts.user_profiles"][0]["metadata"]["phone"] == {"inner": "text"}
    strict = expected(nights, AS_OF, OracleSettings(on_conflict="reject_update"))
    assert column(strict["ops.rejects"], "line", "reason") == [(1, "metadata_conflict"), (3, "missing_id")]


def test_objects_inside_arrays_lock_and_are_checked_but_elements_have_no_type() -> None:
    found = tables(
        {
            "companies/1.jsonl": lines(
                {"company_id": "c", "metadata": {"list": [1, "a", None, [{"x": 1}], {"x": "no", "y": 2}]}}
            )
        }
    )
    assert found["marts.company_profiles"][0]["metadata"] == {"list": [1, "a", None, [{"x": 1}], {"y": 2}]}
    assert column(found["marts.metadata_conflicts"], "path") == ["list[4].x"]


def test_a_modified_time_in_the_future_counts_as_missing() -> None:
    found = tables(
        {
            "companies/dt=2026-03-10/1.jsonl": lines(
                {"company_id": "c", "session_token": "t", "modified_time": "2026-03-12T00:00:01Z"}
            )
        }
    )
    assert column(found["marts.company_aliases"], "claimed_at", "events", "first_seen_at") == [
        (datetime(2026, 3, 10), 0, None)
    ]
    assert column(found["ops.repairs"], "what") == ["modified_time_future"]


def test_the_domain_is_the_latest_top_level_one_and_metadatas_only_without_any() -> None:
    found = tables(
        {
            "companies/1.jsonl": lines(
                {"company_id": "a", "company_domain": "https://user:pw@WWW.Acme.com.:8443/x?y"},
                {"company_id": "a", "company_domain": "  ", "metadata": {"company_domain": "other.com"}},
                {"company_id": "b", "metadata": {"company_domain": "Other.com"}},
            )
        }
    )
    assert column(found["marts.company_profiles"], "company_domain") == ["acme.com", "other.com"]
    assert domain_key(" Bücher.example ") == "xn--bcher-kva.example"
    assert domain_key("https://www./") is None


# Features


BAD_TOTALS: list[Any] = [-2, 3.5, True, False, "x", "", "5.5", "5.", "-1", [], {}, 2**53 + 1, "٣"]


@pytest.mark.parametrize(
    ("total", "result"),
    [
        *((one, 1) for one in ("absent", None, 1, "1", 1.0)),
        *((zero, 0) for zero in (0, "0", 0.0)),
        *(("7", 7), (5.0, 5), ("5.0", 5), (2**53, 2**53)),
        *((bad, None) for bad in BAD_TOTALS),
    ],
)
def test_totals(total: Any, result: int | None) -> None:
    record = feature() if total == "absent" else feature(total=total)
    found = tables({"features/1.jsonl": lines(record)})
    assert column(found["marts.daily_feature_totals"], "total") == ([result] if result else [])
    assert column(found["ops.rejects"], "reason") == (["bad_total"] if result is None else [])
    assert len(found["marts.company_profiles"]) == (1 if result else 0)
    assert found["ops.files"][0]["loaded"] == (0 if result is None else 1)


def test_totals_that_are_not_finite_are_rejects_and_no_repairs() -> None:
    found = tables(
        {
            "features/1.jsonl": lines(
                *(json.dumps(feature())[:-1].encode() + b', "total": %s}' % n for n in BARE)
            )
        }
    )
    assert column(found["ops.rejects"], "reason") == ["bad_total"] * len(BARE)
    assert found["ops.repairs"] == []


BARE = (b"NaN", b"Infinity", b"-Infinity", b"1e999")


def test_names_are_cut_to_64_characters_and_merged() -> None:
    wide = "\N{GRINNING FACE}" * 64
    found = tables(
        {
            "features/1.jsonl": lines(
                feature(feature_id=wide + "a"),
                feature(feature_id=wide, module_id="m" * 65),
                feature(feature_id=wide + "a", total=5),
                feature(feature_id=wide[:63]),
            )
        }
    )
    assert column(found["marts.daily_feature_totals"], "module_id", "feature_id", "total") == [
        ("", wide[:63], 1),
        ("", wide, 6),
        ("m" * 64, wide, 1),
    ]
    assert column(found["ops.repairs"], "line", "what") == [
        (1, "name_cut"),
        (2, "names_merged"),
        (2, "name_cut"),
        (3, "name_cut"),
    ]
    assert found["ops.files"][0]["repaired"] == 3


def test_at_most_256_features_by_order_for_ever() -> None:
    found = tables(
        {"features/1.jsonl": lines(*(feature(feature_id=f"f{n}") for n in range(257)))},
        {"features/2.jsonl": lines(feature(feature_id="f256"), feature(feature_id="f255"))},
    )
    assert len(found["marts.daily_feature_totals"]) == 256
    assert column(found["ops.rejects"], "file_seq", "line", "reason") == [
        (1, 257, "feature_limit"),
        (2, 1, "feature_limit"),
    ]


def test_no_slot_is_taken_unless_both_are_to_be_had() -> None:
    found = tables(
        {
            "features/1.jsonl": lines(
                feature(feature_id="f0", module_id="m0", total=0),  # takes no slot
                feature(feature_id="f1", module_id="m1"),
                feature(feature_id="f2"),  # no module, no module slot
                feature(feature_id="f3", module_id="m2"),  # no feature slot left: takes no module slot
                feature(feature_id="f1", module_id="m3"),  # so m3 gets the second one
                feature(feature_id="f4", module_id="m4"),  # both full: module is checked first
            )
        },
        settings=OracleSettings(feature_limit=2, module_limit=2),
    )
    assert column(found["ops.rejects"], "line", "reason") == [(4, "feature_limit"), (6, "module_limit")]
    assert column(found["marts.daily_feature_totals"], "module_id", "feature_id") == [
        ("", "f2"),
        ("m1", "f1"),
        ("m3", "f1"),
    ]


def test_feature_checks_come_in_the_stated_order() -> None:
    files = {
        "features/dt=2026-03-31/1.csv": (
            b"\xef\xbb\xbfaccount_id,user_id,feature_id,timestamp,total,event_id\r\n"
            b",u,f,never,-1,\r\n"  # 2: missing_id before the others
            b"a,u,f,never,-1,\r\n"  # 3: bad_time
            b'a,u,f,2026-03-30,"-1",\r\n'  # 4: bad_total
            b"\r\n"
            b"a,u,f,2026-03-30,0,\r\n"  # 6: zero, whatever its day
            b"a,u,f,2026-03-30,,\r\n"  # 7: backdated
            b"a,u,f,2026-04-01,,\r\n"  # 8: future
            b'a,u,"f\n2",2026-03-31T23:59:59Z,,e\r\n'  # 9: loaded
            b"a,u,f,2026-03-31,5.5,e\r\n"  # 11: text that is no whole number
            b"a,u,g,2026-03-31,3,e"  # 12: duplicate
        )
    }
    found = tables(files)
    assert column(found["ops.rejects"], "line", "reason") == [
        (2, "missing_id"),
        (3, "bad_time"),
        (4, "bad_total"),
        (7, "backdated"),
        (8, "future"),
        (11, "bad_total"),
    ]
    assert column(found["ops.files"], "records", "loaded", "duplicates", "rejected") == [(9, 2, 1, 6)]
    assert column(found["marts.daily_feature_totals"], "day", "feature_id", "total") == [(AS_OF, "f\n2", 1)]
    admitted = tables(files, settings=OracleSettings(accept_backdated=True))
    assert column(admitted["ops.rejects"], "line") == [2, 3, 4, 8, 11]


# Files


def test_files_are_numbered_by_path_and_the_same_bytes_are_no_new_file() -> None:
    same = lines(call(company_id="c"))
    found = tables(
        {"events/b.jsonl": same, "events/B.jsonl": same, "actions/z.jsonl": same, "events/notes.txt": b"?"},
        {"events/a.jsonl": same, "companies/0.jsonl": lines({"company_id": "c"})},
    )
    assert column(found["ops.files"], "file_seq", "path") == [
        (1, "actions/z.jsonl"),
        (2, "events/B.jsonl"),
        (3, "companies/0.jsonl"),
    ]
    assert found["marts.company_profiles"][0]["calls"] == 1


def test_only_the_added_part_of_a_file_that_grew_is_loaded() -> None:
    first = lines(call(), b"", call())
    more = lines([call(), call()], b"{bad")
    found = tables(
        {"events/1.jsonl": first, "events/2.jsonl": first[:-1], "events/3.jsonl.gz": gzip.compress(first)},
        {"events/1.jsonl": first + more, "events/2.jsonl": first + b" \n" + more},
    )
    assert column(found["ops.files"], "file_seq", "path", "records", "rejected") == [
        (1, "events/1.jsonl", 2, 0),
        (2, "events/2.jsonl", 2, 0),
        (3, "events/1.jsonl", 3, 1),  # lines 4 and 5
        (4, "events/2.jsonl", 3, 1),  # it begins with file 1, of which more was loaded than of file 2
    ]
    assert column(found["ops.rejects"], "file_seq", "line") == [(3, 5), (4, 6)]


def test_places_in_batches_whole_arrays_and_lines_that_are_no_records() -> None:
    found = tables(
        {
            "events/1.jsonl": lines(b'\xef\xbb\xbf[1,"x",[]]', b"\r", b"null", b"[]", b"{} {}", b"{} {"),
            "events/2.json": b' [\n{"a": 1},\n\n7]\n',
            "events/3.jsonl": '{"a": "\u2028\u0085"}\r\n{"b":1}'.encode(),
        }
    )
    assert column(found["ops.rejects"], "file_seq", "line", "element", "reason") == [
        (1, 1, 1, "not_object"),
        (1, 1, 2, "not_object"),
        (1, 1, 3, "not_object"),
        (1, 3, 1, "not_object"),
        (1, 5, 1, "bad_time"),
        (1, 5, 2, "bad_time"),
        (1, 6, 1, "bad_json"),
        (2, 1, 1, "bad_time"),
        (2, 1, 2, "not_object"),
        (3, 1, 1, "bad_time"),
        (3, 2, 1, "bad_time"),
    ]


def test_an_unreadable_file_is_listed_and_a_later_whole_version_is_loaded_whole() -> None:
    whole = gzip.compress(lines(call(company_id="c"), call(company_id="c")))
    broken = {"events/1.jsonl.gz": whole[:-9], "events/2.json": b'[{"company_id": "c"},\n{"company_id"'}
    found = tables(broken, broken, {"events/1.jsonl.gz": whole})
    assert column(found["ops.files"], "file_seq", "path", "records", "error") == [
        (1, "events/1.jsonl.gz", 0, True),
        (2, "events/2.json", 0, True),
        (3, "events/1.jsonl.gz", 2, False),
    ]
    assert found["marts.company_profiles"][0]["calls"] == 2


def test_json_that_is_not_strict_is_kept_and_repaired() -> None:
    found = tables(
        {
            "companies/1.jsonl": lines(
                b'{"company_id": "c", "metadata": {"a": NaN, "b": [1e999], "c": "\\ud800 \xff", '
                b'"d": 1, "d": 2}}',
                b'[{"company_id": "c"}, {"company_id": "c", "x": -Infinity}]',
                b'{"company_id": "c", "x": "\\ud83d\\ude00"}',
            )
        }
    )
    assert found["marts.company_profiles"][0]["metadata"] == {
        "a": None,
        "b": [None],
        "c": "\ufffd \ufffd",
        "d": 2,
    }
    assert column(found["ops.repairs"], "line", "element", "what") == [
        (1, 1, "invalid_text"),
        (1, 1, "non_finite_number"),
        (2, 2, "non_finite_number"),
    ]


# Profiles and CRM


def test_ids_are_strings_as_they_are() -> None:
    ids: list[Any] = [7, "7", " a", "a", "A", 1.5, True, "", " ", None, {}, []]
    found = tables({"companies/1.jsonl": lines(*({"company_id": one} for one in ids))})
    assert column(found["marts.company_profiles"], "company_id") == [" a", "7", "A", "a"]
    assert column(found["ops.rejects"], "line", "reason") == [(n, "missing_id") for n in range(6, 13)]


def test_created_at_counts_updates_that_name_the_id_and_first_call_seconds_starts_there() -> None:
    found = tables(
        {
            "users/1.jsonl": lines(
                {"user_id": "u", "company_id": "c", "modified_time": "2026-03-30T00:00:00Z"}
            ),
            "events/1.jsonl": lines(
                {**call("2026-03-30T01:00:00Z", user_id="u"), "response": {"status": 404}},
                call("2026-03-30T02:00:00.5Z", user_id="u", session_token="t"),
            ),
            "features/1.jsonl": lines(feature(account_id="c", user_id="v", total=3)),
        }
    )
    [company] = found["marts.company_profiles"]
    assert (company["created_at"], company["first_call_seconds"]) == (datetime(2026, 3, 30), 7200.5)
    assert (company["users"], company["session_tokens"], company["calls_7d"]) == (1, 1, 2)
    assert (company["feature_total_30d"], company["features_used_30d"], company["active_days_30d"]) == (
        3,
        1,
        2,
    )
    assert column(found["marts.user_profiles"], "user_id", "company_id", "calls") == [
        ("u", "c", 2),
        ("v", None, 0),
    ]
    assert found["marts.company_aliases"] == [
        {
            "session_token": "t",
            "company_id": "c",
            "claimed_at": None,
            "claims": 0,
            "first_seen_at": datetime(2026, 3, 30, 2, 0, 0, 500000),
            "last_seen_at": datetime(2026, 3, 30, 2, 0, 0, 500000),
            "events": 1,
            "calls": 1,
        }
    ]


def test_crm_rows_enrich_by_key_and_a_new_export_replaces_the_old_one() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("b.csv", "hs_object_id,email\n,x@x\n9,U@Acme.com \n")
        members.writestr("a.csv", "Record ID,Email\n9,old@acme.com\n8,two@acme.com\n7,TWO@acme.com\n")
    files = {
        "companies/1.jsonl": lines(
            {"company_id": "c", "company_domain": "acme.com"}, {"company_id": "d", "company_domain": "d.com"}
        ),
        "users/1.jsonl": lines(
            {"user_id": "u", "metadata": {"email": " u@acme.com"}},
            {"user_id": "v", "metadata": {"email": "two@acme.com"}},
        ),
        "crm/companies/all.csv": b"Record ID,Company name,Company Domain Name,X\n"
        b"1,Acme,WWW.acme.com,\n2,D,d.com,x\n",
        "crm/contacts/all.zip": archive.getvalue(),
    }
    found = tables(files)
    assert column(found["marts.company_profiles"], "company_name", "hubspot_id") == [
        ("Acme", "1"),
        ("D", "2"),
    ]
    assert found["marts.company_profiles"][0]["crm"] == {
        "Record ID": "1",
        "Company name": "Acme",
        "Company Domain Name": "WWW.acme.com",
        "X": "",
    }
    assert column(found["marts.user_profiles"], "user_id", "hubspot_id") == [("u", "9"), ("v", None)]
    assert column(found["ops.rejects"], "source", "line", "reason") == [("crm/contacts", 6, "bad_crm_row")]
    replaced = tables(files, {"crm/companies/all.csv": b"Record ID,name,domain\n1,New,acme.com\n"})
    assert column(replaced["marts.company_profiles"], "company_name") == ["New", None]


# The traffic the product is compared on


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_nights())
def test_the_oracle_accounts_for_every_record_and_every_call(nights: list[Night]) -> None:
    found = expected(nights, TRAFFIC_AS_OF)
    for file in found["ops.files"]:
        assert file["records"] == file["loaded"] + file["duplicates"] + file["rejected"]
    assert sum(column(found["ops.files"], "rejected")) == len(found["ops.rejects"])
    by_company = sum(column(found["marts.company_usage_daily"], "calls"))
    assert by_company == sum(column(found["marts.user_usage_daily"], "calls"))
    for row in restatements(nights):
        assert row["company_id_before"] != row["company_id_after"]
        assert row["calls"] > 0
