"""Small but nasty raw traffic: hypothesis strategies that give lists of `Night`s.

`nights()` mixes every source; `feature_nights`, `metadata_nights` and `claim_nights` stay with one matter.
What the contract leaves open is not generated, so that a difference between the warehouse and the oracle is
a fault of one of them: see `avoided` in the functions below.
"""

# ruff: noqa: DTZ001  (the contract keeps times as naive UTC)
from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from oracle import Night, OracleSettings, begins_an_array_over_lines, without_bom

Json = Any
Record = dict[str, Json]
Sources = dict[str, st.SearchStrategy[Record]]

AS_OF = date(2026, 3, 31)
FIRST_NIGHT = datetime(2026, 4, 1, 3, 30)  # the runs' clock; the nights after it are a day apart
FEATURE_SETTINGS = OracleSettings(feature_limit=4, module_limit=2)  # limits that feature_nights() reaches

# What is put into the JSON text as it is, where json.dumps cannot write it
VERBATIM = {
    "@NaN": b"NaN",
    "@Infinity": b"Infinity",
    "@-Infinity": b"-Infinity",
    "@1e999": b"1e999",
    "@5.0": b"5.0",
    "@1e0": b"1e0",
    "@7.0": b"7.0",
    "@42.0": b"42.0",
    "@503.0": b"503.0",
    "@1774951200.0": b"1774951200.0",
}
BAD_BYTE = "@byte"  # inside a string: a byte that is not UTF-8
SAME_KEY = "@again"  # behind a key: that key once more


def oneof(*values: Json) -> st.SearchStrategy[Json]:
    return st.sampled_from(values)


def rarely(
    usual: st.SearchStrategy[Json], odd: st.SearchStrategy[Json], one_in: int = 6
) -> st.SearchStrategy[Json]:
    return st.integers(1, one_in).flatmap(lambda n: odd if n == one_in else usual)


# ---------------------------------------------------------------------------------------------------------
# Ids and times

COMPANIES = oneof("acme", "Acme", 7, "7", " acme", "@7.0")
USERS = oneof("u1", "u2", "U1", 42, "@42.0")
TOKENS = oneof("t1", "t2", "t3", "t4")
SUBSCRIPTIONS = oneof("s1", "s2", 7)
ANONYMOUS = oneof("a1", "a2", "t1")
NO_ID = oneof(None, "", "  ", 1.5, True, {"id": "acme"}, ["acme"])

DAYS = oneof(*(AS_OF + timedelta(days=n) for n in (-31, -30, -29, -7, -6, -1, 0, 0, 1, 2)))
CLOCKS = oneof(
    "",
    "T00:00:00Z",
    " 12:00",
    "T23:59:59.999999Z",
    "T23:59:59.9999999Z",
    "T00:30:00+01:00",
    "T23:30:00.5-0100",
    "T23:30:00-01",
    "T03:30:00Z",
    "T03:30:00.000001",
    "t12:00:00,5z",
    " 12:00:00 UTC",
)
NO_TIMES = oneof(
    None,
    "",
    "yesterday",
    "2026-02-30",
    "2026-03-31T24:00",
    "2026-03-31T10",
    "2026-03-31T10:00UTC",
    "0001-01-01T00:00:00Z",
    "1774951200",
    0,
    {},
)
NUMBERS = oneof(1774951200, 1774864800123, 1774951200.25, "@1774951200.0")


@st.composite
def times(draw: st.DrawFn, days: st.SearchStrategy[date] = DAYS) -> Json:
    if days is DAYS and draw(st.integers(0, 9)) == 0:
        number: Json = draw(NUMBERS)
        return number
    day: date = draw(days)
    clock: str = draw(CLOCKS)
    return day.isoformat() + clock


def received(days: st.SearchStrategy[date] = DAYS) -> st.SearchStrategy[Json]:
    """A record's own `received_at`: mostly none."""
    return rarely(st.none(), st.one_of(times(days), times(days), NO_TIMES), 5)


RECEIVED = received()


def folders(days: st.SearchStrategy[date] = DAYS) -> st.SearchStrategy[str]:
    dated = days.map(lambda day: f"dt={day}/")
    nested = days.map(lambda day: f"sub/date={day}/dt=2026-13-01/dt=soon/")
    return rarely(oneof("", "", "Sub/", "é/"), st.one_of(dated, dated, nested), 3)


