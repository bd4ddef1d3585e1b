"""Reads the SELECTs in `sql/outbound/`: their rows and columns, and which of the rows are sent at all.

Fills plan_selected_<object>, plan_profiles, plan_chosen_<object>, plan_exported and plan_cohort_members
(`sql/plan_tables.sql`).
"""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from dagster_project.destinations.parts import published as parts
from dagster_project.destinations.parts.published import chunks, published, quoted_name, select
from dagster_project.settings import Settings, hubspot_base_url
from dagster_project.warehouse.database import Connection, append_rows, quoted

from . import events
from .errors import HubspotError
from .files import outbound_file, outbound_files
from .keys import OBJECTS, Key
from .preflight import Column
from .values import EMAIL

_log = logging.getLogger(__name__)
_EXPORTED_MORE = {
    "companies": ("Additional Domains", "hs_additional_domains"),
    "contacts": ("Additional email addresses", "hs_additional_emails"),
}
# Keys that are what their match key would be; others are normalised one by one.
_PLAIN = {
    "companies": r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}",
    "contacts": r"[a-z0-9._%+'-]+@([a-z0-9-]+\.)+[a-z]{2,}",
}
_ONLY_IF_EMPTY = re.compile(r"^--\s*fill if empty:\s*(.+)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Selected:
    """The columns of a SELECT that are properties, those that fill only what is empty, the one that says whose a row is, and
    the one that says when that was last seen."""

    columns: list[Column]
    only_if_empty: frozenset[str]
    id: str
    seen: str | None


class Outbound:
    """The SELECTs, run on what is published. Raises HubspotError on one that cannot be used."""

    def __init__(self, connection: Connection, settings: Settings, keys: dict[str, Key]) -> None:
        self.connection, self.settings, self.keys = connection, settings, keys
        self.source: str | None = None
        self.events: dict[str, events.Definition] = {}

    def read(self) -> dict[str, Selected]:
        """Run them. Returns what they select, by object type; those without a file are not there."""
        with published(self.connection, self.settings):
            self.source = source_of(self.connection, self.settings, "published.")
            selected = {object_type: self._select(object_type) for object_type in self.keys}
            for object_type in self.keys:
                self._read_exports(object_type)
            if self.settings.hubspot.lists:
                self._read_cohorts()
            if self.settings.hubspot.associate:
                self._read_companies_of_users()
            if self.settings.hubspot.events:
                self.events = events.read(self.connection)
        return {object_type: one for object_type, one in selected.items() if one is not None}

    def _select(self, object_type: str) -> Selected | None:
        file, key = outbound_file(object_type), self.keys[object_type]
        if not file.is_file():
            return None
        _log.debug("reading what to send to %s", object_type)
        text = file.read_text(encoding="utf-8")
        columns = [Column(*one) for one in select(self.connection, file, f"plan_selected_{object_type}")]
        names = {one.name for one in columns}
        id_ = next((one for one in key.ids if one in names), " or ".join(key.ids))
        never_sent = {*key.ids, id_, "last_seen_at", key.property}
        needed = (id_, *(("last_seen_at",) if object_type in OBJECTS else ()), key.property)
        if lacking := [name for name in needed if name not in names]:
            raise HubspotError(
                f"sql/outbound/{file.name} does not select {', '.join(lacking)}: each row needs them"
            )
        marked = [
            name.strip()
            for listed in _ONLY_IF_EMPTY.findall(text)
            for name in listed.split(",")
            if name.strip()
        ]
        if unknown := [name for name in marked if name not in names]:
            raise HubspotError(f"sql/outbound/{file.name}: fill if empty: {unknown[0]} is no column of it")
        return Selected(
            [c for c in columns if c.name not in never_sent],
            frozenset(marked),
            id_,
            "last_seen_at" if "last_seen_at" in names else None,
        )

    def take_profiles(self, object_type: str, selected: Selected) -> None:
        """The rows' keys, and which of several rows with one key is sent."""
        seen = f"TRY_CAST(s.{selected.seen} AS TIMESTAMP)" if selected.seen else "CAST(NULL AS TIMESTAMP)"
        connection, key = self.connection, self.keys[object_type]
        self._normalise_keys(object_type)
        problem = (
            f"CASE WHEN NOT regexp_full_match(key, '{EMAIL}') THEN 'INVALID_EMAIL' END"
            if object_type == "contacts" and key.property == "email"
            else "NULL"
        )
        is_free = "false"
        if object_type == "companies" and not key.is_own:
            connection.execute("CREATE OR REPLACE TEMP TABLE plan_free_mail (domain VARCHAR)")
            append_rows(
                connection,
                "plan_free_mail",
                [(one,) for one in sorted(free_mail_domains(tuple(self.settings.hubspot.free_mail_domains)))],
            )
            is_free = "coalesce(key IN (SELECT domain FROM plan_free_mail), false)"
        connection.execute(
            f"""
            INSERT INTO plan_profiles
            SELECT ?, row, id, key, seen, row_number() OVER (PARTITION BY key ORDER BY seen DESC NULLS LAST, id, row),
                   {problem}, NULL, {is_free}
            FROM (
                SELECT s.rowid AS row, CAST(s.{selected.id} AS VARCHAR) AS id, k.key,
                       {seen} AS seen
                FROM plan_selected_{object_type} s
                LEFT JOIN plan_match_keys k ON k.written = CAST(s.{quoted_name(key.property)} AS VARCHAR)
            )""",
            [object_type],
        )
        # (No property's name begins with an underscore.)
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE plan_chosen_{object_type} AS
            SELECT p.key AS _key, s.*
            FROM plan_selected_{object_type} s JOIN plan_profiles p ON p.row = s.rowid
            WHERE p.object = '{object_type}' AND p.rank = 1 AND p.key IS NOT NULL AND p.problem IS NULL
              AND NOT p.is_free_mail""")
        connection.execute(f"DROP TABLE plan_selected_{object_type}")

    def _normalise_keys(self, object_type: str) -> None:
        connection, key = self.connection, self.keys[object_type]
        name, table = quoted_name(key.property), f"plan_selected_{object_type}"
        connection.execute("CREATE OR REPLACE TEMP TABLE plan_match_keys (written VARCHAR, key VARCHAR)")
        is_plain = _is_plain(key, name)
        connection.execute(f"""
            INSERT INTO plan_match_keys SELECT DISTINCT CAST({name} AS VARCHAR) AS k, k FROM {table}
            WHERE {name} IS NOT NULL AND {is_plain}""")
        for texts in chunks(
            connection,
            f"SELECT DISTINCT CAST({name} AS VARCHAR) FROM {table} WHERE {name} IS NOT NULL AND NOT {is_plain}",
        ):
            append_rows(connection, "plan_match_keys", [(text, key.of(text)) for (text,) in texts])

    def _read_exports(self, object_type: str) -> None:
        table, key = f"published.core.crm_{object_type}", self.keys[object_type]
        with contextlib.suppress(duckdb.CatalogException):  # published before there were exports
            if key.is_own:
                self.connection.execute(
                    f"""
                    INSERT INTO plan_exported
                    SELECT DISTINCT '{object_type}', properties ->> ?, record_id FROM {table}
                    WHERE properties ->> ? IS NOT NULL""",
                    [f'$."{key.property}"', f'$."{key.property}"'],
                )
                return
            header, name = _EXPORTED_MORE[object_type]
            self.connection.execute(f"""
                INSERT INTO plan_exported
                SELECT '{object_type}', match_key, record_id FROM {table} WHERE match_key IS NOT NULL
                UNION
                SELECT '{object_type}', unnest(string_split(lower(replace(coalesce(
                           properties ->> '$."{header}"', properties ->> '$."{name}"'), ' ', '')), ';')), record_id
                FROM {table}""")

    def _read_companies_of_users(self) -> None:
        with contextlib.suppress(duckdb.CatalogException):
            self.connection.execute("""
                INSERT INTO plan_user_companies
                SELECT user_id, company_id FROM published.marts.user_profiles WHERE company_id IS NOT NULL""")

    def _read_cohorts(self) -> None:
        with contextlib.suppress(duckdb.CatalogException):  # published before there were cohorts
            self.connection.execute("""
                INSERT INTO plan_cohort_members
                SELECT CASE entity WHEN 'company' THEN 'companies' ELSE 'contacts' END, cohort, id
                FROM published.marts.cohort_members""")


def source_of(connection: Connection, settings: Settings, database: str = "") -> str | None:
    """A hash of all that decides what a push finds to send; None: what is published does not say what it was built from."""
    more = (settings.hubspot.model_dump_json(), hubspot_base_url())
    return parts.source_of(connection, outbound_files(), more, database)


@cache
def free_mail_domains(changes: tuple[str, ...] = ()) -> frozenset[str]:
    """Domains of providers where anybody has an address. changes: more of them; those with a - before are none."""
    text = (Path(__file__).parent / "free_mail_domains.txt").read_text(encoding="ascii")
    kept = {line for line in text.splitlines() if line and not line.startswith("#")}
    more = {one.strip().lower() for one in changes}
    return frozenset((kept | more) - {one[1:].strip() for one in more if one.startswith("-")} - {""})


def _is_plain(key: Key, name: str) -> str:
    if key.is_own:
        return f"regexp_matches(CAST({name} AS VARCHAR), '\\S')"
    www = f" AND NOT starts_with({name}, 'www.')" if key.object == "companies" else ""
    return f"(regexp_full_match(CAST({name} AS VARCHAR), '{quoted(_PLAIN[key.object])}'){www})"
