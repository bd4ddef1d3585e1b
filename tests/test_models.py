"""What each model's query computes, case by case, and what all models have in common.

A case is a folder `tests/models/<schema>.<table>/<what_it_shows>/`; its name is the fact it tests. In it:

    given.<schema>.<table>.csv   rows of a table that the query reads (`given.raw.api_calls.csv`), any number
    expect.csv                   the rows that must come out, in any order
    params.json                  optional: {"as_of": "2026-03-31", "since": 0, "run_id": "run",
                                 "now": "2026-04-01 02:00:00", "failing_checks": []}; those are the defaults

Columns may be a subset of the table's: what is not given is null, what is not expected is not looked at. An
empty cell is null, `""` is the empty string. A list is written `"[a, b]"`. Types are those of the model's
header, or of the raw table. What comes out must also keep the model's grain and pass its checks, but for
those in `failing_checks`.

Models that a module computes (`by:`) have their cases in test_frames.py: what they do needs several nights.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from dagster_project.pipeline import nightly
from dagster_project.settings import project_root
from dagster_project.sources import all_sources, deciding
from dagster_project.spark.sql import portability
from dagster_project.warehouse import registry
from dagster_project.warehouse.build import checks_of
from dagster_project.warehouse.columns import definitions
from dagster_project.warehouse.models import Model, ModelError, parse_model, read_models, tables_in

pytestmark = pytest.mark.fast

CASES = Path(__file__).parent / "models"
MODELS = dict(nightly.models())
QUERIES = {name: model for name, model in MODELS.items() if model.query}
RAW_TABLES = {
    f"raw.{table.name}": definitions(table.columns) for source in all_sources() for table in source.tables
}
DEFAULTS: dict[str, Any] = {
    "as_of": "2026-03-31",
    "since": 0,
    "run_id": "run",
    "now": "2026-04-01 02:00:00",
    "failing_checks": [],
}
# The largest tables: what reads them must run on another engine without a change of meaning.
EVENTS = {"raw.api_calls", "raw.actions", "raw.feature_events"}

Rows = Counter[tuple[Any, ...]]


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("ATTACH ':memory:' AS raw")
        yield connection


def _prepare(connection: duckdb.DuckDBPyConnection, model: Model) -> set[str]:
    """Make the model's table and all that its query and its checks read, empty. Returns what may be given."""
    registry.prepare(connection)
    connection.execute("CREATE SCHEMA core; CREATE SCHEMA marts; CREATE SCHEMA ops; CREATE SCHEMA outbound")
    read = {*model.inputs, *(name for check in checks_of(model) for name in tables_in(check.query))}
    for name in read | {model.name}:
        if name in MODELS:
            connection.execute(_create(name, MODELS[name]))
        elif name in RAW_TABLES:
            connection.execute(f"CREATE TABLE {name} ({RAW_TABLES[name]})")
    return read - {model.name}


def _create(table: str, model: Model) -> str:
    return f"CREATE TABLE {table} ({', '.join(f'{c.name} {c.type}' for c in model.columns)})"


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    described = connection.execute(f"DESCRIBE {table}").fetchall()
    return {row[0]: row[1] for row in described}


def _read(file: Path, types: dict[str, str]) -> tuple[str, str]:
    """The columns of a case's file, and the query that reads its rows."""
    with file.open(newline="", encoding="utf-8") as stream:
        header = next(csv.reader(stream))
    unknown = [name for name in header if name not in types]
    assert not unknown, f"{file.name}: no such column: {', '.join(unknown)}"
    columns = ", ".join(f"'{name}': '{types[name]}'" for name in header)
    return ", ".join(header), (
        f"SELECT * FROM read_csv('{file}', header = true, auto_detect = false, delim = ',', quote = '\"', "
        f"escape = '\"', nullstr = '', allow_quoted_nulls = false, columns = {{{columns}}})"
    )


def _parameters(query: str, given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if f"${key}" in query}


def _cases() -> list[Any]:
    return [
        pytest.param(case, id=f"{folder.name}/{case.name}")
        for folder in sorted(CASES.iterdir())
        for case in sorted(folder.iterdir())
    ]


