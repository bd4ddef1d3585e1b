"""Cohorts as static lists in HubSpot: a list for each cohort, and who is in it. Only where `[hubspot] lists = true`.

A list is made when its cohort has its first member that HubSpot knows. Members that somebody else put there stay: only
what a push has added is taken away again. Adding and removing twice is no harm, so what HubSpot did not answer is sent
again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dagster_project.destinations.parts.published import utc_now
from dagster_project.warehouse.database import Connection, append_rows, transaction, value

from .api import Api, Json
from .errors import NotAllowed, OutcomeUnknown, Refused
from .lookup import in_batches
from .plan import ListChange
from .preflight import LeftOut

_log = logging.getLogger(__name__)
MEMBERS_A_CALL = 1000
_TRIES = 4

Change = tuple[str, str, bool]  # key, record id, whether it is to be in the list


def list_name(object_type: str, cohort: str) -> str:
    """Unique in the account: companies and contacts may have cohorts of one name."""
    return f"{cohort} ({object_type})"


def compare(connection: Connection, portal_id: int | None) -> None:
    """Make `list_changes`: who is to be added to which list, and who taken away, from the planner's tables."""
    connection.execute(_COMPARE, {"portal_id": portal_id})


def planned_changes(connection: Connection, portal_id: int | None) -> list[ListChange]:
    """Each list that changes, with the calls that this takes at most."""
    changes = []
    for object_type, cohort, added, removed, is_known in connection.execute(
        """
        SELECT c.object, c.cohort, count(*) FILTER (is_added), count(*) FILTER (NOT is_added), any_value(l.list_id) IS NOT NULL
        FROM plan_list_changes c LEFT JOIN ops.hubspot_lists l
            ON l.object = c.object AND l.cohort = c.cohort AND l.portal_id IS NOT DISTINCT FROM ?
        GROUP BY ALL ORDER BY ALL""",
        [portal_id],
    ).fetchall():
        calls = -(-(added + removed) // MEMBERS_A_CALL) + (not is_known)
        changes.append(ListChange(object_type, list_name(object_type, cohort), added, removed, calls))
    return changes


class Lists:
    """Brings the lists of one account up to date."""

    def __init__(self, api: Api, connection: Connection, portal_id: int | None) -> None:
        self.api, self.connection, self.portal_id = api, connection, portal_id
        self.left_out: list[LeftOut] = []

    def send(self) -> None:
        """Send what `list_changes` says. Raises HubspotError where HubSpot does not go on."""
        for object_type, cohort in self.connection.execute(
            "SELECT DISTINCT object, cohort FROM plan_list_changes ORDER BY ALL"
        ).fetchall():
            name = list_name(object_type, cohort)
            _log.debug("bringing the list %s up to date", name)
            try:
                self._bring_up_to_date(object_type, cohort, name)
            except (Refused, NotAllowed) as error:
                self.left_out.append(LeftOut(object_type, f"list {name}", str(error)))

    def _bring_up_to_date(self, object_type: str, cohort: str, name: str) -> None:
        changes: list[Change] = self.connection.execute(
            _WITH_IDS, {"portal_id": self.portal_id, "object": object_type, "cohort": cohort}
        ).fetchall()
        if not changes:
            return
        list_id = self._known(object_type, cohort) or self._find_or_make(object_type, cohort, name)
        for batch in in_batches(changes, MEMBERS_A_CALL):
            try:
                answer = self._change(list_id, batch)
            except Refused as refused:
                if refused.status == 404:
                    self._forget(object_type, cohort)
                raise
            missing = {str(one) for one in answer.get("recordIdsMissing") or []}
            self._remember(object_type, cohort, batch, missing)

    def _known(self, object_type: str, cohort: str) -> str | None:
        found: str | None = value(
            self.connection,
            "SELECT list_id FROM ops.hubspot_lists WHERE object = ? AND cohort = ? AND portal_id IS NOT DISTINCT FROM ?",
            [object_type, cohort, self.portal_id],
        )
        return found

    def _find_or_make(self, object_type: str, cohort: str, name: str) -> str:
        found = self.api.find_list(object_type, name)
        if found is None:
            try:
                found = self.api.create_list(object_type, name)
            except (OutcomeUnknown, Refused):
                found = self.api.find_list(object_type, name)
                if found is None:
                    raise
        if found.get("processingType") != "MANUAL":
            raise Refused(
                400, {"message": f"HubSpot has a list {name} that fills itself; give it another name"}
            )
        list_id = str(found["listId"])
        self.connection.execute(
            "INSERT INTO ops.hubspot_lists (portal_id, object, cohort, name, list_id) VALUES (?, ?, ?, ?, ?)",
            [self.portal_id, object_type, cohort, name, list_id],
        )
        return list_id

    def _change(self, list_id: str, batch: Sequence[Change]) -> Json:
        for attempt in range(_TRIES):
            try:
                return self.api.change_members(
                    list_id,
                    [record for _, record, is_added in batch if is_added],
                    [record for _, record, is_added in batch if not is_added],
                )
            except OutcomeUnknown:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError

    def _remember(self, object_type: str, cohort: str, batch: Sequence[Change], missing: set[str]) -> None:
        now = utc_now()
        with transaction(self.connection):
            self.connection.execute("CREATE OR REPLACE TEMP TABLE push_told (key VARCHAR)")
            append_rows(self.connection, "push_told", [(key,) for key, _, _ in batch])
            self.connection.execute(
                """
                DELETE FROM ops.hubspot_list_members WHERE object = ? AND cohort = ? AND portal_id IS NOT DISTINCT FROM ?
                    AND key IN (FROM push_told)""",
                [object_type, cohort, self.portal_id],
            )
            append_rows(
                self.connection,
                "ops.hubspot_list_members",
                [
                    (self.portal_id, object_type, cohort, key, record, record in missing, now)
                    for key, record, is_added in batch
                    if is_added
                ],
                ["portal_id", "object", "cohort", "key", "hubspot_id", "is_missing", "acknowledged_at"],
            )

    def _forget(self, object_type: str, cohort: str) -> None:
        """Somebody deleted the list: the next push makes it anew."""
        with transaction(self.connection):
            for table in ("hubspot_lists", "hubspot_list_members"):
                self.connection.execute(
                    f"DELETE FROM ops.{table} WHERE object = ? AND cohort = ? AND portal_id IS NOT DISTINCT FROM ?",
                    [object_type, cohort, self.portal_id],
                )


# Who is skipped as ambiguous stays where he is.
_COMPARE = """
    CREATE OR REPLACE TEMP TABLE plan_list_changes AS
    WITH wanted AS (
        SELECT s.object, c.cohort, s.key, s.hubspot_id
        FROM plan_cohort_members c JOIN plan_sendable s ON s.object = c.object AND s.id = c.id
    ),
    held AS (FROM ops.hubspot_list_members WHERE portal_id IS NOT DISTINCT FROM $portal_id)
    SELECT w.object, w.cohort, w.key, true AS is_added, CAST(NULL AS VARCHAR) AS hubspot_id FROM wanted w
    WHERE NOT EXISTS (
        FROM held h WHERE h.object = w.object AND h.cohort = w.cohort AND h.key = w.key
          AND h.hubspot_id = coalesce(w.hubspot_id, h.hubspot_id))
    UNION ALL
    SELECT h.object, h.cohort, h.key, false, h.hubspot_id FROM held h
    WHERE NOT EXISTS (FROM wanted w WHERE w.object = h.object AND w.cohort = h.cohort AND w.key = h.key)
      AND NOT EXISTS (FROM plan_skips s WHERE s.object = h.object AND s.key = h.key AND s.reason = 'ambiguous')"""
# Records that HubSpot did not take have no id, and are added when they have one.
_WITH_IDS = """
    SELECT c.key, coalesce(c.hubspot_id, r.hubspot_id), c.is_added
    FROM plan_list_changes c LEFT JOIN (
        SELECT object, key, min(hubspot_id) AS hubspot_id FROM ops.hubspot_records
        WHERE portal_id IS NOT DISTINCT FROM $portal_id AND hubspot_id IS NOT NULL
        GROUP BY ALL HAVING count(DISTINCT hubspot_id) = 1
    ) r ON r.object = c.object AND r.key = c.key
    WHERE c.object = $object AND c.cohort = $cohort AND coalesce(c.hubspot_id, r.hubspot_id) IS NOT NULL
    ORDER BY ALL"""
