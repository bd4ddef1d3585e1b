"""Erases companies and users: the order of its steps. Each is done again without harm, so a crash is no harm either.

What names them in the computed tables goes first, while the raw tables still know what is theirs; then they go from
the raw tables, which from then on keep them out (sources.erasures); then everything is built anew, and the files are
rewritten when they are next opened (warehouse.compaction).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import partial

from dagster_project.destinations import all_destinations
from dagster_project.pipeline import nightly
from dagster_project.readers.mentions import forms_of
from dagster_project.settings import Settings
from dagster_project.sources import all_sources, erasures, loading
from dagster_project.warehouse import continuity, forgetting, registry, retention
from dagster_project.warehouse.columns import identifier, literal
from dagster_project.warehouse.database import (
    Connection,
    DatabaseError,
    open_warehouse,
    torn_logs,
    transaction,
    value,
)
from dagster_project.warehouse.publish import publish

_log = logging.getLogger(__name__)


class CannotErase(Exception):
    """Nothing was erased. The text says why, and what to do."""


@dataclass
class Erasure:
    """What is to be erased, and where it was found. rows: table to how many rows name it.

    elsewhere: records of other systems that are theirs, (kind of record, id), by system.
    files: below raw/, with records of theirs. dropped_from: files with rows that were dropped, where such rows name them.
    """

    theirs: erasures.Belongings
    as_of: date | None
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    rows: dict[str, int] = field(default_factory=dict)
    rows_of: dict[tuple[str, str], int] = field(default_factory=dict)
    elsewhere: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    dropped_from: set[int] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        """What they are called: ids, tokens, emails and domains."""
        return {text for kind, texts in self.theirs.ids.items() if kind != "kept" for text in texts}

    @property
    def unknown(self) -> list[str]:
        """The ids that no row names."""
        return sorted(
            id_
            for kind in ("company", "user")
            for id_ in self.theirs.ids[kind]
            if not self.rows_of.get((kind, id_))
        )


def look(
    connection: Connection, settings: Settings, users: Iterable[str], companies: Iterable[str]
) -> Erasure:
    """Find what is to be erased, with all tables up to date. Raises CannotErase."""
    sources = all_sources()
    registry.prepare(connection)
    loading.prepare(connection, sources)
    nightly.move_tables(connection, settings)
    continuity.require_loaded_files(connection)
    if value(connection, "SELECT count(*) FROM raw.files WHERE replay_position IS NOT NULL"):
        raise CannotErase("a full rebuild was not finished: run `warehouse run` first")
    built = value(
        connection,
        "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'marts' AND table_name = 'as_of'",
    )
    as_of = value(connection, "SELECT as_of FROM marts.as_of") if built else None
    erasure = Erasure(erasures.Belongings(), as_of)
    _build(connection, settings, erasure)
    theirs = erasure.theirs
    theirs.ids["user"], theirs.ids["company"] = set(users), set(companies)
    for person in erasures.PERSONS:
        asked = theirs.ids[person]
        for source in sources:
            erasures.gather(connection, source, person, partial(_one_of, texts=asked), theirs)
    for raw in (table for source in sources for table in source.tables if table is not source.remains):
        ids = {c: kind for c, kind in raw.ids.items() if theirs.ids[kind]}
        if not raw.ids:
            continue
        table = f"raw.{raw.name}"
        condition = " OR ".join(_one_of(column, theirs.ids[kind]) for column, kind in ids.items()) or "false"
        erasure.rows[table] = value(connection, f"SELECT count(*) FROM {table} WHERE {condition}")
        for column, kind in ids.items():
            for id_, rows in connection.execute(
                f"SELECT {identifier(column)}, count(*) FROM {table} WHERE {_one_of(column, theirs.ids[kind])} GROUP BY 1"
            ).fetchall():
                erasure.rows_of[kind, id_] = erasure.rows_of.get((kind, id_), 0) + rows
        if any(_is_named_in(connection, sums, theirs) for sums in retention.tables(connection, raw.name)):
            erasure.dropped_from |= _with_dropped_rows(connection, raw.name)
    erasure.rows |= forgetting.rows_naming(connection, nightly.models(), theirs.ids)
    for destination in all_destinations():
        rows = connection.execute(
            f"SELECT DISTINCT * FROM ({destination.records_of}) ORDER BY ALL"
        ).fetchall()
        if rows:
            erasure.elsewhere[destination.title] = rows
    return erasure


def carry_out(connection: Connection, settings: Settings, erasure: Erasure) -> None:
    """Erase what was found, and build all tables anew. The files are rewritten when the warehouse is next opened.

    What fails leaves both databases as they were: neither transaction ends before the work of both is done. (One of DuckDB
    writes to one database only.) After a crash between their ends, the raw tables still know what is theirs, and the same
    command goes on.
    """
    _log.debug("erasing")
    with connection.cursor() as raw, transaction(raw):
        raw.execute("SET TimeZone = 'UTC'")
        erased = erasures.Erasures(raw)
        erased.erase(erasure.theirs, erasure.rows_of, erasure.run)
        with transaction(connection):
            forgetting.forget(connection, nightly.models(), erasure.theirs.ids)
    _build(connection, settings, erasure)
    files = nightly.raw_storage(settings).listing().files
    erasure.files = [
        row[0]
        for row in connection.execute(
            """
            SELECT DISTINCT path FROM raw.paths
            WHERE file_seq IN (SELECT file_seq FROM raw.repairs WHERE what = 'erased')
               OR file_seq IN (SELECT unnest(?::BIGINT[])) ORDER BY 1""",
            [sorted(erased.texts_in | erasure.dropped_from)],
        ).fetchall()
        if row[0] in files
    ]


def publish_without(settings: Settings) -> None:
    """Rewrite the databases without what was erased, and publish them."""
    with open_warehouse(settings) as connection:
        _log.debug("publishing analytics.duckdb")
        publish(connection, settings)


def forget_torn_logs(settings: Settings, erasure: Erasure) -> list[str]:
    """Remove what was cut off of logs and holds one of their names. Returns which. Raises DatabaseError."""
    names = [form for name in erasure.names for form in forms_of(name)]
    found = []
    for log in torn_logs(settings):
        try:
            held = log.read_bytes()
            if any(name in held for name in names):
                log.unlink()
                found.append(log.name)
        except OSError as error:
            raise DatabaseError(
                f"{log} may hold what was erased, and cannot be removed: {error}. Remove it by hand"
            ) from error
    return found


def _build(connection: Connection, settings: Settings, erasure: Erasure) -> None:
    """Bring all tables up to date, with the windows where they are."""
    nightly.build_tables(connection, settings, as_of=erasure.as_of, run_id=f"erase {erasure.run}")


def _is_named_in(connection: Connection, sums: str, theirs: erasures.Belongings) -> bool:
    """Whether what dropped rows summed up to names them."""
    known = {row[0] for row in connection.execute(f"DESCRIBE {sums}").fetchall()}
    ids = {c: kind for s in all_sources() for t in s.tables for c, kind in t.ids.items() if c in known}
    condition = " OR ".join(_one_of(column, theirs.ids[kind]) for column, kind in ids.items()) or "false"
    return bool(value(connection, f"SELECT count(*) FROM {sums} WHERE {condition}"))


def _with_dropped_rows(connection: Connection, table: str) -> set[int]:
    """The files of which a raw table has fewer rows than were loaded."""
    source = next(s for s in all_sources() if any(t.name == table for t in s.tables))
    rows = connection.execute(
        f"""SELECT f.file_seq FROM raw.files AS f
        LEFT JOIN (SELECT file_seq, count(*) AS there FROM raw.{table} GROUP BY 1) AS t ON t.file_seq = f.file_seq
        WHERE f.source = ? AND f.load_seq IS NOT NULL AND f.loaded > coalesce(t.there, 0)""",
        [source.folder],
    ).fetchall()
    return {seq for (seq,) in rows}


def _one_of(column: str, texts: Iterable[str]) -> str:
    quoted = ", ".join(map(literal, sorted(texts)))
    return f"{identifier(column)} IN ({quoted})" if quoted else "false"
