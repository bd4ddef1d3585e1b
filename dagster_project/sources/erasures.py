"""Erased companies and users in the raw tables: what is removed, what stays, and why later files bring nothing back.

Whoever is erased is known by a keyed hash only (`raw.erasures`). Their ids are replaced by pseudonyms made of it, before
a record reaches a raw table; then rows about them go, and rows that only mention them stay with the pseudonym. The same
is done to what is loaded already (`erase`) and to each batch that is loaded later (`keep_out`, `sweep`), so a full
rebuild ends where the erase did. Erased records are read, checked and counted like all others: they take slots of
features and keys as duplicates. Each has a repair `erased`.

What goes and what stays, in words for operators: docs/operations.md, "People's data".
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dagster_project.readers.values import domain_key, email_key
from dagster_project.warehouse import registry, retention
from dagster_project.warehouse.database import Connection, append_rows, value
from dagster_project.warehouse.pseudonyms import keyed_hash, replace_values

from . import Source, all_sources

PREFIX = "erased:"  # core.attribution and marts.user_aliases know pseudonyms by it
# kept: what an erased one shared with others, and what therefore stays.
KINDS = ("company", "user", "token", "company_token", "email", "domain", "kept")
# What ids are called in raw tables, whatever the source.
_IDS = {"company_id": "company", "account_id": "company", "user_id": "user", "session_token": "token"}
# What stays of an erased user's updates: who the usage of its tokens belongs to, with a pseudonym for the user.
CLAIMS = "erased_claims"
_CLAIM_COLUMNS = "load_seq, file_seq, line, element, company_id, user_id, session_token, effective_at"

# Ids in text that need not be JSON: what is quoted, and words.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SURROGATE = re.compile("[\ud800-\udfff]")  # what an id is kept with instead: U+FFFD
_WORD = re.compile(r"""[^\s,;:{}\[\]"'=&?/|()<>\\]+""")


@dataclass
class Belongings:
    """Companies and users with what is theirs, by kind, as it came; and with whom they share what is kept."""

    ids: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    shared_with: dict[str, set[str]] = field(default_factory=dict)


