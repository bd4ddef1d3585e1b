"""The fast path: DuckDB's typed JSON reader on a large JSON lines file.

DuckDB reads more leniently than JSON allows (NaN, trailing commas, `1e999`), so simdjson, which is strict,
looks at every line first. DuckDB then reads the file in its own strict mode, with the record as one struct:
that way a repeated key is an error instead of a silent choice. What it reads is taken only where it is plain;
the lines of all other records are handed back, to be read one by one.

Fields are read as text: an id that is a JSON string and one that is an integer come out as they should, and what
could be either of two things (`"true"` or `true`, `"1.5"` or `1.5`) is not plain.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import duckdb
import simdjson

from dagster_project.readers.files import LONGEST_RECORD, FilePart, open_bytes
from dagster_project.readers.json_records import may_run_on
from dagster_project.readers.values import latest_time
from dagster_project.warehouse.database import value

from .deciding import KEY_MACROS
from .lookalikes import EVERY
from .reading import FileLoad, StagingTable

# Below this a file is read faster record by record than DuckDB can be asked.
SMALLEST_BYTES = 250_000
_FORMATS = {
    f"{kind}{packed}": compression
    for kind in ("json", "jsonl", "ndjson")
    for packed, compression in (("", "none"), (".gz", "gzip"), (".zst", "zstd"))
}
# DuckDB would take other characters for patterns, or for no text at all.
_PLAIN_NAME = re.compile(r"[^*?\[\]{}\ud800-\udfff]+", re.DOTALL)
# DuckDB reads in pieces of twice the size that it is told a record may have: of small ones, one file keeps several cores busy.
_SMALLEST_BUFFER = 1 << 20
# Past this share of such lines a file is better read another way.
_MOST_SLOW = 0.2

# unsure_id: text that is not plainly an id: it may have been a JSON value of another type, or be blank. (What looks like
# a number only at first sight, `20261128-7`, is an id; so is a UUID, which is told without a pattern.) The usual cases come
# first.
# plain_time: a time in the usual forms, not before 1990; null for any other text. In the two usual ones the length leaves each
# part all its digits.
# late: past the last moment that is not future; $latest holds for records without `received_at`.
_MACROS = r"""
CREATE OR REPLACE TEMP MACRO unsure_id(t) AS CASE
    WHEN t >= 'a' THEN t >= '{' OR t = 'true' OR t = 'false'
    WHEN t >= ':' THEN starts_with(t, '[')
    WHEN t >= '!' THEN CASE WHEN strlen(t) = 36 AND t[9] = '-' AND t[14] = '-' THEN false
        ELSE regexp_full_match(t, '-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?')
            AND NOT regexp_full_match(t, '-?[1-9]\d{0,17}|0') END
    ELSE coalesce(t <> '', false) END;
CREATE OR REPLACE TEMP MACRO plain_time(t) AS CASE WHEN t >= '1990-01-02' THEN coalesce(
    CASE WHEN ends_with(t, 'Z') THEN CASE strlen(t)
        WHEN 24 THEN try_strptime(t, '%Y-%m-%dT%H:%M:%S.%gZ')
        WHEN 20 THEN try_strptime(t, '%Y-%m-%dT%H:%M:%SZ') END END,
    CASE WHEN regexp_full_match(t, '\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):\d\d(:\d\d(\.\d+)?)?(Z|[+-](0\d|1[0-3]):?[0-5]\d)?')
        THEN timezone('UTC', TRY_CAST(t AS TIMESTAMPTZ)) END) END;
CREATE OR REPLACE TEMP MACRO late(moment, received_at, latest) AS
    moment > coalesce(CAST(CAST(received_at AS DATE) AS TIMESTAMP) + INTERVAL 2 DAY, latest);
