"""Records that the warehouse rejects, repairs or counts as duplicates, with what is to become of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from .actions import make_action
from .calls import Call, node_event, python_event
from .companies import CRM_TWIN, DAY_FEATURE_CSV, LONG_PAIR, Record, format_of, make_days, seeded, stretch
from .crm import crm_company_row
from .features import FEATURE_COLUMNS, csv_lines
from .records import moment_of, node_json, node_time, python_json, random_id
from .updates import python_update


class Dirt(NamedTuple):
    """One line of a raw file that is not as it should be.

    `outcomes` has one entry per record in the line: a reason of ops.rejects, `duplicate`, `repaired`,
    `conflict` (a metadata value is dropped), or `loaded` (it only keeps the others company).
    """

    source: str
    kind: str  # jsonl or csv
    day: int  # index of the day in whose folder it lies; -1: the file without a folder
    text: bytes
    outcomes: tuple[str, ...]
    note: str


_FAKE_AUTH = "Bearer FAKE-not-a-real-token-0001"
_FAKE_COOKIE = "sid=FAKE-not-a-real-cookie-0002; theme=dark"


def _line_day(day_of_fortnight: int, days: int) -> int:
    """The day of the stories, or the next whose events are in lines: other formats hold no broken record."""
    index = stretch(day_of_fortnight, days)
    while index < days - 1 and not format_of(index, days).startswith("jsonl"):
        index += 1
    return index


def _with_credentials(event: Record) -> Record:
    """The same event with the two headers that must never be stored; first, so that a cut keeps them."""
    request = dict(event["request"])
    request["headers"] = {"Authorization": _FAKE_AUTH, "Cookie": _FAKE_COOKIE, **request["headers"]}
    return {**event, "request": request}


def _with_request(event: Record, **changes: Any) -> Record:
    return {**event, "request": {**event["request"], **changes}}


def _event_dirt(days: Sequence[date]) -> Iterator[Dirt]:
    rng = seeded(0, "dirt")  # the same whatever the seed: what tests count on

    def put(day: int, text: bytes, outcomes: str, note: str) -> Dirt:
        return Dirt("events", "jsonl", _line_day(day, len(days)), text, tuple(outcomes.split()), note)

    def call(day: int, seconds: int) -> Call:
        at = moment_of(days[_line_day(day, len(days))], seconds)
        ids = (CRM_TWIN, "usr_wrenloft_1", None)
        return Call(at, "POST", "/v1/labels", 201, *ids, random_id(rng), "192.0.2.77", "node", 30, 7)

    def node(day: int, seconds: int) -> Record:
        return node_event(call(day, seconds))

    def python(day: int, seconds: int) -> Record:
        return python_event(call(day, seconds)._replace(path="/v2/forecasts"))

    cut = node_json(_with_credentials(node(0, 36_000)))
    yield put(0, cut[:-60], "bad_json", "a line that was cut short, with credentials in it")
    yield put(12, repr(_with_credentials(node(12, 36_100))).encode(), "bad_json", "a Python dict, not JSON")
    yield put(7, b'"heartbeat"', "not_object", "text")
    yield put(12, b"[" + python_json(python(12, 36_150)) + b", 7]", "loaded not_object", "a batch with a 7")
    untimed = _with_credentials(node(0, 36_200))
    untimed["request"].pop("time")
    yield put(0, node_json(untimed), "bad_time", "no request.time, with credentials")
    yield put(2, node_json(_with_request(node(2, 36_300), time="yesterday at noon")), "bad_time", "words")
    yield put(
        13, node_json(_with_request(node(13, 36_400), time="2026-02-30T10:00:00Z")), "bad_time", "no day"
    )
    yield put(13, python_json({**python(13, 36_450), "request": None}), "bad_time", "request is null")
    later = node_time(moment_of(days[_line_day(12, len(days))] + timedelta(days=5), 36_000))
    ahead = _with_credentials(_with_request(node(12, 36_500), time=later))
    yield put(12, node_json(ahead), "future", "a clock five days ahead, with credentials")

    batch = python_json([python(7, 36_600 + n) for n in range(3)])
    yield put(7, batch, "loaded loaded loaded", "a batch")
    yield put(7, batch, "duplicate duplicate duplicate", "the same batch again, as the SDK resends it")
    original = node(13, 36_700)
    key = original["request"]["headers"]["x-moesif-transaction-id"]
    yield put(13, node_json(original), "loaded", "an event")
    again = _with_request(original, headers={"X-Moesif-Transaction-Id": key})
    yield put(13, node_json(again), "duplicate", "its key in another spelling of the header")
    yield put(13, python_json({**python(13, 36_800), "transaction_id": key}), "duplicate", "its key as id")

    nan = python_json(_with_request(python(12, 36_900), body={"score": float("nan"), "top": float("inf")}))
    yield put(12, nan, "repaired", "bare NaN and Infinity in a body")
    huge = node_json(_with_request(node(12, 36_950), body={"score": "HUGE"})).replace(b'"HUGE"', b"1e999")
    yield put(12, huge, "repaired", "a number beyond all floats")
    half = python_json(_with_request(python(13, 37_000), body={"text": "half of an emoji: \ud83d"}))
    yield put(13, half, "repaired", "a lone surrogate in a body")
    latin = node_json(_with_request(node(7, 37_100), body={"text": "caf#"})).replace(b"#", b"\xe9")
    yield put(7, latin, "repaired", "a byte that is not UTF-8")

    yield put(0, node_json(_with_credentials(node(0, 37_200))), "loaded", "credentials in a good record")
    yield put(13, node_json({**node(13, 37_300), "weight": 0}), "loaded", "weight 0 counts as 1")
    yield put(13, node_json({**node(13, 37_400), "response": None}), "loaded", "no response")
    text_status = {**node(13, 37_500), "response": {"status": "200"}}
    yield put(13, node_json(text_status), "loaded", "a status that is text")


def _action_dirt(days: Sequence[date]) -> Iterator[Dirt]:
    def put(day: int, text: bytes, outcome: str, note: str) -> Dirt:
        return Dirt("actions", "jsonl", stretch(day, len(days)), text, (outcome,), note)

    def action(day: int, **request: Any) -> Record:
        at = node_time(moment_of(days[stretch(day, len(days))], 43_200))
        return make_action("Read Docs", {"time": at, **request}, CRM_TWIN, "usr_wrenloft_1", {"position": 1})

    yield put(1, node_json(action(1))[:-9], "bad_json", "a line that was cut short")
    yield put(3, b"null", "not_object", "null")
    yield put(5, node_json(action(5, time="soon")), "bad_time", "words")
    ahead = node_time(moment_of(days[stretch(8, len(days))] + timedelta(days=4), 0))
    yield put(8, node_json(action(8, time=ahead)), "future", "a clock four days ahead")
    twice = node_json({"transaction_id": "00000000-0000-4000-8000-000000000077", **action(9)})
    yield put(9, twice, "loaded", "an action with an id")
    yield put(9, twice, "duplicate", "the same action again")


def _update_dirt(days: Sequence[date]) -> Iterator[Dirt]:
    def put(source: str, text: bytes, outcome: str, note: str, day: int = 9) -> Dirt:
        return Dirt(source, "jsonl", stretch(day, len(days)), text, (outcome,), note)

    def company(**given: Any) -> bytes:
        return node_json({"company_id": CRM_TWIN, "modified_time": None, **given, "campaign": {}})

    def user(**given: Any) -> bytes:
        return python_json(python_update(user_id="usr_wrenloft_1", **given))

    yield put("companies", b'{"company_id":"cmp_wrenloft","metadata":{"mrr":', "bad_json", "cut short")
    yield put("companies", b'["cmp_wrenloft"]', "not_object", "text in a batch")
    yield put("companies", company(company_id="  ", metadata={"mrr": 1}), "missing_id", "a blank id")
    yield put("companies", company(company_id=42.5, metadata={"mrr": 1}), "missing_id", "a float for an id")
    yield put("companies", company(metadata="enterprise"), "repaired", "metadata_not_object: text")
    yield put("companies", company(metadata=["a", "b"]), "repaired", "metadata_not_object: a list")
    ahead = node_time(moment_of(days[stretch(9, len(days))] + timedelta(days=10), 0))
    yield put("companies", company(modified_time=ahead), "repaired", "a modified_time ten days ahead")
    both = {"plan.name": "Growth", "plan_name": "Scale"}
    yield put("companies", company(metadata=both), "repaired", "two keys that are one without dots")
    nan = python_json(python_update(company_id=CRM_TWIN, metadata={"health.score": float("nan")}))
    yield put("companies", nan, "repaired", "bare NaN in metadata")
    yield put("companies", company(metadata={"mrr": "24k"}), "conflict", "mrr is a number, not text")
    tags = {"tags": "eu, beta", "demographics": {"employees": "about 40", "industry": "Design"}}
    yield put("companies", company(metadata=tags), "conflict", "tags is an array, employees a number")

    yield put("users", b'{"user_id":"usr_wrenloft_1",}', "bad_json", "a comma too many")
    yield put("users", b"true", "not_object", "true")
    yield put("users", python_json(python_update(user_id=None, metadata={})), "missing_id", "id is null")
    yield put("users", user(metadata=17), "repaired", "metadata_not_object: a number")
    yield put("users", user(metadata={"title": "Buyer \udc00"}), "repaired", "a lone surrogate")
    yield put("users", user(metadata={"phone": 2025550177}), "conflict", "phone is text, not a number")
    yield put("users", user(metadata={"prefs": ["de"]}), "conflict", "prefs is an object, not an array")

    def subscription(**given: Any) -> bytes:
        return node_json({"subscription_id": "sub_wrenloft", "company_id": CRM_TWIN, **given})

    yield put(
        "subscriptions", subscription(subscription_id=None, status="active"), "missing_id", "id is null"
    )
    yield put("subscriptions", subscription(current_period_end="soon"), "repaired", "an end that is no time")
    text = {"quota_calls": "two thousand"}
    yield put("subscriptions", subscription(metadata=text), "conflict", "quota_calls is a number, not text")


def _feature_dirt(days: Sequence[date]) -> Iterator[Dirt]:
    def event(day: int, feature: str, **given: Any) -> Record:
        at = moment_of(days[stretch(day, len(days))], 50_000)
        ids = {"account_id": CRM_TWIN, "user_id": "usr_wrenloft_1", "product_id": "Console"}
        return {**ids, "module_id": "Parcels", "feature_id": feature, "timestamp": node_time(at), **given}

    def put(day: int, text: bytes, outcome: str, note: str, kind: str = "jsonl") -> Dirt:
        return Dirt("features", kind, stretch(day, len(days)), text, (outcome,), note)

    def line(day: int, outcome: str, note: str, feature: str = "Label Printed", **given: Any) -> Dirt:
        return put(day, python_json(event(day, feature, **given)), outcome, note)

    def row(outcome: str, note: str, **given: Any) -> Dirt:
        values = {**event(DAY_FEATURE_CSV, "Label Printed"), "total": "1", **given}
        cells = [str(values.get(name, "")) for name in FEATURE_COLUMNS]
        return put(DAY_FEATURE_CSV, csv_lines(cells, [])[0], outcome, note, "csv")

    yield put(8, b'{"account_id":"cmp_wrenloft","user_id"', "bad_json", "cut short")
    yield put(8, b"[3]", "not_object", "a number in a batch")
    yield line(8, "missing_id", "no account", account_id=None)
    yield line(8, "missing_id", "a blank feature", feature_id=" ")
    yield row("missing_id", "an empty cell", user_id="")
    yield line(8, "bad_time", "words", timestamp="this morning")
    for total, note in ((-2, "negative"), (3.5, "a fraction"), ("a few", "words"), (True, "a boolean")):
        yield line(9, "bad_total", f"total is {note}", total=total)
    yield line(9, "bad_total", "total is NaN", total=float("nan"))
    yield row("repaired", "a whole number with a point", total="5.0")
    before = node_time(moment_of(days[stretch(10, len(days))] - timedelta(days=1), 50_000))
    yield line(10, "backdated", "of the day before", timestamp=before)
    before = node_time(moment_of(days[stretch(DAY_FEATURE_CSV, len(days))] - timedelta(days=3), 50_000))
    yield row("backdated", "of three days before", timestamp=before)
    after = node_time(moment_of(days[stretch(10, len(days))] + timedelta(days=2), 50_000))
    yield line(10, "future", "of two days later", timestamp=after)
    yield line(10, "loaded", "an event with an id", event_id="fe-0001")
    yield line(10, "duplicate", "the same event again", event_id="fe-0001")
    # Only the second name is news, so only its record carries the repair.
    yield line(11, "loaded", "a long name", feature=LONG_PAIR[0])
    yield line(11, "repaired", "a long name that becomes the other by the cut", feature=LONG_PAIR[1])
    yield line(11, "loaded", "one feature in two modules", module_id="Reports")


def _crm_dirt() -> Iterator[Dirt]:
    company = ["", *crm_company_row(99, "Nameless Mill", "nameless.example", None)[1:]]
    contact = ["", "Sample", "Noid", "noid@nameless.example", "", "lead", "2026-03-01 10:00"]
    for source, cells in (("crm/companies", company), ("crm/contacts", contact)):
        yield Dirt(source, "csv", -1, csv_lines(cells, [])[0], ("bad_crm_row",), "no Record ID")


def dirt(days: int, end: date) -> list[Dirt]:
    """All dirt of a period, in the order in which it is written into its files."""
    dates = make_days(days, end)
    return [
        *_event_dirt(dates),
        *_action_dirt(dates),
        *_update_dirt(dates),
        *_feature_dirt(dates),
        *_crm_dirt(),
    ]
