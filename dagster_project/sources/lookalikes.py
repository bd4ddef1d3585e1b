"""Keys that look like an id under another name (`companyId`), where the id itself is missing: a client that is set up wrong.

They are counted where a file's first records, or every hundredth line after them, have one: a file that is read by the
fast path is not looked through for the sake of keys that it does not have. Both paths count the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from dagster_project.readers import json_records
from dagster_project.readers.files import FilePart
from dagster_project.readers.json_text import BadJson, parse

EVERY = 100
_MOST = 1_000


def is_sampled(number: int) -> bool:
    """Whether a line is looked at in any case. number: from the beginning of the part, from 1."""
    return number <= EVERY or number % EVERY == 0


class LookAlikes:
    """Those of one file. fields: the ids that a record of its source may have."""

    def __init__(self, fields: Iterable[str] = ()) -> None:
        self._fields = {_plain(field): field for field in fields}
        self._candidates: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sampled: set[tuple[str, str]] = set()
        self._is_done = False

    def look(self, number: int, value: dict[str, Any]) -> None:
        """Count those of a record. number: of its line, from the beginning of the part."""
        keys = tuple(value)
        candidates = self._candidates.get(keys)
        if candidates is None:
            candidates = self._look_at(keys)
        if not candidates or self._is_done:
            return
        for key, field in candidates:
            if value[key] in (None, "") or value.get(field) not in (None, ""):
                continue
            self._counts[field, key] += 1
            if is_sampled(number):
                self._sampled.add((field, key))

    def _look_at(self, keys: tuple[str, ...]) -> list[tuple[str, str]]:
        """The keys that look like an id, with that id: once for all records with these keys."""
        pairs = [(key, self._fields.get(_plain(key))) for key in keys]
        found = [(key, field) for key, field in pairs if field is not None and key != field]
        if len(self._candidates) < _MOST:
            self._candidates[keys] = found
        return found

    def count(self, part: FilePart, sample: Sequence[tuple[int, bytes]]) -> None:
        """Count those of a file that is read by the fast path. sample: its lines that are looked at in any case."""
        for number, line in sample:
            try:
                values = [parse(line, exact=False)[0]]
            except BadJson:
                records = json_records.read_lines(part, {part.start_line + number}, exact=False)
                values = [record.value for record in records]
            for one in values:
                if isinstance(one, dict):
                    self.look(number, one)
        if self._sampled:
            self._counts.clear()
            for record in json_records.read(part, exact=False):
                if isinstance(record.value, dict):
                    self.look(record.line - part.start_line, record.value)
        self._is_done = True

    @property
    def found(self) -> list[tuple[str, str, int]]:
        """(field, key, records)."""
        return [(*pair, records) for pair, records in self._counts.items() if pair in self._sampled]


@lru_cache(10_000)
def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())
