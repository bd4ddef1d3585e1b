"""Makes the plan: works out in the database what HubSpot is to be told, without writing anything to HubSpot.

It is made of temporary tables on the warehouse's connection, so its size is the database's business:

    selected_companies, selected_contacts   what the SELECTs return
    profiles   their rows' keys, and which of them stand back
    chosen_companies, chosen_contacts       the rows that do not, with their key
    wanted     key, property, value as text (code: why HubSpot would refuse it), of some of the profiles at a time
    resolved   key, record id in HubSpot
    sendable   the profiles that are not skipped, with the record id; null: there is none yet
    refused    values and records that HubSpot would refuse
    planned    one row a record that is to be written: properties, and what HubSpot was last told of them (before)
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import duckdb

from dagster_project.settings import Settings, hubspot_base_url, project_root
from dagster_project.warehouse.database import Connection, append_rows, quoted, value
from dagster_project.warehouse.models import bare

from . import lists
from .api import BATCH, KEYS, OBJECTS, Api
from .errors import HubspotError, Refused
from .lookup import all_records, by_email, by_id, in_batches, key_of, side_by_side
from .plan import Counts, ListChange, Plan
from .preflight import Column, LeftOut, Property, check, load_properties
from .values import EMAIL, PROBLEM, kind_of, text_of

_log = logging.getLogger(__name__)
IDS = {"companies": "company_id", "contacts": "user_id"}
_EXPORTED_MORE = {
    "companies": ("Additional Domains", "hs_additional_domains"),
    "contacts": ("Additional email addresses", "hs_additional_emails"),
}
# Keys that are what their match key would be; others are normalised one by one.
_PLAIN = {
    "companies": r"[a-z0-9-]+(\.[a-z0-9-]+)+",
    "contacts": r"[a-z0-9._%+'-]+@[a-z0-9.-]+",
}
_ROWS = 10_000  # handed over at a time
_COMPARED_AT_ONCE = 8_000_000  # bytes of values, roughly: bounds what is in memory
_BYTES = 32  # of a value that is no text


class Planner:
    """Makes the plan's tables. api None: offline. Raises HubspotError on a SELECT that cannot be used."""

    def __init__(self, connection: Connection, settings: Settings, api: Api | None, now: datetime) -> None:
        self.connection, self.settings, self.api, self.now = connection, settings, api, now
        self.portal_id = api.account.portal_id if api else _last_account(connection, settings)
        self.left_out: list[LeftOut] = []
        self.properties: dict[str, dict[str, Property]] = {}
        self.columns: dict[str, list[Column]] = {}
        self.first_counts: dict[str, Counts] = {}
        self.lists: list[ListChange] = []
        self.source: str | None = None
        self._listed: set[str] = set()
        self._digest = ""

    def read_columns(self) -> dict[str, list[Column]]:
        """The columns of the SELECTs that are properties, by object type; their rows are in selected_<object type>."""
        for statement in _TABLES:
            self.connection.execute(statement)
        _attach_published(self.connection, self.settings)
        self.source = source_of(self.connection, self.settings, "published.")
        try:
            selected = {object_type: self._select(object_type) for object_type in OBJECTS}
            for object_type in OBJECTS:
                self._read_exports(object_type)
            if self.settings.hubspot.lists:
                self._read_cohorts()
        finally:
            self.connection.execute("DETACH published")
        found = {object_type: columns for object_type, columns in selected.items() if columns is not None}
        for object_type, columns in found.items():
            self._load_properties(object_type, columns)
        return found

    def keep_properties(self) -> None:
        """Keep what the account has as ops.hubspot_properties."""
        self.connection.execute("DELETE FROM ops.hubspot_properties")
        self.connection.execute("INSERT INTO ops.hubspot_properties BY NAME SELECT * FROM account_properties")

    def make(self) -> None:
        """Make the plan."""
        for object_type, columns in self.read_columns().items():
            if self.api is None:
                usable = [column for column in columns if kind_of(column.type)]
            else:
                usable, left_out = check(object_type, columns, self.properties[object_type])
                self.left_out += left_out
            self.columns[object_type] = usable
            if usable:
                self._take_profiles(object_type)
                self._resolve(object_type)
        self._settle_skips()
        self._compare()

    # what the SELECTs say

    def _select(self, object_type: str) -> list[Column] | None:
        """Run the SELECT in the published database. Returns its columns that are properties; None: no such file."""
        connection = self.connection
        file = project_root() / "sql" / "outbound" / f"hubspot_{object_type}.sql"
        if not file.is_file():
            return None
        _log.debug("reading what to send to %s", object_type)
        query = bare(file.read_text(encoding="utf-8"))
        home = value(connection, "SELECT current_database()")
        connection.execute("USE published")
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE selected_{object_type} AS {query}")
        except duckdb.Error as error:
            raise HubspotError(f"sql/outbound/{file.name}: {error}") from error
        finally:
            connection.execute(f'USE "{home}"')
        columns = [
            Column(name, kind)
            for name, kind, *_ in connection.execute(f"DESCRIBE selected_{object_type}").fetchall()
        ]
        never_sent = (IDS[object_type], "last_seen_at", KEYS[object_type])
        lacking = [name for name in never_sent if name not in {c.name for c in columns}]
        if lacking:
            raise HubspotError(
                f"sql/outbound/{file.name} does not select {', '.join(lacking)}: each row needs them"
            )
        return [c for c in columns if c.name not in never_sent]

    def _load_properties(self, object_type: str, columns: list[Column]) -> None:
        if self.api is None:
            return
        _log.debug("loading the properties of %s", object_type)
        found = load_properties(self.api, object_type, [KEYS[object_type], *(c.name for c in columns)])
        self.properties[object_type] = found
        append_rows(
            self.connection,
            "account_properties",
            [
                (
                    object_type,
                    p.name,
                    p.label,
                    p.type,
                    p.field_type,
                    p.group,
                    list(p.options),
                    p.external_options,
                    p.has_unique_value,
                    p.obstacle is None,
                    p.definition,
                    self.portal_id,
                    self.now,
                )
                for p in found.values()
            ],
        )

    def _take_profiles(self, object_type: str) -> None:
        """The rows' keys, which of several rows with one key is sent, and the values as text."""
        connection, key = self.connection, KEYS[object_type]
        self._normalise_keys(object_type)
        problem = (
            f"CASE WHEN NOT regexp_full_match(key, '{EMAIL}') THEN 'INVALID_EMAIL' END"
            if key == "email"
            else "NULL"
        )
        connection.execute(
            f"""
            INSERT INTO profiles
            SELECT ?, row, id, key, seen, row_number() OVER (PARTITION BY key ORDER BY seen DESC NULLS LAST, id, row), {problem},
                   NULL
            FROM (
                SELECT s.rowid AS row, CAST(s.{IDS[object_type]} AS VARCHAR) AS id, k.key,
                       TRY_CAST(s.last_seen_at AS TIMESTAMP) AS seen
                FROM selected_{object_type} s LEFT JOIN match_keys k ON k.written = CAST(s.{key} AS VARCHAR)
            )""",
            [object_type],
        )
        # (No property's name begins with an underscore.)
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE chosen_{object_type} AS
            SELECT p.key AS _key, s.*
            FROM selected_{object_type} s JOIN profiles p ON p.row = s.rowid
            WHERE p.object = '{object_type}' AND p.place = 1 AND p.key IS NOT NULL AND p.problem IS NULL""")
        connection.execute(f"DROP TABLE selected_{object_type}")

    def want(self, condition: str) -> None:
        """Make `wanted`: the values of the profiles of which a condition on _object and _key holds."""
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE wanted "
            "(object VARCHAR, key VARCHAR, property VARCHAR, value VARCHAR, code VARCHAR)"
        )
        values = []
        for object_type, columns in self.columns.items():
            if not columns:
                continue
            texts = ", ".join(f"{text_of(_name(c.name), c.type)} AS {_name(c.name)}" for c in columns)
            values.append(f"""
                SELECT '{object_type}', v._key, v.property, v.value, {PROBLEM} AS code
                FROM (
                    UNPIVOT (
                        SELECT _key, {texts}
                        FROM (SELECT '{object_type}' AS _object, * FROM chosen_{object_type}) WHERE {condition}
                    ) ON {", ".join(_name(c.name) for c in columns)} INTO NAME property VALUE value
                ) v
                LEFT JOIN account_properties p ON p.object = '{object_type}' AND p.name = v.property""")
        if values:  # in one statement: see `transaction`
            self.connection.execute(f"INSERT INTO wanted {' UNION ALL '.join(values)}")

    def _normalise_keys(self, object_type: str) -> None:
        connection, key = self.connection, KEYS[object_type]
        connection.execute("CREATE OR REPLACE TEMP TABLE match_keys (written VARCHAR, key VARCHAR)")
        connection.execute(f"""
            INSERT INTO match_keys SELECT DISTINCT CAST({key} AS VARCHAR) AS k, k FROM selected_{object_type}
            WHERE {key} IS NOT NULL AND {_is_plain(object_type, key)}""")
        for texts in _chunks(
            connection,
            f"""
            SELECT DISTINCT CAST({key} AS VARCHAR) FROM selected_{object_type}
            WHERE {key} IS NOT NULL AND NOT {_is_plain(object_type, key)}""",
        ):
            append_rows(connection, "match_keys", [(text, key_of(object_type, text)) for (text,) in texts])

    def _read_exports(self, object_type: str) -> None:
        header, name = _EXPORTED_MORE[object_type]
        table = f"published.core.crm_{object_type}"
        with contextlib.suppress(duckdb.CatalogException):  # published before there were exports
            self.connection.execute(f"""
                INSERT INTO exported
                SELECT '{object_type}', match_key, record_id FROM {table} WHERE match_key IS NOT NULL
                UNION
                SELECT '{object_type}', unnest(string_split(lower(replace(coalesce(
                           properties ->> '$."{header}"', properties ->> '$."{name}"'), ' ', '')), ';')), record_id
                FROM {table}""")

    def _read_cohorts(self) -> None:
        with contextlib.suppress(duckdb.CatalogException):  # published before there were cohorts
            self.connection.execute("""
                INSERT INTO cohort_members
                SELECT CASE entity WHEN 'company' THEN 'companies' ELSE 'contacts' END, cohort, id
                FROM published.marts.cohort_members""")

    # which record is meant

    def _resolve(self, object_type: str) -> None:
        """Find the record of each key: as remembered, as the CRM export says, else as HubSpot says."""
        connection = self.connection
        connection.execute(
            """
            INSERT INTO matches
            SELECT DISTINCT r.object, r.key, r.hubspot_id, 1 FROM ops.hubspot_records r SEMI JOIN profiles p
                ON p.object = r.object AND p.key = r.key
            WHERE r.object = ? AND r.portal_id IS NOT DISTINCT FROM ? AND r.hubspot_id IS NOT NULL""",
            [object_type, self.portal_id],
        )
        self._match_exported(object_type)
        if self.api is not None:
            self._match_remembered_doubles(object_type)
            unresolved = value(connection, "SELECT count(*) FROM (" + _UNRESOLVED + ")", [object_type])
            if unresolved:
                self._ask(object_type, unresolved)

    def _match_exported(self, object_type: str) -> None:
        self.connection.execute(f"""
            INSERT INTO matches
            SELECT DISTINCT '{object_type}', e.key, e.record_id, 3
            FROM exported e JOIN profiles p ON p.object = e.object AND p.key = e.key
            WHERE e.object = '{object_type}' AND regexp_full_match(e.record_id, '[0-9]+')""")

    def _match_remembered_doubles(self, object_type: str) -> None:
        """Keys that had several records last time: have they been put in order since? One read a hundred."""
        assert self.api is not None
        api, connection = self.api, self.connection
        remembered = f"FROM matches WHERE source = 1 AND object = '{object_type}'"
        doubles = f"SELECT object, key {remembered} GROUP BY ALL HAVING count(*) > 1"
        ids = [
            row[0]
            for row in connection.execute(
                f"SELECT DISTINCT hubspot_id FROM matches SEMI JOIN ({doubles}) USING (object, key) WHERE source = 1 ORDER BY 1"
            ).fetchall()
        ]
        if not ids:
            return
        for _, found in side_by_side(in_batches(ids), partial(by_id, api, object_type)):
            append_rows(
                connection,
                "matches",
                sorted(
                    {
                        (object_type, key, record.hubspot_id, 2)
                        for record in found.values()
                        for key in record.keys
                    }
                ),
            )
        connection.execute(f"DELETE FROM matches WHERE source = 1 AND (object, key) IN ({doubles})")

    def _ask(self, object_type: str, unresolved: int) -> None:
        """Companies are listed: a domain is no id. So are contacts where that takes no more calls than reading them."""
        assert self.api is not None
        api, connection = self.api, self.connection
        if object_type == "companies":
            self.list_all(object_type)
            return
        known = value(
            connection,
            """
            SELECT greatest((SELECT count(DISTINCT hubspot_id) FROM ops.hubspot_records
                             WHERE object = 'contacts' AND portal_id IS NOT DISTINCT FROM ?),
                            (SELECT count(DISTINCT hubspot_id) FROM matches WHERE object = 'contacts'))""",
            [self.portal_id],
        )
        if known <= max(unresolved, BATCH) and self.list_all(object_type, most=max(unresolved // BATCH, 1)):
            return
        keys = (row[0] for rows in _chunks(connection, _UNRESOLVED, [object_type], BATCH) for row in rows)
        done = 0
        refused: dict[str, Refused] = {}
        for emails, found in side_by_side(_batches(keys), partial(by_email, api, refused=refused)):
            done += len(emails)
            _log.debug("looking up contacts: %d of %d", done, unresolved)
            append_rows(
                connection, "matches", [("contacts", key, f.hubspot_id, 2) for key, f in found.items()]
            )
        for email, error in refused.items():
            connection.execute(
                "UPDATE profiles SET problem = 'NOT_READABLE', said = ? WHERE object = 'contacts' AND key = ?",
                [f"HubSpot refuses to show the record: {error}", email],
            )

    def list_all(self, object_type: str, most: int | None = None) -> bool:
        """Match the keys of all records of the account, or of the first `most` pages. Returns whether it was all."""
        assert self.api is not None
        if object_type in self._listed:
            return True
        done, is_last = 0, False
        for number, (records, last) in enumerate(all_records(self.api, object_type), start=1):
            done += len(records)
            _log.debug("listing %s: %d", object_type, done)
            append_rows(
                self.connection,
                "matches",
                [(object_type, key, record.hubspot_id, 2) for record in records for key in record.keys],
            )
            is_last = last
            if number == most:
                break
        if is_last:
            self._listed.add(object_type)
        return is_last

    def _settle_skips(self) -> None:
        """Of the sources of a match the best one counts; what is ambiguous, or a double of another, is skipped."""
        for statement in _SETTLE:
            self.connection.execute(statement)

    # what is to be written

    def _compare(self) -> None:
        """Compare with the ledger and with what HubSpot refused before, some of the profiles at a time."""
        connection = self.connection
        connection.execute(_REFUSED)
        parts = 1 + sum(map(self._bytes, self.columns)) // _COMPARED_AT_ONCE
        keys = " ".join(f"WHEN '{o}' THEN '{k}'" for o, k in KEYS.items())
        for part in range(parts):
            _log.debug("comparing with what HubSpot was told: %d of %d", part + 1, parts)
            self.want(f"hash(_key) % {parts} = {part}")
            connection.execute(_REFUSED_VALUES)
            connection.execute(_CHANGES, {"portal_id": self.portal_id})
            connection.execute(
                _KEYS_OF_CREATES.format(
                    key_property=f"CASE object {keys} END", condition=f"hash(key) % {parts} = {part}"
                )
            )
            connection.execute(_PLANNED)
        connection.execute(
            _IN_ORDER, {"portal_id": self.portal_id, "recreate": self.settings.hubspot.recreate_deleted}
        )
        connection.execute("DROP TABLE wanted; DROP TABLE changes; DROP TABLE parts")
        if self.settings.hubspot.lists:
            lists.compare(connection, self.portal_id)
            self.lists = lists.planned_changes(connection, self.portal_id)
        self.first_counts = self._counts()
        self._digest = self._digest_of_writes()

    def _bytes(self, object_type: str) -> int:
        """How much the values of an object type are, roughly."""
        columns = self.columns[object_type]
        if not columns:
            return 0
        texts = [
            f"coalesce(strlen(CAST({_name(c.name)} AS VARCHAR)), 0)"
            for c in columns
            if kind_of(c.type) in ("text", "list")
        ]
        size = f"CAST(sum({' + '.join([str(_BYTES * len(columns)), *texts])}) AS BIGINT)"
        return int(value(self.connection, f"SELECT coalesce({size}, 0) FROM chosen_{object_type}"))

    def digest(self) -> str:
        return self._digest

    def drop_what_is_in_the_outbox(self) -> None:
        """Make room: what was planned is on disk now."""
        for table in ("planned", "matches", "exported", "resolved", "refused", "match_keys"):
            self.connection.execute(f"DROP TABLE IF EXISTS temp.{table}")

    def _digest_of_writes(self) -> str:
        digest = hashlib.sha256()
        queries = ["SELECT object, action, key, hubspot_id, properties FROM planned ORDER BY record"]
        if self.lists:
            queries.append("SELECT * FROM list_changes ORDER BY ALL")
        for query in queries:
            cursor = self.connection.execute(query)
            while rows := cursor.fetchmany(_ROWS):
                for row in rows:
                    digest.update(repr(row).encode())
        return digest.hexdigest()

    def _counts(self) -> dict[str, Counts]:
        result = {object_type: Counts() for object_type in self.columns}
        fields = {"create": "creates", "update": "updates"}
        for object_type, action, number in self.connection.execute(
            "SELECT object, action, count(*) FROM planned GROUP BY ALL"
        ).fetchall():
            setattr(result[object_type], fields[action], number)
            result[object_type].calls += -(-number // BATCH)
        for name, query in (
            ("skipped", "SELECT object, count(*) FROM skips GROUP BY 1"),
            ("rejected", "SELECT object, count(*) FROM refused WHERE property IS NULL GROUP BY 1"),
            (
                "unchanged",
                "SELECT object, count(*) FROM sendable ANTI JOIN planned USING (object, key) GROUP BY 1",
            ),
        ):
            for object_type, number in self.connection.execute(query).fetchall():
                setattr(result[object_type], name, number)
        return result

    def as_plan(self) -> Plan:
        """The plan with its rows in files of its own, so that it can be read when the warehouse is free again."""
        folder = self.settings.data / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        place = Path(mkdtemp(prefix="plan-", dir=folder))
        for name, query in _SHOWN.items():
            file = quoted(str(place / f"{name}.parquet"))
            self.connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
        return Plan(
            self.api is None,
            self.digest(),
            self.first_counts,
            list(self.left_out),
            self.lists,
            self.portal_id,
            place,
        )


_SHOWN = {
    "planned": "SELECT object, action, id, key, hubspot_id, properties, before FROM planned ORDER BY record",
    "skips": "SELECT object, id, key, reason FROM skips ORDER BY ALL",
    "refused": "SELECT object, id, key, property, value, code FROM refused ORDER BY ALL",
}
_TABLES = [
    f"CREATE OR REPLACE TEMP TABLE {name} ({columns})"
    for name, columns in {
        "profiles": """object VARCHAR, row BIGINT, id VARCHAR, key VARCHAR, seen TIMESTAMP, place BIGINT, problem VARCHAR,
            said VARCHAR""",
        "parts": """object VARCHAR, action VARCHAR, id VARCHAR, key VARCHAR, hubspot_id VARCHAR, properties JSON,
            before JSON""",
        "cohort_members": "object VARCHAR, cohort VARCHAR, id VARCHAR",
        "exported": "object VARCHAR, key VARCHAR, record_id VARCHAR",
        "matches": "object VARCHAR, key VARCHAR, hubspot_id VARCHAR, source INTEGER",
        "account_properties": """object VARCHAR, name VARCHAR, label VARCHAR, type VARCHAR, field_type VARCHAR,
            group_name VARCHAR, options VARCHAR[], external_options BOOLEAN, has_unique_value BOOLEAN,
            is_writable BOOLEAN, definition VARCHAR, portal_id BIGINT, loaded_at TIMESTAMP""",
    }.items()
]
_UNRESOLVED = """
    SELECT key FROM (FROM profiles WHERE object = ? AND place = 1 AND key IS NOT NULL AND problem IS NULL)
    ANTI JOIN (SELECT object, key FROM matches GROUP BY object, key, source
               HAVING source < 3 OR count(DISTINCT hubspot_id) = 1) USING (object, key)"""
_SETTLE = (
    # The best source of each key, and how many records it names.
    """CREATE OR REPLACE TEMP TABLE resolved AS
       SELECT object, key, source, min(hubspot_id) AS hubspot_id, count(DISTINCT hubspot_id) AS records
       FROM matches m SEMI JOIN (SELECT object, key FROM profiles WHERE place = 1) USING (object, key)
       GROUP BY object, key, source
       QUALIFY row_number() OVER (PARTITION BY object, key ORDER BY source) = 1""",
    """CREATE OR REPLACE TEMP TABLE skips AS
       SELECT object, id, key, CASE WHEN key IS NULL THEN 'no_key' ELSE 'duplicate_key' END AS reason
       FROM profiles WHERE key IS NULL OR place > 1
       UNION ALL
       SELECT p.object, p.id, p.key, 'ambiguous' FROM profiles p JOIN resolved r USING (object, key)
       WHERE p.place = 1 AND p.problem IS NULL AND r.records > 1
       UNION ALL
       SELECT object, id, key, 'same_record' FROM (
           SELECT p.object, p.id, p.key,
                  row_number() OVER (PARTITION BY p.object, r.hubspot_id ORDER BY p.seen DESC NULLS LAST, p.id) AS place
           FROM profiles p JOIN resolved r USING (object, key)
           WHERE p.place = 1 AND p.problem IS NULL AND r.records = 1
       ) WHERE place > 1""",
    """CREATE OR REPLACE TEMP TABLE sendable AS
       SELECT p.object, p.id, p.key, p.seen, r.hubspot_id
       FROM profiles p LEFT JOIN resolved r ON r.object = p.object AND r.key = p.key
       WHERE p.place = 1 AND p.key IS NOT NULL AND p.problem IS NULL
         AND NOT EXISTS (FROM skips s WHERE s.object = p.object AND s.key = p.key
                         AND s.reason IN ('ambiguous', 'same_record'))""",
)
_REFUSED = """
    CREATE OR REPLACE TEMP TABLE refused AS
    SELECT object, id, key, CAST(NULL AS VARCHAR) AS hubspot_id, CAST(NULL AS VARCHAR) AS property, key AS value,
           problem AS code, said
    FROM profiles WHERE place = 1 AND problem IS NOT NULL"""
_REFUSED_VALUES = """
    INSERT INTO refused
    SELECT s.object, s.id, s.key, s.hubspot_id, w.property, w.value, w.code, NULL
    FROM wanted w JOIN sendable s USING (object, key) WHERE w.code IS NOT NULL"""
# '' clears a value: it is sent only where HubSpot has one from us.
_CHANGES = """
    CREATE OR REPLACE TEMP TABLE changes AS
    SELECT w.object, w.key, w.property, w.value, l.value AS old
    FROM wanted w
    JOIN sendable s ON s.object = w.object AND s.key = w.key
    LEFT JOIN (FROM ops.hubspot_ledger WHERE portal_id IS NOT DISTINCT FROM $portal_id) l
        ON l.object = w.object AND l.key = w.key AND l.property = w.property AND l.hubspot_id = s.hubspot_id
    LEFT JOIN account_properties p ON p.object = w.object AND p.name = w.property
    WHERE w.code IS NULL AND w.value <> coalesce(l.value, '')
      AND NOT EXISTS (
          FROM ops.hubspot_rejects r
          WHERE r.portal_id IS NOT DISTINCT FROM $portal_id AND r.object = w.object AND r.key = w.key
            AND r.property = w.property AND r.value = w.value
            AND r.attempted = coalesce(p.definition, r.attempted))"""
_KEYS_OF_CREATES = """
    INSERT INTO changes (object, key, property, value, old)
    SELECT object, key, {key_property}, key, NULL FROM sendable WHERE hubspot_id IS NULL AND {condition}"""
_PLANNED = """
    INSERT INTO parts
    SELECT s.object, CASE WHEN s.hubspot_id IS NULL THEN 'create' ELSE 'update' END, s.id, s.key, s.hubspot_id,
           c.properties, c.before
    FROM sendable s JOIN (
        SELECT object, key,
               to_json(map(list(property ORDER BY property), list(value ORDER BY property))) AS properties,
               CASE WHEN count(old) = 0 THEN '{}' ELSE to_json(map(
                   list(property ORDER BY property) FILTER (old IS NOT NULL),
                   list(old ORDER BY property) FILTER (old IS NOT NULL))) END AS before
        FROM changes GROUP BY object, key
    ) c ON c.object = s.object AND c.key = s.key"""
# Without what HubSpot refused whole, and would refuse again. (Sorted first and numbered then: a window that sorts has
# to hold all rows at once.)
_IN_ORDER = """
    CREATE OR REPLACE TEMP TABLE planned AS
    SELECT row_number() OVER () AS record, *
    FROM (
        SELECT * FROM parts
        WHERE NOT EXISTS (
            FROM ops.hubspot_rejects r
            WHERE r.portal_id IS NOT DISTINCT FROM $portal_id AND r.object = parts.object AND r.key = parts.key
              AND r.property IS NULL AND r.attempted = md5(CAST(parts.properties AS VARCHAR))
              AND NOT ($recreate AND r.code = 'OBJECT_NOT_FOUND'))
        ORDER BY object, action, key
    )"""


def source_of(connection: Connection, settings: Settings, database: str = "") -> str | None:
    """A hash of all that decides what a push finds to send; None: what is published does not say what it was built from."""
    try:
        tables = connection.execute(
            f"SELECT model, version FROM {database}core.builds ORDER BY ALL"
        ).fetchall()
    except duckdb.CatalogException:
        return None
    files = [
        file.read_bytes() for file in sorted((project_root() / "sql" / "outbound").glob("hubspot_*.sql"))
    ]
    options = settings.hubspot
    parts = (tables, files, options.portal_id, options.recreate_deleted, options.lists, hubspot_base_url())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _attach_published(connection: Connection, settings: Settings) -> None:
    if not settings.analytics_file.exists():
        raise HubspotError(
            f"nothing is published yet at {settings.analytics_file}; run `warehouse run` first"
        )
    try:
        connection.execute(f"ATTACH '{quoted(str(settings.analytics_file))}' AS published (READ_ONLY)")
    except duckdb.Error as error:
        raise HubspotError(f"cannot read {settings.analytics_file}: {error}") from error


def _last_account(connection: Connection, settings: Settings) -> int | None:
    if settings.hubspot.portal_id is not None:
        return settings.hubspot.portal_id
    found: int | None = value(
        connection, "SELECT portal_id FROM ops.hubspot_pushes ORDER BY push DESC LIMIT 1"
    )
    return found


def _is_plain(object_type: str, key: str) -> str:
    www = f" AND NOT starts_with({key}, 'www.')" if object_type == "companies" else ""
    return f"(regexp_full_match(CAST({key} AS VARCHAR), '{_PLAIN[object_type].replace(chr(39), chr(39) * 2)}'){www})"


def _chunks(connection: Connection, query: str, given: Any = None, size: int = _ROWS) -> Iterator[list[Any]]:
    """A query's rows in pieces; the result is kept aside, so that the connection is free in between."""
    connection.execute("CREATE OR REPLACE TEMP TABLE in_pieces AS SELECT * FROM (" + query + ")", given)
    count = int(value(connection, "SELECT count(*) FROM in_pieces"))
    for start in range(0, count, size):
        yield connection.execute(
            "SELECT * FROM in_pieces WHERE rowid >= ? AND rowid < ? ORDER BY rowid", [start, start + size]
        ).fetchall()


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for key in keys:
        batch.append(key)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
