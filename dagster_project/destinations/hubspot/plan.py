"""The plan as it is shown: every record that would be written, with each field's old and new."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .api import BATCH
from .preflight import LeftOut

_ROWS = 10_000  # read at a time


@dataclass(frozen=True)
class Change:
    """One field of one record: what HubSpot last acknowledged (None: nothing yet), and what it is to be told."""

    object: str
    action: str  # create or update
    id: str
    key: str
    hubspot_id: str | None
    property: str
    old: str | None
    new: str


@dataclass(frozen=True)
class Skip:
    """A record that is not sent, and why: see ops.hubspot_skips."""

    object: str
    id: str
    key: str | None
    reason: str


@dataclass(frozen=True)
class ListChange:
    """How many members a list gets and loses, and the writes that it takes at most."""

    object: str
    name: str
    added: int
    removed: int
    calls: int


@dataclass(frozen=True)
class HeldBack:
    """Records that wait, since HubSpot refused the same before: in its words. property None: the whole record."""

    object: str
    property: str | None
    code: str
    message: str | None
    records: int


@dataclass
class Counts:
    """Records of one object type. calls: writes that it takes, retries aside. held_back: by an earlier refusal."""

    creates: int = 0
    updates: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: int = 0
    held_back: int = 0
    calls: int = 0


@dataclass
class Plan:
    """What a push would do. offline: made without HubSpot, from the ledger and the CRM exports alone; records whose
    id neither knows are shown as creates then.

    digest: hexadecimal, the same for the same writes. calls: writes, retries aside. rejected: records that the
    preflight refuses. lists: what changes of the cohorts' lists, where the settings want these. associations: contacts
    that are to be associated with a company. events: how many of each are to be sent. held_back: the most
    frequent reasons for which records wait. unreadable: what HubSpot refuses to show, in its words.
    """

    offline: bool
    digest: str
    counts: dict[str, Counts]
    left_out: list[LeftOut]
    lists: list[ListChange]
    associations: int
    events: dict[str, int]
    account: int | None
    held_back: list[HeldBack]
    unreadable: list[str]
    _folder: Path = field(repr=False)

    @property
    def calls(self) -> int:
        records = sum(counts.calls for counts in self.counts.values())
        more = -(-self.associations // BATCH) - (-sum(self.events.values()) // BATCH)
        return records + sum(one.calls for one in self.lists) + more

    def rows(self) -> Iterator[Change]:
        """Every create and every field's old and new, by object, action and key."""
        for kind, action, id_, key, hubspot_id, properties, before in self._read("planned"):
            old = json.loads(before)
            for name, new in json.loads(properties).items():
                yield Change(kind, action, id_, key, hubspot_id, name, old.get(name), new)

    @property
    def skips(self) -> Iterator[Skip]:
        yield from (Skip(*row) for row in self._read("skips"))

    @property
    def refused(self) -> Iterator[tuple[str, str, str, str | None, str | None, str]]:
        """Values that HubSpot would refuse: object, id, key, property (None: the record), value, code."""
        yield from self._read("refused")

    def _read(self, name: str) -> Iterator[Any]:
        from pyarrow import parquet  # not needed for the figures alone

        with parquet.ParquetFile(self._folder / f"{name}.parquet") as file:
            for batch in file.iter_batches(_ROWS):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def close(self) -> None:
        """Forget the rows. Otherwise they go with the object."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __del__(self) -> None:
        self.close()
