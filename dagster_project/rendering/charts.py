"""Charts: stacked bars, worked out here. Pages draw them by a template, as SVG.

No charting library: those of the browser draw by script, and pages that show other people's texts are safest with no
script at all. Plain SVG also prints, obeys dark mode, and is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

HEIGHT = 100.0
_TIERS = 2
_LABELS = 4
_WEEKS_FROM = 100  # days; beyond, a bar is a week


@dataclass(frozen=True)
class Series:
    """A name, the look of its colour (a class in the style sheet), and a value for some days."""

    label: str
    look: str
    values: Mapping[date, int]


@dataclass(frozen=True)
class Part:
    look: str
    y: float
    height: float


@dataclass(frozen=True)
class Bar:
    """One day, or one week: the parts of its stack, from the bottom up, and the value of each series."""

    first: date
    label: str
    parts: list[Part]
    values: list[tuple[Series, int]]


@dataclass(frozen=True)
class Chart:
    title: str
    series: Sequence[Series]
    bars: list[Bar]
    ticks: list[int]  # from the top down
    step: str  # what a bar is: day or week
    legend: list[tuple[Series, int]]  # each series with its total

    @property
    def is_empty(self) -> bool:
        return not any(bar.parts for bar in self.bars)

    @property
    def labelled(self) -> set[int]:
        """The bars that the axis names: the first, the last, and as many between as a phone has room for."""
        last = len(self.bars) - 1
        step = -(-len(self.bars) // _LABELS)
        return {*(place for place in range(0, last, step) if last - place >= step), 0, last}


def stacked(
    title: str,
    first: date,
    last: date,
    series: Sequence[Series],
    together: Callable[[Iterable[int]], int] = sum,
) -> Chart:
    """A bar for each day from first to last, or for each week where these are many.

    together: what the days of a week, and all bars, come to: sum, or highest.
    """
    days = 7 if (last - first).days >= _WEEKS_FROM else 1
    count = -(-((last - first).days + 1) // days)
    # Weeks end with the last day, so that the newest bar is whole.
    edges = [last - timedelta(days=days * i) for i in range(count, -1, -1)]
    raw = [
        (end, [together(s.values.get(begin + timedelta(days=i + 1), 0) for i in range(days)) for s in series])
        for begin, end in pairwise(edges)
    ]
    top = ceiling(max((sum(values) for _, values in raw), default=0))
    bars = []
    for end, values in raw:
        parts, y = [], HEIGHT
        for one, value in zip(series, values, strict=True):
            height = HEIGHT * value / top
            y -= height
            if value:
                parts.append(Part(one.look, round(y, 3), round(height, 3)))
        begin = end - timedelta(days=days - 1)
        label = end.isoformat() if days == 1 else f"{begin} to {end}"
        bars.append(Bar(begin, label, parts, list(zip(series, values, strict=True))))
    ticks = [top * tier // _TIERS for tier in range(_TIERS, -1, -1)]
    legend = [(one, together(bar.values[i][1] for bar in bars)) for i, one in enumerate(series)]
    return Chart(title, series, bars, ticks, "day" if days == 1 else "week", legend)


def highest(values: Iterable[int]) -> int:
    return max(values, default=0)


def ceiling(value: int) -> int:
    """The round number at or above a value: what an axis ends with. Even, so that its middle is a number too."""
    step = 2
    while True:
        for tenths in (10, 12, 15, 20, 30, 40, 50, 60, 80):
            top, rest = divmod(step * tenths, 10)
            if top >= value and not rest and not top % 2:
                return top
        step *= 10
