"""Charts: stacked bars, worked out here. Pages draw them by a template; Dagster's UI is handed a picture (SVG).

No charting library: those of the browser draw by script, and pages that show other people's texts are safest with no
script at all; those of Python take longer to import than a night without news takes. Plain SVG also prints, obeys dark
mode, and is small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

HEIGHT = 100.0
_TIERS = 2
_LABELS = 4
_WEEKS_FROM = 100  # days; beyond, a bar is a week
# The picture: sizes in pixels, colours that can be seen on white and on black.
_COLOURS = ("#3f88a6", "#c98a12", "#c0443c", "#7fb069", "#8d7bb8")
_INK = "#7d878e"
_WIDTH, _PLOT, _LINE, _LABEL = 560, 120, 18, 190
_DAYS_DRAWN = 60
_LONGEST = 30  # characters of a label


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

    @property
    def is_empty(self) -> bool:
        return not any(bar.parts for bar in self.bars)

    @property
    def labelled(self) -> set[int]:
        """The bars that the axis names: the first, the last, and as many between as a phone has room for."""
        last = len(self.bars) - 1
        step = -(-len(self.bars) // _LABELS)
        return {*(place for place in range(0, last, step) if last - place >= step), 0, last}

    @property
    def legend(self) -> list[tuple[Series, int]]:
        """Each series with its total."""
        return [(one, sum(bar.values[i][1] for bar in self.bars)) for i, one in enumerate(self.series)]


def stacked(title: str, first: date, last: date, series: Sequence[Series]) -> Chart:
    """A bar for each day from first to last, or for each week where these are many."""
    days = 7 if (last - first).days >= _WEEKS_FROM else 1
    count = -(-((last - first).days + 1) // days)
    # Weeks end with the last day, so that the newest bar is whole.
    edges = [last - timedelta(days=days * i) for i in range(count, -1, -1)]
    raw = [
        (end, [sum(s.values.get(begin + timedelta(days=i + 1), 0) for i in range(days)) for s in series])
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
    return Chart(title, series, bars, ticks, "day" if days == 1 else "week")


def ceiling(value: int) -> int:
    """The round number at or above a value: what an axis ends with. Even, so that its middle is a number too."""
    step = 2
    while True:
        for tenths in (10, 12, 15, 20, 30, 40, 50, 60, 80):
            top, rest = divmod(step * tenths, 10)
            if top >= value and not rest and not top % 2:
                return top
        step *= 10


def picture(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str | None:
    """A query's rows as SVG: what the first column names is a bar, the numbers of the others are its parts.

    Days stand side by side, in their order, the last 60; whatever else is listed from top to bottom. None: no rows.
    """
    rows = [row for row in rows if row[0] is not None]
    if not rows:
        return None
    drawn, height = _days(names, rows) if isinstance(rows[0][0], date) else _list(rows)
    legend = "".join(
        f'<tspan fill="{_COLOURS[i % len(_COLOURS)]}">\u25a0</tspan> {_text(name)}  '
        for i, name in enumerate(names[1:])
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height + _LINE}" '
        f'font-family="sans-serif" font-size="11" fill="{_INK}">'
        f'<text x="0" y="12">{legend}</text><g transform="translate(0 {_LINE})">{drawn}</g></svg>'
    )


def _days(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[str, int]:
    last = max(row[0] for row in rows)
    first = max(min(row[0] for row in rows), last - timedelta(days=_DAYS_DRAWN - 1))
    series = [
        Series(name, colour, {row[0]: int(row[i] or 0) for row in rows})
        for i, (name, colour) in enumerate(zip(names[1:], _COLOURS, strict=False), start=1)
    ]
    chart = stacked("", first, last, series)
    left = 60
    step = (_WIDTH - left) / len(chart.bars)
    paths: dict[str, str] = {}
    for place, bar in enumerate(chart.bars):
        for part in bar.parts:
            x, bottom = left + place * step, (part.y + part.height) * _PLOT / HEIGHT
            paths[part.look] = paths.get(part.look, "") + (
                f"M{x:.1f} {bottom:.1f}V{part.y * _PLOT / HEIGHT:.1f}h{step * 0.8:.1f}V{bottom:.1f}z"
            )
    bars = "".join(f'<path fill="{colour}" d="{path}"/>' for colour, path in paths.items())
    return (
        f'<text x="{left - 6}" y="9" text-anchor="end">{chart.ticks[0]:,}</text>'
        f'<text x="{left - 6}" y="{_PLOT}" text-anchor="end">0</text>{bars}'
        f'<text x="{left}" y="{_PLOT + 14}">{first}</text>'
        f'<text x="{_WIDTH}" y="{_PLOT + 14}" text-anchor="end">{last}</text>'
    ), _PLOT + _LINE


def _list(rows: Sequence[Sequence[Any]]) -> tuple[str, int]:
    totals = [sum(int(value or 0) for value in row[1:]) for row in rows]
    scale = (_WIDTH - _LABEL - 80) / max(*totals, 1)
    drawn = []
    for place, (row, total) in enumerate(zip(rows, totals, strict=True)):
        y, x = place * _LINE, float(_LABEL)
        drawn.append(f'<text x="{_LABEL - 6}" y="{y + 12}" text-anchor="end">{_text(row[0])}</text>')
        for i, value in enumerate(row[1:]):
            width = int(value or 0) * scale
            drawn.append(
                f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="13" fill="{_COLOURS[i % len(_COLOURS)]}"/>'
            )
            x += width
        drawn.append(f'<text x="{x + 5:.1f}" y="{y + 12}">{total:,}</text>')
    return "".join(drawn), len(rows) * _LINE


def _text(value: object) -> str:
    """Text that XML admits, cut to what fits."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(value))
    return escape(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")