# ---------------------------------------------------------------------------------------------------------
# Records

TEXTS = oneof(
    "x",
    "é\u2028\u0085",
    "\N{GRINNING FACE}",
    '"quoted", \\',
    "\ud800 lone",
    f"not utf-8 {BAD_BYTE}",
    "dots.in.text",
)
BODIES = st.one_of(
    TEXTS, oneof(*VERBATIM), st.just({"k": 1, f"k{SAME_KEY}": ["@NaN", {"k": "@1e999"}]}), st.none()
)


def headers() -> st.SearchStrategy[Json]:
    name = oneof("x-moesif-transaction-id", "X-Moesif-Transaction-Id", "X-MOESIF-TRANSACTION-ID")
    value = oneof("k1", "k2", "k3", " ", None)  # avoided: two spellings in one record

    def with_secrets(pair: tuple[str, Json]) -> Json:
        return {"Authorization": "Bearer s3cret", "cookie": "sid=s3cret", pair[0]: pair[1]}

    return rarely(st.tuples(name, value).map(with_secrets), oneof(None, "none", []))


URIS = oneof(
    *(
        "https://api/x",
        "/x",
        "/x/",
        "https://u:p@h:1/users/4711/cards?k=v/8",
        "/users/17/deadbeef-1234567#9",
        "",
        7,
        None,
    ),
    *("//h/a1234567", "/12/34/ab12345678/beef1234567", "x/12", "ftp:/y/0x12345678"),
)


@st.composite
def requests(draw: st.DrawFn, *, time_needed: bool) -> Json:
    request: Record = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "headers": headers(),
                "body": BODIES,
                "uri": URIS,
                "verb": oneof("GET", "POST", "get", 5, None),
            },
        )
    )
    if time_needed or draw(st.booleans()):
        request["time"] = draw(rarely(times(), NO_TIMES, 30))
    return request


ANSWERED = rarely(times(), NO_TIMES, 8)
STATUSES = oneof("@503.0", 200, 204, 299, 301, 400, 404, 429, 500, 503, "200", 200.5, None, True, 2**40)
WEIGHTS = rarely(oneof(1, 2, 10, "@5.0"), oneof(None, 0, -1, 2.5, "3", True, 2**53, 2**53 + 1, 2**62), 3)


def calls() -> st.SearchStrategy[Record]:
    return st.fixed_dictionaries(
        {
            "request": rarely(requests(time_needed=True), oneof(None, "GET", {}), 20),
            "session_token": rarely(TOKENS, NO_ID, 5),
        },
        optional={
            "response": st.one_of(
                st.fixed_dictionaries({}, optional={"status": STATUSES, "body": BODIES, "time": ANSWERED}),
                st.none(),
            ),
            "transaction_id": oneof("k1", "k2", "k3", "k4", 1, "1", "", None),
            "company_id": rarely(COMPANIES, NO_ID, 2),
            "user_id": rarely(USERS, NO_ID, 12),
            "anonymous_id": rarely(ANONYMOUS, NO_ID, 12),
            "weight": WEIGHTS,
            "blocked_by": oneof("rule", "", " ", None, False, 0, True),
            "metadata": oneof({"plan": 1}, {"plan": "x"}, "text", None),
            "received_at": RECEIVED,
        },
    )


def actions() -> st.SearchStrategy[Record]:
    # avoided: weights (an action has no use for one)
    return st.fixed_dictionaries(
        {},
        optional={
            "action_name": oneof("clicked", None),
            "request": rarely(requests(time_needed=False), oneof(None, "none")),
            "transaction_id": oneof("k1", "k2", None),
            "company_id": rarely(COMPANIES, NO_ID, 12),
            "user_id": rarely(USERS, NO_ID, 12),
            "anonymous_id": rarely(ANONYMOUS, NO_ID, 12),
            "session_token": rarely(TOKENS, NO_ID, 12),
            "metadata": oneof({"plan": 1}, {"plan": "x"}),
            "received_at": RECEIVED,
        },
    )


