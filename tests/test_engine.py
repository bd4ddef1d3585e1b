"""What this process does of the heavy half."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from dagster_project.sources.events import API_CALL_KEYS
from dagster_project.warehouse.engine import Local, Rows

ROWS = 300_000
ROW_GROUP = 122_880


@pytest.mark.parametrize("threads", [2, 4])
def test_many_rows_are_stored_in_full_row_groups(tmp_path: Path, threads: int) -> None:
    """Half-full ones are written again by the next run that stores anything, and take half as much again on the disk."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {threads}; ATTACH '{tmp_path / 'raw.duckdb'}' AS raw")
        connection.execute(
            f"CREATE TABLE raw.api_call_keys ({', '.join(c.name + ' BIGINT' for c in API_CALL_KEYS.columns)})"
        )
        connection.execute(
            f"""CREATE TEMP TABLE read AS SELECT 1 AS load_seq, range AS line, 0 AS element, range AS key_first,
                range AS key_last FROM range({ROWS})"""
        )
        connection.execute("CREATE TEMP TABLE duplicates AS FROM read WHERE line % 10_000 = 0")
        Local().insert(connection, API_CALL_KEYS, Rows("read"), "duplicates")
        connection.execute("CHECKPOINT raw")
        groups = connection.execute(
            """SELECT row_group_id, max(start + count) - min(start) FROM pragma_storage_info('raw.api_call_keys')
            WHERE column_id = 0 AND segment_type <> 'VALIDITY' GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
        assert [rows for _, rows in groups] == [ROW_GROUP, ROW_GROUP, ROWS - 30 - 2 * ROW_GROUP]
        assert connection.execute("SELECT current_setting('threads')").fetchall() == [(threads,)]
