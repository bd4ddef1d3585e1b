"""Makes the plan: works out in the database what HubSpot is to be told, without writing anything to HubSpot.

It is made of temporary tables on the warehouse's connection, so its size is the database's business. They are named
and explained in `sql/plan_tables.sql`; the statements that fill them lie beside it. One class, though long: each step goes
by the tables that the one before has filled.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dagster_project.destinations.parts.published import quoted_name
from dagster_project.settings import Settings
from dagster_project.warehouse.database import Connection, append_rows, quoted, value

from . import associations, events, lists, scripts
from .api import Api
from .errors import HubspotError, NotAllowed, Refused
from .keys import Key, keys_of
from .matching import Matching, listed_lately
from .others import OthersValues
from .outbound import Outbound, Selected
from .plan import Counts, HeldBack, ListChange, Plan
from .preflight import Column, LeftOut, Property, check, load_properties
from .shown import counts_of, digest_of, keep_rows
from .values import AS_OPTIONS, PROBLEM, kind_of, text_of

_log = logging.getLogger(__name__)
_ROWS = 10_000  # handed over at a time
_COMPARED_AT_ONCE = 8_000_000  # bytes of values, roughly: bounds what is in memory
_BYTES = 32  # of a value that is no text
_REASONS = 20  # of what is held back, shown
_VERIFIED_FOR = timedelta(days=7)  # a remembered id is looked at again before it is written to


@dataclass(frozen=True)
class Resend:
    """What is to be sent as if HubSpot had never acknowledged it. Nothing named: everything."""

    properties: tuple[str, ...] = ()
    companies: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass
class Unreadable:
    """Object types that HubSpot refuses to show, with its words: their records that are not known wait."""

    said: dict[str, str] = field(default_factory=dict)

    def note(self, object_type: str, error: HubspotError) -> None:
        if isinstance(error, NotAllowed) and error.status == 401:
            raise error
        self.said[object_type] = f"HubSpot does not show {object_type}: {error}"


class Planner:
    """Makes the plan's tables. api None: offline. Raises HubspotError on a SELECT that cannot be used."""

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        api: Api | None,
        now: datetime,
        resend: Resend | None = None,
    ) -> None:
        self.connection, self.settings, self.api, self.now = connection, settings, api, now
        self.resend = resend
        self.portal_id = api.account.portal_id if api else _last_account(connection, settings)
        self.keys: dict[str, Key] = dict(keys_of(settings.hubspot))
        self.left_out: list[LeftOut] = []
        self.properties: dict[str, dict[str, Property]] = {}
        self.columns: dict[str, list[Column]] = {}
        self.selected: dict[str, Selected] = {}
        self.first_counts: dict[str, Counts] = {}
        self.held_back: list[HeldBack] = []
        self.lists: list[ListChange] = []
        self.associations = 0  # pairs of records
        self.events: dict[str, int] = {}  # how many of each
        self.event_names: dict[str, str] = {}  # as HubSpot has them
        self.source: str | None = None
        self.unreadable = Unreadable()
        self.listed = 0
        self._digest = ""
        self._outbound = Outbound(connection, settings, self.keys)
        self.others = OthersValues(connection, api, self.portal_id, self.keys)

    def read_columns(self) -> dict[str, list[Column]]:
        """The columns of the SELECTs that are properties, by object type; their rows are in plan_selected_<object>."""
        scripts.run(self.connection, "plan_tables")
        portal = "NULL" if self.portal_id is None else str(self.portal_id)
        scripts.run(self.connection, "views", portal_id=portal)
        self.selected = self._outbound.read()
        self.source = self._outbound.source
        for object_type, one in list(self.selected.items()):
            try:
                self._load_properties(object_type, one.columns)
            except (NotAllowed, Refused) as error:
                self.unreadable.note(object_type, error)
                del self.selected[object_type]
        return {object_type: one.columns for object_type, one in self.selected.items()}

    def keep_properties(self) -> None:
        """Keep what the account has as ops.hubspot_properties; forget what was told to a property that is another now."""
        self.connection.execute("DELETE FROM ops.hubspot_properties")
        self.connection.execute(
            "INSERT INTO ops.hubspot_properties BY NAME SELECT * EXCLUDE (labels) FROM plan_properties"
        )
        for table, and_rejects in (("ledger", ""), ("kept", ""), ("rejects", "f.with_rejects AND")):
            self.connection.execute(
                f"""
                DELETE FROM ops.hubspot_{table} AS l USING plan_forgotten AS f
                WHERE {and_rejects} l.portal_id IS NOT DISTINCT FROM ? AND f.object = l.object
                  AND coalesce(f.key, l.key) = l.key
                  AND (f.property IS NULL OR f.property = l.property)""",
                [self.portal_id],
            )

    def make(self) -> None:
        """Make the plan."""
        for object_type, columns in self.read_columns().items():
            if self.api is None:
                usable = [column for column in columns if kind_of(column.type)]
            else:
                usable, left_out = check(self.keys[object_type], columns, self.properties[object_type])
                self.left_out += left_out
            self.columns[object_type] = usable
            if usable:
                self._outbound.take_profiles(object_type, self.selected[object_type])
        self.forget()
        for object_type, usable in self.columns.items():
            if usable:
                self._resolve(object_type)
        self._check_events()
        self._match_and_compare()
        if self.api is not None and self._match_anew(self.api):
            self._match_and_compare()

    @property
    def event_definitions(self) -> dict[str, events.Definition]:
        """The events that the SELECT names."""
        return self._outbound.events

    def _check_events(self) -> None:
        """Which of the events HubSpot has. Offline: all of them."""
        wanted = self.event_definitions
        if self.api is None or not wanted:
            self.event_names = dict.fromkeys(wanted, "")
            return
        try:
            known = events.known_events(self.api, wanted, self.portal_id)
        except (NotAllowed, Refused) as error:
            if isinstance(error, NotAllowed) and error.status == 401:
                raise
            self.left_out.append(LeftOut("events", "all of them", str(error)))
            return
        left_out, self.event_names = events.check(wanted, known)
        self.left_out += left_out

    def _match_and_compare(self) -> None:
        scripts.run(
            self.connection,
            "matches",
            {
                "unreadable": list(self.unreadable.said),
                "update_only": [o for o, key in self.keys.items() if key.mode == "update"],
                "create_only": [o for o, key in self.keys.items() if key.mode == "create"],
            },
        )
        self._compare()

    def _load_properties(self, object_type: str, columns: list[Column]) -> None:
        if self.api is None:
            return
        _log.debug("loading the properties of %s", object_type)
        wanted = [self.keys[object_type].property, *(c.name for c in columns)]
        found = load_properties(self.api, object_type, wanted)
        self.properties[object_type] = found
        append_rows(
            self.connection,
            "plan_properties",
            [
                (
                    object_type,
                    p.name,
                    p.label,
                    p.type,
                    p.field_type,
                    p.group,
                    list(p.options),
                    p.values_by_label,
                    p.external_options,
                    p.has_unique_value,
                    p.obstacle is None,
                    p.definition,
                    p.created_at,
                    self.portal_id,
                    self.now,
                )
                for p in found.values()
            ],
        )

    def forget(self) -> None:
        """What is sent anew: of properties that were made anew in HubSpot since, and what the command says."""
        connection = self.connection
        connection.execute(_MADE_ANEW, {"portal_id": self.portal_id})
        if self.resend is None:
            return
        names: list[str | None] = [*self.resend.properties] or [None]
        records: list[tuple[str, str | None]] = []
        for object_type, ids in (("companies", self.resend.companies), ("contacts", self.resend.users)):
            for id_ in ids:
                keys = connection.execute(
                    "SELECT key FROM plan_profiles WHERE object = ? AND id = ? AND rank = 1 AND key IS NOT NULL",
                    [object_type, id_],
                ).fetchall()
                if not keys:
                    raise HubspotError(f"{id_}: no such record is sent to {object_type}")
                records += [(object_type, key) for (key,) in keys]
        named = bool(records or self.resend.properties)
        for object_type, key in records or [(one, None) for one in self.keys]:
            append_rows(connection, "plan_forgotten", [(object_type, key, name, named) for name in names])

    def _resolve(self, object_type: str) -> None:
        self._note_refused_before(object_type)
        matching = Matching(self.connection, self.api, self.portal_id, self.keys[object_type])
        try:
            matching.resolve()
        except (NotAllowed, Refused) as error:
            self.unreadable.note(object_type, error)
        if object_type == "companies":
            self.listed = matching.listed

    def _match_anew(self, api: Api) -> bool:
        """Look at remembered ids that are to be written to. Returns whether some are not what they were, or not shown."""
        found_any = False
        for object_type, key in self.keys.items():
            matching = Matching(self.connection, api, self.portal_id, key)
            try:
                found_any |= matching.verify_remembered(self.now - _VERIFIED_FOR)
            except (NotAllowed, Refused) as error:
                self.unreadable.note(object_type, error)
                matching.forget_unverified(
                    self.now - _VERIFIED_FOR
                )  # they wait, as all that HubSpot does not show
                found_any = True
        return found_any

    def _note_refused_before(self, object_type: str) -> None:
        """Creates that HubSpot refused, and would refuse again: nobody is asked where they are."""
        connection = self.connection
        refused = f"""
            FROM plan_rejects r WHERE r.object = '{object_type}' AND r.property IS NULL AND r.hubspot_id IS NULL
              AND r.code <> 'NOT_READABLE'"""
        if not value(connection, f"SELECT count(*) {refused}"):
            return
        key = self.keys[object_type]
        connection.execute(f"""
            INSERT INTO plan_refused_before SELECT '{object_type}', r.key {refused} AND r.attempted = 'key'""")
        self.want(f"_object = '{object_type}' AND _key IN (SELECT r.key {refused})")
        connection.execute(
            f"""
            INSERT INTO plan_refused_before
            SELECT '{object_type}', r.key FROM plan_rejects r JOIN (
                SELECT key, to_json(map(list(property ORDER BY property), list(value ORDER BY property))) AS properties
                FROM (
                    SELECT key, property, value FROM plan_wanted w LEFT JOIN plan_properties p
                        ON p.object = w.object AND p.name = w.property
                    WHERE code IS NULL AND value <> '' AND NOT EXISTS (
                        FROM plan_rejects n
                        WHERE n.object = w.object AND n.key = w.key AND n.property = w.property AND n.value = w.value
                          AND n.attempted = coalesce(p.definition, n.attempted))
                    UNION ALL SELECT r.key, '{key.property}', r.key {refused}
                ) GROUP BY key
            ) c USING (key)
            WHERE r.object = '{object_type}' AND r.property IS NULL AND r.hubspot_id IS NULL
              AND r.attempted = md5(CAST(c.properties AS VARCHAR))"""
        )
        if key.can_be_read or not listed_lately(connection, self.portal_id):
            return
        # What they are told has changed; but all that is not known was refused before.
        unresolved = value(
            connection,
            f"""
            SELECT count(*) FROM ({scripts.text_of("unresolved")}) u
            WHERE u.key NOT IN (SELECT r.key {refused}) AND u.key NOT IN (
                SELECT key FROM ops.hubspot_records WHERE object = '{object_type}')""",
            [object_type],
        )
        if not unresolved:
            connection.execute(f"INSERT INTO plan_refused_before SELECT '{object_type}', r.key {refused}")

    def want(self, condition: str) -> None:
        """Make `plan_wanted`: the values of the profiles of which a condition on _object and _key holds."""
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE plan_wanted (object VARCHAR, key VARCHAR, property VARCHAR, value VARCHAR, "
            "code VARCHAR, said VARCHAR, only_if_empty BOOLEAN)"
        )
        values = []
        clear = set(self.settings.hubspot.clear)
        for object_type, columns in self.columns.items():
            if not columns:
                continue
            texts = ", ".join(
                f"{self._text(object_type, c, clear=c.name in clear)} AS {quoted_name(c.name)}"
                for c in columns
            )
            marked = ", ".join(f"'{quoted(one)}'" for one in sorted(self.selected[object_type].only_if_empty))
            values.append(f"""
                SELECT '{object_type}', v._key, v.property, v.value, {PROBLEM} AS code,
                       CASE WHEN code = 'INVALID_OPTION' THEN 'not among the options of the property: '
                           || left(array_to_string(p.options, ', '), 500) END AS said,
                       {f"v.property IN ({marked})" if marked else "false"}
                FROM (
                    SELECT u._key, u.property, {AS_OPTIONS} AS value
                    FROM (
                        UNPIVOT (
                            SELECT _key, {texts}
                            FROM (SELECT '{object_type}' AS _object, * FROM plan_chosen_{object_type}) WHERE {condition}
                        ) ON {", ".join(quoted_name(c.name) for c in columns)} INTO NAME property VALUE value
                    ) u
                    LEFT JOIN plan_properties p ON p.object = '{object_type}' AND p.name = u.property
                ) v
                LEFT JOIN plan_properties p ON p.object = '{object_type}' AND p.name = v.property""")
        if values:  # in one statement: see `transaction`
            self.connection.execute(f"INSERT INTO plan_wanted {' UNION ALL '.join(values)}")

    def _text(self, object_type: str, column: Column, *, clear: bool) -> str:
        found = self.properties.get(object_type, {}).get(column.name)
        yes_no = found.yes_no if found and kind_of(column.type) == "boolean" else None
        text = text_of(quoted_name(column.name), column.type, yes_no)
        return f"coalesce({text}, '')" if clear else text

    def _compare(self) -> None:
        """Compare with the ledger and with what HubSpot refused before, some of the profiles at a time."""
        connection = self.connection
        scripts.run(connection, "compared")
        parts = 1 + sum(map(self._bytes, self.columns)) // _COMPARED_AT_ONCE
        keys = " ".join(f"WHEN '{o}' THEN '{quoted(k.property)}'" for o, k in self.keys.items())
        given = {"portal_id": self.portal_id}
        for part in range(parts):
            _log.debug("comparing with what HubSpot was told: %d of %d", part + 1, parts)
            self.want(f"hash(_key) % {parts} = {part}")
            scripts.run(connection, "changes", given)
            for object_type in self.columns:
                self.others.leave(object_type, self.properties.get(object_type, {}))
            scripts.run(connection, "parts", keys=keys, condition=f"hash(key) % {parts} = {part}")
        scripts.run(connection, "in_order", {"recreate": self.settings.hubspot.recreate_deleted})
        if self.settings.hubspot.lists:
            lists.compare(connection, self.portal_id)
            self.lists = lists.planned_changes(connection, self.portal_id)
        if self.settings.hubspot.associate:
            self.associations = associations.compare(connection, self.portal_id)
        if self.event_names:
            self.events = events.compare(connection, self.portal_id, self.event_names)
        self.first_counts = counts_of(connection, self.columns)
        self.held_back = [
            HeldBack(*row)
            for row in connection.execute(
                f"""
                SELECT object, property, code, any_value(message), count(DISTINCT key) AS records FROM plan_held_back
                GROUP BY object, property, code ORDER BY records DESC, object, property, code LIMIT {_REASONS}"""
            ).fetchall()
        ]
        self._digest = digest_of(
            connection,
            lists=bool(self.lists),
            events=bool(self.events),
            associations=bool(self.associations),
        )

    def _bytes(self, object_type: str) -> int:
        """How much the values of an object type are, roughly."""
        columns = self.columns[object_type]
        if not columns:
            return 0
        texts = [
            f"coalesce(strlen(CAST({quoted_name(c.name)} AS VARCHAR)), 0)"
            for c in columns
            if kind_of(c.type) in ("text", "list")
        ]
        size = f"CAST(sum({' + '.join([str(_BYTES * len(columns)), *texts])}) AS BIGINT)"
        return int(value(self.connection, f"SELECT coalesce({size}, 0) FROM plan_chosen_{object_type}"))

    def as_plan(self) -> Plan:
        """The plan with its rows in files of its own, so that it can be read when the warehouse is free again."""
        return Plan(
            self.api is None,
            self.digest(),
            self.first_counts,
            list(self.left_out),
            self.lists,
            self.associations,
            self.events,
            self.portal_id,
            self.held_back,
            list(self.unreadable.said.values()),
            keep_rows(self.connection, self.settings.data),
        )

    def digest(self) -> str:
        return self._digest

    def drop_what_is_in_the_outbox(self) -> None:
        """Make room: what was planned is on disk now."""
        for table in ("planned", "matches", "exported", "resolved", "refused", "match_keys"):
            self.connection.execute(f"DROP TABLE IF EXISTS temp.plan_{table}")


