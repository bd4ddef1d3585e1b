"""Pushing: what is sent, to whom, in how many calls, and what is said of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagster_project.destinations.hubspot import HubspotError, MissingToken, Plan, make_plan, push
from dagster_project.destinations.hubspot.api import Api
from dagster_project.destinations.parts.errors import DestinationError
from dagster_project.standins.hubspot import Emulator, Fault, Limits, Options
from dagster_project.standins.hubspot.batches import Batches, Outcome
from dagster_project.standins.hubspot.errors import RowError

from .desk import Desk

SEEN = "2026-03-01 10:00:00"


def people(number: int, more: int = 5) -> str:
    return f"""SELECT 'u' || i AS user_id, TIMESTAMP '2026-03-01' AS last_seen_at, 'user' || i || '@example.com' AS email,
               {more} + i AS api_calls FROM range({number}) t(i)"""


def firms(number: int) -> str:
    return f"""SELECT 'c' || i AS company_id, TIMESTAMP '2026-03-01' AS last_seen_at, 'firm' || i || '.example' AS domain,
               i AS api_calls FROM range({number}) t(i)"""


def person(name: str, calls: int | None = 1, **more: Any) -> dict[str, Any]:
    return {"user_id": name, "last_seen_at": SEEN, "email": f"{name}@example.com", "api_calls": calls, **more}


def firm(name: str, calls: int | None = 1, **more: Any) -> dict[str, Any]:
    return {"company_id": name, "last_seen_at": SEEN, "domain": f"{name}.example", "api_calls": calls, **more}


def by_key(hub: Emulator, kind: str, key: str) -> list[dict[str, str]]:
    return [
        r
        for r in hub.store.snapshot(kind).values()
        if r.get("email" if kind == "contacts" else "domain") == key
    ]


def reasons(desk: Desk) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in desk.table("ops.hubspot_skips")}


def test_first_push_makes_the_calls_that_the_plan_said_and_the_second_none(desk: Desk, hub: Emulator) -> None:
    for i in range(120):
        hub.store.put("contacts", {"email": f"user{i}@example.com"})
    hub.store.put("companies", {"domain": "firm3.example"})
    desk.contacts(people(350))
    desk.companies(firms(150))
    plan = desk.plan()
    assert (plan.counts["contacts"].creates, plan.counts["contacts"].updates) == (230, 120)
    assert (plan.counts["companies"].creates, plan.counts["companies"].updates) == (149, 1)
    assert plan.calls == 3 + 2 + 2 + 1
    hub.forget_calls()
    result = desk.push()
    assert len(hub.writes) == plan.calls == result.write_calls
    assert result.digest == plan.digest
    assert result.exit_status == 0
    assert (result.objects["contacts"].created, result.objects["contacts"].updated) == (230, 120)
    assert {r["email"]: r["api_calls"] for r in hub.store.snapshot("contacts").values()} == {
        f"user{i}@example.com": str(5 + i) for i in range(350)
    }
    assert len(hub.store.snapshot("companies")) == 150
    assert desk.ledger()["user7@example.com", "api_calls"] == "12"
    hub.forget_calls()
    again = desk.push()
    assert not hub.writes
    assert again.total.planned == 0
    assert again.objects["contacts"].unchanged == 350
    assert {call.operation for call in hub.calls} == {"account.details", "properties.list"}


def test_one_changed_field_is_one_call_with_one_field(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_users", "number")
    columns = {"api_calls": "BIGINT", "api_users": "BIGINT"}
    rows = [person(f"p{i}", i, api_users=1) for i in range(120)]
    desk.contacts(rows, **columns)
    desk.push()
    rows[7]["api_calls"] = 99
    desk.contacts(rows, **columns)
    plan = desk.plan()
    assert [(row.key, row.property, row.old, row.new) for row in plan.rows()] == [
        ("p7@example.com", "api_calls", "7", "99")
    ]
    assert plan.calls == 1
    before = hub.store.snapshot("contacts")
    hub.forget_calls()
    result = desk.push()
    assert [(call.operation, call.inputs) for call in hub.writes] == [("contacts.batch_update", 1)]
    assert result.total.updated == 1
    after = hub.store.snapshot("contacts")
    changed = {key for key in after if after[key] != before[key]}
    assert [after[key]["api_calls"] for key in changed] == ["99"]


def test_null_is_never_sent_and_clears_nothing(desk: Desk, hub: Emulator) -> None:
    hub.store.put("contacts", {"email": "a@example.com", "api_calls": "7"})
    desk.contacts([person("a", None), person("b", None)])
    result = desk.push()
    assert by_key(hub, "contacts", "a@example.com") == [{"email": "a@example.com", "api_calls": "7"}]
    assert by_key(hub, "contacts", "b@example.com") == [{"email": "b@example.com"}]
    assert result.total.created == 1
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def test_of_two_profiles_with_one_key_the_one_seen_last_is_sent(desk: Desk, hub: Emulator) -> None:
    desk.contacts(
        [
            person("old", 1, email="same@example.com", last_seen_at="2026-01-01"),
            person("new", 2, email=" Same@Example.com ", last_seen_at="2026-02-01"),
            person("never", 3, email="same@example.com", last_seen_at=None),
            person("nokey", 4, email=None),
            person("blank", 5, email="  "),
        ]
    )
    result = desk.push()
    assert by_key(hub, "contacts", "same@example.com")[0]["api_calls"] == "2"
    assert reasons(desk) == {
        "old": "duplicate_key",
        "never": "duplicate_key",
        "nokey": "no_key",
        "blank": "no_key",
    }
    assert (result.total.planned, result.total.skipped, result.exit_status) == (5, 4, 0)


def test_a_domain_of_several_companies_is_ambiguous_until_that_is_put_in_order(
    desk: Desk, hub: Emulator
) -> None:
    first, second = (hub.store.put("companies", {"domain": "acme.example"}) for _ in range(2))
    desk.companies([firm("acme"), firm("beta")])
    result = desk.push()
    assert reasons(desk) == {"acme": "ambiguous"}
    assert result.total.created == 1
    assert all("api_calls" not in r for r in by_key(hub, "companies", "acme.example"))
    hub.forget_calls()
    desk.push()
    assert "companies.list" not in {call.operation for call in hub.calls}  # only the two are read
    hub.store.merge("companies", first, second)
    desk.push()
    assert by_key(hub, "companies", "acme.example")[0]["api_calls"] == "1"
    assert reasons(desk) == {}


def test_additional_emails_and_domains_match_and_the_primary_stays(desk: Desk, hub: Emulator) -> None:
    hub.store.put(
        "contacts", {"email": "main@example.com", "hs_additional_emails": "a@example.com;x@example.com"}
    )
    hub.store.put(
        "companies", {"domain": "main.example", "hs_additional_domains": "alpha.example; www.Beta.example"}
    )
    desk.contacts([person("a", 3)])
    desk.companies([firm("beta", 4)])
    result = desk.push()
    assert (result.total.created, result.total.updated) == (0, 2)
    assert by_key(hub, "contacts", "main@example.com")[0]["api_calls"] == "3"
    assert by_key(hub, "companies", "main.example")[0]["api_calls"] == "4"
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def test_two_profiles_of_one_hubspot_record_count_as_one_key(desk: Desk, hub: Emulator) -> None:
    hub.store.put("contacts", {"email": "main@example.com", "hs_additional_emails": "a@example.com"})
    desk.contacts([person("a", 3, last_seen_at="2026-02-02"), person("main", 4)])
    desk.push()
    assert by_key(hub, "contacts", "main@example.com")[0]["api_calls"] == "4"
    assert reasons(desk) == {"a": "same_record"}


def test_profiles_that_take_turns_on_one_record_are_told_anew_each_time(desk: Desk, hub: Emulator) -> None:
    hub.store.put("contacts", {"email": "main@example.com", "hs_additional_emails": "a@example.com"})
    for name, calls in (("a", 3), ("main", 4), ("a", 3), ("main", 4)):
        desk.contacts([person(name, calls)])
        desk.push()
        assert by_key(hub, "contacts", "main@example.com")[0]["api_calls"] == str(calls)


def test_an_account_that_hubspot_does_not_tell_of_and_no_headers(
    desk: Desk, make_hub: Callable[..., Emulator]
) -> None:
    hub = make_hub(limits=Limits(rolling=None, daily=None, search_per_second=None))
    hub.store.add_property("contacts", "api_calls", "number")
    hub.faults.add(Fault("status", path="account-info", status=404, every=1))
    desk.contacts(people(120))
    desk.with_settings(portal_id=1)
    assert desk.push().total.created == 120
    hub.forget_calls()
    assert desk.push().portal_id == 1
    assert not hub.writes


def test_many_contacts_are_read_by_email_also_additional_ones(desk: Desk, hub: Emulator) -> None:
    for i in range(250):
        hub.store.put("contacts", {"email": f"other{i}@example.com"})
    hub.store.put("contacts", {"email": "main@example.com", "hs_additional_emails": "user5@example.com"})
    desk.contacts(people(30))
    result = desk.push()
    assert (result.total.created, result.total.updated) == (29, 1)
    assert hub.totals["operation.contacts.batch_read"] == 1
    assert by_key(hub, "contacts", "main@example.com")[0]["api_calls"] == "10"


def test_ids_from_a_crm_export_are_looked_at_once(desk: Desk, hub: Emulator) -> None:
    company = hub.store.put("companies", {"domain": "acme.example"})
    contact = hub.store.put(
        "contacts", {"email": "main@example.com", "hs_additional_emails": "a@example.com"}
    )
    desk.companies([firm("acme", 4)])
    desk.contacts([person("a", 3)])
    desk.export("companies", (company, "acme.example", "{}"))
    desk.export(
        "contacts", (contact, "main@example.com", '{"Additional email addresses": "x@y.z; A@example.com"}')
    )
    result = desk.push()
    assert result.total.updated == 2
    assert {call.operation for call in hub.calls} == {
        "account.details",
        "properties.list",
        "companies.batch_read",
        "contacts.batch_read",
        "companies.batch_update",
        "contacts.batch_update",
    }
    desk.companies([firm("acme", 5)])
    hub.forget_calls()
    desk.push()
    assert {call.operation for call in hub.calls} == {
        "account.details",
        "properties.list",
        "companies.batch_update",
    }


def test_a_deleted_record_is_rejected_once_and_not_made_anew(desk: Desk, hub: Emulator) -> None:
    desk.contacts(people(3))
    desk.companies([firm("acme")])
    desk.push()
    gone = {r["key"]: r["hubspot_id"] for r in desk.table("ops.hubspot_ledger")}
    hub.store.archive(hub.store.contacts, gone["user1@example.com"])
    hub.store.archive(hub.store.companies, gone["acme.example"])
    desk.contacts(people(3, more=50))
    desk.companies([firm("acme", 70)])
    result = desk.push()
    assert (result.total.acknowledged, result.total.rejected, result.exit_status) == (2, 2, 0)
    assert {(r["key"], r["code"], r["property"]) for r in desk.table("ops.hubspot_rejects")} == {
        ("user1@example.com", "OBJECT_NOT_FOUND", None),
        ("acme.example", "OBJECT_NOT_FOUND", None),
    }
    assert len(hub.store.snapshot("contacts")) == 2
    hub.forget_calls()
    desk.push()
    assert not hub.writes
    desk.with_settings(recreate_deleted=True)
    result = desk.push()
    assert result.total.created == 2
    assert by_key(hub, "contacts", "user1@example.com")[0]["api_calls"] == "51"
    assert by_key(hub, "companies", "acme.example")[0]["api_calls"] == "70"
    assert not desk.table("ops.hubspot_rejects")
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def test_a_deleted_contact_that_was_made_again_by_somebody_is_found_by_its_email(
    desk: Desk, hub: Emulator
) -> None:
    hub.store.add_property("contacts", "api_users", "number")
    columns = {"api_calls": "BIGINT", "api_users": "BIGINT"}
    desk.contacts([person("a", 1, api_users=8)], **columns)
    desk.push()
    (old,) = hub.store.snapshot("contacts")
    hub.store.archive(hub.store.contacts, old)
    hub.store.put("contacts", {"email": "a@example.com"})
    desk.contacts([person("a", 2, api_users=8)], **columns)
    result = desk.push()
    assert result.total.updated == 1
    assert by_key(hub, "contacts", "a@example.com") == [
        {"email": "a@example.com", "api_calls": "2", "api_users": "8"}
    ]
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def test_after_a_merge_the_record_that_is_left_holds_everything(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_users", "number")
    columns = {"api_calls": "BIGINT", "api_users": "BIGINT"}
    desk.contacts([person("a", 1, api_users=8), person("b", 5, api_users=9)], **columns)
    desk.push()
    ids = {r["email"]: key for key, r in hub.store.snapshot("contacts").items()}
    other = hub.store.put("contacts", {"email": "other@example.com", "api_users": "1"})
    hub.store.merge("contacts", other, ids["a@example.com"])
    desk.contacts([person("a", 2, api_users=8), person("b", 6, api_users=9)], **columns)
    result = desk.push()
    assert result.total.acknowledged == 2
    left = hub.store.snapshot("contacts")[other]
    assert (left["api_calls"], left["api_users"]) == ("2", "8")
    assert {r["hubspot_id"] for r in desk.table("ops.hubspot_ledger") if r["key"] == "a@example.com"} == {
        other
    }
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def test_when_two_of_ours_are_merged_the_one_seen_last_stays(desk: Desk, hub: Emulator) -> None:
    desk.contacts([person("a", 1), person("b", 5, last_seen_at="2026-03-09")])
    desk.push()
    ids = {r["email"]: key for key, r in hub.store.snapshot("contacts").items()}
    hub.store.merge("contacts", ids["b@example.com"], ids["a@example.com"])
    desk.contacts([person("a", 2), person("b", 5, last_seen_at="2026-03-09")])
    desk.push()
    assert [r["api_calls"] for r in hub.store.snapshot("contacts").values()] == ["5"]
    hub.forget_calls()
    desk.push()
    assert not hub.writes
    assert reasons(desk) == {"a": "same_record"}


def test_an_empty_list_clears_only_what_the_push_had_set(desk: Desk, hub: Emulator) -> None:
    options = [{"label": c, "value": c} for c in ("near_quota", "quiet")]
    hub.store.add_property("companies", "api_cohorts", "enumeration", fieldType="checkbox", options=options)
    hub.store.put("companies", {"domain": "typed.example", "api_cohorts": "quiet"})
    columns = {"api_cohorts": "VARCHAR[]"}

    def rows(*cohorts: str) -> list[dict[str, Any]]:
        return [
            {
                "company_id": "acme",
                "last_seen_at": SEEN,
                "domain": "acme.example",
                "api_cohorts": list(cohorts),
            },
            {"company_id": "typed", "last_seen_at": SEEN, "domain": "typed.example", "api_cohorts": []},
        ]

    desk.companies(rows("quiet", "near_quota"), **columns)
    desk.push()
    assert by_key(hub, "companies", "acme.example")[0]["api_cohorts"] == "near_quota;quiet"
    desk.companies(rows(), **columns)
    desk.push()
    assert "api_cohorts" not in by_key(hub, "companies", "acme.example")[0]
    assert by_key(hub, "companies", "typed.example")[0]["api_cohorts"] == "quiet"
    hub.forget_calls()
    desk.push()
    assert not hub.writes


def test_the_account_guard_refuses_any_other_account(desk: Desk, hub: Emulator) -> None:
    desk.contacts(people(1))
    desk.with_settings(portal_id=999)
    with pytest.raises(HubspotError, match="999"):
        desk.push()
    assert not hub.writes
    desk.with_settings(portal_id=4_242_424)
    assert desk.push().portal_id == 4_242_424


def test_another_account_has_a_ledger_of_its_own(desk: Desk, make_hub: Callable[..., Emulator]) -> None:
    desk.contacts(people(2))
    for portal_id in (1, 2):
        hub = make_hub(portal_id=portal_id)
        hub.store.add_property("contacts", "api_calls", "number")
        assert desk.push().total.created == 2


def test_without_a_token_the_plan_is_offline_and_the_push_names_the_variable(
    desk: Desk, hub: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.contacts(people(3))
    desk.push()
    desk.contacts(people(4))
    monkeypatch.delenv("HUBSPOT_ACCESS_TOKEN")
    hub.forget_calls()
    plan = make_plan(desk.settings)
    assert plan.offline
    assert next((row.action, row.key) for row in plan.rows()) == ("create", "user3@example.com")
    for live in (True, False):
        with pytest.raises(MissingToken, match="HUBSPOT_ACCESS_TOKEN"):
            push(desk.settings, live=live)
    assert not hub.calls


def test_a_rehearsal_writes_nothing(desk: Desk, hub: Emulator) -> None:
    desk.contacts(people(3))
    result = push(desk.settings, live=False)
    assert (result.live, result.total.planned, result.write_calls) == (False, 3, 1)
    assert not hub.writes
    assert not desk.table("ops.hubspot_pushes", published=False)


def test_the_digest_is_that_of_the_writes(desk: Desk, hub: Emulator) -> None:
    desk.contacts(people(30))
    first = desk.plan()
    assert first.digest == desk.plan().digest
    int(first.digest, 16)
    desk.contacts(people(30, more=6))
    assert desk.plan().digest != first.digest
    with pytest.raises(DestinationError, match="changed"):
        desk.push(digest=first.digest)
    assert not hub.writes


def test_plan_shows_skips_and_frees_its_file(desk: Desk, hub: Emulator) -> None:
    desk.contacts([person("a"), person("b", email=None)])
    plan = desk.plan()
    assert [(skip.id, skip.reason) for skip in plan.skips] == [("b", "no_key")]
    plan.close()
    assert not list((desk.settings.data / "tmp").glob("plan-*"))


def test_oauth_fetches_a_token_and_a_new_one_when_it_ends(
    desk: Desk, hub: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.contacts(people(150))
    monkeypatch.delenv("HUBSPOT_ACCESS_TOKEN")
    for name, secret in zip(
        ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN"),
        ("client-id", "client-secret", "refresh-token"),
        strict=True,
    ):
        monkeypatch.setenv(f"HUBSPOT_{name}", secret)
    expired = False

    def tell(_: str) -> None:
        nonlocal expired
        if not expired and hub.calls:
            hub.access.expire_oauth()
            expired = True

    assert desk.push(tell=tell).total.created == 150
    assert hub.totals["operation.oauth.token"] == 2


def test_oauth_tokens_that_end_early_are_fetched_again(
    desk: Desk, hub: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.contacts(people(50))
    monkeypatch.delenv("HUBSPOT_ACCESS_TOKEN")
    for name, secret in (
        ("CLIENT_ID", "client-id"),
        ("CLIENT_SECRET", "client-secret"),
        ("REFRESH_TOKEN", "refresh-token"),
    ):
        monkeypatch.setenv(f"HUBSPOT_{name}", secret)
    fetch, fetched = Api._fetch_token, []

    def ends_early(api: Api) -> Any:
        fetched.append(fetch(api))
        if len(fetched) < 3:
            hub.access.expire_oauth()
        return fetched[-1]

    monkeypatch.setattr(Api, "_fetch_token", ends_early)
    assert desk.push().total.created == 50
    assert len(fetched) == 3


def test_a_token_that_hubspot_does_not_know_is_an_error_for_people(
    desk: Desk, hub: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.contacts(people(1))
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-wrong")
    with pytest.raises(HubspotError, match="does not accept the access token"):
        desk.push()


@pytest.mark.parametrize(
    "options",
    [
        Options(partial_status="declared", search_lag=3600),
        Options(update_invalid="multi_status", search_lag=3600),
        Options(full_errors=False, first_error_only=False, search_lag=3600),
        Options(json_scalars=True, search_lag=3600),
    ],
)
def test_whatever_way_hubspot_says_it(
    desk: Desk, make_hub: Callable[..., Emulator], options: Options
) -> None:
    hub = make_hub(options=options)
    for name in ("api_calls", "api_limited"):
        hub.store.add_property("contacts", name, "number")
    _limit(hub)
    for i in range(0, 120, 2):
        hub.store.put("contacts", {"email": f"p{i}@example.com"})
    rows = [person(f"p{i}", i, api_limited=1000 if i in (3, 40) else 1) for i in range(120)]
    desk.contacts(rows, api_calls="BIGINT", api_limited="BIGINT")
    result = desk.push()
    assert (result.total.acknowledged, result.total.rejected) == (120, 0)
    assert {(r["id"], r["property"], r["value"]) for r in desk.table("ops.hubspot_rejects")} == {
        ("p3", "api_limited", "1000"),
        ("p40", "api_limited", "1000"),
    }
    assert by_key(hub, "contacts", "p3@example.com")[0]["api_calls"] == "3"
    assert "api_limited" not in by_key(hub, "contacts", "p3@example.com")[0]


def test_errors_that_name_no_record_are_tracked_down(
    desk: Desk, make_hub: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_row = RowError.as_row

    def nameless(self: RowError, *given: Any) -> dict[str, Any]:
        return {**as_row(self, *given), "context": {}}

    monkeypatch.setattr(RowError, "as_row", nameless)
    hub = make_hub(options=Options(update_invalid="multi_status", search_lag=3600))
    for name in ("api_calls", "api_limited"):
        hub.store.add_property("contacts", name, "number")
    _limit(hub)
    for i in range(0, 200, 2):
        hub.store.put("contacts", {"email": f"p{i}@example.com"})
    rows = [person(f"p{i}", i, api_limited=1000 if i in (3, 40, 41, 42) else 1) for i in range(200)]
    desk.contacts(rows, api_calls="BIGINT", api_limited="BIGINT")
    result = desk.push()
    assert (result.total.acknowledged, result.unknown, result.exit_status) == (200, 0, 0)
    assert {row["id"] for row in desk.table("ops.hubspot_rejects")} == {"p3", "p40", "p41", "p42"}
    assert len(hub.writes) < 60
    hub.forget_calls()
    assert desk.push().total.planned == 0
    assert not hub.writes


def test_results_that_tell_nothing_but_an_id(
    desk: Desk, hub: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the examples of HubSpot's guides: which record is which has to be looked up."""
    carry_out = Batches._carry_out

    def bare(*given: Any, **more: Any) -> Outcome:
        outcome = carry_out(*given, **more)
        outcome.results = [{"id": one["id"], "properties": {}} for one in outcome.results]
        return outcome

    monkeypatch.setattr(Batches, "_carry_out", bare)
    desk.contacts(people(250))
    desk.companies(firms(250))
    result = desk.push()
    assert (result.total.created, result.exit_status) == (500, 0)
    assert result.write_calls == 6
    for kind in ("contacts", "companies"):
        assert len(hub.store.snapshot(kind)) == 250
    assert desk.push().write_calls == 0


