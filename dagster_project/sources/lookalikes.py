"""Keys that look like an id under another name (`companyId`), where the id itself is missing: a client that is set up wrong.

They are counted where a file's first records, or every hundredth line after them, have one: a file that is read by the
fast path is not looked through for the sake of keys that it does not have. Both paths count the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dagster_project.readers import json_records
from dagster_project.readers.files import FilePart
from dagster_project.readers.json_text import BadJson, parse

EVERY = 100
_PLAIN: dict[str, str] = {}  # keys that were met, to their letters and digits
_MOST = 10_000


def is_sampled(number: int) -> bool:
    """Whether a line is looked at in any case. number: from the beginning of the part, from 1."""
    return number <= EVERY or number % EVERY == 0


class LookAlikes:
    """Those of one file. fields: the ids that a record of its source may have."""

    def __init__(self, fields: Iterable[str] = ()) -> None:
        self._fields = {_plain(field): field for field in fields}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sampled: set[tuple[str, str]] = set()
        self._is_done = False

    def look(self, number: int, value: dict[str, Any]) -> None:
        """Count those of a record. number: of its line, from the beginning of the part."""
        if self._is_done:
            return
        for key, given in value.items():
            field = self._fields.get(_PLAIN.get(key) or _plain(key))
            if field is None or key == field or given in (None, "") or value.get(field) not in (None, ""):
                continue
            self._counts[field, key] += 1
            if is_sampled(number):
                self._sampled.add((field, key))

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


def _plain(key: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", key.lower())
    if len(_PLAIN) < _MOST:
        _PLAIN[key] = plain
    return plain