@pytest.mark.parametrize("case", _cases())
def test_case(case: Path, database: duckdb.DuckDBPyConnection) -> None:
    model = QUERIES[case.parent.name]
    file = case / "params.json"
    given = DEFAULTS | (json.loads(file.read_text()) if file.exists() else {})
    assert set(given) == set(DEFAULTS), f"params.json knows {', '.join(DEFAULTS)}"
    may_be_given = _prepare(database, model)
    for file in sorted(case.glob("given.*.csv")):
        table = file.name.removeprefix("given.").removesuffix(".csv")
        assert table in may_be_given, f"{model.name} does not read {table}"
        names, rows = _read(file, _types(database, table))
        database.execute(f"INSERT INTO {table} ({names}) {rows}")

    names = ", ".join(c.name for c in model.columns)
    database.execute(
        f"INSERT INTO {model.name} SELECT {names} FROM ({model.query})", _parameters(model.query, given)
    )

    names, rows = _read(case / "expect.csv", {c.name: c.type for c in model.columns})
    assert _multiset(database, f"SELECT {names} FROM {model.name}") == _multiset(database, rows)
    if model.grain:
        grain = ", ".join(model.grain)
        twice = database.execute(
            f"SELECT {grain} FROM {model.name} GROUP BY ALL HAVING count(*) > 1"
        ).fetchall()
        assert twice == [], f"{model.name} is not one row a {grain}"
    failing = [check.name for check in checks_of(model) if database.execute(check.query).fetchall()]
    assert failing == given["failing_checks"]


def _multiset(connection: duckdb.DuckDBPyConnection, query: str) -> Rows:
    rows = connection.execute(query).fetchall()
    return Counter(tuple(tuple(v) if isinstance(v, list) else v for v in row) for row in rows)


# Conventions


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_query_has_a_case(name: str) -> None:
    assert [case for case in (CASES / name).glob("*") if (case / "expect.csv").is_file()], (
        f"tests/models/{name}/ has no case; see the top of this file for what one is"
    )


def test_case_folders_are_of_models_with_a_query() -> None:
    assert {folder.name for folder in CASES.iterdir()} <= set(QUERIES)


def test_case_folders_hold_nothing_else() -> None:
    files = [file for file in CASES.glob("*/*/*") if file.name not in ("expect.csv", "params.json")]
    assert [f for f in files if not (f.name.startswith("given.") and f.name.endswith(".csv"))] == []


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_header_and_query_agree(name: str, database: duckdb.DuckDBPyConnection) -> None:
    model = QUERIES[name]
    _prepare(database, model)
    described = database.execute(f"DESCRIBE {model.query}", _parameters(model.query, DEFAULTS)).fetchall()
    assert [row[0] for row in described] == [c.name for c in model.columns]
    for (_, given, *_), column in zip(described, model.columns, strict=True):
        casts = database.execute(
            f"SELECT can_cast_implicitly(NULL::{given}, NULL::{column.type})"
        ).fetchall()[0][0]
        assert casts, f"{column.name} is {column.type} in the header, the query gives {given}"


@pytest.mark.parametrize("name", sorted(n for n, model in MODELS.items() if list(checks_of(model))))
def test_checks_run(name: str, database: duckdb.DuckDBPyConnection) -> None:
    _prepare(database, MODELS[name])
    for check in checks_of(MODELS[name]):
        assert database.execute(check.query).fetchall() == [], f"{check.name} fails on empty tables"


# The portable subset


