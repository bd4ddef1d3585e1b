"""HubSpot: the pushes, what was refused and skipped, and what has not been acknowledged yet."""

from __future__ import annotations

from dagster_project.destinations import hubspot

from .asking import Ask, Csv, NotHere, View
from .listing import Listing

_LAST = "SELECT * FROM ops.hubspot_pushes ORDER BY push DESC LIMIT 1"
_REASONS = """
SELECT object, reason, count(*) AS records FROM ops.hubspot_skips GROUP BY object, reason ORDER BY object, records DESC, reason"""
_CODES = """
SELECT object, coalesce(property, 'the whole record') AS property, code, count(*) AS records, any_value(message) AS example
FROM ops.hubspot_rejects GROUP BY 1, 2, 3 ORDER BY records DESC, 1, 2, 3 LIMIT 100"""
_LEDGER = """
SELECT object, count(DISTINCT key) AS records, count(*) AS fields, max(acknowledged_at) AS newest
FROM ops.hubspot_ledger GROUP BY object ORDER BY object"""

PUSHES = Listing(
    title="Pushes",
    about="Every push, newest first. Planned = acknowledged + rejected + skipped.",
    query="SELECT * FROM ops.hubspot_pushes",
    looks={"push": "number"},
    order="push DESC",
)
REFUSALS = Listing(
    title="Refused by HubSpot",
    about="Every value and record that HubSpot refused, or would refuse. Tried again when the value or the property changes.",
    query="""
        SELECT rowid AS row, object, id, key, property, value, code, message, attempts, rejected_at, correlation_id
        FROM ops.hubspot_rejects""",
    looks={"id": "object", "key": "text", "code": "text"},
    hides=("object",),
    order="rejected_at DESC, object, id, property",
    facets=("object", "code", "property"),
    labels={"id": "of"},
)
SKIPS = Listing(
    title="Skipped by the last push",
    about=(
        "Every record that the last push did not send, and why. No key: the profile has no domain or email. Duplicate key: "
        "another profile has the same one, and was seen later. Ambiguous: several records in HubSpot have the key, and none "
        "is guessed; merge them there. Free mail: the domain is a mail provider's."
    ),
    query="SELECT object, id, key, reason FROM ops.hubspot_skips",
    looks={"id": "object", "key": "text"},
    hides=("object",),
    order="object, reason, id",
    facets=("object", "reason"),
    labels={"id": "of"},
)
LISTINGS = {"pushes": PUSHES, "refusals": REFUSALS, "skips": SKIPS}


def page(ask: Ask) -> View:
    return View(
        "hubspot.html",
        "HubSpot",
        {
            "last": ask.rows.one(_LAST),
            "ledger": ask.rows(_LEDGER),
            "codes": ask.rows(_CODES),
            "reasons": ask.rows(_REASONS),
        },
    )


def pending(ask: Ask) -> View | Csv:
    """What differs from what HubSpot last acknowledged. An offline part of the plan, without asking anybody."""
    options = ask.published.settings.hubspot
    try:
        object_type = ask.choice("object", tuple(hubspot.keys_of(options)), "companies")
        query, properties = hubspot.pending_query(ask.rows.connection, object_type, options)
    except hubspot.HubspotError as error:
        raise NotHere(str(error)) from error
    return Listing(
        title="Not acknowledged yet",
        about=(
            "Values that differ from what HubSpot last acknowledged. 'warehouse plan' says what a push would send: it also "
            "knows what HubSpot would refuse and which records would be skipped."
        ),
        query=f"SELECT '{object_type}' AS object, * FROM ({query})",
        looks={"id": "object", "key": "text", "value": "text"},
        hides=("object",),
        takes=("object",),
        order="id, property",
        facets=("property",),
        labels={"id": "of", "value": "now"},
        choices={"property": sorted(properties)},
    ).answer(ask)
