"""Contacts associated with the company of their user, where `[hubspot] associate = true`.

Only pairs of records that are pushed, and only what no push has done yet. What others have associated is never looked at
and never taken away. Associating twice is no harm, so what HubSpot did not answer is sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dagster_project.destinations.parts.published import utc_now
from dagster_project.warehouse.database import Connection, append_rows, transaction, value

from . import scripts
from .api import BATCH, Api, Json
from .errors import NotAllowed, OutcomeUnknown, Refused, Unavailable
from .lookup import in_batches
from .preflight import LeftOut

_log = logging.getLogger(__name__)
_TRIES = 4

Pair = tuple[str, str, str, str]  # key and record id of the contact, key and record id of the company


def compare(connection: Connection, portal_id: int | None) -> int:
    """Make `plan_associations`: who is to be associated. Returns how many."""
    scripts.run(connection, "associations", {"portal_id": portal_id})
    return int(value(connection, "SELECT count(*) FROM plan_associations"))


class Associations:
    """Associates the contacts of one account."""

    def __init__(self, api: Api, connection: Connection, portal_id: int | None) -> None:
        self.api, self.connection, self.portal_id = api, connection, portal_id
        self.left_out: list[LeftOut] = []

    def send(self) -> None:
        """Send what `plan_associations` says, of the records that HubSpot knows. Raises HubspotError where it does not go on."""
        pairs: list[Pair] = self.connection.execute(
            scripts.text_of("associations_with_ids"), {"portal_id": self.portal_id}
        ).fetchall()
        for number, batch in enumerate(in_batches(pairs, BATCH)):
            _log.debug("associating contacts with companies: %d of %d", number * BATCH, len(pairs))
            try:
                self._send(batch)
            except NotAllowed as error:
                if error.status == 401:
                    raise
                self.left_out.append(LeftOut("contacts", "associations with companies", str(error)))
                return

    def _send(self, pairs: Sequence[Pair]) -> None:
        try:
            answer = self._call([(contact, company) for _, contact, _, company in pairs])
        except Refused as refused:
            if len(pairs) == 1:
                self._remember(pairs, str(refused))
                return
            half = len(pairs) // 2
            self._send(pairs[:half])
            self._send(pairs[half:])
            return
        said = [str(one.get("message")) for one in answer.get("errors") or [] if isinstance(one, dict)]
        done = _associated(answer)
        if not said:
            self._remember(pairs, None)
            return
        taken = [pair for pair in pairs if (pair[1], pair[3]) in done]
        self._remember(taken, None)
        refused_ones = [pair for pair in pairs if pair not in taken]
        if len(refused_ones) == len(pairs) > 1:  # which of them it is about is not said
            for pair in pairs:
                self._send([pair])
        else:
            self._remember(refused_ones, "; ".join(dict.fromkeys(said)))

    def _call(self, ids: Sequence[tuple[str, str]]) -> Json:
        for attempt in range(_TRIES):
            try:
                return self.api.associate(ids)
            except OutcomeUnknown as error:
                if attempt == _TRIES - 1:
                    raise Unavailable(str(error)) from None
        raise AssertionError

    def _remember(self, pairs: Sequence[Pair], error: str | None) -> None:
        if not pairs:
            return
        now = utc_now()
        with transaction(self.connection):
            self.connection.execute(
                "CREATE OR REPLACE TEMP TABLE push_told (contact_id VARCHAR, company_id VARCHAR)"
            )
            append_rows(
                self.connection, "push_told", [(contact, company) for _, contact, _, company in pairs]
            )
            self.connection.execute(
                """
                DELETE FROM ops.hubspot_associations AS a USING push_told AS t
                WHERE a.contact_id = t.contact_id AND a.company_id = t.company_id
                  AND a.portal_id IS NOT DISTINCT FROM ?""",
                [self.portal_id],
            )
            append_rows(
                self.connection,
                "ops.hubspot_associations",
                [
                    (self.portal_id, contact_key, company_key, contact, company, error, now)
                    for contact_key, contact, company_key, company in pairs
                ],
                [
                    *("portal_id", "contact_key", "company_key", "contact_id", "company_id"),
                    *("error", "acknowledged_at"),
                ],
            )


def _associated(answer: Json) -> set[tuple[str, str]]:
    """The pairs of ids that an answer names, in any of HubSpot's ways."""
    found = set()
    for one in answer.get("results") or []:
        if isinstance(one, dict):
            ends = [one.get("from"), one.get("to")]
            ids = [end.get("id") if isinstance(end, dict) else None for end in ends]
            first = ids[0] or one.get("fromObjectId")
            second = ids[1] or one.get("toObjectId")
            found |= {(str(first), str(second)), (str(second), str(first))}  # both directions may be told
    return found