# Metadata. Keys are few, so that they collide, lock each other and nest into themselves.
KEYS = oneof(
    "name", "plan", "phone", "a.b", "a_b", "comp.any.na.me", "comp_any.na_me", "deep", "k", f"k{SAME_KEY}"
)
LEAVES = rarely(
    oneof("x", "Y z", 1, 0, -2, 1.5, True, False, None, None),
    st.one_of(st.just({}), st.just([]), oneof("@NaN", "@-Infinity", "@1e999"), TEXTS),
    4,
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, max_size=3), st.lists(inner, max_size=3), st.lists(LEAVES, max_size=2)
    ),
    max_leaves=5,
)
PHONES = oneof("555", "555", 555, None, {"home": "555"}, {"phone": 5}, {"phone": "5"}, [{"phone": "5"}])
DOMAINS = oneof(
    "acme.com",
    " https://www.ACME.com:443/about?x#y ",
    "acme.com.",
    "user:pw@beta.io/",
    "bücher.example",
    "http://",
)
EMAILS = oneof("ann@acme.com", " Ann@ACME.com", "bob@beta.io", "", 5, None)


@st.composite
def metadata(draw: st.DrawFn) -> Json:
    value: Record = draw(st.dictionaries(KEYS, VALUES, max_size=4))
    if draw(st.booleans()):
        value["phone"] = draw(PHONES)
    if draw(st.booleans()):
        value["email"] = draw(EMAILS)
    if draw(st.integers(0, 3)) == 0:
        value[draw(oneof("company_domain", "company.domain"))] = draw(st.one_of(DOMAINS, oneof(None, 5, " ")))
    return plain_where_given_again(dict(draw(st.permutations(list(value.items())))))


def plain_where_given_again(value: Json) -> Json:
    """Avoided: a repair inside a value that a later key of the same name makes void."""
    if isinstance(value, list):
        return [plain_where_given_again(one) for one in value]
    if not isinstance(value, dict):
        return value
    again = [key for key in value if key.removesuffix(SAME_KEY) == "k"]
    return {key: 1 if key in again[:-1] else plain_where_given_again(value[key]) for key in value}


METADATA = rarely(metadata(), oneof(None, "text", 5, [], [{"plan": 1}], False), 8)
CAMPAIGNS = oneof(
    None,
    {},
    {"utm.source": "a"},
    {"utm.source": None},
    {"utm": {"x": 1}},
    {"utm": {"y": "2"}},
    {"utm": 3},
    "text",
    [],
)


def updates(entity: str) -> st.SearchStrategy[Record]:
    needed: dict[str, st.SearchStrategy[Json]] = {"session_token": rarely(TOKENS, NO_ID, 5)}
    optional: dict[str, st.SearchStrategy[Json]] = {
        "modified_time": rarely(times(), NO_TIMES, 5),
        "received_at": RECEIVED,
        "metadata": METADATA,
        "campaign": CAMPAIGNS,
        "ip_address": oneof("1.2.3.4", None),
    }
    if entity == "company":
        needed["company_id"] = rarely(COMPANIES, NO_ID, 30)
        optional["company_domain"] = rarely(DOMAINS, oneof(None, " ", 5), 4)
    elif entity == "subscription":
        needed["subscription_id"] = rarely(SUBSCRIPTIONS, NO_ID, 30)
        needed["company_id"] = rarely(COMPANIES, NO_ID, 4)
        optional["status"] = oneof("active", "canceled", " ", None, 5)
        optional["current_period_start"] = rarely(times(), NO_TIMES, 3)
        optional["current_period_end"] = rarely(times(), NO_TIMES, 3)
    else:
        needed["user_id"] = rarely(USERS, NO_ID, 30)
        needed["company_id"] = rarely(COMPANIES, NO_ID, 4)
        optional["anonymous_id"] = rarely(ANONYMOUS, NO_ID, 12)
    return st.fixed_dictionaries(needed, optional=optional)


# Features. Of two names that become one there are always just two spellings (avoided: a third).
LONG = "f" * 64
WIDE = "\N{GRINNING FACE}" * 64
FEATURES = oneof("f1", "F1", 3, "f3", LONG, LONG + "x", WIDE + "é", WIDE, LONG[:63], "one,two", "two\nlines")
MODULES = oneof("m1", "m2", "m3", "m" * 64, "m" * 66, None, "", " ")
TOTALS = rarely(
    oneof(1, 2, 3, 7, 7, "7", "@5.0", None),
    oneof(0, "0", "@1e0", -2, 3.5, True, False, "x", "", "5.0", "@NaN", "@1e999", [], {}, 2**53, 2**53 + 1),
    6,
)


