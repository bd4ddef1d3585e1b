"""Finds the HubSpot record of each key: as remembered, as a CRM export says (looked at once), else as HubSpot says.

Fills plan_matches (`sql/plan_tables.sql`). Not by search: it lags behind writes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial

from dagster_project.destinations.parts.published import chunks, utc_now
from dagster_project.warehouse.database import Connection, append_rows, value

from . import scripts
from .api import BATCH, Api
from .errors import Refused
from .keys import Key
from .lookup import all_records, by_id, by_key, in_batches, side_by_side

_log = logging.getLogger(__name__)
# An account of so many companies is not listed again for the sake of creates that HubSpot refused, for so long.
MANY, LISTED_LATELY = 2_000, timedelta(hours=6)


class Matching:
    """Of one object type. api None: offline, as remembered and as the exports say."""

    def __init__(self, connection: Connection, api: Api | None, portal_id: int | None, key: Key) -> None:
        self.connection, self.api, self.portal_id, self.key = connection, api, portal_id, key
        self.listed = 0  # records that were listed, all of the account's

    def resolve(self) -> None:
        """Match the profiles of plan_profiles. Raises as `Api` does."""
        self.connection.execute(
            """
            INSERT INTO plan_matches
            SELECT DISTINCT r.object, r.key, r.hubspot_id, 1 FROM ops.hubspot_records r SEMI JOIN plan_profiles p
                ON p.object = r.object AND p.key = r.key
            WHERE r.object = ? AND r.portal_id IS NOT DISTINCT FROM ? AND r.hubspot_id IS NOT NULL""",
            [self.key.object, self.portal_id],
        )
        if self.api is None:
            self._match_exported()
            return
        self._match_remembered_doubles(self.api)
        unresolved = self._count_unresolved()
        exported = self._exported()
        # Where all companies are listed anyway, that says who is who.
        if exported and (self.key.can_be_read or unresolved == len({key for key, _ in exported})):
            self._verify(self.api, exported)
            unresolved = self._count_unresolved()
        if unresolved:
            self._ask(self.api, unresolved)

    def _count_unresolved(self) -> int:
        unresolved = scripts.text_of("unresolved")
        return int(value(self.connection, f"SELECT count(*) FROM ({unresolved})", [self.key.object]))

    def _match_exported(self) -> None:
        self.connection.execute(
            """
            INSERT INTO plan_matches
            SELECT DISTINCT e.object, e.key, e.record_id, 3
            FROM plan_exported e JOIN plan_profiles p ON p.object = e.object AND p.key = e.key
            WHERE e.object = ? AND regexp_full_match(e.record_id, '[0-9]+')""",
            [self.key.object],
        )

    def _exported(self) -> list[tuple[str, str]]:
        """Keys and record ids of exports, of those that are to be asked for."""
        return self.connection.execute(
            f"""
            SELECT DISTINCT e.key, e.record_id FROM plan_exported e
            WHERE e.object = $1 AND regexp_full_match(e.record_id, '[0-9]+')
              AND e.key IN ({scripts.text_of("unresolved").replace("?", "$1")}) ORDER BY ALL""",
            [self.key.object],
        ).fetchall()

    def _verify(self, api: Api, exported: list[tuple[str, str]]) -> None:
        """An export may be old, or another account's: what HubSpot shows under its ids decides."""
        ids = sorted({record_id for _, record_id in exported})
        _log.debug("looking at %d record ids of the CRM exports", len(ids))
        held: dict[str, tuple[str, tuple[str, ...]]] = {}
        read = partial(by_id, api, self.key, refused={})
        for _, found in side_by_side(in_batches(ids), read):
            held |= {asked: (record.hubspot_id, record.keys) for asked, record in found.items()}
        self._add(
            (key, held[record_id][0])
            for key, record_id in exported
            if record_id in held and key in held[record_id][1]
        )

    def verify_remembered(self, since: datetime) -> bool:
        """Look at remembered ids that are to be written to, and were not looked at since they were made, or not since then:
        where HubSpot shows another key under one, its key is matched anew. Returns whether there are any."""
        assert self.api is not None
        connection, object_type = self.connection, self.key.object
        others: list[str] = []
        refused: dict[str, Refused] = {}
        keys_of_ids: dict[str, str] = {}
        given = {"object": object_type, "portal_id": self.portal_id, "since": since}
        read = partial(by_id, self.api, self.key, refused=refused)
        for rows in chunks(connection, scripts.text_of("unverified"), given):
            keys_of_ids = dict(rows)
            verified = []
            for _, found in side_by_side(in_batches(list(keys_of_ids)), read):
                for asked, record in found.items():
                    key = keys_of_ids[asked]
                    if key in record.keys:
                        verified.append((object_type, key, asked))
                    else:
                        others.append(key)
            append_rows(connection, "plan_verified", verified)
            for asked, error in refused.items():
                if asked in keys_of_ids:
                    self._note_unreadable(keys_of_ids[asked], error)
        if others:
            connection.execute(
                "DELETE FROM plan_matches WHERE object = ? AND source <> 2 AND list_contains(?, key)",
                [object_type, others],
            )
            if unresolved := self._count_unresolved():
                self._ask(self.api, unresolved)
        return bool(others or refused)

    def forget_unverified(self, since: datetime) -> None:
        """Do not go by the ids that `verify_remembered` would look at."""
        self.connection.execute(
            f"""
            DELETE FROM plan_matches WHERE object = $object AND source <> 2
              AND key IN (SELECT key FROM ({scripts.text_of("unverified")}))""",
            {"object": self.key.object, "portal_id": self.portal_id, "since": since},
        )

    def _match_remembered_doubles(self, api: Api) -> None:
        """Keys that had several records last time: have they been put in order since? One read a hundred."""
        connection = self.connection
        remembered = f"FROM plan_matches WHERE source = 1 AND object = '{self.key.object}'"
        doubles = f"SELECT object, key {remembered} GROUP BY ALL HAVING count(*) > 1"
        ids = [
            row[0]
            for row in connection.execute(
                f"""
                SELECT DISTINCT hubspot_id FROM plan_matches SEMI JOIN ({doubles}) USING (object, key)
                WHERE source = 1 ORDER BY 1"""
            ).fetchall()
        ]
        if not ids:
            return
        for _, found in side_by_side(in_batches(ids), partial(by_id, api, self.key, refused={})):
            self._add((key, record.hubspot_id) for record in found.values() for key in record.keys)
        connection.execute(f"DELETE FROM plan_matches WHERE source = 1 AND (object, key) IN ({doubles})")

    def _ask(self, api: Api, unresolved: int) -> None:
        """Companies are listed: a domain is no id. So are contacts where that takes no more calls than reading them."""
        connection, key = self.connection, self.key
        if not key.can_be_read:
            self.list_all(api)
            return
        known = value(
            connection,
            """
            SELECT greatest((SELECT count(DISTINCT hubspot_id) FROM ops.hubspot_records
                             WHERE object = $object AND portal_id IS NOT DISTINCT FROM $portal_id),
                            (SELECT count(DISTINCT hubspot_id) FROM plan_matches WHERE object = $object))""",
            {"object": key.object, "portal_id": self.portal_id},
        )
        is_short = known <= max(unresolved, BATCH) and not key.is_own
        if is_short and self.list_all(api, most=max(unresolved // BATCH, 1)):
            return
        keys = (
            row[0]
            for rows in chunks(connection, scripts.text_of("unresolved"), [key.object], BATCH)
            for row in rows
        )
        done = 0
        refused: dict[str, Refused] = {}
        for texts, found in side_by_side(_batches(keys), partial(by_key, api, key, refused=refused)):
            done += len(texts)
            _log.debug("looking up %s: %d of %d", key.object, done, unresolved)
            self._add((text, record.hubspot_id) for text, record in found.items())
        for text, error in refused.items():
            self._note_unreadable(text, error)

    def _note_unreadable(self, text: str, error: Refused) -> None:
        self.connection.execute(
            "UPDATE plan_profiles SET problem = 'NOT_READABLE', said = ? WHERE object = ? AND key = ?",
            [f"HubSpot refuses to show the record: {error}", self.key.object, text],
        )

    def list_all(self, api: Api, most: int | None = None) -> bool:
        """Match the keys of all records of the account, or of the first `most` pages. Returns whether it was all."""
        done, is_last = 0, False
        for number, (records, last) in enumerate(all_records(api, self.key), start=1):
            done += len(records)
            _log.debug("listing %s: %d", self.key.object, done)
            self._add((key, record.hubspot_id) for record in records for key in record.keys)
            is_last = last
            if number == most:
                break
        self.listed = done
        return is_last

    def _add(self, matches: Iterable[tuple[str, str]]) -> None:
        """Keys with the record ids that HubSpot said."""
        rows = sorted({(self.key.object, key, hubspot_id, 2) for key, hubspot_id in matches})
        append_rows(self.connection, "plan_matches", rows)


def listed_lately(connection: Connection, portal_id: int | None) -> bool:
    """Whether so large an account's companies were listed so lately that it should not be done for refused creates alone."""
    return bool(
        value(
            connection,
            """
            SELECT count(*) > 0 FROM ops.hubspot_pushes
            WHERE portal_id IS NOT DISTINCT FROM ? AND listed >= ? AND started_at > ?""",
            [portal_id, MANY, utc_now() - LISTED_LATELY],
        )
    )


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for key in keys:
        batch.append(key)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
