"""Finding records in HubSpot by lists and batch reads. Not by search: it lags behind writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dagster_project.destinations.parts import parallel
from dagster_project.destinations.parts.parallel import side_by_side

from .api import BATCH, Api, Json
from .errors import Refused
from .keys import Key

T = TypeVar("T")
MERGED = "hs_merged_object_ids"
__all__ = ["Found", "all_records", "by_id", "by_key", "in_batches", "side_by_side"]


@dataclass(frozen=True)
class Found:
    """A record in HubSpot: its id, all keys by which it may be matched, and what was asked of it."""

    hubspot_id: str
    keys: tuple[str, ...]
    properties: Mapping[str, str | None]


def all_records(api: Api, key: Key) -> Iterator[tuple[list[Found], bool]]:
    """Every record of the account with its keys, page by page, each with whether it is the last.

    (Nothing else is asked for: the names would stand in the address, which may not be long.)
    """
    for page, is_last in api.pages(key.object, _asked(key, ())):
        yield [_found(key, record) for record in page if record.get("id")], is_last


def by_key(
    api: Api,
    key: Key,
    texts: Sequence[str],
    properties: Iterable[str] = (),
    refused: dict[str, Refused] | None = None,
) -> dict[str, Found]:
    """The records of up to a hundred emails (or values of an own unique property), by what was asked for.

    An email may be primary or additional. refused: see `Api.batch_read`.
    """
    asked = _asked(key, properties)
    records = [
        _found(key, r) for r in api.batch_read(key.object, texts, asked, key.property, refused) if r.get("id")
    ]
    found: dict[str, Found] = {}
    nameless = []
    for record in records:
        matches = [text for text in record.keys if text in set(texts)]
        found.update(dict.fromkeys(matches, record))
        if not matches:
            nameless.append(record)
    missing = [text for text in texts if text not in found]
    if nameless and len(texts) == 1:
        found[texts[0]] = nameless[0]  # HubSpot knows the key, and does not say from where
    elif nameless and missing:
        half = max(len(missing) // 2, 1)
        for part in (missing[:half], missing[half:]):
            found.update(by_key(api, key, part, properties, refused) if part else {})
    return found


def by_id(
    api: Api,
    key: Key,
    ids: Sequence[str],
    properties: Iterable[str] = (),
    refused: dict[str, Refused] | None = None,
) -> dict[str, Found]:
    """Up to a hundred records by the id that was asked for, also where that one was merged into another.

    refused: see `Api.batch_read`.
    """
    asked = [*_asked(key, properties), MERGED]
    records = [_found(key, r) for r in api.batch_read(key.object, ids, asked, None, refused) if r.get("id")]
    found = {record.hubspot_id: record for record in records if record.hubspot_id in set(ids)}
    others = [record for record in records if record.hubspot_id not in found]
    for record in others:
        for old in (record.properties.get(MERGED) or "").split(";"):
            if old.strip() in set(ids):
                found.setdefault(old.strip(), record)
    missing = [one for one in ids if one not in found]
    unclaimed = [record for record in others if record not in found.values()]
    if unclaimed and len(ids) == 1:
        found[ids[0]] = unclaimed[0]
    elif unclaimed and missing:
        half = max(len(missing) // 2, 1)
        for part in (missing[:half], missing[half:]):
            found.update(by_id(api, key, part, properties, refused) if part else {})
    return found


def in_batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    return parallel.in_batches(items, size)


def _asked(key: Key, properties: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([key.property, *([key.more] if key.more else []), *properties]))


def _found(key: Key, record: Json) -> Found:
    held = record.get("properties")
    properties = (
        {str(k): None if v is None else str(v) for k, v in held.items()} if isinstance(held, dict) else {}
    )
    texts = [properties.get(key.property)]
    if key.more:
        texts += (properties.get(key.more) or "").replace(",", ";").split(";")
    keys = [one for text in texts if (one := key.of(text))]
    return Found(str(record["id"]), tuple(dict.fromkeys(keys)), properties)
