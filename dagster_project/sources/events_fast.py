"""The fast way in for API calls: DuckDB's typed JSON reader on a large JSON lines file.

DuckDB reads more leniently than JSON allows (NaN, trailing commas, `1e999`), so simdjson, which is strict,
looks at every line first. DuckDB then reads the file in its own strict mode, with the record as one struct:
that way a repeated key is an error instead of a silent choice. What it reads is taken only where it is plain;
the lines of all other records are handed back, to be read one by one.
"""

from __future__ import annotations

from typing import Any

import duckdb
import simdjson

from dagster_project.readers.files import FilePart, open_bytes
from dagster_project.warehouse.database import value

from .loading import FileLoad, Incoming

# Below this a file is read faster record by record than DuckDB can be asked.
SMALLEST_BYTES = 1_000_000
_FORMATS = {
    f"{kind}{packed}": compression
    for kind in ("json", "jsonl", "ndjson")
    for packed, compression in (("", "none"), (".gz", "gzip"), (".zst", "zstd"))
}
# Past this share of odd lines the file is better read record by record at once.
_MOST_ODD = 0.2

_QUERY = """
WITH parsed AS (
    SELECT row_number() OVER () AS line, record.* FROM read_json($file,
        format = 'newline_delimited', records = false, compression = $compression, maximum_object_size = 67108864,
        columns = {record: 'STRUCT(
            transaction_id JSON, received_at JSON, company_id JSON, user_id JSON, session_token JSON, weight JSON,
            blocked_by JSON, request STRUCT("time" JSON, verb JSON, uri JSON, headers JSON), response STRUCT(status JSON))'})
), texts AS (
    SELECT line, weight, response.status AS status,
        -- Any case of the header; a second one makes the record odd.
        lower(CAST(request.headers AS VARCHAR)) AS headers,
        json_extract(request.headers, '$."x-moesif-transaction-id"') AS header_key,
        COLUMNS(* EXCLUDE (line, weight, request, response)),
        request."time" AS time, request.verb AS verb, request.uri AS uri
    FROM parsed
), typed AS (
    SELECT line, headers, header_key,
        CASE WHEN regexp_full_match(CAST(time AS VARCHAR),
                 '"\\d{4}-\\d\\d-\\d\\d[T ]([01]\\d|2[0-3]):\\d\\d(:\\d\\d(\\.\\d+)?)?'
                 || '(Z|[+-](0\\d|1[0-3]):?[0-5]\\d)?"')
             THEN timezone('UTC', TRY_CAST(CAST(time AS VARCHAR)[2:-2] AS TIMESTAMPTZ)) END AS event_at,
        CAST(status AS VARCHAR) AS status_text, CAST(weight AS VARCHAR) AS weight_text,
        plain(transaction_id) AS transaction_id, plain(company_id) AS company_id, plain(user_id) AS user_id,
        plain(session_token) AS session_token, plain(blocked_by) AS blocked_by,
        CASE WHEN json_type(verb) = 'VARCHAR' THEN verb ->> '$' END AS verb,
        CASE WHEN json_type(uri) = 'VARCHAR' THEN uri ->> '$' END AS uri,
        received_at IS NOT NULL AS has_received_at, plain(header_key) AS header_text
    FROM texts
)
SELECT line,
    coalesce(nullif(transaction_id, ''), nullif(header_text, '')) AS key, event_at,
    nullif(company_id, '') AS company_id, nullif(user_id, '') AS user_id, nullif(session_token, '') AS session_token,
    TRY_CAST(status_text AS INTEGER) AS status, coalesce(TRY_CAST(weight_text AS BIGINT), 1) AS weight,
    coalesce(blocked_by, '') <> '' AS is_blocked, verb,
    nullif(regexp_extract(uri, '^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)', 1), '') AS route,
    event_at IS NULL OR event_at < TIMESTAMP '1900-01-01' OR event_at > $latest OR has_received_at
    OR is_odd(transaction_id) OR is_odd(company_id) OR is_odd(user_id) OR is_odd(session_token) OR is_odd(blocked_by)
    OR NOT coalesce(regexp_full_match(weight_text, '[1-9]\\d{0,14}'), true)
    OR NOT coalesce(regexp_full_match(status_text, '0|[1-9]\\d{0,8}'), true)
    OR (transaction_id IS NULL AND headers IS NOT NULL AND contains(headers, 'x-moesif-transaction-id')
        AND (header_key IS NULL OR is_odd(header_text)
             OR contains(headers[instr(headers, 'x-moesif-transaction-id') + 5:], 'x-moesif-transaction-id')))
    AS is_odd
FROM typed
"""
# An id that needs no thought: absent (null), empty (''), a string without escapes that starts with a visible
# ASCII character, or a JSON integer. Anything else becomes the mark of an odd record.
_MACROS = """
CREATE OR REPLACE TEMP MACRO plain(j) AS CASE
    WHEN j IS NULL THEN NULL
    WHEN CAST(j AS VARCHAR) = '""' THEN ''
    WHEN CAST(j AS VARCHAR)[1] = '"' AND CAST(j AS VARCHAR)[2] BETWEEN '!' AND '~'
         AND NOT contains(CAST(j AS VARCHAR), chr(92)) THEN CAST(j AS VARCHAR)[2:-2]
    WHEN regexp_full_match(CAST(j AS VARCHAR), '-?[1-9]\\d{0,17}|0') THEN CAST(j AS VARCHAR)
    ELSE chr(1) END;
CREATE OR REPLACE TEMP MACRO is_odd(t) AS coalesce(t = chr(1), false);
"""