@pytest.mark.parametrize("name", sorted(n for n, m in QUERIES.items() if EVENTS & set(m.inputs)))
def test_reader_of_events_is_portable(name: str) -> None:
    query = QUERIES[name].query
    assert portability(query) == []
    (spark,) = sqlglot.transpile(
        query, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    tree = sqlglot.parse_one(spark, dialect="spark")
    assert isinstance(tree, exp.Query)
    assert {f"{t.db}.{t.name}" for t in tree.find_all(exp.Table) if t.db} == set(tables_in(query))
    assert tree.named_selects == [c.name for c in QUERIES[name].columns]


DECISIONS = sorted(file.stem for file in (project_root() / "sql/load").glob("*.sql"))


@pytest.mark.parametrize("name", DECISIONS)
def test_decision_is_portable_and_is_what_its_header_says(
    name: str, database: duckdb.DuckDBPyConnection
) -> None:
    found = deciding.decision(name)
    assert portability(found.query) == []
    (spark,) = sqlglot.transpile(
        found.query, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    tree = sqlglot.parse_one(spark, dialect="spark")
    known = {cte.alias for cte in tree.find_all(exp.CTE)}
    assert {t.name for t in tree.find_all(exp.Table)} - known == set(found.reads)
    assert tree.named_selects == [c.name for c in found.columns]  # type: ignore[attr-defined]
    numbers = {"load_seq", "line", "element", "key_first", "key_last"}
    for relation, columns in found.reads.items():
        typed = ", ".join(f"{c} {'BIGINT' if c in numbers else 'VARCHAR'}" for c in columns)
        database.execute(f"CREATE TABLE {relation} ({typed})")
    described = database.execute(f"DESCRIBE {found.query}").fetchall()
    assert [row[:2] for row in described] == [(c.name, c.type) for c in found.columns]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT arg_max(a, b) FROM t",
        "SELECT min_by(a, b) FROM t",
        "SELECT list(a ORDER BY b) FROM t",
        "SELECT string_agg(a, ',' ORDER BY b) FROM t",
        "SELECT first(a ORDER BY b) FROM t",
        "SELECT m ->> '$.a' FROM t",
        "SELECT json_extract(m, '$.a') FROM t",
        "SELECT json_keys(m) FROM t",
        "SELECT to_json(a) FROM t",
        "SELECT CAST(a AS JSON) FROM t",
        "PIVOT t ON a USING sum(b)",
        "FROM t PIVOT (sum(a) FOR b IN (1, 2))",
        "SELECT * FROM a ASOF JOIN b ON a.x >= b.x",
        "SELECT COLUMNS('x.*') FROM t",
        "SELECT a FROM t UNION ALL BY NAME SELECT a FROM s",
        "SELECT date_diff('day', a, b) FROM t",
        "SELECT date_sub('day', a, b) FROM t",
        "SELECT epoch(a) FROM t",
        "SELECT epoch_us(a) FROM t",
        "SELECT extract(epoch FROM a) FROM t",
        "SELECT CAST(a AS VARCHAR) FROM t",
        "SELECT a::text FROM t",
        "SELECT TRY_CAST(a AS VARCHAR) FROM t",
        "SELECT regexp_replace(a, 'b', 'c') FROM t",
        "SELECT CAST(a AS TIMESTAMPTZ) FROM t",
        "SELECT a AT TIME ZONE 'UTC' FROM t",
        "SELECT now() FROM t",
    ],
)
def test_portability_finds(query: str) -> None:
    assert len(portability(query)) >= 1


def test_portability_leaves_plain_sql_alone() -> None:
    assert (
        portability("""
        SELECT CAST(at AS DATE) AS day, coalesce(a, '') AS a, regexp_replace(b, 'x', 'y', 'g') AS b,
               count(*) AS n, min(CASE WHEN status BETWEEN 200 AND 299 THEN at END) AS first_at
        FROM raw.api_calls AS c JOIN t ON t.a = c.a
        WHERE load_seq > $since
        GROUP BY 1, 2, 3
        QUALIFY row_number() OVER (PARTITION BY a ORDER BY day DESC, b) = 1""")
        == []
    )


def test_models_that_read_events_are_seen() -> None:
    """The lint above finds them by what they read."""
    text = "-- About.\n-- columns:\n--   n  BIGINT  number\nSELECT count(*) AS n FROM raw.actions\n"
    assert EVENTS & set(parse_model("core.x", text).inputs)


def test_a_saturating_sum_is_written_out_as_plain_sql() -> None:
    text = "-- About.\n-- columns:\n--   n  BIGINT  number\nSELECT saturating_sum(greatest(a, length(')'))) AS n FROM t\n"
    whole = "CAST(least(sum(greatest(a, length(')'))), 9223372036854775807) AS BIGINT)"
    assert parse_model("core.x", text).query == f"SELECT {whole} AS n FROM t"
    with pytest.raises(ModelError, match="parenthesis"):
        parse_model("core.x", text.replace("))) AS", ")) AS"))


def test_columns_may_be_those_of_another_model(tmp_path: Path) -> None:
    def write(name: str, columns: str, query: str) -> None:
        file = tmp_path / f"{name.replace('.', '/')}.sql"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"-- About {name}.\n-- columns:\n{columns}{query}\n")

    write("core.a", "--   n  BIGINT  how many\n", "SELECT 1 AS n")
    write("marts.a", "--   * core.a\n--   m  BIGINT  more\n", "SELECT a.*, 2 AS m FROM core.a AS a")
    before = read_models(tmp_path)["marts.a"]
    assert [(c.name, c.type, c.about) for c in before.columns] == [
        ("n", "BIGINT", "how many"),
        ("m", "BIGINT", "more"),
    ]
    write("core.a", "--   n  BIGINT  how many there are\n", "SELECT 1 AS n")
    after = read_models(tmp_path)["marts.a"]
    assert after.columns[0].about == "how many there are"
    assert after.code != before.code, "its table gets the new comment"
    write("marts.a", "--   * core.b\n", "SELECT 1 AS n")
    with pytest.raises(ModelError, match=r"core\.b"):
        read_models(tmp_path)