# A property that is not what it was when HubSpot acknowledged its values: it was made anew since, or was not there at the
# last push.
_MADE_ANEW = """
    INSERT INTO plan_forgotten
    SELECT p.object, NULL, p.name, true
    FROM plan_properties p LEFT JOIN (FROM ops.hubspot_properties WHERE portal_id IS NOT DISTINCT FROM $portal_id) k
        ON k.object = p.object AND k.name = p.name
    JOIN (
        SELECT object, property, min(acknowledged_at) AS since FROM ops.hubspot_ledger
        WHERE portal_id IS NOT DISTINCT FROM $portal_id GROUP BY ALL
    ) l ON l.object = p.object AND l.property = p.name
    WHERE k.created_at <> p.created_at
       OR k.created_at IS NULL AND l.since < p.created_at
       OR k.name IS NULL AND EXISTS (
           FROM ops.hubspot_properties o WHERE o.portal_id IS NOT DISTINCT FROM $portal_id AND o.object = p.object)"""


def _last_account(connection: Connection, settings: Settings) -> int | None:
    if settings.hubspot.portal_id is not None:
        return settings.hubspot.portal_id
    found: int | None = value(
        connection, "SELECT portal_id FROM ops.hubspot_pushes ORDER BY push DESC LIMIT 1"
    )
    return found
