"""Erased companies and users in the raw tables: what is removed, what stays, and why later files bring nothing back.

Whoever is erased is known by a keyed hash only (`raw.erasures`). Their ids are replaced by pseudonyms made of it, before
a record reaches a raw table; then rows about them go, and rows that only mention them stay with the pseudonym. The same
is done to what is loaded already (`erase`) and to each batch that is loaded later (`keep_out`, `sweep`), so a full
rebuild ends where the erase did. Erased records are read, checked and counted like all others: they take slots of
features and keys as duplicates. Each has a repair `erased`.

What goes and what stays, in words for operators: docs/operations.md, "People's data".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, get_args

from dagster_project.readers.mentions import Mentions
from dagster_project.warehouse import registry, retention, stored
from dagster_project.warehouse.columns import Kind, identifier, identifiers, literal
from dagster_project.warehouse.database import Connection, append_rows, value
from dagster_project.warehouse.pseudonyms import keyed_hash, replace_values

from . import Owns, Person, RawTable, Source, all_sources

PREFIX = "erased:"  # core.attribution and marts.user_aliases know pseudonyms by it
PERSONS: tuple[Person, ...] = ("user", "company")
# company_token: a token that is a company's own. kept: what an erased one shared with others, and what therefore stays.
KINDS = (*get_args(Kind), "company_token", "kept")
_SECRET = ("token", "company_token")  # may be real API keys, and are shown to nobody
_PSEUDONYM = re.compile(PREFIX + "[0-9a-f]{64}")
# What texts of others are not searched for: what they have, too, and names of companies' own things.
# What an id looks like in a text that has it in another form: escaped, in quotes that are doubled, with + for spaces.
_FORMS = ("\\", "%", '""', "+")
_OTHERS_MAY_NAME = ("kept", "domain", "subscription")


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
        self._lengths: dict[str, set[int | None]] = {kind: set() for kind in KINDS}
        for kind, id_hash, length in connection.execute(
            "SELECT entity, id_hash, length FROM raw.erasures"
        ).fetchall():
            self._hashes[kind].add(id_hash)
            self._lengths[kind].add(length)
        self.texts_in: set[int] = set()  # files with texts that were blanked
        self._hash = lru_cache(100_000)(self._hash_of)
        self._look_for()

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
            (kind, id_hash, at, rows.get((kind, text)), run, len(text))
            for kind in KINDS
            for text in sorted(theirs.ids[kind])
            if (id_hash := self._hash(text)) not in self._hashes[kind]
        ]
        if not new:
            return False
        append_rows(self.connection, "raw.erasures", new)
        for kind, id_hash, *_, length in new:
            self._hashes[kind].add(id_hash)
            self._lengths[kind].add(length)
        self._look_for()
        tables = [table for source in all_sources() for table in source.tables]
        names = sorted({t for k in KINDS for t in theirs.ids[k]})
        with stored.changing(self.connection, [(table, _may_name(table, names)) for table in tables]):
            for table in tables:
                self._rename(f"raw.{table.name}", table.ids)
                self._blank(f"raw.{table.name}", table)
                self._unname(f"raw.{table.name}", table, [t for k in KINDS for t in theirs.ids[k]])
            for source in all_sources():
                self.sweep(source, 0)
        for table in tables:
            for sums in retention.tables(self.connection, table.name):
                self._sweep_sums(sums, table)
        for texts in ("rejects", "repairs"):
            self._blank_loaded(texts)
        changed = [table.name for table in tables]
        registry.bump(self.connection, [*changed, "rejects", "repairs", "erasures", "generation", "erased"])
        return True

    def keep_out(self, source: Source, table: RawTable, incoming: str) -> None:
        """Put pseudonyms in the place of erased ids, before a batch is moved into the raw tables."""
        self._rename(incoming, table.ids)
        theirs = Belongings()
        if table == source.main:
            for person in PERSONS:
                gather(
                    self.connection,
                    source,
                    person,
                    partial(_erased, kind=person),
                    theirs,
                    incoming,
                )
        # An update of an erased one may name a token or an email that was not known to be theirs. What was kept
        # when they were erased stays.
        for kind in KINDS:
            theirs.ids[kind] = {
                text for text in theirs.ids[kind] if self._hash(text) not in self._hashes["kept"]
            }
        if self.erase(theirs, {}, "load"):
            self._rename(incoming, table.ids)
        self._blank(incoming, table)
        self._unname(incoming, table)

    def sweep(self, source: Source, since: int) -> None:
        """Remove the rows that are about erased ones and list what was touched, of the loads from `since` on."""
        loaded = f"load_seq >= {since}"
        for table in source.tables:
            if not table.ids:
                continue
            if table != source.remains:
                self.connection.execute(f"""INSERT INTO raw.repairs
                    SELECT DISTINCT load_seq, '{source.folder}', file_seq, line, element, 'erased', NULL
                    FROM raw.{table.name} AS t
                    ANTI JOIN (FROM raw.repairs WHERE what = 'erased') AS r USING (file_seq, line, element)
                    WHERE {loaded} AND ({_any_erased(table.ids)})""")
            if table == source.main and source.remains is not None:
                columns = identifiers(column.name for column in source.remains.columns)
                self.connection.execute(f"""INSERT INTO raw.{source.remains.name} ({columns})
                    SELECT {columns} FROM raw.{table.name} WHERE {loaded} AND ({_any_erased(table.subjects)})""")
            self._remove(f"raw.{table.name}", table.ids, table.subjects, loaded)
        self.blank_repairs(source, since)

    def blank_repairs(self, source: Source, since: int) -> None:
        """What was changed in a record of theirs is theirs, too. Of the loads from `since` on."""
        loaded = f"load_seq >= {since}"
        self.connection.execute(f"""UPDATE raw.repairs SET detail = NULL
            WHERE {loaded} AND source = '{source.folder}' AND detail IS NOT NULL
              AND (file_seq, line, element) IN (
                  SELECT (file_seq, line, element) FROM raw.repairs WHERE {loaded} AND what = 'erased')""")

    def _sweep_sums(self, sums: str, table: RawTable) -> None:
        """The same for what dropped rows of a raw table summed up to, in the columns of a computed table."""
        named = {
            column: kind for source in all_sources() for t in source.tables for column, kind in t.ids.items()
        }
        named |= table.ids
        ids = {column: named[column] for column in self._columns(sums) if column in named}
        about = set(table.subjects.values())
        self._rename(sums, ids)
        self._unname(sums, table)
        self._remove(sums, ids, {column: kind for column, kind in ids.items() if kind in about})

    def _remove(
        self, table: str, ids: Mapping[str, str], subjects: Mapping[str, str], which: str = "true"
    ) -> None:
        """Remove the rows that are about erased ones. Of those that stay, none is an erased company's."""
        connection = self.connection
        if subjects:
            connection.execute(f"DELETE FROM {table} WHERE {which} AND ({_any_erased(subjects)})")
        companies = [identifier(column) for column, kind in subjects.items() if kind == "company"]
        tokens = {column: "company_token" for column, kind in ids.items() if kind == "token"}
        if companies and tokens:
            # What came with an erased company's own token, and named no company, was its own too.
            named = ", ".join(f"nullif({column}, '')" for column in companies)
            nobodys = f"coalesce({named}) IS NULL"
            connection.execute(f"DELETE FROM {table} WHERE {which} AND {nobodys} AND ({_any_erased(tokens)})")
        for column, kind in ids.items():
            if kind == "company" and column not in subjects:
                connection.execute(
                    f"UPDATE {table} SET {identifier(column)} = NULL WHERE {which} AND {_erased(column, kind)}"
                )

    def blank(self, rows: list[tuple[Any, ...]], *texts: int) -> None:
        """Take out of rejects or repairs the texts that mention somebody erased. texts: where they stand in a row."""
        for i, row in enumerate(rows):
            if any(row[n] is not None and self._mentions(row[n]) for n in texts):
                rows[i] = tuple(None if n in texts else cell for n, cell in enumerate(row))

    def _blank_loaded(self, table: str) -> None:
        texts = ["detail", "raw"] if table == "rejects" else ["detail"]
        cursor = self.connection.cursor().execute(
            f"SELECT rowid, file_seq, {', '.join(texts)} FROM raw.{table}"
        )
        found: list[int] = []
        while rows := cursor.fetchmany(10_000):
            for row in rows:
                if any(text is not None and self._mentions(text) for text in row[2:]):
                    found.append(row[0])
                    self.texts_in.add(row[1])
        blanked = ", ".join(f"{text} = NULL" for text in texts)
        self.connection.execute(
            f"UPDATE raw.{table} SET {blanked} WHERE rowid IN (SELECT unnest(?::BIGINT[]))", [found]
        )

    def _look_for(self) -> None:
        """How texts are searched: those that are nobody's in particular, and those of others."""

        def of(kinds: Sequence[str]) -> Mentions:
            hashes = set().union(*(self._hashes[kind] for kind in kinds))
            lengths = set().union(*(self._lengths[kind] for kind in kinds))
            return Mentions(
                lengths={length for length in lengths if length is not None},
                knows=lambda text: bool(text) and self._hash(text) in hashes,
                words=None in lengths,  # erased by an older release, which did not keep how long they are
                domains="domain" in kinds and bool(self._hashes["domain"]),
            )

        self._hash.cache_clear()
        self._anywhere = of(KINDS)
        self._with_others = of([kind for kind in KINDS if kind not in _OTHERS_MAY_NAME])

    def _mentions(self, text: str) -> bool:
        return self._anywhere.in_text(text)

    def _unname(self, where: str, table: RawTable, names: Collection[str] | None = None) -> None:
        """Texts in rows that stay do not name them. names: what is new; None: texts that nobody searched yet."""
        known = self._columns(where)
        for column in table.columns:
            if column.names_anybody is None or column.name not in known:
                continue
            name, left = identifier(column.name), partial(self._left, column.names_anybody)
            suspects = f"{name} IS NOT NULL"
            if names is not None:
                # Only what holds one as it is, or may hold one in another form, is worth a closer look.
                forms = [f for f in _FORMS if f != "+" or any(" " in text for text in names)]
                holds = [f"contains({name}, {literal(form)})" for form in (*forms, *sorted(names))]
                holds += [f"contains(lower({name}), {literal(text.lower())})" for text in sorted(names)]
                suspects += f" AND ({' OR '.join(holds)})"
            texts = self.connection.execute(
                f"SELECT DISTINCT {name} FROM {where} WHERE {suspects}"
            ).fetchall()
            changed = [(text, new) for (text,) in texts if (new := left(text)) != text]
            if changed:
                self.connection.execute("CREATE OR REPLACE TEMP TABLE unnamed (text VARCHAR, new VARCHAR)")
                append_rows(self.connection, "unnamed", changed)
                if where.startswith("raw.") and "file_seq" in known:
                    self.texts_in |= {
                        seq
                        for (seq,) in self.connection.execute(
                            f"SELECT DISTINCT file_seq FROM {where} WHERE {name} IN (SELECT text FROM unnamed)"
                        ).fetchall()
                    }
                self.connection.execute(
                    f"UPDATE {where} AS t SET {name} = u.new FROM unnamed AS u WHERE u.text = t.{name}"
                )
                self.connection.execute("DROP TABLE unnamed")

    def _left(self, how: str, text: str) -> str | None:
        if how == "path":
            return self._with_others.without_in_path(text)
        if how == "json":
            return self._with_others.without_in_values(text)
        return None if self._with_others.in_text(text) else text

    def _hash_of(self, text: str) -> str:
        """The keyed hash of an id. The key is this warehouse's own, and is not published."""
        assert self._key is not None
        if _PSEUDONYM.fullmatch(text):
            known = text.removeprefix(PREFIX)
            if any(known in hashes for hashes in self._hashes.values()):
                return known
        return keyed_hash(self._key, text)

    def _columns(self, table: str) -> list[str]:
        return [row[0] for row in self.connection.execute(f"DESCRIBE {table}").fetchall()]

    def _rename(self, table: str, ids: Mapping[str, str]) -> None:
        known = self._columns(table)
        for column, kind in ids.items():
            if column in known:
                hashes = self._hashes[kind]
                replace_values(
                    self.connection,
                    table,
                    column,
                    lambda text, hashes=hashes: PREFIX + h if (h := self._hash(text)) in hashes else None,  # type: ignore[misc]
                )

    def _blank(self, where: str, table: RawTable) -> None:
        """Rows that are about to go keep no text; those that stay do not keep theirs as it came."""
        known = self._columns(where)
        texts = [c for c in table.columns if c.type == "VARCHAR" and not c.holds and c.name in known]
        for ids, blanked in ((table.subjects, texts), (table.ids, [c for c in texts if c.as_it_came])):
            if blanked and ids:
                emptied = ", ".join(f"{identifier(c.name)} = NULL" for c in blanked)
                self.connection.execute(f"UPDATE {where} SET {emptied} WHERE {_any_erased(ids)}")