def features(days: st.SearchStrategy[date] = DAYS) -> st.SearchStrategy[Record]:
    return st.fixed_dictionaries(
        {
            "account_id": rarely(COMPANIES, NO_ID, 40),
            "user_id": rarely(USERS, NO_ID, 40),
            "feature_id": rarely(FEATURES, NO_ID, 40),
            "timestamp": rarely(times(days), NO_TIMES, 40),
        },
        optional={
            "module_id": MODULES,
            "product_id": oneof("p1", "p" * 65, None),
            "total": TOTALS,
            "event_id": oneof("e1", "e2", 1, "", None),
            "received_at": received(days),
        },
    )


# ---------------------------------------------------------------------------------------------------------
# Files

BAD_LINES = oneof(
    b"not json", b",", b'{"a": 1', b"{'a': 1}", b'{"a": 1} {}', b"null", b"5", b'"text"', b"[]",
    b"[1, null]", b"[{},", b'{"a": "\x01"}', b"\xff", b"{\xff}", b'{"a": 01}', b'{"a": .5}', b'[{"a": nan}]',
)  # fmt: skip
BLANK_LINES = oneof(b"", b"  ", b"\t")


def json_bytes(value: Json, *, ascii_only: bool) -> bytes:
    try:
        data = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:  # a lone surrogate can only be written as an escape
        data = json.dumps(value).encode()
    for mark, verbatim in VERBATIM.items():
        data = data.replace(f'"{mark}"'.encode(), verbatim)
    data = data.replace(SAME_KEY.encode(), b"")
    return data.replace(BAD_BYTE.encode(), b"\xff")


@st.composite
def json_lines(draw: st.DrawFn, records: st.SearchStrategy[Record], max_size: int = 8) -> bytes:
    """Lines, each with its end: records, batches, bad ones, blank ones."""
    end = draw(oneof(b"\n", b"\n", b"\r\n"))
    data = b""
    for _ in range(draw(st.integers(1, max_size))):
        ascii_only = draw(st.booleans())
        kind = draw(st.integers(0, 24))
        if kind == 0:
            data += draw(BAD_LINES)
        elif kind == 1:
            data += draw(BLANK_LINES)
        elif kind in (2, 3, 4):
            batch: list[Json] = draw(st.lists(rarely(records, oneof(None, 5, "text", []), 9), max_size=4))
            data += json_bytes(batch, ascii_only=ascii_only)
        elif kind == 5:  # values one behind the other, an array among them at times
            between: bytes = draw(oneof(b"", b" ", b",", b" , "))
            several: list[Json] = draw(st.lists(rarely(records, oneof([], [{}]), 5), min_size=2, max_size=3))
            data += between.join(json_bytes(value, ascii_only=ascii_only) for value in several)
        elif kind == 6:  # a value over several lines, and perhaps one behind it
            data += json_bytes(draw(records), ascii_only=ascii_only).replace(b", ", b"," + end)
            data += draw(oneof(b"", b"", b"{}", b" x"))
        elif kind == 7:
            data += b"\xef\xbb\xbf" + json_bytes(draw(records), ascii_only=ascii_only)
        else:
            data += json_bytes(draw(records), ascii_only=ascii_only)
        data += end
    if begins_an_array_over_lines(data):  # avoided: a bad first line that begins like an array
        data = b"{}" + end + data
    return data


@st.composite
def json_files(draw: st.DrawFn, records: st.SearchStrategy[Record]) -> tuple[str, bytes]:
    """(suffix, content)"""
    kind = draw(oneof("lines", "lines", "lines", "array"))
    if kind == "array":
        values: list[Json] = draw(st.lists(rarely(records, oneof(None, "text"), 9), max_size=4))
        parts = [json_bytes(value, ascii_only=draw(st.booleans())) for value in values]
        data = draw(oneof(b"[", b"[\n", b"\n [\r\n")) + b",\n".join(parts) + draw(oneof(b"]", b"\n]\n"))
        suffix = draw(oneof(".json", ".json.gz"))
    else:
        data = draw(json_lines(records))
        if draw(st.integers(0, 3)) == 0:
            data = data.removesuffix(b"\n").removesuffix(b"\r")  # the last line does not end
        suffix = draw(oneof(".jsonl", ".jsonl", ".json", ".ndjson", ".jsonl.gz", ".ndjson.gz"))
    if draw(st.integers(0, 5)) == 0:
        data = b"\xef\xbb\xbf" + data
    if suffix.endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    return suffix, data


