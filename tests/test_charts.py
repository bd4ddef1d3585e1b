"""Charts: what bars stand for."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest

from dagster_project.rendering import charts
from dagster_project.rendering.charts import Series

pytestmark = pytest.mark.fast

LAST = date(2026, 3, 31)


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