def gather(
    connection: Connection,
    source: Source,
    whose: Person,
    among: Callable[[str], str],
    theirs: Belongings,
    table: str | None = None,
) -> None:
    """Add what a source's rows say is theirs: companies' or users'.

    among: a condition on the column that names the owner: it is one of them. table: with the rows, where not all that
    are loaded.
    """
    for own in source.owns:
        if own.whose != whose:
            continue
        kind = "company_token" if (whose, own.holds) == ("company", "token") else own.holds
        found = _found(connection, source, own, among, table).keys()
        if not own.keeps_shared:
            theirs.ids[kind] |= found
            continue
        others: dict[str, set[str]] = {}
        for other in all_sources():
            for theirs_too in other.owns:
                if (theirs_too.whose, theirs_too.holds) == (whose, own.holds):
                    loaded = _found(connection, other, theirs_too, lambda column: f"NOT ({among(column)})")
                    for text, who in loaded.items():
                        others.setdefault(text, set()).update(who)
        if kind not in _SECRET:
            theirs.shared_with |= {text: others[text] for text in found & others.keys()}
        theirs.ids["kept"] |= found & others.keys()
        theirs.ids[kind] |= found - others.keys()
    theirs.ids["token"] |= theirs.ids["company_token"]


def _found(
    connection: Connection, source: Source, own: Owns, among: Callable[[str], str], table: str | None = None
) -> dict[str, set[str]]:
    """What rows say, to the companies or users of whom they say it."""
    owner = next(column for column, kind in source.main.subjects.items() if kind == own.whose)
    found: dict[str, set[str]] = {}
    for text, who in connection.execute(
        f"SELECT DISTINCT {own.text} AS text, {identifier(owner)} FROM {table or f'raw.{source.table}'} "
        f"WHERE text IS NOT NULL AND ({among(owner)})"
    ).fetchall():
        if key := own.key(text):
            found.setdefault(key, set()).add(who)
    return found


def _erased(column: str, kind: str) -> str:
    return f"{identifier(column)} IN (SELECT '{PREFIX}' || id_hash FROM raw.erasures WHERE entity = '{kind}')"


def _may_name(table: RawTable, names: Collection[str]) -> str:
    """A condition that every row of a raw table is under that names one of these, in whatever form."""
    held = [
        f"contains(lower({identifier(column.name)}), {literal(name.lower())})"
        for column in table.columns
        if column.type == "VARCHAR"
        for name in names
    ]
    # Written in another form.
    held += [
        f"contains({identifier(column.name)}, {literal(form)})"
        for column in table.columns
        if column.names_anybody or column.as_it_came
        for form in _FORMS
    ]
    return " OR ".join(held) or "false"


def _any_erased(columns: Mapping[str, str]) -> str:
    return " OR ".join(_erased(column, kind) for column, kind in columns.items()) or "false"
