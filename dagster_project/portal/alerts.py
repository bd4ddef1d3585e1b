"""What the alert rules found."""

from __future__ import annotations

from typing import Any

from .asking import Ask
from .entities import Entity
from .listing import Listing

ALERTS = Listing(
    title="Alerts",
    about="What the rules in sql/alerts/ found: open ones first, then those that ended.",
    query="""SELECT CASE WHEN closed_at IS NULL THEN 'open' ELSE 'closed' END AS state, rule, entity, id, detail,
                    opened_at, closed_at FROM marts.alerts""",
    looks={"id": "entity", "rule": "words"},
    order="closed_at DESC NULLS FIRST, opened_at DESC, rule, entity, id",
    facets=("state", "rule", "entity"),
)

_OF_ONE = """
SELECT rule, detail, opened_at, closed_at FROM marts.alerts WHERE entity = $entity AND id = $id
ORDER BY closed_at DESC NULLS FIRST, opened_at DESC, rule LIMIT 50"""


def of(ask: Ask, entity: Entity, id_: str) -> list[dict[str, Any]]:
    """What the rules found of one company or user: what is open first."""
    return ask.rows(_OF_ONE, entity=entity.name, id=id_)
