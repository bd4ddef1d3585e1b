"""What the alert rules found."""

from __future__ import annotations

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
