"""A night goes on where the one before it ended: with databases that belong together, by a clock that has not jumped.

Checked before anything is touched: what goes wrong here shows in numbers only, and is not to be had back.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from .database import Connection, DatabaseError, value

_EARLIEST = datetime(2020, 1, 1)  # noqa: DTZ001  (UTC, as all times here); a machine without a clock says 1970
_BACK = timedelta(days=1)


def require_loaded_files(connection: Connection) -> None:
    """Raises DatabaseError where warehouse.duckdb was built from files that raw.duckdb does not hold.

    That is so when raw.duckdb is gone, or an older backup than warehouse.duckdb. (An older warehouse.duckdb is none:
    it is built on.) The numbers of versions would then begin again, and tables pass for up to date that are not.
    """
    if not _is_built(connection, "ops", "files"):
        return
    rows = connection.execute("""
        SELECT count(*), min_by(path, file_seq) FROM ops.files AS built
        WHERE records > 0 AND NOT EXISTS (
            SELECT 1 FROM raw.files AS held
            WHERE held.file_seq = built.file_seq AND built.sha256 IN (held.sha256, held.packed_sha256)
              AND held.first_seen_at = built.first_seen_at
              AND (held.load_seq IS NOT NULL OR held.replay_position IS NOT NULL OR held.withdrawn_at IS NOT NULL))""").fetchall()
    (lost, path) = rows[0]
    if lost:
        raise DatabaseError(
            f"raw.duckdb does not hold {lost} of the files that warehouse.duckdb was built from (the first: {path}): "
            "it was lost, or is an older backup than warehouse.duckdb. Restore both from one backup "
            "(`warehouse restore`), or load all that is in raw/ anew with `warehouse run --full`; files that raw.duckdb "
            "does not know then get new numbers and first-seen times"
        )


def require_steady_clock(connection: Connection, now: datetime, most_days: int) -> None:
    """Raises DatabaseError where the clock went back, or ahead by more than most_days, since the last build.

    A wrong clock would reject calls as future, and empty every window and cohort. most_days 0: all clocks are right.
    """
    if not most_days:
        return
    last = _EARLIEST
    if _is_built(connection, "core", "builds"):
        # Of the tables that look back from a day: each day's first run builds them.
        seen: datetime | None = value(
            connection, "SELECT max(built_at) FROM core.builds WHERE inputs LIKE '%\"as_of\"%'"
        )
        if seen is not None and now > seen + timedelta(days=most_days):
            raise DatabaseError(
                _clock(now, f"{(now - seen).days} days after the last run, {seen:%Y-%m-%d %H:%M}")
            )
        last = max(seen or last, last)
    if now < last - _BACK:
        raise DatabaseError(_clock(now, f"before {last:%Y-%m-%d %H:%M}, when it last ran, or could not have"))


def newest_generation(connection: Connection) -> int:
    """The newest generation of raw rows that a table was built from; 0: none was built."""
    if not _is_built(connection, "core", "builds"):
        return 0
    return int(value(connection, "SELECT coalesce(max(generation), 0) FROM core.builds"))


def _clock(now: datetime, how: str) -> str:
    return (
        f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC; that is {how}. Set the clock (is time "
        "synchronisation on?) and run again. If it is right, run once with clock_jump_days = 0 in [warehouse] of "
        "warehouse.toml. Nothing was touched"
    )


def _is_built(connection: Connection, schema: str, table: str) -> bool:
    return bool(
        value(
            connection,
            "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() "
            "AND schema_name = ? AND table_name = ?",
            [schema, table],
        )
    )