"""


@dataclass(frozen=True)
class Reading:
    """One way to read a source's files. fields: of the record's STRUCT.

    query: a SELECT from `parsed` (the records' fields, in the order of the lines) of the columns of the source's
    `StagingTable` behind the position, and last `needs_slow_path`: the line is to be read by itself. It may use $latest, the
    last moment that is not future, and what the source gives. keeps_lines: `parsed` has the text of each `line` besides;
    a line that is not strict JSON is null then, and `fields` are a JSON structure. macros: that the query uses.
    gain: how many times more it saves than reading API calls so does: it pays for files so much smaller.
    """

    fields: str
    query: str
    keeps_lines: bool = False
    macros: str = ""
    gain: int = 1


def read(
    connection: Any,
    load: FileLoad,
    rows: StagingTable,
    readings: Sequence[Reading],
    given: Mapping[str, object] | None = None,
) -> set[int] | None:
    """Add the file's plain records to `rows`, and count them. Returns the lines that are still to be read.

    The readings are tried in turn.
    None: nothing was taken, the whole file is to be read record by record.
    """
    part = load.part
    smallest = SMALLEST_BYTES // min(reading.gain for reading in readings)
    if part.format not in _FORMATS or part.end_byte - part.start_byte < smallest:
        return None
    if not _PLAIN_NAME.fullmatch(str(part.file)):
        return None
    surveyed = _survey(part)
    if surveyed is None:
        return None
    lines, flagged, sample, longest = surveyed
    table = rows.table_of(load)
    if not rows.has_macros:
        connection.execute(_MACROS + KEY_MACROS + "".join(reading.macros for reading in readings))
        rows.has_macros = True
    for reading in readings:
        # A few lines for the slow path are cheaper than another reading; many are not.
        most_slow = max(lines * _MOST_SLOW, 1000) if reading is readings[-1] else lines / 100
        try:
            with _whole_file(connection, part) as (file, compression):
                if reading.keeps_lines:
                    _read_lines(connection, file, compression, f"{table}_lines", flagged)
                _read(
                    connection,
                    part,
                    file,
                    compression,
                    reading,
                    table,
                    max(longest + 1, _SMALLEST_BUFFER),
                    given or {},
                )
        except (duckdb.Error, UnicodeDecodeError):
            # DuckDB met something it will not read (a list in a line, a repeated key, …) and says so for the whole
            # file. It quotes the line, and cuts it within a character at times: its words then do not decode.
            return None
        finally:
            if reading.keeps_lines:
                connection.execute(f"DROP TABLE IF EXISTS {table}_lines")
        if flagged:
            numbers = ", ".join(str(line - 1) for line in sorted(flagged))
            connection.execute(f"UPDATE {table} SET needs_slow_path = true WHERE rowid IN ({numbers})")
        found, slow_ones = connection.execute(
            f"SELECT count(*), count(*) FILTER (needs_slow_path) FROM {table}"
        ).fetchall()[0]
        if found != lines:
            return None
        if slow_ones <= most_slow:
            break
    else:
        return None
    slow_lines = {
        part.start_line + 1 + row
        for (row,) in connection.execute(f"SELECT rowid FROM {table} WHERE needs_slow_path").fetchall()
    }
    rows.adopt(load)
    load.by_line = True
    load.records += lines - len(slow_lines)
    load.alike.count(part, sample)
    return slow_lines


@contextmanager
def _whole_file(connection: Any, part: FilePart) -> Iterator[tuple[Path, str]]:
    """A file that holds the part and no more, and how it is packed: DuckDB reads files from their beginning to their end."""
    compression = _FORMATS[part.format]
    ends = part.size if compression != "none" else part.file.stat().st_size
    if part.start_byte == 0 and part.end_byte == ends:
        yield part.file, compression
        return
    folder = Path(value(connection, "SELECT current_setting('temp_directory')"))
    folder.mkdir(exist_ok=True)
    with NamedTemporaryFile(dir=folder, suffix=".part") as copy:
        with open_bytes(part) as stream:
            shutil.copyfileobj(stream, copy)
        copy.flush()
        yield Path(copy.name), "none"


def _read(
    connection: Any,
    part: FilePart,
    file: Path,
    compression: str,
    reading: Reading,
    table: str,
    longest: int,
    given: Mapping[str, object],
) -> None:
    if reading.keeps_lines:
        parsed = f"""SELECT line, record.* FROM (
            SELECT line, from_json(line, '{reading.fields}') AS record FROM {table}_lines)"""
    else:
        parsed = f"""SELECT record.* FROM read_json($file, format = 'newline_delimited', records = false,
            compression = $compression, maximum_object_size = {longest}, columns = {{record: 'STRUCT({reading.fields})'}})"""
    # A row's number is its line: DuckDB keeps the order of what it inserts.
    statement = f"""CREATE OR REPLACE TEMP TABLE {table} AS
        WITH parsed AS ({parsed})
        , taken AS ({reading.query})
        SELECT * REPLACE (coalesce(needs_slow_path, true) AS needs_slow_path) FROM taken"""
    known = {
        "file": str(file),
        "compression": compression,
        "latest": latest_time(part.received, part.first_seen),
        **given,
    }
    connection.execute(statement, {name: of for name, of in known.items() if f"${name}" in statement})


def _read_lines(connection: Any, file: Path, compression: str, table: str, flagged: Collection[int]) -> None:
    """The lines of a file as they are, in their order; null where they are flagged."""
    # No character of strict JSON divides them, or puts them in quotes.
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {table} AS
        FROM read_csv($file, columns = {{line: 'VARCHAR'}}, auto_detect = false, header = false, delim = '\x01',
            quote = '', escape = '', compression = $compression, max_line_size = 67108864)""",
        {"file": str(file), "compression": compression},
    )
    if flagged:
        numbers = ", ".join(str(line - 1) for line in flagged)
        connection.execute(f"UPDATE {table} SET line = NULL WHERE rowid IN ({numbers})")


def _survey(part: FilePart) -> tuple[int, set[int], list[tuple[int, bytes]], int] | None:
    """How many lines a file has, which of them are not strict JSON, those in which look-alikes are looked for, and how long
    the longest is.

    None where its lines are not records.
    """
    parse = simdjson.Parser().parse
    flagged: set[int] = set()
    sample: list[tuple[int, bytes]] = []
    number = longest = 0
    packed = _FORMATS[part.format] != "none"
    unsure: bytes | None = None  # a line on which a value may begin that ends on the next
    with open_bytes(part) as stream:
        # No line of a small file is too long to be read whole.
        lines = (
            iter(lambda: stream.readline(LONGEST_RECORD), b"")
            if packed or part.end_byte - part.start_byte >= LONGEST_RECORD
            else stream
        )
        for number, line in enumerate(lines, 1):
            size = len(line)
            if size == LONGEST_RECORD or (unsure and may_run_on(unsure, line)):
                return None
            unsure = None
            if size > longest:
                longest = size
            if number <= EVERY or number % EVERY == 0:  # as is_sampled has it
                sample.append((number, line))
            try:
                parse(line)
            except (ValueError, RuntimeError, UnicodeDecodeError):
                if number == 1 or line.strip(b" \t\r\n") == b"":
                    # A BOM, an array over many lines, a blank line: positions would not be what DuckDB counts.
                    return None
                flagged.add(number)
                unsure = line
    return (number, flagged, sample, longest) if number else None
