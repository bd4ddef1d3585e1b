"""How values look on a page, and the templates that show them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from .asking import address

FOLDER = Path(__file__).resolve().parent
_MISSING = "–"
# Tokens may be real API keys: pages show how they begin and end, so that they can be told apart and not used.
_TOKEN_SHOWN = 8


def number(value: int | float | None) -> str:
    if value is None:
        return _MISSING
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{int(value):,}"


def moment(value: datetime | None) -> str:
    return value.strftime("%Y-%m-%d %H:%M") if value is not None else _MISSING


def day(value: date | None) -> str:
    return value.strftime("%Y-%m-%d") if value is not None else _MISSING


def text(value: object) -> str:
    return _MISSING if value is None or value == "" else str(value)


def breakable(value: object) -> Markup:
    """A text that may go on in the next line where an email goes from a name to a domain."""
    before, at, after = text(value).partition("@")
    return Markup("{}<wbr>{}").format(before, at + after) if at else Markup("{}").format(before)


def token(value: str | None) -> str:
    if value is None:
        return _MISSING
    end = min(_TOKEN_SHOWN, len(value) // 4) // 2  # many begin alike: sk_live_…
    start = min(_TOKEN_SHOWN, len(value) // 4) - end
    return f"{value[:start]}…{value[len(value) - end :]}"


# A token in a text that was kept as it came: after its name, however it is quoted.
_NAMED_TOKEN = re.compile(
    r"""(?P<name>session_?token\\*["']?\s*[:=]\s*\\*["']?)(?P<token>[^"'\\,;\s}&]{3,})""", re.IGNORECASE
)


def untokened(value: str | None) -> str:
    """A text with the session tokens in it shortened."""
    return _NAMED_TOKEN.sub(lambda found: found["name"] + token(found["token"]), value or "")


def span(seconds: float | None) -> str:
    """A duration in its two largest units."""
    if seconds is None:
        return _MISSING
    left = int(abs(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return ("−" if seconds < 0 else "") + " ".join(parts[:2])


def size(count: int | None) -> str:
    if count is None:
        return _MISSING
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "B" or value >= 100 else f"{value:,.1f} {unit}"
        value /= 1000
    raise AssertionError


def percent(value: float | None) -> str:
    """A change, given as a part of what was before."""
    if value is None:
        return _MISSING
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{abs(value) * 100:,.0f} %"


def portion(value: float | None) -> str:
    """A part of a whole, in percent."""
    if value is None:
        return _MISSING
    return "< 1 %" if 0 < value < 0.005 else f"{value * 100:,.0f} %"


def outline(values: Sequence[int]) -> str:
    """Values by day as the outline of an area: a path in a box of 100 by 20, the last at the right."""
    top, step = max(values), 100 / max(len(values) - 1, 1)
    points = (f"{i * step:.4g} {19 - 18 * value / top:.3g}" for i, value in enumerate(values))
    return f"M0 20L{'L'.join(points)}L100 20Z"


def words(name: str) -> str:
    """A column's or cohort's name as words."""
    return name.replace("_", " ")


def toml(value: str) -> str:
    """A text as a TOML string, which is written like JSON's."""
    return json.dumps(value, ensure_ascii=False)


def document(value: object) -> str | None:
    """A structure as JSON; JSON stays as it is."""
    return value if value is None or isinstance(value, str) else json.dumps(value, default=str)


def pretty(document: str | None) -> str:
    """JSON, indented. What is no JSON after all stays as it is."""
    try:
        return json.dumps(json.loads(document or "null"), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return document or ""


def tree(document: str | None) -> Iterator[tuple[str, str, str]]:
    """JSON as steps: ("open", key, what) … ("leaf", key, value) … ("close", "", ""). However deep it goes."""
    try:
        value = json.loads(document or "{}")
    except (ValueError, RecursionError):
        yield "leaf", "", document or ""
        return
    waiting: list[Iterator[tuple[str, Any]]] = [_members(value)]
    while waiting:
        member = next(waiting[-1], None)
        if member is None:
            waiting.pop()
            if waiting:
                yield "close", "", ""
        elif isinstance(member[1], dict | list) and member[1]:
            inner = member[1]
            yield "open", member[0], f"{len(inner)}" if isinstance(inner, list) else ""
            waiting.append(_members(inner))
        else:
            leaf = member[1]
            yield "leaf", member[0], leaf if isinstance(leaf, str) else json.dumps(leaf)


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    if isinstance(value, list):
        return ((str(index), element) for index, element in enumerate(value))
    return iter([("", value)])


def environment() -> jinja2.Environment:
    """The templates. Every value is escaped; a name that is not there is an error, not an empty spot."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for show in (
        number,
        moment,
        day,
        text,
        breakable,
        token,
        untokened,
        span,
        size,
        words,
        outline,
        percent,
        portion,
        toml,
        document,
        pretty,
        tree,
    ):
        made.filters[show.__name__] = show
    made.globals["address"] = address
    return made
