"""Charts: what bars stand for, and the pictures that Dagster's UI is handed."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from harness import Warehouse

from dagster_project import charts, nightly
from dagster_project.charts import Series
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.models import tables_in

LAST = date(2026, 3, 31)
DRAWN = [model for model in nightly.models().values() if model.schema in ("marts", "ops")]


def drawn(names: list[str], rows: list[tuple[Any, ...]]) -> ElementTree.Element:
    picture = charts.picture(names, rows)
    assert picture is not None
    return ElementTree.fromstring(picture)


def test_every_mart_has_a_chart_of_itself() -> None:
    without = {model.name for model in DRAWN if model.chart is None and not model.name.startswith("ops.")}
    assert without == {"marts.as_of"}  # a single row
    assert [model.name for model in DRAWN if model.chart and tables_in(model.chart) != (model.name,)] == []


def test_chart_queries_run_and_an_empty_table_has_no_picture(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path).night()
    with open_warehouse(warehouse.settings) as connection:
        for model in DRAWN:
            if model.chart:
                relation = connection.sql(model.chart)
                assert len(relation.columns) > 1, model.name
                picture = charts.picture(relation.columns, relation.fetchall())
                assert (picture is None) == (model.name != "marts.cohorts"), model.name  # files, not records


def test_a_bar_is_as_high_as_its_value() -> None:
    days = {LAST: 30, LAST - timedelta(days=1): 10}
    chart = charts.stacked(
        "", LAST - timedelta(days=2), LAST, [Series("a", "x", days), Series("b", "y", {LAST: 10})]
    )
    assert [bar.label for bar in chart.bars] == ["2026-03-29", "2026-03-30", "2026-03-31"]
    assert chart.ticks == [40, 20, 0]
    assert [[part.height for part in bar.parts] for bar in chart.bars] == [[], [25.0], [75.0, 25.0]]
    assert [part.y for part in chart.bars[2].parts] == [25.0, 0.0]
    assert [total for _, total in chart.legend] == [40, 10]


def test_many_days_become_weeks_that_miss_none() -> None:
    first = LAST - timedelta(days=364)
    chart = charts.stacked(
        "", first, LAST, [Series("a", "x", {first + timedelta(days=i): 1 for i in range(365)})]
    )
    assert chart.step == "week"
    assert chart.legend[0][1] == 365
    assert chart.bars[-1].label == "2026-03-25 to 2026-03-31"


@pytest.mark.parametrize("value", [0, 1, 2, 3, 9, 11, 19, 21, 45, 99, 101, 12345, 2**62])
def test_an_axis_ends_at_or_above_its_greatest_value(value: int) -> None:
    top = charts.ceiling(value)
    assert top >= value
    assert top % 2 == 0
    assert top <= max(2, 1.6 * value)


@pytest.mark.parametrize("days", [1, 2, 7, 30, 90, 365])
def test_the_days_that_an_axis_names_have_room(days: int) -> None:
    chart = charts.stacked("", LAST - timedelta(days=days - 1), LAST, [])
    named = sorted(chart.labelled)
    assert {0, len(chart.bars) - 1} <= set(named)
    assert all(later - earlier >= len(chart.bars) / 4 for earlier, later in pairwise(named))


def test_a_picture_is_xml_whatever_the_names_say() -> None:
    hostile = "<script>alert(1)</script>&\"'\x00\u202e\ud800"
    picture = drawn(["name", hostile], [(hostile, 3), ("x" * 500, 1), ("none", None)])
    text = "".join(picture.itertext())
    assert "<script>alert(1)" in text
    assert "\x00" not in text
    assert "x" * 31 not in text
    assert not picture.findall(".//{http://www.w3.org/2000/svg}script")


def test_a_picture_of_days_shows_the_last_sixty() -> None:
    days = [(LAST - timedelta(days=i), i, None) for i in range(90)]
    picture = drawn(["day", "calls", "errors"], days)
    text = "".join(picture.itertext())
    assert "2026-01-31" in text
    assert "2026-03-31" in text
    (bars,) = (path.get("d", "") for path in picture.iter("{http://www.w3.org/2000/svg}path"))
    assert len(re.findall("M", bars)) == 59  # the last day has none
    assert charts.picture(["day", "calls"], [(None, 4)]) is None
