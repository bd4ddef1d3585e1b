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
from dagster_project.readers.values import latest_time
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
    SELECT line, received_at IS NOT NULL AS has_received_at,
        plain(transaction_id) AS transaction_id, plain(company_id) AS company_id, plain(user_id) AS user_id,
        plain(session_token) AS session_token, plain(blocked_by) AS blocked_by,
        text_of(request."time") AS time, CAST(response.status AS VARCHAR) AS status_text,
        CAST(weight AS VARCHAR) AS weight_text, request.verb AS verb, request.uri AS uri,
        -- The header is the key only of a record that has no other.
        CASE WHEN coalesce(plain(transaction_id), '') = '' THEN request.headers END AS headers
    FROM parsed
), typed AS (
    SELECT *,
        CASE WHEN time LIKE '____-__-__T__:__:__.___Z' THEN try_strptime(time, '%Y-%m-%dT%H:%M:%S.%fZ')
             WHEN regexp_full_match(time, '\\d{4}-\\d\\d-\\d\\d[T ]([01]\\d|2[0-3]):\\d\\d(:\\d\\d(\\.\\d+)?)?'
                                          || '(Z|[+-](0\\d|1[0-3]):?[0-5]\\d)?')
             THEN timezone('UTC', TRY_CAST(time AS TIMESTAMPTZ)) END AS event_at,
        TRY_CAST(status_text AS INTEGER) AS status, TRY_CAST(weight_text AS BIGINT) AS weight,
        plain(json_extract(headers, '$."x-moesif-transaction-id"')) AS header_key,
        lower(CAST(headers AS VARCHAR)) AS lower_headers
    FROM texts
)
SELECT line, coalesce(nullif(transaction_id, ''), nullif(header_key, '')) AS key, event_at,
    nullif(company_id, '') AS company_id, nullif(user_id, '') AS user_id, nullif(session_token, '') AS session_token,
    status, coalesce(weight, 1) AS weight, coalesce(blocked_by, '') <> '' AS is_blocked,
    CASE WHEN status BETWEEN 400 AND 599 THEN text_of(verb) END AS verb,
    CASE WHEN status BETWEEN 400 AND 599 THEN nullif(regexp_extract(
        text_of(uri), '^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)', 1), '') END AS route,
    event_at IS NULL OR event_at < TIMESTAMP '1900-01-01' OR event_at > $latest OR has_received_at
    OR is_odd(transaction_id) OR is_odd(company_id) OR is_odd(user_id) OR is_odd(session_token) OR is_odd(blocked_by)
    -- A whole number that is written as one; weights of 16 digits and more may have to be cut.
    OR coalesce(CAST(weight AS VARCHAR) <> weight_text OR weight <= 0 OR weight >= 1000000000000000, weight_text IS NOT NULL)
    OR coalesce(CAST(status AS VARCHAR) <> status_text, status_text IS NOT NULL)
    -- Any other spelling of the header, or a second one.
    OR (lower_headers IS NOT NULL AND contains(lower_headers, 'x-moesif-transaction-id')
        AND (header_key IS NULL OR header_key IN ('', chr(1))
             OR contains(substr(lower_headers, instr(lower_headers, 'x-moesif-transaction-id') + 5), 'x-moesif-transaction-id')))
    AS is_odd
FROM typed
"""
# plain: an id that needs no thought: absent (null), empty (''), a string that starts with a visible ASCII
# character, or a JSON integer. Anything else becomes the mark of an odd record, chr(1).
_MACROS = """
CREATE OR REPLACE TEMP MACRO text_of(j) AS CASE WHEN starts_with(CAST(j AS VARCHAR), '"') THEN j ->> '$' END;
CREATE OR REPLACE TEMP MACRO plain(j) AS CASE
    WHEN j IS NULL THEN NULL
    WHEN starts_with(CAST(j AS VARCHAR), '"') THEN
        CASE WHEN (j ->> '$') BETWEEN '!' AND '~' OR (j ->> '$') = '' THEN j ->> '$' ELSE chr(1) END
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
    # Past this time a record is looked at again.
    latest = latest_time(part.received, part.first_seen)
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
