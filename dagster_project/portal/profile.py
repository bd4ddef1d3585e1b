"""One company or one user: who it is, what it did, what HubSpot was told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dagster_project.rendering import charts

from . import alerts, health, meters, names, tables, trends
from .asking import Ask, NotHere, View
from .columns import Column, of_table
from .entities import COMPANY, Entity
from .spans import SPANS, by_name, calls_by_end, window

_DOCUMENT, _TEXT = 256 * 1024, 2_000  # bytes, characters of one value
_ROWS = 100  # of the lists on the page; the rest is counted

_ALIASES = """
SELECT session_token, claimed_at, claims, first_seen_at, last_seen_at, calls, count(*) OVER () AS of
FROM {aliases} WHERE {id} = $id ORDER BY last_seen_at DESC NULLS LAST, claimed_at DESC, session_token LIMIT {rows}"""

_DAILY = """
SELECT day, calls, errors_4xx, errors_5xx FROM {usage} WHERE {id} = $id AND day BETWEEN $first AND $last"""

_CALLS = """
SELECT CAST(coalesce(sum(calls), 0) AS BIGINT) FROM {usage} WHERE {id} = $id AND day BETWEEN $first AND $last"""

_MODULES_DAILY = """
SELECT day, module_id AS name, CAST(sum(total) AS BIGINT) AS total FROM marts.daily_feature_totals
WHERE {account} = $id AND day BETWEEN $first AND $last GROUP BY ALL"""

_FEATURES = """
SELECT feature_id, module_id, product_id, CAST(sum(total) AS BIGINT) AS total, count(DISTINCT user_id) AS users,
       max(last_at) AS last_at, count(*) OVER () AS of
FROM marts.daily_feature_totals
WHERE {account} = $id AND day BETWEEN $first AND $last
GROUP BY 1, 2, 3 ORDER BY total DESC, 1, 2, 3 LIMIT {rows}"""

_ERRORS = """
SELECT verb, route, status, CAST(sum(calls) AS BIGINT) AS calls, max(day) AS last_day
FROM marts.error_usage_daily WHERE {id} = $id AND day BETWEEN $first AND $last
GROUP BY 1, 2, 3 ORDER BY calls DESC, 1, 2, 3 LIMIT 20"""

_ACTIONS = """
SELECT action_name, CAST(sum(actions) AS BIGINT) AS actions, max(last_at) AS last_at, count(*) OVER () AS of
FROM marts.action_usage_daily WHERE {id} = $id AND day BETWEEN $first AND $last
GROUP BY 1 ORDER BY actions DESC, 1 LIMIT {rows}"""

# Those that name it as their company in their last claim; who only called for it counts in its figures.
_USERS = """
SELECT user_id, name, email, calls_30d, last_seen_at, count(*) OVER () AS of
FROM marts.user_profiles WHERE company_id = $id
ORDER BY calls_30d DESC, last_seen_at DESC NULLS LAST, user_id LIMIT {rows}"""

_HISTORY = """
SELECT changed_at, cohort, change FROM marts.cohort_changes
WHERE entity = $entity AND id = $id ORDER BY changed_at DESC, cohort LIMIT {rows}"""

_MEMBERSHIPS = """
SELECT cohort, entered_at FROM marts.cohort_members WHERE entity = $entity AND id = $id ORDER BY cohort"""

_ACKNOWLEDGED = """
SELECT property, value, acknowledged_at, hubspot_id, portal_id FROM ops.hubspot_ledger
WHERE object = $object AND (key = $key OR key IN (
    SELECT key FROM ops.hubspot_changes WHERE object = $object AND id = $id))
