"""Tables that say in their own header (`page:`, `draws:`) on whose page they are shown: the build publishes that as
`core.pages`. A model is on a page by its header alone; nothing here knows its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from dagster_project.rendering.charts import Chart, highest

from . import health, meters
from .asking import Ask
from .columns import Column, of_table, quoted
from .entities import Entity
from .spans import by_name

_ROWS = 100
_ELSEWHERE = [*meters.SHOWN, *health.SHOWN]  # have sections of their own
_PAGES = """
SELECT p.model, p.draws, p.grain, coalesce(t.comment, '') AS about FROM core.pages AS p
LEFT JOIN duckdb_tables() AS t
    ON t.database_name = 'published' AND t.schema_name || '.' || t.table_name = p.model
WHERE p.entity = $entity AND NOT list_contains($elsewhere, p.model) ORDER BY p.model"""


@dataclass(frozen=True)
class Shown:
    """What a page shows of one table. columns: without the one that says whose page it is; of: how many rows there are."""

    title: str
    about: str
    columns: list[Column]
    rows: list[dict[str, Any]]
    of: int
    charts: list[Chart]


def about(ask: Ask, entity: Entity, id_: str, first: date, last: date) -> list[Shown]:
    """The tables on the page of one company or user: of daily ones the days shown, of others all, at most some rows.
    Without those that have a section of their own, and those in which there is nothing at all.
    """
    if not ask.rows.value(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'published' AND schema_name = 'core' "
        "AND table_name = 'pages'"
    ):
        return []  # published by an older release
    return [
        _shown(ask, entity, id_, page, first, last)
        for page in ask.rows(_PAGES, entity=entity.name, elsewhere=_ELSEWHERE)
        # One that is empty for everybody (what it is about is off by default, say) would be a riddle on each page.
        if ask.rows.one(f"SELECT 1 AS is_there FROM {page['model']} LIMIT 1") is not None
    ]


def _shown(ask: Ask, entity: Entity, id_: str, page: dict[str, Any], first: date, last: date) -> Shown:
    model = page["model"]
    columns = of_table(ask, model)
    test = f"{quoted(entity.id)} = $id"
    given: dict[str, Any] = {"id": id_}
    daily = "day" in columns
    if daily:
        test += " AND day BETWEEN $first AND $last"
        given |= {"first": first, "last": last}
    # Newest first; of what has no day, in the order of its key.
    order = ["day DESC"] if daily else []
    order += [quoted(name) for name in page["grain"] if name in columns and name != "day"]
    shown = [column for column in columns.values() if column.name != entity.id]
    names = ", ".join(column.sql for column in shown)
    return Shown(
        title=model.partition(".")[2].removeprefix(f"{entity.name}_").replace("_", " "),
        about=page["about"],
        columns=shown,
        rows=ask.rows(
            f"SELECT {names} FROM {model} WHERE {test} ORDER BY {', '.join(order) or 'ALL'} LIMIT {_ROWS}",
            **given,
        ),
        of=ask.rows.value(f"SELECT count(*) FROM {model} WHERE {test}", **given),
        charts=[
            _drawn(ask, columns[name], model, test, given, page["grain"], entity, first, last, together)
            for name, together in map(_measure, page["draws"])
            if name in columns
        ],
    )


def _drawn(
    ask: Ask,
    measure: Column,
    model: str,
    test: str,
    given: dict[str, Any],
    grain: list[str],
    entity: Entity,
    first: date,
    last: date,
    together: Callable[[Iterable[int]], int],
) -> Chart:
    """A measure by day; where the table's key says one thing more, a colour for each of it."""
    more = [name for name in grain if name not in ("day", entity.id)]
    name = f"CAST({quoted(more[0])} AS VARCHAR)" if more else f"'{measure.label}'"
    rows = ask.rows(
        f"SELECT day, coalesce({name}, '') AS name, CAST(coalesce(sum({measure.sql}), 0) AS BIGINT) AS total "
        f"FROM {model} WHERE {test} GROUP BY ALL",
        **given,
    )
    return by_name(measure.label.capitalize(), rows, first, last, together)


def _measure(drawn: str) -> tuple[str, Callable[[Iterable[int]], int]]:
    """A measure as `draws:` names it, and what its days come to: p90_ms of `highest(p90_ms)` is no sum."""
    inner = drawn.removeprefix("highest(").removesuffix(")")
    return inner, sum if inner == drawn else highest
