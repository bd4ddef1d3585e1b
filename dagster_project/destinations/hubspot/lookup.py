"""Finding records in HubSpot by lists and batch reads. Not by search: it lags behind writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from dagster_project.readers.values import domain_key, email_key

from .api import BATCH, KEYS, MORE_KEYS, Api, Json
from .errors import Refused
from .pace import MOST_IN_FLIGHT

T = TypeVar("T")
R = TypeVar("R")
MERGED = "hs_merged_object_ids"


@dataclass(frozen=True)
class Found:
    """A record in HubSpot: its id, all keys by which it may be matched, and what was asked of it."""

    hubspot_id: str
    keys: tuple[str, ...]
    properties: Mapping[str, str | None]


def key_of(object_type: str, text: object) -> str | None:
    """A domain or an email as match key."""
    return domain_key(text) if object_type == "companies" else email_key(text)


def all_records(api: Api, object_type: str) -> Iterator[tuple[list[Found], bool]]:
    """Every record of the account with its keys, page by page, each with whether it is the last.

    (Nothing else is asked for: the names would stand in the address, which may not be long.)
    """
    asked = _asked(object_type, ())
    for page, is_last in api.pages(object_type, asked):
        yield [_found(object_type, record) for record in page if record.get("id")], is_last


def by_email(
    api: Api,
    emails: Sequence[str],
    properties: Iterable[str] = (),
    refused: dict[str, Refused] | None = None,
) -> dict[str, Found]:
    """The contacts of up to a hundred emails, by the email that was asked for: primary or additional.

    refused: see `Api.batch_read`.
    """
    asked = _asked("contacts", properties)
    records = [
        _found("contacts", r)
        for r in api.batch_read("contacts", emails, asked, "email", refused)
        if r.get("id")
    ]
    found: dict[str, Found] = {}
    nameless = []
    for record in records:
        matches = [key for key in record.keys if key in set(emails)]
        found.update(dict.fromkeys(matches, record))
        if not matches:
            nameless.append(record)
    missing = [email for email in emails if email not in found]
    if nameless and len(emails) == 1:
        found[emails[0]] = nameless[0]  # HubSpot knows the email, and does not say from where
    elif nameless and missing:
        half = max(len(missing) // 2, 1)
        for part in (missing[:half], missing[half:]):
            found.update(by_email(api, part, properties, refused) if part else {})
    return found


def by_id(
    api: Api,
    object_type: str,
    ids: Sequence[str],
    properties: Iterable[str] = (),
    refused: dict[str, Refused] | None = None,
) -> dict[str, Found]:
    """Up to a hundred records by the id that was asked for, also where that one was merged into another.

    refused: see `Api.batch_read`.
    """
    asked = [*_asked(object_type, properties), MERGED]
    records = [
        _found(object_type, r) for r in api.batch_read(object_type, ids, asked, None, refused) if r.get("id")
    ]
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
            found.update(by_id(api, object_type, part, properties, refused) if part else {})
    return found


def side_by_side(items: Iterable[T], work: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Do some work on each, as many at a time as calls may be under way; in order, and never far ahead."""
    with ThreadPoolExecutor(MOST_IN_FLIGHT, thread_name_prefix="hubspot") as pool:
        waiting = []
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= 2 * MOST_IN_FLIGHT:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            for item, future in waiting:
                yield item, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def in_batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _asked(object_type: str, properties: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([KEYS[object_type], MORE_KEYS[object_type], *properties]))


def _found(object_type: str, record: Json) -> Found:
    held = record.get("properties")
    properties = (
        {str(k): None if v is None else str(v) for k, v in held.items()} if isinstance(held, dict) else {}
    )
    texts = [
        properties.get(KEYS[object_type]),
        *(properties.get(MORE_KEYS[object_type]) or "").replace(",", ";").split(";"),
    ]
    keys = [key for text in texts if (key := key_of(object_type, text))]
    return Found(str(record["id"]), tuple(dict.fromkeys(keys)), properties)