ORDER BY property"""

# With what other objects (deals, say) were told of it.
_TOLD = """
SELECT changed_at, push, object, property, old, new, state, count(*) OVER () AS of FROM ops.hubspot_changes
WHERE id = $id AND (object = $object OR object NOT IN ('companies', 'contacts'))
ORDER BY push DESC, changed_at DESC, object, property LIMIT {rows}"""

_REFUSED = """
SELECT property, value, code, message, attempts, rejected_at FROM ops.hubspot_rejects
WHERE object = $object AND id = $id ORDER BY rejected_at DESC, property"""

_SKIPPED = "SELECT reason, key FROM ops.hubspot_skips WHERE object = $object AND id = $id"

_SEVERAL = "SELECT record_ids FROM marts.crm_conflicts WHERE object = $object AND match_key = $key"

_CONFLICTS = """
SELECT path, expected_type, actual_type, left(value, 200) AS value, file_seq, line FROM marts.metadata_conflicts
WHERE entity = $entity AND entity_id = $id ORDER BY file_seq DESC, line DESC LIMIT {rows}"""


def page(ask: Ask, entity: Entity) -> View:
    """Everything about the one whose id is in the address."""
    id_ = ask.get("id")
    ask.only("id", "days")
    columns = of_table(ask, entity.profiles)
    selected = ", ".join(_in_bounds(column) for column in columns.values())
    found = ask.rows.one(f"SELECT {selected} FROM {entity.profiles} WHERE {entity.id} = $id", id=id_)
    if found is None:
        raise NotHere(f"There is no {entity.name} with the id {id_!r}.")
    span, first, last = window(ask)
    then = {"id": id_, "first": first, "last": last}

    of = {"aliases": entity.aliases, "usage": entity.usage, "id": entity.id, "account": entity.account}

    def rows(query: str, **given: Any) -> list[dict[str, Any]]:
        return ask.rows(query.format(**of, rows=_ROWS), **given)

    befores = trends.befores(columns, columns)
    days = rows(_DAILY, **then)
    # As many days before as those that are shown.
    earlier = {
        "id": id_,
        "first": first - (last - first) - timedelta(days=1),
        "last": first - timedelta(days=1),
    }
    before = ask.rows.value(_CALLS.format(**of), **earlier)

    return View(
        "profile.html",
        found[entity.label] or id_,
        {
            "entity": entity,
            "one": found,
            "columns": columns,
            "figures": [
                c
                for c in columns.values()
                if c.is_figure and c.look != "trend" and c.name not in befores.values()
            ],
            "changes": trends.changes(found, befores),
            "quotas": trends.quotas(ask, entity, [id_]).get(id_, {}),
            "change": trends.Change(sum(row["calls"] for row in days), before),
            "tables": (shown := tables.about(ask, entity, id_, first, last)),
            "names": names.of(
                ask,
                [row for table in shown for row in table.rows],
                {(column.name, column.look) for table in shown for column in table.columns},
            ),
            "company": _company(ask, found) if entity is not COMPANY else None,
            "span": span,
            "spans": SPANS,
            "calls": charts.stacked("Calls", first, last, calls_by_end(days)),
            "modules": by_name("Feature use by module", rows(_MODULES_DAILY, **then), first, last),
            "features": rows(_FEATURES, **then),
            "errors": rows(_ERRORS, **then),
            "actions": rows(_ACTIONS, **then),
            "aliases": rows(_ALIASES, id=id_),
            "users": rows(_USERS, id=id_) if entity is COMPANY else [],
            "metered": meters.of_company(ask, id_) if entity is COMPANY else None,
            "health": health.of_company(ask, id_) if entity is COMPANY else None,
            "alerts": alerts.of(ask, entity, id_),
            "memberships": rows(_MEMBERSHIPS, entity=entity.name, id=id_),
            "history": rows(_HISTORY, entity=entity.name, id=id_),
            "acknowledged": rows(_ACKNOWLEDGED, object=entity.object, key=found[entity.key], id=id_),
            "told": rows(_TOLD, object=entity.object, id=id_),
            "refused": rows(_REFUSED, object=entity.object, id=id_),
            "skipped": rows(_SKIPPED, object=entity.object, id=id_),
            "several": rows(_SEVERAL, object=entity.object, key=found[entity.key]),
            "conflicts": rows(_CONFLICTS, entity=entity.name, id=id_),
        },
    )


def _in_bounds(column: Column) -> str:
    """A column as far as a page has room for it. Of a document that is too long only its size is said."""
    if column.kind == "object":
        text = f"CAST({column.sql} AS VARCHAR)"
        said = f"'\"' || format('{{:,}}', strlen({text})) || ' bytes: too long to be shown here\"'"
        return f"CASE WHEN strlen({text}) <= {_DOCUMENT} THEN {text} ELSE {said} END AS {column.sql}"
    return (
        f"left({column.sql}, {_TEXT}) AS {column.sql}"
        if (column.look, column.kind) == ("text", "string")
        else column.sql
    )


def _company(ask: Ask, user: dict[str, Any]) -> dict[str, Any] | None:
    if user["company_id"] is None:
        return None
    return ask.rows.one(
        "SELECT company_id, company_name FROM marts.company_profiles WHERE company_id = $id",
        id=user["company_id"],
    )
