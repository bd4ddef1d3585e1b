"""The kernel on models of a test's own: columns, checks, history, modules. What the project's own models say is elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest

from dagster_project.settings import Settings
from dagster_project.warehouse import registry
from dagster_project.warehouse.build import BuildError, Built, ChecksFailed, build
from dagster_project.warehouse.database import Connection, open_warehouse, transaction
from dagster_project.warehouse.models import ModelError, in_order, parse_model, read_models
from dagster_project.warehouse.python_models import PythonModel


class Tables:
    """A warehouse whose models are given as texts."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder, raw=folder / "raw")
        self.models: dict[str, str] = {}

    def build(self, connection: Connection) -> dict[str, Built]:
        models = in_order({name: parse_model(name, text) for name, text in self.models.items()})
        now = datetime.now(UTC).replace(tzinfo=None)
        return build(connection, self.settings, models, as_of=date(2026, 3, 31), now=now, run_id="run")


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


@pytest.fixture
def connection(tables: Tables) -> Iterator[Connection]:
    with open_warehouse(tables.settings) as connection:
        registry.prepare(connection)
        connection.execute("CREATE TABLE raw.given (n BIGINT); INSERT INTO raw.given VALUES (1)")
        registry.bump(connection, ["given"])
        yield connection


def give(connection: Connection, n: int) -> None:
    connection.execute("INSERT INTO raw.given VALUES (?)", [n])
    registry.bump(connection, ["given"])


def rows(connection: Connection, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"FROM {table} ORDER BY ALL").fetchall()


def model(query: str, *columns: str, header: str = "", checks: str = "") -> str:
    listed = "".join(f"--   {column}\n" for column in columns)
    return (
        f"-- About.\n{header}-- columns:\n{listed}{f'-- checks:{chr(10)}{checks}' if checks else ''}{query}\n"
    )


# Columns


def test_columns_are_of_any_type_and_any_name(tables: Tables, connection: Connection) -> None:
    tables.models["marts.typed"] = (
        model(
            """SELECT n AS "order", 1.5 AS price, {'a': 1, 'b': 'x'} AS pair, [{'a': 1}] AS pairs,
               MAP {'k': [1, 2]} AS lists, CAST('b' AS ENUM('a)', 'b')) AS kind""",
            "order  INT  a word that SQL keeps for itself",
            "price  decimal(10, 2)  with a comma in its type",
            "pair   STRUCT(a INTEGER, b VARCHAR)  two values",
            "pairs  STRUCT(a BIGINT)[]  several",
            "lists  MAP(VARCHAR, INTEGER[])  by name",
            "kind   ENUM('a)', 'b')  one of two",
            header="-- grain: order\n",
        ).rstrip()
        + " FROM raw.given\n"
    )
    tables.build(connection)
    ((order, price, pair, pairs, lists, kind),) = rows(connection, "marts.typed")
    assert (order, str(price), pair, pairs, kind) == (1, "1.50", {"a": 1, "b": "x"}, [{"a": 1}], "b")
    assert lists == {"k": [1, 2]}
    described = connection.execute(
        "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'typed' ORDER BY column_index"
    ).fetchall()
    assert described[:2] == [
        ("order", "a word that SQL keeps for itself"),
        ("price", "with a comma in its type"),
    ]
    give(connection, 2)
    assert tables.build(connection)["marts.typed"].rows == 2
    assert not tables.build(connection)["marts.typed"].changed


@pytest.mark.parametrize("rebuild", ["merge", "day", "append", "stamp"])
def test_names_are_quoted_however_a_table_is_rebuilt(
    tables: Tables, connection: Connection, rebuild: str
) -> None:
    query = 'SELECT DATE \'2026-03-01\' AS day, n AS "group", n AS "order", now()::TIMESTAMP AS "at" FROM '
    columns = ["day  DATE  day", "group  BIGINT  key", "order  BIGINT  measure", "at  TIMESTAMP  when"]
    tables.models["core.base"] = model(
        query + "raw.given WHERE n > $since * 0",
        *columns,
        header="-- grain: day, group\n-- rebuild: merge\n-- merge: sum(order), max(at)\n",
    )
    headers = {
        "merge": "-- grain: day, group\n-- rebuild: merge\n-- merge: sum(order), max(at)\n",
        "day": "-- grain: day, group\n-- rebuild: day\n",
        "append": '-- rebuild: append\n-- erases:\n--   company: "order"\n',
        "stamp": "-- grain: day, group\n-- stamp: at\n-- erases: nothing\n",
    }
    of = query + "raw.given" if rebuild == "merge" else 'SELECT day, "group", "order", "at" FROM core.base'
    tables.models["marts.of"] = model(of, *columns, header=headers[rebuild])
    tables.build(connection)
    give(connection, 2)
    tables.build(connection)
    assert {row[1] for row in rows(connection, "marts.of")} == {1, 2}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1 AS n, 2 AS more", "more, which the header lacks"),
        ("SELECT 1 AS m", "n, which the query does not give"),
        ("SELECT 'many' AS n", "n is BIGINT in the header, and the query gives VARCHAR"),
        ("SELECT [1] AS n", "n is BIGINT in the header, and the query gives INTEGER[]"),
        ("SELECT 1 AS n, 2 AS n", "a name twice"),
    ],
)
def test_a_query_and_a_header_that_differ_are_an_error(
    tables: Tables, connection: Connection, query: str, said: str
) -> None:
    tables.models["marts.other"] = model("SELECT 1 AS n", "n  BIGINT  a number")
    tables.models["marts.wrong"] = model(query, "n  BIGINT  a number")
    with pytest.raises(BuildError) as caught:
        tables.build(connection)
    assert "marts.wrong" in str(caught.value)
    assert said in str(caught.value)
    assert connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'marts'"
    ).fetchall() == [(0,)]