def test_after_a_crash_plan_and_push_agree(desk: Desk, hub: Emulator) -> None:
    class Killed(BaseException):
        pass

    def tell(message: str) -> None:
        if message.startswith("sending"):
            raise Killed

    desk.contacts(people(450))
    hub.faults.add(Fault("cut", operation="contacts.batch_create", when="after"))
    with pytest.raises(Killed):
        desk.push(tell=tell)
    hub.forget_calls()
    plan = desk.plan()
    assert not hub.writes
    result = desk.push(digest=plan.digest)
    assert result.write_calls == plan.calls
    assert len(hub.store.snapshot("contacts")) == 450


def test_contacts_that_appear_meanwhile_are_updated_without_a_read_each(desk: Desk, hub: Emulator) -> None:
    desk.contacts(people(150))

    def somebody_imports_them(_: Plan) -> None:
        for i in range(150):
            hub.store.put("contacts", {"email": f"user{i}@example.com"})

    result = desk.push(show=somebody_imports_them)
    assert (result.total.acknowledged, result.total.rejected) == (150, 0)
    assert len(hub.store.snapshot("contacts")) == 150
    assert by_key(hub, "contacts", "user7@example.com")[0]["api_calls"] == "12"
    assert hub.totals["operation.contacts.batch_read"] <= 2


