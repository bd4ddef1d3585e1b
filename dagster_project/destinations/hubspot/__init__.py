"""HubSpot: what the SELECTs in `sql/outbound/` say, told to the companies and contacts of one account.

plan = make_plan(settings)        what would be written; needs no token for its offline part
push(settings, live=True)         write it, and keep account of every record in ops.hubspot_*
init_properties(settings, live=True)   make the property group and the properties that HubSpot lacks

"""

from __future__ import annotations

from .errors import HubspotError, MissingToken
from .init import InitResult, init_properties
from .plan import Change, Counts, Plan, Skip
from .preflight import LeftOut
from .push import PushResult, Tally, make_plan, push

__all__ = [
    "Change",
    "Counts",
    "HubspotError",
    "InitResult",
    "LeftOut",
    "MissingToken",
    "Plan",
    "PushResult",
    "Skip",
    "Tally",
    "init_properties",
    "make_plan",
    "push",
]
