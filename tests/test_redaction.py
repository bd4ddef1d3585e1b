"""No value of an `Authorization` or `Cookie` header is stored anywhere, whatever becomes of its record."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import Warehouse
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.readers.redact import redact
from dagster_project.sources import typed
from dagster_project.warehouse.database import open_warehouse

pytestmark = pytest.mark.fast

SECRET = "S3CR3T"
NOW = datetime(2026, 4, 1, 3, 30)

# JSON text of an object's inside, or of what is left of it
CREDENTIALS = {
    "authorization": '"Authorization": "Bearer S3CR3T"',
    "lower case": '"authorization": "Basic S3CR3T=="',
    "upper case": '"COOKIE":"sid=S3CR3T; a=b"',
    "odd case": '"cOOkie" : "S3CR3T"',
    "set-cookie": '"Set-Cookie": "sid=S3CR3T; HttpOnly"',
    "proxy": '"Proxy-Authorization": "S3CR3T"',
    "quotes inside": '"Authorization": "Digest username=\\"u\\", response=\\"S3CR3T\\""',
    "a backslash at the end": '"Authorization": "a\\\\", "Cookie": "S3CR3T"',
    "a list": '"Cookie": ["a=1", "sid=S3CR3T"]',
    "a list over more": '"Cookie": ["a=1",\t"b=\\"2\\"", "S3CR3T"], "Authorization": ["S3CR3T"]',
    "a nested list": '"Cookie": [["sid", "S3CR3T"]]',
    "an object": '"Authorization": {"scheme": "Bearer", "value": "S3CR3T"}',
    "a number": '"Authorization": 5353, "Cookie": "S3CR3T"',
    "a null before": '"Authorization": null, "Cookie": "S3CR3T"',
    "escaped key": '"\\u0041uthorization": "Bearer S3CR3T"',
    "wholly escaped key": '"\\u0063\\u006f\\u006f\\u006b\\u0069\\u0065": "S3CR3T"',
    "a pair": '"headers": [["Authorization", "Bearer S3CR3T"], ["cookie", "S3CR3T"]]',
    "a flat list": '"headers": ["Host", "x", "Authorization", "Bearer S3CR3T", "Cookie" , "S3CR3T"]',
    "name and value": '"headers": [{"name": "Cookie", "value": "S3CR3T"}]',
    "key and value": '"headers": [{"key": "Authorization", "value": "S3CR3T"}]',
    "value before name": '"headers": [{"value": "S3CR3T", "name": "Cookie"}]',
    "JSON in a string": '"body": "{\\"headers\\": {\\"Authorization\\": \\"Bearer S3CR3T\\"}}"',
    "line breaks": '"Authorization"\t:\r "Bearer S3CR3T"',
}
BROKEN = {
    "text that ends in the value": '"Authorization": "Bearer S3CR3T',
    "text that ends behind the value": '"Cookie": "S3CR3T"',
    "text that ends in a list": '"Cookie": ["a=1", "sid=S3CR3T',
    "no quotes": "Authorization: Bearer S3CR3T",
    "an assignment": "cookie=S3CR3T; other=S3CR3T",
    "single quotes": "'Authorization': 'Bearer S3CR3T'",
    "broken pair": '["Authorization", "Bearer S3CR3T',
    "broken object": '"Cookie": {"sid": "S3CR3T',
}


@pytest.mark.parametrize("text", [*CREDENTIALS.values(), *BROKEN.values()], ids=[*CREDENTIALS, *BROKEN])
def test_credentials_are_replaced_in_text(text: str) -> None:
    for whole in (text, f'{{"request": {{"headers": {{{text}}}}}', f'{{{text}, "after": 1}}'):
        redacted = redact(whole)
        assert SECRET not in redacted
        assert "***" in redacted


def test_other_text_stays_as_it_came() -> None:
    text = (
        '{"user": "é\\u00e9\\n", "author": "me", "cookies": 2, "note": "authorization is due", "n": [1, {}]}'
    )
    assert redact(text) == text
    preflight = '{"access-control-request-headers": "authorization", "host": "acme.com"}'
    assert redact(preflight) == preflight


def test_text_is_cut_at_64_kib_after_it_was_redacted() -> None:
    text = '"Cookie": "S3CR3T", "é": "' + "é" * 70_000
    redacted = redact(text)
    assert len(redacted.encode()) <= 64 * 1024
    assert len(redacted.encode()) > 64 * 1024 - 4
    assert SECRET not in redacted
    assert SECRET not in redact("x" * (64 * 1024 - 30) + '"Cookie": "' + SECRET)


@given(
    key=st.sampled_from(["Authorization", "cookie", "SET-COOKIE", "Proxy-Authorization"]),
    secret=st.text(max_size=20).map(lambda text: f"{SECRET}{text}{SECRET}"),
    ascii_only=st.booleans(),
    cut=st.integers(0, 12),
    before=st.text(max_size=10),
)
def test_any_value_of_a_credential_is_replaced(
    key: str, secret: str, ascii_only: bool, cut: int, before: str
) -> None:
    record = {"note": before, "request": {"headers": {key: secret}}}
    text = json.dumps(record, ensure_ascii=ascii_only)
    assert SECRET not in redact(text[: len(text) - cut])


# ---------------------------------------------------------------------------------------------------------
# End to end


def record(inside: str, time: str = "2026-03-30T10:00:00Z") -> str:
    """A record that every source takes, or rejects for its time."""
    ids = '"company_id": "acme", "user_id": "u", "account_id": "acme", "feature_id": "f"'
    return (
        f'{{{ids}, "timestamp": "{time}", "modified_time": "{time}", '
        f'"request": {{"time": "{time}", "headers": {{{inside}}}}}}}'
    )


def put_everything(warehouse: Warehouse) -> None:
    """Good and rejected records of each kind, with credentials in each."""
    good = [record(inside) for inside in CREDENTIALS.values()]
    lines = [
        *good,
        *(record(inside, "no time") for inside in CREDENTIALS.values()),
        *(record(inside, "2030-01-01") for inside in CREDENTIALS.values()),
        *(line.replace('"company_id"', '"no_id"').replace('"user_id"', '"no_id"') for line in good),
        *(f"[{line}, 5, [{line}], {record('', 'no time')}]" for line in good),
        *(f'["Authorization", {line}]' for line in good),
        *(json.dumps(line) for line in good),
        *(line[:-3] for line in good),
        *(f'{{"request": {{"headers": {{{broken}' for broken in BROKEN.values()),
        *(line.replace('"f"', '"f", "total": NaN, "body": "\\ud800"') for line in good),
    ]
    for source in ("events", "actions", "companies", "users", "features"):
        warehouse.put(f"{source}/a.jsonl", "\n".join(lines))
        warehouse.put(f"{source}/broken.json", "[" + ",\n".join(good))
    table = pa.Table.from_pylist(
        [{"request": {"time": "no", "headers": {"Cookie": SECRET, "AUTHORIZATION": SECRET}}}]
    )
    pq.write_table(table, warehouse.raw / "events/a.parquet")


def assert_no_secret(warehouse: Warehouse) -> None:
    with open_warehouse(warehouse.settings) as connection:
        tables = connection.execute(
            "SELECT database_name || '.' || schema_name || '.' || table_name FROM duckdb_tables() WHERE NOT temporary"
        ).fetchall()
        assert len(tables) > 30
        for (table,) in tables:
            found = connection.sql(
                f"SELECT t::VARCHAR AS found FROM {table} AS t WHERE contains(t::VARCHAR, '{SECRET}')"
            )
            assert found.limit(3).fetchall() == [], table
        connection.execute("CHECKPOINT")
        connection.execute("CHECKPOINT raw")
    for file in warehouse.folder.rglob("*"):
        if file.is_file() and warehouse.raw not in file.parents:
            assert SECRET.encode() not in file.read_bytes(), file


def test_no_credential_is_in_any_table_or_file(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    put_everything(warehouse)
    warehouse.night(now=NOW, publishes=True)
    reasons = {(row["source"], row["reason"]) for row in warehouse.query("FROM ops.rejects")}
    assert {(s, "bad_json") for s in ("events", "actions", "companies", "users", "features")} <= reasons
    assert {
        ("events", "bad_time"),
        ("events", "future"),
        ("users", "missing_id"),
        ("features", "bad_total"),
    } <= reasons
    assert_no_secret(warehouse)


def test_no_credential_is_left_by_the_fast_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "SMALLEST_BYTES", 0)
    warehouse = Warehouse(tmp_path)
    good = [record(inside) for inside in CREDENTIALS.values()]
    warehouse.put("events/a.jsonl", "\n".join([*good, *(line.replace("2026", "2030") for line in good)]))
    warehouse.night(now=NOW, publishes=True)
    assert_no_secret(warehouse)


# Where key and value are no neighbours, or a text has no structure: whole texts, each as it may stand on a line.
SHAPES = {
    "hdr": '{"headers":{"Authorization":"Bearer S3CR3T"}}',
    "pretty": '{\n "headers": {\n  "Authorization":\n    "Bearer S3CR3T"\n }\n}',
    "asgi": '{"headers":[["host","x"],["authorization","Bearer S3CR3T"]]}',
    "asgi bytes": '{"headers":[["b\'authorization\'","b\'Bearer S3CR3T\'"]]}',
    "har": '{"headers":[{"name":"Authorization","comment":"","x":1,"value":"S3CR3T"}]}',
    "har turned": '{"headers":[{"value":"S3CR3T","comment":"","name":"X-Api-Key"}]}',
    "har pretty": '{"headers":[\n{\n"name" : "Cookie",\n"k":[1],\n"value"\t:\t"S3CR3T"}]}',
    "har nested value": '{"headers":[{"name":"Cookie","value":{"a":["S3CR3T"]}}]}',
    "cookies arr": '{"cookies":["sid=S3CR3T"]}',
    "cookies objs": '{"cookies":[{"name":"sid","value":"S3CR3T"}]}',
    "cookies dict": '{"cookies":{"sid":"S3CR3T"}}',
    "amz": '{"h":{"x-amz-security-token":"S3CR3T"}}',
    "amz2": '{"h":{"X_AMZ_SECURITY_TOKEN ":"S3CR3T"}}',
    "http_": '{"h":{"HTTP_X_API_KEY":"S3CR3T"}}',
    "flat": '{"rawHeaders":["Host","a","Authorization","S3CR3T"]}',
    "multi": '{"multiValueHeaders":{"Cookie":["a","S3CR3T"]}}',
    "parallel": '{"names":["Host","Authorization"],"values":["a","S3CR3T"]}',
    "cols": '{"columns":["id","Authorization"],"rows":[["1","S3CR3T"]]}',
    "xml": "<h><Authorization>S3CR3T</Authorization></h>",
    "xml attr": '<h value="S3CR3T" name="Authorization"/>',
    "xml in": '{"body":"<h value=\\"S3CR3T\\" name=\\"Authorization\\"/>"}',
    "raw": "GET / HTTP/1.1\r\nAuthorization: Bearer S3CR3T",
    "raw in": '{"raw":"GET / HTTP/1.1\\r\\nAuthorization: Bearer S3CR3T\\r\\n"}',
    "py": "{'headers': {'Authorization': 'S3CR3T'}}",
    "py in": "{\"m\":\"{'Authorization': 'S3CR3T'}\"}",
    "py val first": "{'value': 'S3CR3T', 'name': 'Authorization'}",
    "json in": '{"body":"{\\"a\\":{\\"Authorization\\":\\"S3CR3T\\"}}"}',
    "json pretty in": '{"body":"{\\n \\"Authorization\\" :\\n \\"S3CR3T\\"}"}',
    "esc key": '{"\\u0041uthorization":"S3CR3T"}',
    "url": '{"uri":"https://user:S3CR3T@host/x"}',
    "url2": '{"uri":"https://S3CR3T@host/x"}',
    "query": '{"uri":"https://h/x?api_key=S3CR3T&a=1"}',
    "query rel": '{"uri":"/x?sig=S3CR3T"}',
    "frag": '{"uri":"/x#access_token=S3CR3T"}',
    "yaml": "authorization: S3CR3T",
    "logfmt": 'level=info authorization="S3CR3T"',
    "curl": "curl -H 'X-Api-Key: S3CR3T' h",
    "csvline": "a,S3CR3T,Authorization",
    "bearer": '{"note":"sent Bearer S3CR3T today"}',
    "basic": '{"note":"Basic S3CR3T=="}',
    "cut": '{"headers":{"Authorization":"S3CR3T',
    "cut2": '{"headers":[{"value":"S3CR3T","name":"Authorization',
    "num": '{"Authorization": 12, "x-api-key": "S3CR3T"}',
    "obj": '{"Authorization":{"scheme":"b","p":{"t":"S3CR3T"}}}',
    "garbage": '{"a" "b", "Authorization": S3CR3T}',
    "dq": '{"a":"b"c","Authorization":"S3CR3T"}',
    "jsonstr": '"{\\"Authorization\\": \\"S3CR3T\\"}"',
    "arr top": '["Authorization","S3CR3T"]',
    "piece": '"name":"Cookie","value":"S3CR3T"',
    "piece2": '"Cookie" , "S3CR3T"',
    "prefix": '{"x-amzn-remapped-authorization":"S3CR3T","X-Forwarded-Authorization":"z"}',
    "proxy_": '{"proxy_authorization":"S3CR3T"}',
    "userinfo nossl": '{"u":"//me:S3CR3T@h/p"}',
    "url userinfo with slash at": '{"u":"postgres://me:S3CR3T@h:5432/db"}',
    "form": '{"body":"user=a&password=S3CR3T&x=1"}',
    "k v": '{"headers":[{"k":"authorization","v":"S3CR3T"}]}',
    "key with dots": '{"request.headers.authorization":"S3CR3T"}',
    "nested names": '{"header":{"name":"Set-Cookie"},"value":"S3CR3T"}',
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=list(SHAPES))
def test_a_credential_is_found_in_every_shape(text: str) -> None:
    assert SECRET not in redact(text)
    assert SECRET not in redact(json.dumps({"body": text}))
    assert SECRET not in redact(f'{{"a": 1, {text}')
    assert SECRET not in redact(json.dumps([text, {"body": json.dumps({"inner": text})}], indent=1))


def test_shapes_leave_no_credential_in_the_data_folder(tmp_path: Path) -> None:
    """In records that are kept, in such that are rejected, in lines that are no JSON, in tables: no byte of it stays."""
    warehouse = Warehouse(tmp_path)
    lines = []
    for text in SHAPES.values():
        lines += [text, json.dumps({"request": {"time": "no", "body": text}})]
        try:
            lines.append(
                json.dumps(
                    {"company_id": "a", "user_id": "u", "request": {"time": "no", "x": json.loads(text)}},
                    indent=1,
                )
            )
            lines.append(json.dumps({"no_id": 1, "metadata": json.loads(text)}))
        except ValueError:
            lines.append(json.dumps({"x": text}, indent=1)[:-2])
    for source in ("events", "actions", "companies", "users", "features"):
        warehouse.put(f"{source}/a.jsonl", "\n".join(lines) + "\n")
    held = {
        "x-api-key": SECRET,
        "headers": [["Authorization", SECRET], {"name": "Cookie", "value": SECRET}],
        "plan": "x",
    }
    warehouse.put(
        "companies/b.jsonl", [{"company_id": "a", "metadata": held, "campaign": {"cookies": [SECRET]}}]
    )
    columns = "X-Api-Key,HTTP_AUTHORIZATION"
    warehouse.put(
        "crm/contacts/a.csv", f"Record ID,Email,{columns}\n1,a@b.example,{SECRET},{SECRET}\nno,,{SECRET},x\n"
    )
    warehouse.put(
        "features/a.csv",
        f"account_id,user_id,feature_id,timestamp,{columns}\na,u,f,no,{SECRET},x\na,u,f,2026-03-30,{SECRET},{SECRET},{SECRET}\n",
    )
    warehouse.night(now=NOW, publishes=True)
    assert warehouse.one("marts.company_metadata", company_id="a", path="plan")["value"] == "x"
    assert_no_secret(warehouse)
