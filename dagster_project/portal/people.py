"""Companies and users: lists to search, filter and sort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import conditions, exports, names, trends
from .asking import Ask, Csv, Moved, View, WrongAddress, address
from .columns import Column, of_table, quoted
from .conditions import METADATA, Condition, Field, Where
from .entities import COMPANY, Entity

PAGE = 50
_LONGEST = 1_000  # characters of a value in a list
ENTERED = Column("entered_at", "TIMESTAMP", "when it entered the cohort")


@dataclass(frozen=True)
class _Kind:
    """What an address of a list may name: the columns of the profiles, and metadata keys."""

    columns: dict[str, Column]
    metadata: list[Field]

    @property
    def shows(self) -> dict[str, Column]:
        """What can be shown of each: its columns, and what pages draw besides."""
        return {**self.columns, trends.BY_DAY.name: trends.BY_DAY}

    @property
    def fields(self) -> dict[str, Field]:
        return {f.name: f for f in [*conditions.columns_of(self.columns), *self.metadata]}


def listing(ask: Ask, entity: Entity) -> View | Moved:
    """Who fits the search and the filters, some a page."""
    ask.only("q", "cohort", "sort", "page", "column", *conditions.PARAMETERS)
    kind = _kind(ask, entity)
    if ask.all("column") and _chosen(ask) == _usual(entity, kind):
        return Moved(_address(ask, conditions.written(ask), column=None))
    if any(not value and name not in ("op", "value") for name, value in ask.pairs):
        # A form sends its empty fields too; an address to share has none.
        return Moved(_address(ask, conditions.written(ask)))
    fields = kind.fields
    found: list[Condition] = []
    rows: list[dict[str, Any]] = []
    shown: list[Column] = []
    count, page, pages, problem = 0, 1, 1, None
    sort, falls = _sort(ask, entity, kind)
    try:
        found = conditions.read(ask, fields)
        shown, keys = _shown(ask, entity, kind, found, sort)
        where = _where(ask, entity, kind, found)
        count = ask.rows.value(
            f"SELECT count(*) FROM {entity.profiles} AS p WHERE {where.sql}", **where.given
        )
        page, pages = ask.page(count, PAGE)
        befores = trends.befores((column.name for column in shown), kind.columns)
        needed = dict.fromkeys([entity.id, entity.label, *(c.name for c in shown), *befores.values()])
        needed.pop(trends.BY_DAY.name, None)
        rows = ask.rows(
            f"SELECT {', '.join(_shortened(kind.columns.get(name, ENTERED)) for name in needed)} "
            f"FROM {_profiles(ask, entity, where)} AS p WHERE {where.sql} "
            f"ORDER BY {_order(entity, sort, falls)} LIMIT {PAGE} OFFSET {(page - 1) * PAGE}",
            **where.given,
        )
    except WrongAddress as error:
        problem, keys, befores = str(error), [], {}
    ids = [row[entity.id] for row in rows]
    if trends.BY_DAY in shown:
        days = trends.by_day(ask, entity, ids)
        for row in rows:
            row[trends.BY_DAY.name] = days[row[entity.id]]
    written = conditions.written(ask)
    cohorts = _cohort_names(ask, entity)
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
            "unknown": _unknown(ask, entity, kind, found, cohorts),
            "conditions": found,
            "without": [_address(ask, written[:i] + written[i + 1 :], page=None) for i in range(len(found))],
            "columns": kind.shows,
            "changes": {row[entity.id]: trends.changes(row, befores) for row in rows} if befores else {},
            "quotas": trends.quotas(ask, entity, ids),
            "names": names.of(ask, rows, [(column.name, column.look) for column in shown]),
            "metadata_fields": kind.metadata,
            "column_fields": conditions.columns_of(kind.columns),
            "shown": shown,
            "ticked": _chosen(ask) or _usual(entity, kind),
            "metadata_keys": keys,
            "metadata_values": _values(ask, entity, rows, keys),
            "sort": sort,
            "falls": falls,
            "usual_sort": _usual_sort(entity, kind),
            "sorts": _sorts(ask, kind),
            "cohorts": cohorts,
            "chosen": ask.all("cohort"),
            "q": ask.get("q"),
        },
        main="rows",
    )


def download(ask: Ask, entity: Entity) -> Csv:
    """All who fit, with every figure: what a page shows a part of."""
    kind = _kind(ask, entity)
    where = _where(ask, entity, kind, conditions.read(ask, kind.fields))
    sort, falls = _sort(ask, entity, kind)
    columns = {**kind.columns, **({ENTERED.name: ENTERED} if ask.get("cohort") else {})}
    query = f"SELECT p.*, p.rowid AS {exports.ROW} FROM {entity.profiles} AS p"
    if ask.get("cohort"):
        query = (
            f"SELECT p.*, p.rowid AS {exports.ROW}, m.entered_at FROM {entity.profiles} AS p "
            f"LEFT JOIN marts.cohort_members AS m "
            f"ON m.entity = '{entity.name}' AND m.cohort = {where.bind(ask.get('cohort'))} AND m.id = p.{entity.id}"
        )
    order = _order(entity, sort, falls)
    return Csv(
        entity.plural, lambda rows: exports.in_order(rows, query, where.sql, order, columns, where.given)
    )


def _kind(ask: Ask, entity: Entity) -> _Kind:
    return _Kind(of_table(ask, entity.profiles), conditions.metadata_of(ask, entity))


def _chosen(ask: Ask) -> list[str]:
    return [name for name in ask.all("column") if name]


def _usual(entity: Entity, kind: _Kind) -> list[str]:
    return [name for name in entity.shown if name in kind.shows]


def _shown(
    ask: Ask, entity: Entity, kind: _Kind, found: list[Condition], sort: str
) -> tuple[list[Column], list[str]]:
    """The columns of the list, and its metadata keys: those that are chosen, and what it is narrowed and sorted by."""
    chosen = _chosen(ask) or _usual(entity, kind)
    unknown = [name for name in chosen if name not in kind.shows and not name.startswith(METADATA)]
    if unknown:
        raise WrongAddress(f"column = {unknown[0]!r}: there is nothing of that name to show")
    asked = [*chosen, *(c.field.name for c in found), *([] if sort == ENTERED.name else [sort])]
    first = [ENTERED] if ask.get("cohort") else []
    own = [kind.shows[name] for name in dict.fromkeys(asked) if name in kind.shows]
    # What the first column shows already is not shown twice.
    own = [column for column in own if column.name not in (entity.id, entity.label)]
    return [*first, *own], [name for name in dict.fromkeys(asked) if name.startswith(METADATA)]


def _unknown(ask: Ask, entity: Entity, kind: _Kind, found: list[Condition], cohorts: list[str]) -> list[str]:
    """What an address narrows down by, and nobody has, in words: it may be misspelt."""
    keys = {f.name for f in kind.metadata}
    asked = [*(c.field.name for c in found), *_chosen(ask)]
    return [
        *(
            f"No {entity.name} has a metadata key {name.removeprefix(METADATA)!r}."
            for name in dict.fromkeys(asked)
            if name.startswith(METADATA) and name not in keys
        ),
        *(
            f"There is no cohort {name!r} of {entity.plural}."
            for name in ask.all("cohort")
            if name and name not in cohorts
        ),
    ]


def _address(ask: Ask, filters: list[conditions.Written], **changes: object) -> str:
    """This list with these filters."""
    kept = [
        (name, value)
        for name, value in ask.pairs
        if value and name not in conditions.PARAMETERS and name not in changes
    ]
    pairs = [pair for one in filters for pair in zip(conditions.PARAMETERS, one, strict=True)]
    return address(ask.path, [*kept, *pairs])


def _where(ask: Ask, entity: Entity, kind: _Kind, found: list[Condition]) -> Where:
    where = Where()
    q = ask.get("q").strip()
    if q:
        sought = where.bind(q)
        texts = [column.sql for column in kind.columns.values() if column.kind == "string"]
        tests = [f"contains(lower(p.{column}), lower({sought}))" for column in texts]
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


def _sorts(ask: Ask, kind: _Kind) -> dict[str, Column]:
    """The columns by which the list can be sorted."""
    own = {name: column for name, column in kind.columns.items() if column.sorts}
    return {**own, **({ENTERED.name: ENTERED} if ask.get("cohort") else {})}


def _usual_sort(entity: Entity, kind: _Kind) -> str:
    """How a list is sorted whose address does not say."""
    return f"-{entity.sort}" if entity.sort in kind.columns else entity.id


def _sort(ask: Ask, entity: Entity, kind: _Kind) -> tuple[str, bool]:
    """The column and whether it falls. `sort=-calls` falls, `sort=calls` rises."""
    given = ask.get("sort") or _usual_sort(entity, kind)
    name = given.removeprefix("-")
    sorts = _sorts(ask, kind)
    if name == ENTERED.name and name not in sorts:
        given = _usual_sort(entity, kind)  # the cohort was taken out of the filters
        name = given.removeprefix("-")
    if name not in sorts:
        raise WrongAddress(f"sort = {given!r}: must be one of {', '.join(sorts)}, perhaps after a -")
    return name, given.startswith("-")


def _shortened(column: Column) -> str:
    """A column of a list. What is no key of anything is shown as far as a list has room."""
    if column.look == "json":
        return f"left(CAST({column.sql} AS VARCHAR), {_LONGEST}) AS {column.sql}"
    return (
        f"left({column.sql}, {_LONGEST}) AS {column.sql}"
        if (column.look, column.kind) == ("text", "string")
        else column.sql
    )


def _order(entity: Entity, sort: str, falls: bool) -> str:
    return f"p.{quoted(sort)} {'DESC' if falls else 'ASC'} NULLS LAST, p.{entity.id}"


def _values(
    ask: Ask, entity: Entity, rows: list[dict[str, Any]], keys: list[str]
) -> dict[tuple[str, str], str]:
    """What those on the page have under the metadata keys that are filtered by."""
    if not rows or not keys:
        return {}
    found = ask.rows(
        f"SELECT {entity.id} AS id, path, left(value, {_LONGEST}) AS value FROM {entity.metadata} "
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
