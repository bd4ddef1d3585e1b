"""Records without an end, at the end of a file that may still be written to: they wait, go on, or are refused in the end.

Such a record is no part of what was loaded of its file. Its text stands in `raw.rejects`, marked as waiting. It stays there
when the file goes on, and the record was none: what goes on may be withdrawn.
"""

from __future__ import annotations

from collections.abc import Collection

from .database import Connection, transaction
from .registry import bump


def waiting(connection: Connection) -> set[int]:
    """The files with a record that waits and with which an earlier run ended well."""
    waits = dict(
        connection.execute(
            "SELECT file_seq, tail FROM raw.files WHERE tail IN ('waits', 'waited')"
        ).fetchall()
    )
    if not waits:
        return set()
    waited = {file_seq for file_seq, tail in waits.items() if tail == "waited"}
    built = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'core' "
        "AND table_name = 'builds'"
    ).fetchall()
    if not built:
        return waited
    return waited | {
        row[0]
        for row in connection.execute("""
            SELECT file_seq FROM raw.files WHERE tail = 'waits' AND load_seq <= (
                SELECT coalesce(max(through_load), 0) FROM core.builds WHERE generation =
                    (SELECT coalesce(max(version), 0) FROM raw.versions WHERE name = 'generation'))""").fetchall()
    }


def remember(connection: Connection) -> None:
    """Note which records waited already when a run ended well: a new generation of the rows makes that look undone.

    To be called in a transaction.
    """
    connection.execute(
        "UPDATE raw.files SET tail = 'waited' WHERE file_seq IN (SELECT unnest(?::BIGINT[]))",
        [sorted(waiting(connection))],
    )


def refuse(connection: Connection, waited: Collection[int]) -> int:
    """Refuse the records of these files that still wait: the run before found them as they are. Returns how many."""
    still = [
        row[0]
        for row in connection.execute(
            "SELECT file_seq FROM raw.files WHERE tail IN ('waits', 'waited') AND load_seq IS NOT NULL "
            "AND withdrawn_at IS NULL AND file_seq IN (SELECT unnest(?::BIGINT[]))",
            [sorted(waited)],
        ).fetchall()
    ]
    if still:
        with transaction(connection):
            connection.execute(
                "UPDATE raw.rejects SET waits = false WHERE waits AND file_seq IN (SELECT unnest(?::BIGINT[]))",
                [still],
            )
            connection.execute(
                "UPDATE raw.files SET tail = 'rejected', records = records + 1, rejected = rejected + 1 "
                "WHERE file_seq IN (SELECT unnest(?::BIGINT[]))",
                [still],
            )
            bump(connection, ["files", "rejects"])
    return len(still)


def give_up_continued(connection: Connection) -> None:
    """What stood without an end in a file that went on was no record, and is hidden. To be called in a transaction."""
    rows = connection.execute("""
        SELECT DISTINCT base.file_seq, base.end_line + 1, base.tail FROM raw.files AS base
        JOIN raw.files AS more ON more.grown_from = base.file_seq AND more.load_seq IS NOT NULL
        WHERE base.tail IS NOT NULL AND base.load_seq IS NOT NULL""").fetchall()
    for file_seq, line, tail in rows:
        connection.execute(
            "UPDATE raw.rejects SET waits = true WHERE file_seq = ? AND line = ?", [file_seq, line]
        )
        counted = int(tail == "rejected")
        connection.execute(
            "UPDATE raw.files SET tail = NULL, records = records - ?, rejected = rejected - ? WHERE file_seq = ?",
            [counted, counted, file_seq],
        )


def refuse_uncontinued(connection: Connection, withdrawn: Collection[int]) -> None:
    """What stands without an end in files from which nothing goes on but what is withdrawn now, is refused after all.

    To be called in a transaction, before what is withdrawn is marked so.
    """
    rows = connection.execute(
        """SELECT base.file_seq FROM raw.files AS base
        JOIN raw.rejects AS r ON r.file_seq = base.file_seq AND r.line = base.end_line + 1 AND r.waits
        WHERE base.tail IS NULL AND base.load_seq IS NOT NULL AND base.withdrawn_at IS NULL
            AND NOT list_contains($withdrawn, base.file_seq)
            AND NOT EXISTS (FROM raw.files AS more WHERE more.grown_from = base.file_seq AND more.withdrawn_at IS NULL
                AND more.sha256 IS NOT NULL AND NOT list_contains($withdrawn, more.file_seq))""",
        {"withdrawn": list(withdrawn)},
    ).fetchall()
    for (file_seq,) in rows:
        connection.execute("UPDATE raw.rejects SET waits = false WHERE file_seq = ? AND waits", [file_seq])
        connection.execute(
            "UPDATE raw.files SET tail = 'rejected', records = records + 1, rejected = rejected + 1 WHERE file_seq = ?",
            [file_seq],
        )