def test_a_column_that_an_input_gains_is_not_dropped_silently(tables: Tables, connection: Connection) -> None:
    tables.models["core.base"] = model("SELECT 1 AS n", "n  BIGINT  a number")
    tables.models["marts.all"] = model("SELECT * FROM core.base", "n  BIGINT  a number")
    tables.build(connection)
    tables.models["core.base"] = model("SELECT 1 AS n, 2 AS m", "n  BIGINT  a number", "m  BIGINT  another")
    with pytest.raises(BuildError, match=r"marts\.all: the query gives m, which the header lacks"):
        tables.build(connection)


@pytest.mark.parametrize(
    "column", ["n NUMBR a number", "n DECIMAL(10, 2 a number", "n", "n BIGINT, a number"]
)
def test_a_column_line_that_names_no_type_is_an_error(column: str) -> None:
    with pytest.raises(ModelError, match=r"marts\.x: column line 'n"):
        parse_model("marts.x", model("SELECT 1 AS n", column))


def test_a_header_that_says_a_thing_twice_is_an_error() -> None:
    text = model("SELECT 1 AS n", "n  BIGINT  a number", header="-- grain: n\n-- grain: n\n")
    with pytest.raises(ModelError, match="grain: is said twice"):
        parse_model("marts.x", text)


def test_a_table_that_is_computed_again_with_the_same_rows_has_not_changed(
    tables: Tables, connection: Connection
) -> None:
    """Also where the query gives other types than the table has, and rows in another order."""
    tables.models["marts.same"] = model(
        "SELECT i % 3 AS n, CAST(i % 5 AS TINYINT) AS d, NULL AS x FROM range(1000) AS r(i) "
        "ORDER BY hash(i + (SELECT max(n) FROM raw.given))",
        "n  INTEGER  a number",
        "d  DECIMAL(10, 2)  another",
        "x  VARCHAR  nothing",
    )
    assert tables.build(connection)["marts.same"].changed
    give(connection, 2)
    assert not tables.build(connection)["marts.same"].changed


@pytest.mark.parametrize("query", ["SELECT 1 AS n UNION ALL SELECT 1", "SELECT NULL AS n", "SELECT 2 AS n"])
def test_a_table_with_other_rows_has_changed(tables: Tables, connection: Connection, query: str) -> None:
    tables.models["marts.other"] = model("SELECT 1 AS n", "n  BIGINT  a number")
    tables.build(connection)
    tables.models["marts.other"] = model(query, "n  BIGINT  a number")
    assert tables.build(connection)["marts.other"].changed
    assert not tables.build(connection)["marts.other"].changed


# Checks


def agrees(mark: str = "") -> str:
    return f"--   agrees{mark}: SELECT n FROM marts.a_first WHERE n NOT IN (SELECT n FROM marts.z_last)\n"


def test_a_check_sees_tables_that_are_built_later(tables: Tables, connection: Connection) -> None:
    tables.models["marts.a_first"] = model("SELECT n FROM raw.given", "n  BIGINT  a number", checks=agrees())
    tables.models["marts.z_last"] = model("SELECT n FROM raw.given", "n  BIGINT  a number")
    assert [check.passed for check in tables.build(connection)["marts.a_first"].checks] == [True]
    give(connection, 2)
    assert [check.passed for check in tables.build(connection)["marts.a_first"].checks] == [True]


