"""CRM search: filter groups over what the index has seen, which lags behind the writes.

Facts: a page is at most 200, a query reaches 10,000 results, ``IN`` takes up to 100 values and compares
them in lower case, additional emails and domains match too. Groups are joined by or, filters in a group
by and.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .errors import Json, bad_request
from .objects import ObjectType, Record
from .store import Store
from .values import as_id, epoch_ms, split_multi

MAX_PAGE, MAX_RESULTS, MAX_VALUES = 200, 10_000, 100
MAX_GROUPS, MAX_FILTERS, MAX_ALL_FILTERS = 5, 6, 18
OPERATORS = frozenset(
    {
        *("EQ", "NEQ", "LT", "LTE", "GT", "GTE", "BETWEEN", "IN", "NOT_IN"),
        *("HAS_PROPERTY", "NOT_HAS_PROPERTY", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"),
    }
)


def search(store: Store, kind: ObjectType, body: Json) -> Json:
    limit, after = _number(body.get("limit", 10), "limit"), _number(body.get("after") or 0, "after")
    if not 0 <= limit <= MAX_PAGE:
        raise bad_request(f"Page size must be at most {MAX_PAGE}")
    if after + limit > MAX_RESULTS:
        raise bad_request(f"A search reaches at most {MAX_RESULTS} results")
    groups = _groups(kind, body.get("filterGroups") or [])
    query = str(body.get("query") or "").lower()
    hits = [
        record for record in _candidates(store, kind, groups) if _matches(store, kind, record, groups, query)
    ]
    hits.sort(key=lambda record: record.id)
    for sort in reversed(body.get("sorts") or []):
        name, down = _sort(sort)
        hits.sort(key=lambda record: _sort_key(kind, record, name), reverse=down)
    page = hits[after : after + limit]
    names = body.get("properties") or None
    answer: Json = {"total": len(hits), "results": [kind.public(record, names) for record in page]}
    if after + limit < len(hits):
        answer["paging"] = {"next": {"after": str(after + limit)}}
    return answer


def _number(given: Any, name: str) -> int:
    try:
        if isinstance(given, bool):
            raise ValueError
        return int(given)
    except (TypeError, ValueError):
        raise bad_request(f"{name} must be a number") from None


def _groups(kind: ObjectType, given: Any) -> list[list[Json]]:
    if not isinstance(given, list) or len(given) > MAX_GROUPS:
        raise bad_request(f"filterGroups must be a list of at most {MAX_GROUPS}")
    groups = [group.get("filters") if isinstance(group, dict) else None for group in given]
    if sum(len(group or ()) for group in groups) > MAX_ALL_FILTERS:
        raise bad_request(f"At most {MAX_ALL_FILTERS} filters in all")
    checked: list[list[Json]] = []
    for group in groups:
        if not isinstance(group, list) or not group or len(group) > MAX_FILTERS:
            raise bad_request(f"Every filter group needs 1 to {MAX_FILTERS} filters")
        for item in group:
            name, operator = item.get("propertyName"), item.get("operator")
            if name not in kind.schema.properties:
                raise bad_request(f"There was a problem with the request: property {name} does not exist")
            if operator not in OPERATORS:
                raise bad_request(f"operator {operator} is not valid")
            if operator in ("IN", "NOT_IN"):
                values = item.get("values")
                if not isinstance(values, list) or not 1 <= len(values) <= MAX_VALUES:
                    raise bad_request(f"operator {operator} needs 1 to {MAX_VALUES} values")
            elif "HAS_PROPERTY" not in operator and not isinstance(item.get("value"), str):
                raise bad_request(f"operator {operator} needs a value")
            elif operator == "BETWEEN" and not isinstance(item.get("highValue"), str):
                raise bad_request("operator BETWEEN needs a highValue")
        checked.append(group)
    return checked


def _candidates(store: Store, kind: ObjectType, groups: list[list[Json]]) -> Iterable[Record]:
    """The records as the index shows them, narrowed by email, domain or id where every group allows it."""
    now = store.clock()
    while kind.pending and kind.pending[0][0] <= now:
        kind.pending.popleft()
    stale: dict[int, Record | None] = {}
    for _, record_id, before in kind.pending:
        stale.setdefault(record_id, before)
    wanted: set[int] | None = set()
    for group in groups:
        found = next((ids for item in group if (ids := _indexed(kind, item)) is not None), None)
        if found is None or wanted is None:
            wanted = None
            break
        wanted |= found
    if wanted is None or not groups:
        current: Iterable[Record] = kind.records.values()
    else:
        current = [kind.records[i] for i in wanted if i in kind.records]
    if not stale:
        return current
    return [
        *(record for record in current if record.id not in stale),
        *(record for record in stale.values() if record is not None),
    ]


def _indexed(kind: ObjectType, item: Json) -> set[int] | None:
    name, operator = item["propertyName"], item["operator"]
    if operator not in ("EQ", "IN"):
        return None
    values = item["values"] if operator == "IN" else [item["value"]]
    if name == kind.key:
        return {i for value in values for i in kind.index.get(str(value).lower(), ())}
    if name == "hs_object_id":
        return {as_id(str(value)) for value in values}
    return None


def _matches(store: Store, kind: ObjectType, record: Record, groups: list[list[Json]], query: str) -> bool:
    if query:
        names = (*kind.shown, "phone", "website")
        if not any(query in (kind.value(record, name) or "").lower() for name in names):
            return False
    return not groups or any(all(_passes(store, kind, record, item) for item in group) for group in groups)


def _passes(store: Store, kind: ObjectType, record: Record, item: Json) -> bool:
    name, operator = item["propertyName"], item["operator"]
    value = kind.value(record, name)
    if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        return bool((value is not None) == (operator == "HAS_PROPERTY"))
    own = [] if value is None else [value.lower()]
    if name == kind.key and store.options.search_matches_additional:
        own = [key.lower() for key in kind.keys(record)]
    elif value is not None and kind.schema.properties[name].field_type == "checkbox":
        own = [part.lower() for part in split_multi(value)]
    if operator in ("IN", "NOT_IN"):
        return bool(any(one in item["values"] for one in own) == (operator == "IN"))
    wanted = item["value"]
    of = kind.schema.properties[name].type
    if operator in ("EQ", "NEQ"):
        left = _comparable(of, value)
        same = wanted.lower() in own or (left is not None and left == _comparable(of, wanted))
        return bool(same == (operator == "EQ"))
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        token = wanted.lower().strip("*")
        return bool(any(token in one for one in own) == (operator == "CONTAINS_TOKEN"))
    if value is None:
        return False
    left = _comparable(of, value)
    right: Any = _comparable(of, wanted)
    if left is None or right is None:
        left, right = value.lower(), wanted.lower()
    if operator == "BETWEEN":
        high: Any = _comparable(of, item["highValue"])
        return bool(right <= left <= (item["highValue"].lower() if isinstance(left, str) else high))
    outcomes = {"LT": left < right, "LTE": left <= right, "GT": left > right, "GTE": left >= right}
    return bool(outcomes[operator])


def _comparable(kind: str, text: str | None) -> Any:
    if text is None:
        return None
    if kind == "number":
        try:
            return float(text)
        except ValueError:
            return None
    return epoch_ms(text) if kind in ("date", "datetime") else None


def _sort(given: Any) -> tuple[str, bool]:
    if isinstance(given, dict):
        return str(given.get("propertyName")), given.get("direction") == "DESCENDING"
    return str(given).removeprefix("-"), str(given).startswith("-")


def _sort_key(kind: ObjectType, record: Record, name: str) -> tuple[int, float, str]:
    value = kind.value(record, name)
    prop = kind.schema.properties.get(name)
    number = _comparable(prop.type, value) if prop else None
    return (1 if value is None else 0, float(number or 0), value or "")
