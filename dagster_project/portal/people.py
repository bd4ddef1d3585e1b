"""Companies and users: lists to search, filter and sort."""

from __future__ import annotations

from typing import Any

from dagster_project import csv_text

from . import conditions
from .asking import Ask, Csv, Moved, View, WrongAddress, address
from .conditions import METADATA, Condition, Where
from .entities import COMPANY, Entity

PAGE = 50
_SORT = "-calls_30d"
_BATCH = 2_000
_SHOWN = {
    "company": (
        "company_id, company_name, company_domain, calls_7d, calls_30d, errors_4xx, errors_5xx, users, "
        "features_used_30d, last_seen_at, cohorts"
    ),
    "user": (
        "user_id, name, email, company_id, calls_7d, calls_30d, errors_4xx, errors_5xx, "
        "features_used_30d, last_seen_at, cohorts"
    ),
}
# Columns by which a list can be sorted, and whether the greatest come first.
_SORTS = {
    "company": {
        "company_name": False,
        "company_id": False,
        "company_domain": False,
        "users": True,
    },
    "user": {"name": False, "user_id": False, "email": False, "company_id": False},
}
_SORTS_OF_BOTH = {
    "calls_24h": True,
    "calls_7d": True,
    "calls_30d": True,
    "calls": True,
    "errors_4xx": True,
    "errors_5xx": True,
    "features_used_30d": True,
    "feature_total_30d": True,
    "active_days_30d": True,
    "created_at": True,
    "last_seen_at": True,
}


def listing(ask: Ask, entity: Entity) -> View | Moved:
    """Who fits the search and the filters, some a page."""
    if any(not value and name not in ("op", "value") for name, value in ask.pairs):
        # A form sends its empty fields too; an address to share has none.
        return Moved(_address(ask, conditions.written(ask)))
    metadata = conditions.metadata_of(ask, entity)
    columns = conditions.columns_of(entity)
    fields = {f.name: f for f in [*columns, *metadata]}
    found: list[Condition] = []
    rows: list[dict[str, Any]] = []
    count, page, pages, problem = 0, 1, 1, None
    sort, falls = _sort(ask, entity)
    try:
        found = conditions.read(ask, fields)
        where = _where(ask, entity, found)
        count = ask.rows.value(
            f"SELECT count(*) FROM {entity.profiles} AS p WHERE {where.sql}", **where.given
        )
        page, pages = ask.page(count, PAGE)
        rows = ask.rows(
            f"SELECT {_SHOWN[entity.name]}{', entered_at' if ask.get('cohort') else ''} "
            f"FROM {_profiles(ask, entity, where)} AS p WHERE {where.sql} "
            f"ORDER BY {_order(entity, sort, falls)} LIMIT {PAGE} OFFSET {(page - 1) * PAGE}",
            **where.given,
        )
    except WrongAddress as error:
        problem = str(error)
    written = conditions.written(ask)
    keys = list(dict.fromkeys(c.field.name for c in found if c.field.column is None))
    return View(
        "people.html",
        entity.plural.capitalize(),
        {
            "entity": entity,
            "rows": rows,
            "count": count,
            "pages": pages,
            "page": page,
            "problem": problem,
            "conditions": found,
            "without": [_address(ask, written[:i] + written[i + 1 :], page=None) for i in range(len(found))],
            "metadata_fields": metadata,
            "column_fields": columns,
            "metadata_keys": keys,
            "metadata_values": _values(ask, entity, rows, keys),
            "sort": sort,
            "falls": falls,
            "sorts": _sorts(ask, entity),
            "cohorts": _cohort_names(ask, entity),
            "chosen": ask.all("cohort"),
            "q": ask.get("q"),
        },
    )