class Erasures:
    """Who was erased, and what that means for the raw tables."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._key: bytes | None = value(connection, "SELECT key FROM raw.erasure_key")
        self._hashes: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for kind, id_hash in connection.execute("SELECT entity, id_hash FROM raw.erasures").fetchall():
            self._hashes[kind].add(id_hash)

    def __bool__(self) -> bool:
        return self._key is not None

    def erase(self, theirs: Belongings, rows: dict[tuple[str, str], int], run: str) -> bool:
        """Remember who is erased, and remove them from all that is loaded. Returns whether anything was new.

        rows: how many rows name each company and user. To be called in a transaction.
        """
        if self._key is None:
            self._key = secrets.token_bytes(32)
            self.connection.execute("INSERT INTO raw.erasure_key VALUES (?)", [self._key])
        at = datetime.now(UTC).replace(tzinfo=None)
        new = [
            (kind, id_hash, at, rows.get((kind, text)), run)
            for kind in KINDS
            for text in sorted(theirs.ids[kind])
            if (id_hash := self._hash(text)) not in self._hashes[kind]
        ]
        if not new:
            return False
        append_rows(self.connection, "raw.erasures", new)
        for kind, id_hash, *_ in new:
            self._hashes[kind].add(id_hash)
        for source in all_sources():
            self._rename(f"raw.{source.table}", ids_of(source))
            self._blank(f"raw.{source.table}", source)
        self._rename(f"raw.{CLAIMS}", _IDS)
        for source in all_sources():
            self.sweep(source, 0)
            for sums in retention.tables(self.connection, source.table):
                self._rename(sums, ids_of(source))
                self._remove(sums, source)
        for table in ("rejects", "repairs"):
            self._blank_loaded(table)
        tables = [table for source in all_sources() for table in source.tables]
        registry.bump(self.connection, [*tables, "rejects", "repairs", "erasures", "generation", "erased"])
        return True

    def keep_out(self, source: Source, incoming: str) -> None:
        """Put pseudonyms in the place of erased ids, before a batch is moved into the raw tables."""
        self._rename(incoming, ids_of(source))
        theirs = Belongings()
        for kind in ("company", "user"):
            if source.table == f"{kind}_updates":
                gather(self.connection, kind, incoming, _erased(f"{kind}_id", kind), theirs)
        # An update of an erased one may name a token or an email that was not known to be theirs. What was kept
        # when they were erased stays.
        for kind in KINDS:
            theirs.ids[kind] = {
                text for text in theirs.ids[kind] if self._hash(text) not in self._hashes["kept"]
            }
        if self.erase(theirs, {}, "load"):
            self._rename(incoming, ids_of(source))
        self._blank(incoming, source)

    def sweep(self, source: Source, since: int) -> None:
        """Remove the rows that are about erased ones and list what was touched, of the loads from `since` on."""
        table, ids, connection = f"raw.{source.table}", ids_of(source), self.connection
        loaded = f"load_seq >= {since}"
        connection.execute(f"""INSERT INTO raw.repairs
            SELECT load_seq, '{source.folder}', file_seq, line, element, 'erased', NULL FROM {table} AS t
            ANTI JOIN (FROM raw.repairs WHERE what = 'erased') AS r USING (file_seq, line, element)
            WHERE {loaded} AND ({_any_erased(ids)})""")
        if source.table == "user_updates":
            connection.execute(f"""INSERT INTO raw.{CLAIMS} SELECT {_CLAIM_COLUMNS} FROM {table}
                WHERE {loaded} AND {_any_erased(source.subjects)}""")
            connection.execute(
                f"UPDATE raw.{CLAIMS} SET company_id = NULL WHERE {_erased('company_id', 'company')}"
            )
        self._remove(table, source, loaded)

    def _remove(self, table: str, source: Source, which: str = "true") -> None:
        """Remove the rows that are about erased ones."""
        connection = self.connection
        connection.execute(f"DELETE FROM {table} WHERE {which} AND ({_any_erased(source.subjects)})")
        if "company_id" in source.subjects:
            # What came with an erased company's own token, and named no company, was its own too.
            connection.execute(f"""DELETE FROM {table} WHERE {which} AND coalesce(company_id, '') = ''
                AND {_erased("session_token", "company_token")}""")
        elif "company_id" in ids_of(source):
            connection.execute(
                f"UPDATE {table} SET company_id = NULL WHERE {which} AND {_erased('company_id', 'company')}"
            )

    def blank(self, rows: list[tuple[Any, ...]], *texts: int) -> None:
        """Take out of rejects or repairs the texts that mention somebody erased. texts: where they stand in a row."""
        for i, row in enumerate(rows):
            if any(row[n] is not None and self._mentions(row[n]) for n in texts):
                rows[i] = tuple(None if n in texts else cell for n, cell in enumerate(row))

    def _blank_loaded(self, table: str) -> None:
        texts = ["detail", "raw"] if table == "rejects" else ["detail"]
        cursor = self.connection.cursor().execute(f"SELECT rowid, {', '.join(texts)} FROM raw.{table}")
        found: list[int] = []
        while rows := cursor.fetchmany(10_000):
            found += [
                row[0] for row in rows if any(text is not None and self._mentions(text) for text in row[1:])
            ]
        blanked = ", ".join(f"{text} = NULL" for text in texts)
        self.connection.execute(
            f"UPDATE raw.{table} SET {blanked} WHERE rowid IN (SELECT unnest(?::BIGINT[]))", [found]
        )

    def _mentions(self, text: str) -> bool:
        return any(
            self._hash(candidate) in hashes
            for candidate in _candidates(text)
            for hashes in self._hashes.values()
        )

    def _hash(self, text: str) -> str:
        """The keyed hash of an id. The key is this warehouse's own, and is not published."""
        assert self._key is not None
        return text.removeprefix(PREFIX) if text.startswith(PREFIX) else keyed_hash(self._key, text)

    def _rename(self, table: str, ids: dict[str, str]) -> None:
        known = {row[0] for row in self.connection.execute(f"DESCRIBE {table}").fetchall()}
        for column, kind in ids.items():
            if column in known:
                hashes = self._hashes[kind]
                replace_values(
                    self.connection,
                    table,
                    column,
                    lambda text, hashes=hashes: PREFIX + h if (h := self._hash(text)) in hashes else None,  # type: ignore[misc]
                )

    def _blank(self, table: str, source: Source) -> None:
        """Rows that are about to go keep no text; those that stay do not keep theirs as it came."""
        ids = ids_of(source)
        texts = [name for name, kind in source.columns.items() if kind == "VARCHAR" and name not in ids]
        for columns, blanked in ((source.subjects, texts), (ids, [t for t in texts if t == "raw"])):
            if blanked:
                self.connection.execute(
                    f"UPDATE {table} SET {', '.join(f'{t} = NULL' for t in blanked)} WHERE {_any_erased(columns)}"
                )