@pytest.mark.parametrize("mark", ["", " (warn)"])
def test_a_check_runs_when_only_the_other_table_changed(
    tables: Tables, connection: Connection, mark: str
) -> None:
    tables.models["marts.a_first"] = model("SELECT 1 AS n", "n  BIGINT  a number", checks=agrees(mark))
    tables.models["marts.z_last"] = model("SELECT min(n) AS n FROM raw.given", "n  BIGINT  a number")
    tables.build(connection)
    give(connection, 0)
    if not mark:
        with pytest.raises(ChecksFailed, match=r"marts\.a_first: agrees: 1 rows"):
            tables.build(connection)
        assert rows(connection, "marts.z_last") == [(1,)]
        return
    first = tables.build(connection)["marts.a_first"]
    assert (first.changed, first.checked, [check.failures for check in first.checks]) == (False, True, [1])
    again = tables.build(connection)["marts.a_first"]
    assert (again.checked, [check.failures for check in again.checks]) == (False, [1])


def test_a_check_that_is_new_or_reads_raw_rows_runs(tables: Tables, connection: Connection) -> None:
    none = "--   none: SELECT * FROM raw.given WHERE n > 5\n"
    tables.models["marts.x"] = model("SELECT 1 AS n", "n  BIGINT  a number")
    tables.build(connection)
    tables.models["marts.x"] = model("SELECT 1 AS n", "n  BIGINT  a number", checks=none)
    assert tables.build(connection)["marts.x"].checked
    give(connection, 6)
    with pytest.raises(ChecksFailed, match=r"marts\.x: none"):
        tables.build(connection)


def test_a_check_that_cannot_run_is_named(tables: Tables, connection: Connection) -> None:
    wrong = "--   wrong: SELECT nothing FROM marts.x\n"
    tables.models["marts.x"] = model("SELECT 1 AS n", "n  BIGINT  a number", checks=wrong)
    with pytest.raises(BuildError, match=r"marts\.x: check wrong: .*nothing"):
        tables.build(connection)


# History


def test_history_is_kept_whatever_its_file_says_next(tables: Tables, connection: Connection) -> None:
    header = "-- history: true\n-- erases: nothing\n"
    tables.models["ops.kept"] = model("", "n  BIGINT  a number", header=header)
    tables.build(connection)
    connection.execute("INSERT INTO ops.kept VALUES (7)")
    tables.models["ops.kept"] = model("", "n  VARCHAR  a text now", "more  DATE  new", header=header)
    tables.build(connection)
    assert rows(connection, "ops.kept") == [("7", None)]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("-- history: true\n", "say in `erases:`"),
        ("-- rebuild: append\n", "say in `erases:`"),
        ("-- stamp: n\n", "say in `erases:`"),
        ("-- history: yes\n-- erases: nothing\n", "history: yes: must be `true`"),
        ("-- history: true\n-- erases:\n--   compny: n\n", "kinds are company, user"),
        ("-- history: true\n-- erases:\n--   company:\n", "must be: kind: expression"),
    ],
)
def test_what_an_erase_must_know_of_history_is_demanded(header: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        parse_model("ops.x", model("SELECT 1 AS n", "n  BIGINT  a number", header=header))


# Modules


class Right:
    obeys = None

    def reads(self) -> dict[str, str]:
        return {}

    def fingerprint(self) -> str:
        return ""

    def build(self, work: object) -> set[str]:
        return set()


class Lacking:
    obeys = None

    def read(self) -> dict[str, str]:
        return {}

    def build(self, work: object) -> set[str]:
        return set()


class Obeying(Right):
    obeys = "metdata"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Lacking(), "MODEL lacks reads, fingerprint"),
        (Obeying(), "obeys 'metdata': the settings have no such section"),
        (None, "defines no MODEL"),
    ],
)
def test_a_module_that_misspells_a_member_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: PythonModel | None, said: str
) -> None:
    module = ModuleType("dagster_project.models.of_a_test")
    if made is not None:
        module.MODEL = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "marts").mkdir()
    text = model("", "n  BIGINT  a number", header="-- by: models.of_a_test\n")
    (tmp_path / "marts/x.sql").write_text(text)
    with pytest.raises(ModelError, match=said):
        read_models(tmp_path)


def test_a_module_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops/x.sql").write_text(
        model("", "n  BIGINT  a number", header="-- by: destinations.history\n")
    )
    with pytest.raises(ModelError, match=r"ops\.x: by: destinations\.history: no such module.*history: true"):
        read_models(tmp_path)


# DuckDB


def test_an_insert_of_no_rows_hides_a_large_one_in_the_same_transaction() -> None:
    """A trap of DuckDB 2.0.0, which `database.transaction` tells of. Where this fails, DuckDB has mended it: what was
    bent for it may go."""
    with duckdb.connect() as connection, transaction(connection):
        connection.execute("CREATE TABLE empty (n BIGINT); CREATE TABLE t (n BIGINT)")
        connection.execute("INSERT INTO t FROM empty")
        connection.execute("INSERT INTO t SELECT range FROM range(122_880) ORDER BY range")
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(122_880,)]
        assert connection.execute("SELECT n FROM t").fetchall() == []