def download(ask: Ask, entity: Entity) -> Csv:
    """All who fit, with every figure: what a page shows a part of."""
    fields = {f.name: f for f in [*conditions.columns_of(entity), *conditions.metadata_of(ask, entity)]}
    where = _where(ask, entity, conditions.read(ask, fields))
    sort, falls = _sort(ask, entity)
    query = f"SELECT * FROM {_profiles(ask, entity, where)} AS p WHERE {where.sql} ORDER BY {_order(entity, sort, falls)}"
    return Csv(entity.plural, csv_text.lines(ask.rows.batches(query, _BATCH, **where.given)))


def _address(ask: Ask, filters: list[conditions.Written], **changes: object) -> str:
    """This list with these filters."""
    kept = [
        (name, value)
        for name, value in ask.pairs
        if value and name not in conditions.PARAMETERS and name not in changes
    ]
    pairs = [pair for one in filters for pair in zip(conditions.PARAMETERS, one, strict=True)]
    return address(ask.path, [*kept, *pairs])


def _where(ask: Ask, entity: Entity, found: list[Condition]) -> Where:
    where = Where()
    q = ask.get("q").strip()
    if q:
        sought = where.bind(q)
        tests = [f"contains(lower(p.{column}), lower({sought}))" for column in entity.search]
        if entity is COMPANY and "@" in q:
            tests.append(
                "p.company_id IN (SELECT company_id FROM marts.user_profiles "
                f"WHERE contains(email, lower({sought})))"
            )
        where.tests.append(f"({' OR '.join(tests)})")
    for cohort in ask.all("cohort"):
        if cohort:
            where.tests.append(f"list_contains(p.cohorts, {where.bind(cohort)})")
    for condition in found:
        conditions.add(where, entity, condition)
    return where


def _profiles(ask: Ask, entity: Entity, where: Where) -> str:
    """The profiles; of a cohort, with when each entered it (where several are asked for: the first)."""
    cohort = ask.get("cohort")
    if not cohort:
        return entity.profiles
    return (
        f"(SELECT a.*, m.entered_at FROM {entity.profiles} AS a LEFT JOIN marts.cohort_members AS m "
        f"ON m.entity = '{entity.name}' AND m.cohort = {where.bind(cohort)} AND m.id = a.{entity.id})"
    )


def _sorts(ask: Ask, entity: Entity) -> dict[str, bool]:
    return {
        **_SORTS[entity.name],
        **_SORTS_OF_BOTH,
        **({"entered_at": True} if ask.get("cohort") else {}),
    }


def _sort(ask: Ask, entity: Entity) -> tuple[str, bool]:
    """The column and whether it falls. `sort=-calls` falls, `sort=calls` rises."""
    given = ask.get("sort") or _SORT
    name = given.removeprefix("-")
    sorts = _sorts(ask, entity)
    if name == "entered_at" and name not in sorts:
        given, name = _SORT, _SORT.removeprefix("-")  # the cohort was taken out of the filters
    if name not in sorts:
        raise WrongAddress(f"sort = {given!r}: must be one of {', '.join(sorts)}, perhaps after a -")
    return name, given.startswith("-")


def _order(entity: Entity, sort: str, falls: bool) -> str:
    return f"p.{sort} {'DESC' if falls else 'ASC'} NULLS LAST, p.{entity.id}"


def _values(
    ask: Ask, entity: Entity, rows: list[dict[str, Any]], keys: list[str]
) -> dict[tuple[str, str], str]:
    """What those on the page have under the metadata keys that are filtered by."""
    if not rows or not keys:
        return {}
    found = ask.rows(
        f"SELECT {entity.id} AS id, path, value FROM {entity.metadata} "
        f"WHERE list_contains($paths, path) AND list_contains($ids, {entity.id})",
        paths=[key.removeprefix(METADATA) for key in keys],
        ids=[row[entity.id] for row in rows],
    )
    return {(row["id"], METADATA + row["path"]): row["value"] for row in found}


def _cohort_names(ask: Ask, entity: Entity) -> list[str]:
    found = ask.rows(
        "SELECT cohort FROM marts.cohorts WHERE entity = $entity ORDER BY cohort", entity=entity.name
    )
    return [row["cohort"] for row in found]