def ids_of(source: Source) -> dict[str, str]:
    """The columns of a source's table that hold ids, to the kind of id."""
    return {c: kind for c, kind in _IDS.items() if c in source.columns} | dict(source.subjects)


def gather(connection: Connection, kind: str, table: str, whose: str, theirs: Belongings) -> None:
    """Add what updates of companies or users say is theirs. whose: a condition on the updates.

    A user's token is the user's whoever else claims it: usage follows its pseudonym. A company's token, an email or a
    domain that somebody else has too is kept.
    """
    shareable: dict[str, tuple[str, Callable[[str], str | None]]]
    if kind == "user":
        theirs.ids["token"] |= _found(connection, kind, table, whose, "session_token", str).keys()
        shareable = {"email": ("json_extract_string(metadata, '$.email')", email_key)}
    else:
        domain = "coalesce(company_domain, json_extract_string(metadata, '$.company_domain'))"
        shareable = {"company_token": ("session_token", str), "domain": (domain, domain_key)}
    for key_kind, (expression, key) in shareable.items():
        own = _found(connection, kind, table, whose, expression, key).keys()
        others = _found(connection, kind, f"raw.{kind}_updates", f"NOT ({whose})", expression, key)
        if key_kind != "company_token":  # shown to people, and a token may be a real API key
            theirs.shared_with |= {text: others[text] for text in own & others.keys()}
        theirs.ids["kept"] |= own & others.keys()
        theirs.ids[key_kind] |= own - others.keys()
    theirs.ids["token"] |= theirs.ids["company_token"]


def _found(
    connection: Connection,
    kind: str,
    table: str,
    whose: str,
    expression: str,
    key: Callable[[str], str | None],
) -> dict[str, set[str]]:
    """What updates say, to the companies or users of whom they say it."""
    found: dict[str, set[str]] = {}
    for text, who in connection.execute(
        f"SELECT DISTINCT {expression} AS text, {kind}_id FROM {table} WHERE text IS NOT NULL AND ({whose})"
    ).fetchall():
        if own := key(text):
            found.setdefault(own, set()).add(who)
    return found


def _candidates(text: str) -> Iterator[str]:
    """What may be an id, a token, an email or a domain in a text."""
    found = set(_WORD.findall(text))
    for literal in _QUOTED.findall(text):
        try:
            inner = json.loads(literal, strict=False)
        except ValueError:
            inner = literal[1:-1]
        found.add(_SURROGATE.sub("\ufffd", inner))
    for candidate in found:
        yield from {candidate, candidate.lower(), domain_key(candidate) or ""}


def _erased(column: str, kind: str) -> str:
    return f"{column} IN (SELECT '{PREFIX}' || id_hash FROM raw.erasures WHERE entity = '{kind}')"


def _any_erased(columns: Mapping[str, str]) -> str:
    return " OR ".join(_erased(column, kind) for column, kind in columns.items())