def csv_cell(value: Json) -> bytes:
    if value is None or isinstance(value, dict | list):
        return b""
    text = str(value).encode("utf-8", "replace").replace(BAD_BYTE.encode(), b"\xff")
    if re.search(rb'[",;\t\r\n]', text):
        return b'"' + text.replace(b'"', b'""') + b'"'
    return text


FEATURE_COLUMNS = (
    "account_id", "user_id", "feature_id", "module_id", "product_id", "timestamp", "total", "event_id",
    "received_at",
)  # fmt: skip


def csv_rows(columns: tuple[str, ...], rows: list[Record], end: bytes, separator: bytes = b",") -> bytes:
    cells = [[csv_cell(VERBATIM_TEXT.get(str(v), v)) for v in map(row.get, columns)] for row in rows]
    return b"".join(separator.join(row) + end for row in cells)


VERBATIM_TEXT = {mark: text.decode() for mark, text in VERBATIM.items()}


@st.composite
def feature_files(draw: st.DrawFn, records: st.SearchStrategy[Record]) -> tuple[str, bytes]:
    if draw(st.booleans()):
        return draw(json_files(records))
    columns = tuple(draw(st.permutations(FEATURE_COLUMNS)))
    end = draw(oneof(b"\n", b"\r\n"))
    separator: bytes = draw(oneof(b",", b",", b";", b"\t"))
    spelled = draw(oneof(str, str, str.upper, lambda name: f" {name.title()} "))
    header = separator.join(spelled(column).encode() for column in columns)
    data = draw(oneof(b"", b"\xef\xbb\xbf")) + header + end
    data += csv_rows(columns, draw(st.lists(records, max_size=8)), end, separator)
    if draw(st.integers(0, 5)) == 0:  # a row that is shifted
        data += separator.join([b"x"] * (len(columns) + 1)) + end
    if draw(st.integers(0, 3)) == 0:
        return ".csv", data.removesuffix(end)  # the last line does not end
    return ".csv", data + draw(oneof(b"", b"", end))


# CRM exports. Avoided: short and long rows, and the same headers under both names.
CRM_COMPANY = {
    "id": oneof("1", "2", "3", "4", "5", "6", "", "9007199254740993", '="2"', "3.0", "1.2E+5", "#N/A"),
    "key": oneof(
        "acme.com", "WWW.acme.com", "beta.io", "xn--bcher-kva.example", "", "c.com", "d.com", "e.com"
    ),
    "name": oneof("Acme, Inc.", 'The "A"', "", "two\nlines", "é"),
    "Lifecycle Stage": oneof("lead", "", "007"),
}
CRM_CONTACT = {
    **CRM_COMPANY,
    "key": oneof("ann@acme.com", "ANN@acme.com ", "bob@beta.io", "", "c@c.com", "d@d.com", "e@e.com"),
}
CRM_HEADERS = {
    "crm/companies": (
        {"id": "Record ID", "key": "Company Domain Name", "name": "Company name"},
        {"id": "hs_object_id", "key": "domain", "name": "name"},
    ),
    "crm/contacts": (
        {"id": "Record ID", "key": "Email", "name": "First Name"},
        {"id": "hs_object_id", "key": "email", "name": "firstname"},
    ),
}


@st.composite
def crm_csv(draw: st.DrawFn, source: str) -> bytes:
    fields = CRM_COMPANY if source == "crm/companies" else CRM_CONTACT
    names = draw(oneof(*CRM_HEADERS[source]))
    columns = tuple(draw(st.permutations(list(fields))))
    end: bytes = draw(oneof(b"\n", b"\r\n"))
    bom: bytes = draw(oneof(b"", b"\xef\xbb\xbf"))
    header = ",".join(names.get(column, column) for column in columns).encode()
    rows: list[Record] = draw(st.lists(st.fixed_dictionaries(fields), max_size=4))
    return bom + header + end + csv_rows(columns, rows, end)


