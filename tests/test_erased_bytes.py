"""Nothing of an erased person in any byte: hostile ids, in every form and place in which records carry them."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus

import duckdb
import pytest
from harness import Row, Warehouse
from soak import budget
from test_erase import DAY, NIGHT, accounted, erased

from dagster_project.readers.mentions import Mentions

# Digits like a date and a time's, metacharacters of regexes, SQL, JSON, CSV and URLs, one letter, both normal forms of one
# name, ids with what stands between words, and one that is the beginning of another's.
HOSTILE = [
    "2026-03-12",
    "20260312",
    "11",
    "x",
    "a.*+?^$(b)[c]{2}\\d",
    "'; DROP TABLE raw.files; --",
    "%like_this%",
    "Zo\u00eb-1@nfc",
    "Zoe\u0308-1@nfd",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "google-oauth2/1157:8",
    "two words here",
    'with "quotes", commas',
    "path/like/id",
    "a&b=c?d#e",
    "\U0001f600-smile-77",
    "erased:not-a-pseudonym",
    "person-of-17",
]
STAYS = "person-of-171"  # a statistic of DuckDB keeps the first eight bytes of texts


def call(number: int, uri: str, **ids: object) -> Row:
    return {
        "transaction_id": f"t{number}",
        "request": {"time": "2026-03-12T10:00:00Z", "verb": "GET", "uri": uri},
        "response": {"status": 404},
        **ids,
    }


class Person:
    def __init__(self, number: int, id_: str) -> None:
        self.id, self.number = id_, number
        self.email = f"Jo+{number}'x@Mail{number}.example"
        self.phone = f"+1 (555) 010-{4000 + number}"
        self.token = f"sk_tok|{number}/{'Ab=' * 4}{number}"

    @property
    def names(self) -> tuple[str, ...]:
        return self.id, self.email, self.email.lower(), self.phone, self.token

    def update(self) -> Row:
        own = {"email": self.email, "phone": self.phone, "name": "N"}
        return {"user_id": self.id, "company_id": "acme", "session_token": self.token, "metadata": own}


def csv_row(*cells: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def put(warehouse: Warehouse, people: Sequence[Person], name: str) -> None:
    """Everything in which a person may be named, by themselves and by others."""
    calls, texts, rows, updates, companies = [], [], [], [], []
    for person in people:
        for n, text in enumerate(person.names):
            at = person.number * 100 + n * 10
            others = {"user_id": STAYS, "company_id": "acme"}
            calls += [
                call(at, f"https://api.example/users/{quote(text, safe='')}/orders", **others),
                call(at + 1, f"/{name}/users/{quote(quote(text, safe=''), safe='')}.json?x=1", **others),
                call(at + 2, "/v1/mine", user_id=person.id, session_token=person.token),
            ]
            whole = json.dumps({"request": {"time": "never"}, "user_id": STAYS, "note": text})
            texts += [
                whole,
                json.dumps(
                    {"request": {"time": "no"}, "body": json.dumps({"inner": json.dumps({"of": text})})}
                ),
                json.dumps(
                    {"request": {"time": "no"}, "x": f"/a/{quote_plus(text)}/b", "y": text},
                    ensure_ascii=False,
                ),
                whole[:-1],  # cut behind it
                f'["odd", {json.dumps(text)}]',
            ]
            rows.append(
                csv_row("acme", STAYS, "search", "2026-03-12", "no number", text, "one cell too many")
            )
            rows.append(csv_row("acme", person.id, "search", "2026-03-12", "4.0", "", text))
            companies.append(
                {"company_id": "acme", "metadata": {"owner": text, f"of {text}": {"deep": [text, 1]}}}
            )
            companies.append({"company_id": "acme", "metadata": text})  # a repair that quotes it
        updates += [person.update(), {**person.update(), "metadata": [person.phone]}]
        updates.append(
            {"user_id": STAYS, "metadata": {"manager": person.id, "note": f"knows {person.email}"}}
        )
    warehouse.put(f"events/{name}.jsonl", calls)
    warehouse.put(f"events/{name}-texts.jsonl", "\n".join(texts) + "\n")
    warehouse.put(f"users/{name}.jsonl", updates)
    warehouse.put(f"companies/{name}.jsonl", companies)
    head = "account_id,user_id,feature_id,timestamp,total,event_id\n"
    warehouse.put(f"features/{name}.csv", head + "".join(rows))


def forms(text: str) -> set[str]:
    """A name as it is, JSON-escaped, URL-encoded, CSV-quoted."""
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return {text, *escaped, quote(text), quote(text, safe=""), quote_plus(text), text.replace('"', '""')}


def cells(warehouse: Warehouse) -> Iterator[tuple[str, str]]:
    """Every text in every table of every database."""
    for file in sorted(warehouse.folder.glob("*.duckdb")):
        with duckdb.connect(str(file), read_only=True) as connection:
            for schema, table in connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal"
            ).fetchall():
                for row in connection.execute(f'FROM "{schema}"."{table}"').fetchall():
                    yield from (
                        (f"{file.name}: {schema}.{table}", str(cell))
                        for cell in row
                        if isinstance(cell, str | list | dict | bytes)
                    )


def freed(warehouse: Warehouse) -> dict[str, int]:
    """Blocks of the databases that are free: they keep what was in them."""
    blocks = {}
    for file in warehouse.folder.glob("*.duckdb"):
        with duckdb.connect(str(file), read_only=True) as connection:
            (found,) = connection.execute("SELECT sum(free_blocks) FROM pragma_database_size()").fetchall()[0]
            blocks[file.stem] = found
    return blocks


def left(warehouse: Warehouse, people: Sequence[Person]) -> list[tuple[str, str]]:
    """Where a name still stands: in a cell, or in any byte of any file but those below raw/."""
    names = {form for person in people for name in person.names for form in forms(name)}
    whole = {name for name in names if len(name) < 6}
    longer = sorted((names - whole), key=len, reverse=True)
    pattern = re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, longer)) + r")(?![\w-])")
    found = [(where, cell) for where, cell in cells(warehouse) if cell in whole or pattern.search(cell)]
    inside = re.compile(
        b"|".join(rb"%b(?!\d)" % re.escape(name.encode()) for name in longer if len(name) > 7)
    )
    for file in warehouse.folder.rglob("*"):
        if file.is_file() and warehouse.raw not in file.parents and (hit := inside.search(file.read_bytes())):
            found.append((file.name, hit[0].decode(errors="replace")))
    return found


def random_id(dice: random.Random) -> str:
    alphabet = string.ascii_letters + string.digits + " |/:%&'\"\\,;.-_@+=#?\u00e9\u5f20\U0001f600"
    return "".join(dice.choice(alphabet) for _ in range(dice.randint(7, 24))).strip() or "blank-id"


def people_of(seed: int) -> list[Person]:
    dice = random.Random(seed)
    ids = HOSTILE if seed == 0 else [*dice.sample(HOSTILE, 4), *(f"{random_id(dice)}z" for _ in range(6))]
    return [Person(number, id_) for number, id_ in enumerate(ids)]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(1, 12)))
def test_no_byte_holds_an_erased_person_in_any_form(tmp_path: Path, seed: int) -> None:
    people, warehouse = people_of(seed), Warehouse(tmp_path)
    put(warehouse, people, "a")
    warehouse.put("users/other.jsonl", [{"user_id": STAYS, "metadata": {"name": "Stays"}}])
    warehouse.night(DAY, NIGHT, publishes=True)
    assert left(warehouse, people), "or nothing is looked for"
    erasure = erased(warehouse, users=[person.id for person in people])
    assert set(left(warehouse, people)) == set(), f"seed {seed}"
    assert freed(warehouse) == {"analytics": 0, "raw": 0, "warehouse": 0}
    assert "events/a.jsonl" in erasure.files
    assert "events/a-texts.jsonl" in erasure.files

    put(warehouse, people, "later")
    warehouse.night(DAY, NIGHT)
    warehouse.night(DAY, NIGHT, publishes=True)  # what was still kept by something that was computed before
    assert set(left(warehouse, people)) == set(), f"seed {seed}: later files"
    assert accounted(warehouse)
    assert {row["user_id"] for row in warehouse.table("marts.user_profiles")} == {STAYS}
    assert warehouse.one("marts.user_profiles")["name"] == "Stays"
    assert STAYS in {row["user_id"] for row in warehouse.table("marts.error_usage_daily")}


def test_what_a_text_names_is_the_whole_id_in_any_form() -> None:
    known = {"ann", "auth0|x/1", "jo@acme.example", "11", "2026"}
    texts = Mentions({len(text) for text in known}, known.__contains__)
    for text in (
        "ann",
        '{"user_id":"ann"}',
        "/users/ann/orders",
        "/users/ann.json",
        "so says ann.",
        "a=auth0%7Cx%2F1&b",
        "%2561nn",
        r'"{\"id\":\"auth0|x\\/1\"}"',
        r"\u0061nn",
        "JO@Acme.Example",
        '"""ann"""',
        "id 11, cut",
    ):
        assert texts.in_text(text), text
    for text in (
        "anna",
        "ann-marie",
        "x_ann",
        "bjo@acme.example",
        "jo@acme.example.org",
        "auth0|x/12",
        "2026-11-27T10:11:12Z",
    ):
        assert not texts.in_text(text), text
    assert texts.without_in_path("/users/ann/11/annual") == "/users/:id/:id/annual"
    assert texts.without_in_path("/u/auth0|x/1/b") == "/:id"
    assert (
        texts.without_in_values('{"a":"ann b","auth0|x/1":[1.50,"2026"],"c":"11"}')
        == '{"a":"ann b","***":[1.50,null],"c":"11"}'
    )
