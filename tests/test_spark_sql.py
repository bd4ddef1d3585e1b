"""The SQL that a cluster is sent, written down in `tests/spark_sql/`: so an upgrade of SQLGlot shows in review.

WAREHOUSE_WRITE_GOLDEN=1 writes the files anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from dagster_project.pipeline import nightly
from dagster_project.settings import project_root
from dagster_project.sources import all_sources, deciding
from dagster_project.spark.sql import NotPortable, carried

pytestmark = pytest.mark.fast

GOLDEN = Path(__file__).parent / "spark_sql"
LARGE = {f"raw.{table.name}" for source in all_sources() for table in source.tables if table.is_large}
MODELS = {
    name: model
    for name, model in nightly.models().items()
    if LARGE & set(model.inputs) and model.rebuild == "merge"
}
DECISIONS = sorted(file.stem for file in (project_root() / "sql/load").glob("*.sql"))


def test_models_that_merge_events_are_there() -> None:
    assert len(MODELS) >= 4


@pytest.mark.parametrize("name", [*MODELS, *DECISIONS])
def test_what_a_cluster_is_sent(name: str) -> None:
    if name in MODELS:
        model = MODELS[name]
        tables = {table: table.removeprefix("raw.") for table in model.inputs}
        text = carried(model.query, tables, {"since": 7})
        assert [c.name for c in model.columns] == sqlglot.parse_one(text, dialect="spark").named_selects  # type: ignore[attr-defined]
    else:
        text = carried(deciding.decision(name).query, {}, {})
    file = GOLDEN / f"{name}.sql"
    if "WAREHOUSE_WRITE_GOLDEN" in os.environ:
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text + "\n"


def test_golden_files_are_of_what_there_is() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == {*MODELS, *DECISIONS}


def test_overflow_stops_at_the_largest_number() -> None:
    text = carried(f"SELECT CAST(least(sum(a), {2**63 - 1}) AS BIGINT) AS a FROM raw.t", {"raw.t": "u"}, {})
    assert "COALESCE(TRY_SUM(a), 9223372036854775807)" in text
    assert [t.name for t in sqlglot.parse_one(text, dialect="spark").find_all(exp.Table)] == ["u"]


def test_what_means_something_else_there_is_refused_with_the_reason() -> None:
    with pytest.raises(NotPortable, match="which row wins a tie differs"):
        carried("SELECT arg_max(a, b) AS a FROM raw.t", {"raw.t": "t"}, {})
    with pytest.raises(NotPortable, match="only numbers"):
        carried("SELECT a FROM raw.t WHERE a > $now", {"raw.t": "t"}, {"now": "x"})
