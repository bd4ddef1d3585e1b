"""Deletes contacts in HubSpot for good, by its privacy endpoint: the outside half of an erase.

Only contacts that HubSpot shows under an email of who is erased: a record id alone is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dagster_project.settings import Settings

from .api import Api
from .errors import HubspotError, OutcomeUnknown, Refused
from .keys import key_for
from .lookup import by_id, by_key, in_batches

_KEY = key_for("contacts")


def contacts_of(settings: Settings, emails: Iterable[str], ids: Iterable[str]) -> list[tuple[str, str]]:
    """The contacts that HubSpot shows under these emails: record id and email. ids: where else they may be.

    Raises HubspotError.
    """
    wanted = sorted(set(emails))
    found: dict[str, str] = {}
    with Api(settings.hubspot) as api:
        api.load_account(settings.hubspot.portal_id)
        for batch in in_batches(wanted):
            found |= {one.hubspot_id: email for email, one in by_key(api, _KEY, batch).items()}
        for batch in in_batches(sorted(set(ids) - set(found))):
            for one in by_id(api, _KEY, batch).values():
                if theirs := set(one.keys) & set(wanted):
                    found[one.hubspot_id] = min(theirs)
    return sorted(found.items())


def delete_contacts(settings: Settings, ids: Sequence[str]) -> None:
    """Delete contacts for good. Those that are gone already are no failure. Raises HubspotError."""
    with Api(settings.hubspot) as api:
        api.load_account(settings.hubspot.portal_id)
        for one in ids:
            try:
                api.purge_contact(one)
            except OutcomeUnknown:
                pass  # looked up below; its good answer has no body, too
            except Refused as refused:
                if refused.status != 404:
                    raise
        left = [one for batch in in_batches(ids) for one in by_id(api, _KEY, batch)]
        if left:
            raise HubspotError(f"HubSpot still has {len(left)} of the contacts; run the command again")
