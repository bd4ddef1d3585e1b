"""The registry of raw files: its tables in `raw.duckdb`, and what every part of the kernel notes there.

What is new below raw/ is `discovery`'s matter, which file a content is `identity`'s, loading again `replay`'s, taking
back `withdrawal`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from dagster_project.settings import SettingsError

from . import stored
from .database import Connection, append_rows, transaction, value

# raw.files: sha256 and bytes are of the content, unpacked, when it was seen; head, of how it begins; tail_…, of what
# precedes a last line without an end. start_…: where the part begins that was loaded. end_…: where what was loaded of
# the content ends. tail: a last record without an end `waits`, `waited` before a withdrawal already, or was `rejected`.
# replay_…: it is to be loaded again. rejects.waits: no reject, or not yet: such a record, whose file may go on or did.
# packed_sha256: of a packed file as it is, from when that was its hash. loaded_under: see loaded_under.py.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS raw.files (
    file_seq BIGINT, load_seq BIGINT, source VARCHAR, path VARCHAR, sha256 VARCHAR, bytes BIGINT,
    start_byte BIGINT, start_line BIGINT, received_date DATE, first_seen_at TIMESTAMP,
    records BIGINT, loaded BIGINT, duplicates BIGINT, rejected BIGINT, repaired BIGINT,
    error VARCHAR, note VARCHAR, replay_position BIGINT, replay_path VARCHAR, end_byte BIGINT,
    lines BIGINT, head VARCHAR, tail_byte BIGINT, tail_sha256 VARCHAR, end_line BIGINT, end_sha256 VARCHAR, tail VARCHAR,
    grown_from BIGINT, packed_sha256 VARCHAR, replay_byte BIGINT, replay_sha256 VARCHAR, withdrawn_at TIMESTAMP,
    loaded_under VARCHAR);
CREATE TABLE IF NOT EXISTS raw.paths (
    path VARCHAR, source VARCHAR, bytes BIGINT, mtime_ns BIGINT, ctime_ns BIGINT,
    sha256 VARCHAR, file_seq BIGINT, loaded_seq BIGINT, gone BOOLEAN);
CREATE TABLE IF NOT EXISTS raw.rejects (
    load_seq BIGINT, source VARCHAR, file_seq BIGINT, line BIGINT, element BIGINT,
    reason VARCHAR, detail VARCHAR, raw VARCHAR, waits BOOLEAN);
CREATE TABLE IF NOT EXISTS raw.repairs (
    load_seq BIGINT, source VARCHAR, file_seq BIGINT, line BIGINT, element BIGINT, what VARCHAR, detail VARCHAR);
CREATE TABLE IF NOT EXISTS raw.erasures (
    entity VARCHAR, id_hash VARCHAR, erased_at TIMESTAMP, rows_removed BIGINT, run VARCHAR, length INTEGER);
CREATE TABLE IF NOT EXISTS raw.erasure_key (key BLOB);
CREATE TABLE IF NOT EXISTS raw.token_key (fingerprint VARCHAR);
CREATE TABLE IF NOT EXISTS raw.versions (name VARCHAR, version BIGINT);
CREATE TABLE IF NOT EXISTS raw.warnings (noted_at TIMESTAMP, kind VARCHAR, subject VARCHAR, message VARCHAR, help VARCHAR);
CREATE TABLE IF NOT EXISTS raw.lookalikes (load_seq BIGINT, source VARCHAR, field VARCHAR, key VARCHAR, records BIGINT);
"""


@dataclass(frozen=True)
class Folder:
    """A source as the registry sees it: its folder below raw/ and the formats it reads.

    replaces: a file written over an older one at the same path takes its place (CRM exports).
    """

    name: str
    formats: frozenset[str]
    replaces: bool = False


def prepare(connection: Connection) -> None:
    connection.execute(_SCHEMA + stored.SCHEMA)


def require_token_key(connection: Connection, fingerprint: str | None) -> None:
    """Make sure that what is loaded has its tokens as they would be loaded now. fingerprint: of the key; None: as they are.

    Raises SettingsError.
    """
    if not value(
        connection, "SELECT count(*) FROM raw.files WHERE load_seq IS NOT NULL OR replay_position IS NOT NULL"
    ):
        note_token_key(connection, fingerprint)
        return
    before = value(connection, "SELECT fingerprint FROM raw.token_key")
    if before == fingerprint:
        return
    if fingerprint is None:
        wrong = "privacy.hash_tokens = false, but the tokens that are loaded are hashes: set it to true"
    elif before is None:
        wrong = "privacy.hash_tokens = true, but the tokens that are loaded are no hashes: set it to false"
    else:
        wrong = "WAREHOUSE_TOKEN_KEY is another key than the one by which the loaded tokens were hashed: set the old one"
    raise SettingsError(
        f"{wrong}, or load all files again with `warehouse run --full --apply-settings`. Nothing was touched"
    )


def note_token_key(connection: Connection, fingerprint: str | None) -> None:
    """Note by which key the tokens of what is loaded are hashed."""
    connection.execute("DELETE FROM raw.token_key")
    connection.execute("INSERT INTO raw.token_key VALUES (?)", [fingerprint])


@dataclass(frozen=True, slots=True)
class Warning:
    """Something that a night noticed and that is no error. kind and subject together: what it is of. help: what to do."""

    kind: str
    subject: str
    message: str
    help: str | None = None


def note_warnings(connection: Connection, warnings: Iterable[Warning], now: datetime) -> None:
    """Note what this night noticed, in the place of what the last one did."""
    new = {(w.kind, w.subject): (w.kind, w.subject, w.message, w.help) for w in warnings}
    old = connection.execute("SELECT kind, subject, message, help FROM raw.warnings").fetchall()
    if sorted(map(str, old)) == sorted(map(str, new.values())):
        return
    with transaction(connection):
        connection.execute("DELETE FROM raw.warnings")
        append_rows(connection, "raw.warnings", [(now, *row) for row in new.values()])
        bump(connection, ["warnings"])


def drop_rejects(connection: Connection, before: date) -> int:
    """Drop the rejects of files that were first seen before a day. The files' counts stay. Returns how many."""
    old = f"file_seq IN (SELECT file_seq FROM raw.files WHERE first_seen_at < DATE '{before.isoformat()}')"
    rows: int = value(connection, f"SELECT count(*) FROM raw.rejects WHERE {old}")
    if rows:
        with transaction(connection):
            connection.execute(f"DELETE FROM raw.rejects WHERE {old}")
            bump(connection, ["rejects"])
    return rows


def next_load_seq(connection: Connection) -> int:
    return int(value(connection, "SELECT coalesce(max(load_seq), 0) + 1 FROM raw.files"))


def bump(connection: Connection, names: Iterable[str]) -> None:
    """Note that these parts of `raw` changed: what is built from them is out of date."""
    given = [sorted(set(names))]
    connection.execute(
        """INSERT INTO raw.versions
        SELECT name, coalesce(max(version), 0) + 1 FROM (SELECT unnest(?::VARCHAR[]) AS name)
        LEFT JOIN raw.versions USING (name) GROUP BY name""",
        given,
    )
    connection.execute(
        """DELETE FROM raw.versions USING (SELECT name, max(version) AS newest FROM raw.versions GROUP BY name) AS n
        WHERE n.name = versions.name AND version < newest AND versions.name IN (SELECT unnest(?::VARCHAR[]))""",
        given,
    )