@st.composite
def crm_files(draw: st.DrawFn, source: str) -> tuple[str, bytes]:
    if draw(st.integers(0, 2)) > 0:
        return "/all.csv", draw(crm_csv(source))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for name in ("b.csv", "a.csv"):
            members.writestr(zipfile.ZipInfo(name), draw(crm_csv(source)))
    return "/all.zip", archive.getvalue()


# ---------------------------------------------------------------------------------------------------------
# Nights


class Traffic:
    """What lies below raw/ while a list of nights is being drawn."""

    def __init__(self, draw: st.DrawFn, days: st.SearchStrategy[date]) -> None:
        self.draw = draw
        self.days = days
        self.raw: dict[str, bytes] = {}
        self.own: dict[str, tuple[str, st.SearchStrategy[Record]]] = {}  # path -> how it may grow
        self.whole: dict[str, bytes] = {}  # path of a broken file -> its whole version
        self.seen: set[bytes] = set()

    def new_file(self, changed: dict[str, bytes], source: str, records: st.SearchStrategy[Record]) -> None:
        draw = self.draw
        if source.startswith("crm/"):
            suffix, data = draw(crm_files(source))
            path = source + suffix
            # avoided: an export that only grew, and one that comes back
            if path in changed or (path in self.raw and data.startswith(self.raw[path])):
                return
        else:
            suffix, data = draw(feature_files(records) if source == "features" else json_files(records))
            path = f"{source}/{draw(folders(self.days))}{len(self.raw)}{suffix}"
            if data in self.seen:
                return
            if draw(st.integers(0, 9)) == 0 and suffix.endswith((".gz", ".json")):
                self.whole[path] = data
                self.seen.add(data)
                data = (
                    data[: len(data) * 2 // 3]
                    if suffix.endswith(".gz")
                    else b'[{"a": %d},\n{"b"' % len(self.raw)
                )
            else:
                self.own[path] = (suffix, records)
        if data not in self.seen:  # avoided: equal files by chance (`copy` makes them on purpose)
            changed[path] = data
            self.seen.add(data)

    def grow(self, changed: dict[str, bytes]) -> None:
        """A file goes on where it ended; or, where its last line had no end, is rewritten."""
        draw = self.draw
        path = draw(st.sampled_from(sorted(self.own)))
        suffix, records = self.own[path]
        data = self.raw[path]
        if suffix == ".csv":
            header = data.split(b"\n")[0].decode("utf-8-sig")
            separator = next(by for by in ",;\t" if by in header)
            columns = tuple(name.strip().lower() for name in header.split(separator))
            rows = csv_rows(
                columns, draw(st.lists(records, min_size=1, max_size=3)), b"\n", separator.encode()
            )
            data = with_end(data) + rows
        elif suffix.endswith(".gz"):
            inner = gzip.decompress(data)
            if begins_an_array_over_lines(inner):
                return
            data = gzip.compress(with_end(inner) + draw(json_lines(records, 2)), mtime=0)
        elif begins_an_array_over_lines(data):  # avoided: lines behind an array over lines
            return
        else:
            more = draw(json_lines(records, 3))
            if draw(st.integers(0, 3)) == 0:
                data = draw(json_lines(records, 1)) + without_bom(data)  # in front: a rewritten file
            elif data.endswith(b"\n"):
                data += more
            else:
                data += b"\n" + more
        if data not in self.seen:  # avoided: a file that goes back to what it was
            changed[path] = data
            self.seen.add(data)

    def copy(self, changed: dict[str, bytes], removed: list[str]) -> None:
        """The same bytes under another name: in the same source no new file, in another one its own."""
        draw = self.draw
        old = sorted(set(self.own) - set(changed))  # avoided: a file that grows and has a copy
        if not old:
            return
        path = draw(st.sampled_from(old))
        source = draw(oneof(path.split("/")[0], path.split("/")[0], "actions", "users"))
        if path.endswith(".csv"):
            source = "features"
        copied = f"{source}/copy{len(self.raw)}-{path.rsplit('/', 1)[1]}"
        changed[copied] = self.raw[path]
        del self.own[path]
        if draw(st.booleans()):
            removed.append(path)

    def night(self, changed: dict[str, bytes], sources: Sources, first: tuple[str, ...], more: int) -> None:
        """Some new files: of each source in `first` one, and a few of any."""
        draw = self.draw
        some = draw(st.lists(st.sampled_from(sorted(sources)), min_size=0 if first else 1, max_size=more))
        for source in (*first, *some):
            self.new_file(changed, source, sources[source])
            self.raw |= changed


def with_end(data: bytes) -> bytes:
    return data if data.endswith(b"\n") or not data else data + b"\n"


@st.composite
def nights_of(
    draw: st.DrawFn,
    sources: Sources,
    *,
    max_nights: int,
    min_nights: int = 1,
    more: int = 4,
    first: tuple[str, ...] = (),
    days: st.SearchStrategy[date] = DAYS,
) -> list[Night]:
    traffic = Traffic(draw, days)
    nights: list[Night] = []
    for index in range(draw(st.integers(min_nights, max(min_nights, max_nights)))):
        changed: dict[str, bytes] = {}
        removed: list[str] = []
        if index > 0:
            for path in sorted(traffic.whole):
                if draw(st.booleans()):
                    changed[path] = traffic.whole.pop(path)
            if traffic.own and draw(st.integers(0, 2)) > 0:
                traffic.grow(changed)
            if traffic.own and draw(st.integers(0, 3)) == 0:
                traffic.copy(changed, removed)
            traffic.raw |= changed
        traffic.night(changed, sources, first if index == 0 else (), more)
        nights.append(Night(FIRST_NIGHT + timedelta(days=index), changed, tuple(removed)))
    return nights


def nights(max_nights: int = 3) -> st.SearchStrategy[list[Night]]:
    """Everything at once."""
    sources: Sources = {
        "events": calls(),
        "actions": actions(),
        "companies": updates("company"),
        "users": updates("user"),
        "subscriptions": updates("subscription"),
        "features": features(),
        "crm/companies": st.nothing(),
        "crm/contacts": st.nothing(),
    }
    return nights_of(sources, max_nights=max_nights, first=("events", "users"), more=5)


def feature_nights(max_nights: int = 3) -> st.SearchStrategy[list[Night]]:
    """Feature events only; run them with FEATURE_SETTINGS too, whose limits they reach."""
    near = rarely(st.just(AS_OF), oneof(AS_OF - timedelta(days=1), AS_OF + timedelta(days=1)), 8)
    return nights_of({"features": features(near)}, max_nights=max_nights, days=near)


def metadata_nights(max_nights: int = 3) -> st.SearchStrategy[list[Night]]:
    """Updates of companies and users, with much metadata, and exports to enrich them with."""
    sources: Sources = {
        "companies": updates("company"),
        "users": updates("user"),
        "subscriptions": updates("subscription"),
        "crm/companies": st.nothing(),
        "crm/contacts": st.nothing(),
    }
    return nights_of(
        sources, max_nights=max_nights, first=("companies", "users", "crm/companies", "crm/contacts")
    )


def claim_nights(max_nights: int = 3) -> st.SearchStrategy[list[Night]]:
    """Calls and actions with few ids of their own, and claims before, among and after them."""
    days = oneof(*(AS_OF + timedelta(days=n) for n in (-30, -7, -6, -1, 0)))
    tokens = oneof("t1", "t1", "t2", "t3")
    when = times(days)
    ids: dict[str, st.SearchStrategy[Json]] = {
        "session_token": rarely(tokens, st.none(), 5),
        "user_id": rarely(st.none(), USERS, 4),
        "anonymous_id": rarely(ANONYMOUS, st.none(), 3),
        "company_id": rarely(st.none(), COMPANIES, 8),
        "request": when.map(lambda time: {"time": time}),
    }
    numbers = {"weight": oneof(1, 3), "response": oneof({"status": 200}, {"status": 429}, None)}
    claim = {"session_token": rarely(tokens, st.none(), 6), "modified_time": rarely(when, st.none(), 6)}
    sources: Sources = {
        "events": st.fixed_dictionaries(ids, optional={**numbers, "transaction_id": oneof("k1", "k2", "k3")}),
        "actions": st.fixed_dictionaries(ids),
        "companies": st.fixed_dictionaries({**claim, "company_id": COMPANIES}),
        "users": st.fixed_dictionaries(
            {
                **claim,
                "user_id": USERS,
                "company_id": rarely(COMPANIES, st.none(), 4),
                "anonymous_id": rarely(ANONYMOUS, st.none(), 2),
            }
        ),
    }
    return nights_of(
        sources, max_nights=max_nights, min_nights=min(2, max_nights), first=("events", "users"), days=days
    )