def _limit(hub: Emulator) -> None:
    """A rule of the account's own, which no preflight knows of."""
    from dagster_project.standins.hubspot.schema import Rule

    hub.store.contacts.schema.set_rule("api_limited", Rule("MAX_NUMBER", ("100",), False))


@pytest.mark.parametrize("answers", ["whole_call", "multi_status"])
def test_many_refused_values_in_a_row_are_no_fault_of_the_column(
    desk: Desk, make_hub: Callable[..., Emulator], answers: Any
) -> None:
    hub = make_hub(options=Options(update_invalid=answers, search_lag=3600))
    for name in ("api_calls", "api_limited"):
        hub.store.add_property("contacts", name, "number")
    for i in range(40):
        hub.store.put("contacts", {"email": f"p{i}@example.com"})
    _limit(hub)
    rows = [person(f"p{i}", i, api_limited=1000) for i in range(40)]
    desk.contacts(rows, api_calls="BIGINT", api_limited="BIGINT")
    result = desk.push()
    assert (result.total.acknowledged, result.exit_status, result.left_out) == (40, 0, [])
    assert len(desk.table("ops.hubspot_rejects")) == 40


def test_a_refused_value_is_tried_again_when_it_or_the_definition_changes(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_limited", "number")
    hub.store.put("contacts", {"email": "a@example.com"})
    _limit(hub)
    columns = {"api_calls": "BIGINT", "api_limited": "BIGINT"}
    desk.contacts([person("a", 1, api_limited=500)], **columns)
    desk.push()
    (reject,) = desk.table("ops.hubspot_rejects")
    assert (reject["code"], reject["attempts"]) == ("VALIDATION_RULE_FAILED", 1)
    assert reject["hubspot_id"] in hub.store.snapshot("contacts")
    assert "MAX_NUMBER" in reject["message"]
    assert reject["correlation_id"]
    hub.forget_calls()
    desk.push()
    assert not hub.writes
    assert len(desk.table("ops.hubspot_rejects")) == 1
    desk.contacts([person("a", 1, api_limited=50)], **columns)
    desk.push()
    assert by_key(hub, "contacts", "a@example.com")[0]["api_limited"] == "50"
    assert not desk.table("ops.hubspot_rejects")


def test_a_column_of_which_hubspot_takes_nothing_is_left_out_soon(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_limited", "number")
    _limit(hub)
    rows = [person(f"p{i}", i, api_limited=1000 + i) for i in range(1000)]
    desk.contacts(rows, api_calls="BIGINT", api_limited="BIGINT")
    result = desk.push()
    assert result.total.acknowledged == 1000
    assert [(one.column, one.object) for one in result.left_out] == [("api_limited", "contacts")]
    assert result.exit_status == 1
    assert hub.totals["writes"] < 120


def test_a_property_that_vanishes_during_the_push_costs_one_call(desk: Desk, hub: Emulator) -> None:
    hub.store.add_property("contacts", "api_gone", "number")
    desk.contacts([person(f"p{i}", i, api_gone=1) for i in range(300)], api_calls="BIGINT", api_gone="BIGINT")

    def tell(message: str) -> None:
        if message.startswith("looking up") or message.startswith("listing"):
            hub.store.contacts.schema.archive("api_gone", hub.store.now())

    result = desk.push(tell=tell)
    assert result.total.acknowledged == 300
    assert "api_gone" in {one.column for one in result.left_out}
    assert hub.totals["writes"] <= 3 + 2 * 3


def test_one_bad_record_does_not_sink_its_neighbours(desk: Desk, make_hub: Callable[..., Emulator]) -> None:
    hub = make_hub()
    hub.store.add_property("contacts", "api_calls", "number")
    hub.store.add_property("contacts", "api_key", "string", hasUniqueValue=True)
    hub.store.put("contacts", {"email": "holder@example.com", "api_key": "k50"})
    for i in range(100):
        hub.store.put("contacts", {"email": f"p{i}@example.com"})
    rows = [person(f"p{i}", i, api_key=f"k{i}") for i in range(100)]
    desk.contacts(rows, api_calls="BIGINT", api_key="VARCHAR")
    hub.forget_calls()
    result = desk.push()
    assert (result.total.acknowledged, result.total.rejected) == (100, 0)
    (reject,) = desk.table("ops.hubspot_rejects")
    assert (reject["id"], reject["property"], reject["code"]) == ("p50", "api_key", "CONFLICT")
    assert len(hub.writes) < 20
