"""The floor: DuckDB's JSON reader with the right types over the files of RAW, and nothing else: `bare_scan.py RAW`."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

_COLUMNS = {
    "events": """{transaction_id: 'VARCHAR',
        request: 'STRUCT("time" TIMESTAMPTZ, headers STRUCT("x-moesif-transaction-id" VARCHAR))',
        response: 'STRUCT(status INTEGER)', session_token: 'VARCHAR', company_id: 'VARCHAR', user_id: 'VARCHAR',
        weight: 'BIGINT', blocked_by: 'VARCHAR'}""",
    "actions": """{request: 'STRUCT("time" TIMESTAMPTZ)', action_name: 'VARCHAR', company_id: 'VARCHAR',
        user_id: 'VARCHAR'}""",
    "companies": """{company_id: 'VARCHAR', session_token: 'VARCHAR', modified_time: 'TIMESTAMPTZ',
        metadata: 'JSON'}""",
    "users": """{user_id: 'VARCHAR', company_id: 'VARCHAR', session_token: 'VARCHAR', modified_time: 'TIMESTAMPTZ',
        metadata: 'JSON'}""",
    "features": """{account_id: 'VARCHAR', user_id: 'VARCHAR', feature_id: 'VARCHAR', module_id: 'VARCHAR',
        total: 'BIGINT'}""",
}


def main(raw: Path) -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    for source, types in _COLUMNS.items():
        files = [str(file) for file in (raw / source).rglob("*.jsonl")]
        connection.execute(
            f"CREATE TEMP TABLE t AS SELECT hash(COLUMNS(*)) FROM read_json($files, columns = {types}, "
            "format = 'newline_delimited')",
            {"files": files},
        )
        connection.execute("DROP TABLE t")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