def read(connection: Any, load: FileLoad, rows: Incoming) -> set[int] | None:
    """Add the file's plain records to `rows`, and count them. Returns the lines that are still to be read.

    None: nothing was taken, the whole file is to be read record by record.
    """
    part = load.part
    if part.format not in _FORMATS or part.start_byte or part.end_byte < SMALLEST_BYTES:
        return None
    surveyed = _survey(part)
    if surveyed is None:
        return None
    lines, flagged = surveyed
    rows.flush()
    connection.execute(_MACROS)
    latest = _latest(part)
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE fast_api_calls AS {_QUERY}",
            {"file": str(part.file), "compression": _FORMATS[part.format], "latest": latest},
        )
    except duckdb.Error:
        # DuckDB met something it will not read (a list in a line, a repeated key, …) and says so for the whole file.
        return None
    if value(connection, "SELECT count(*) FROM fast_api_calls") != lines:
        return None
    odd = {
        row[0] for row in connection.execute("SELECT line FROM fast_api_calls WHERE is_odd").fetchall()
    } | flagged
    if len(odd) > max(lines * _MOST_ODD, 1000):
        return None
    connection.execute("CREATE OR REPLACE TEMP TABLE odd_lines (line BIGINT)")
    connection.execute("INSERT INTO odd_lines SELECT unnest(?::BIGINT[])", [sorted(odd)])
    connection.execute(f"""INSERT INTO {rows.name}
        SELECT {load.load_seq}, {part.file_seq}, line, 1, * EXCLUDE (line, is_odd)
        FROM fast_api_calls ANTI JOIN odd_lines USING (line)""")
    connection.execute("DROP TABLE fast_api_calls")
    load.records += lines - len(odd)
    return odd


def _latest(part: FilePart) -> Any:
    """The time past which a record is looked at again (it may be `future`)."""
    from dagster_project.readers.values import DAY, end_of

    return (end_of(part.received) if part.received else part.first_seen) + DAY


def _survey(part: FilePart) -> tuple[int, set[int]] | None:
    """How many lines a file has, and which of them are not strict JSON. None where its lines are not records."""
    parse = simdjson.Parser().parse
    flagged: set[int] = set()
    number = 0
    with open_bytes(part) as stream:
        for number, line in enumerate(stream, 1):
            try:
                parse(line)
            except (ValueError, RuntimeError, UnicodeDecodeError):
                if number == 1 or line.strip(b" \t\r\n") == b"":
                    # A BOM, an array over many lines, a blank line: places would not be what DuckDB counts.
                    return None
                flagged.add(number)
    return (number, flagged) if number else None
