"""HubSpot: what the SELECTs in `sql/outbound/` say, told to the companies and contacts of one account.

plan = make_plan(settings)        what would be written; needs no token for its offline part
push(settings, live=True)         write it, and keep account of every record in ops.hubspot_*
init_properties(settings, live=True)   make the property group and the properties that HubSpot lacks
pending_query(published, "companies")  what HubSpot has not acknowledged yet, for looking
"""

from __future__ import annotations

from dagster_project.destinations import Destination

from .accounts import PushResult, Tally, rehearsal
from .errors import HubspotError, MissingToken
from .init import InitResult, init_properties
from .keys import keys_of
from .pending import pending_query
from .plan import Change, Counts, HeldBack, Plan, Skip
from .planner import Resend
from .preflight import LeftOut
from .push import is_up_to_date, load_fields, make_plan, push

# The records that exports and pushes name with the keys of erased ones: emails and domains, or ids where an own property
# is the key.
DESTINATION = Destination(
    "HubSpot",
    """
    WITH named AS (
        SELECT CASE WHEN kind IN ('company', 'domain') THEN 'companies' ELSE 'contacts' END AS object, id AS key
        FROM forgotten WHERE kind IN ('company', 'domain', 'user', 'email')
    )
    SELECT object, record_id FROM named JOIN raw.crm_companies ON match_key = key AND object = 'companies'
    UNION
    SELECT object, record_id FROM named JOIN raw.crm_contacts ON match_key = key AND object = 'contacts'
    UNION
    SELECT object, hubspot_id FROM named JOIN ops.hubspot_records USING (object, key) WHERE hubspot_id IS NOT NULL
    UNION
    SELECT object, hubspot_id FROM named JOIN ops.hubspot_ledger USING (object, key) WHERE hubspot_id IS NOT NULL
    UNION
    SELECT object, hubspot_id FROM ops.hubspot_records r JOIN forgotten f ON f.id = r.id
    WHERE f.kind IN ('company', 'user') AND object NOT IN ('companies', 'contacts') AND hubspot_id IS NOT NULL""",
)

__all__ = [
    "DESTINATION",
    "Change",
    "Counts",
    "HeldBack",
    "HubspotError",
    "InitResult",
    "LeftOut",
    "MissingToken",
    "Plan",
    "PushResult",
    "Resend",
    "Skip",
    "Tally",
    "init_properties",
    "is_up_to_date",
    "keys_of",
    "load_fields",
    "make_plan",
    "pending_query",
    "push",
    "rehearsal",
]
