"""A page's data for programs: the same rows as JSON, or its main table as CSV, at the page's address with `.json` or
`.csv`. What is shortened on a page, because it may be a real API key, is shortened here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from . import show
from .asking import View
from .columns import Column

_NOT_DATA = object()
_DOCUMENTS = ("metadata", "campaign", "crm")


def as_json(view: View, **more: Any) -> str:
    """All that a page shows, but for what only says how it looks."""
    found = {name: _plain(name, value) for name, value in {**view.shows, **more}.items()}
    kept = {name: value for name, value in found.items() if value is not _NOT_DATA}
    return json.dumps({"title": view.title, **kept}, ensure_ascii=False, separators=(",", ":"))


def table(view: View) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The page's main table."""
    rows = view.shows[view.main] if view.main else []
    names = [name for name in (rows[0] if rows else {}) if name != "of"]
    return names, [tuple(_cell(name, row[name]) for name in names) for row in rows]


def _cell(name: str, value: Any) -> Any:
    return show.token(value) if Column(name, "VARCHAR").look == "token" else value


def _plain(name: str, value: Any) -> Any:
    """A value as JSON knows it; `_NOT_DATA` where it is none."""
    if isinstance(value, str):
        look = Column(name, "VARCHAR").look
        if look == "token":
            return show.token(value)
        return show.untokened(value) if look == "raw" else value
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, float) or value - value == 0 else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            return _NOT_DATA
        found = {key: _member(key, inner) for key, inner in value.items()}
        kept = {key: inner for key, inner in found.items() if inner is not _NOT_DATA}
        return kept if kept or not value else _NOT_DATA
    if isinstance(value, list | tuple):
        found_list = [_plain(name, inner) for inner in value]
        return _NOT_DATA if any(inner is _NOT_DATA for inner in found_list) else found_list
    return _NOT_DATA


def _member(key: str, value: Any) -> Any:
    if key in _DOCUMENTS and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return _plain(key, value)
