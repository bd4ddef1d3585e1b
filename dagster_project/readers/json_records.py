"""JSON files to records: JSON lines, lines that are arrays, one array, each compressed or not; and Parquet."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson

from .files import BOM, FilePart, Record, UnreadableFile, open_bytes
from .json_text import BadJson, elements, parse, parse_text

FORMATS = frozenset(
    f"{kind}{packed}" for kind in ("json", "jsonl", "ndjson") for packed in ("", ".gz", ".zst")
) | {"parquet"}
_BLANK = b" \t\r\n"


def read(part: FilePart, *, exact: bool) -> Iterator[Record]:
    """All records of a JSON or Parquet file in the order of their places. Raises UnreadableFile."""
    if part.format == "parquet":
        yield from _parquet(part)
        return
    with open_bytes(part) as stream:
        line_number = part.start_line
        at_start = part.start_byte == 0
        for line in stream:
            line_number += 1
            if line_number == 1 and at_start:
                line = line.removeprefix(BOM)
            if not line.strip(_BLANK):
                continue
            if at_start and line.lstrip(_BLANK)[:1] == b"[" and not _is_json(line):
                yield from _array_or_lines(part, line_number, line, stream.read(), exact)
                return
            at_start = False
            yield from _line(line, line_number, exact)


def read_lines(part: FilePart, wanted: set[int], *, exact: bool) -> Iterator[Record]:
    """The records of some lines of a JSON lines file only."""
    last = max(wanted, default=0)
    with open_bytes(part) as stream:
        for line_number, line in enumerate(stream, part.start_line + 1):
            if line_number in wanted:
                yield from _line(line, line_number, exact)
            if line_number >= last:
                return


def _is_json(line: bytes) -> bool:
    try:
        parse(line, exact=False)
    except BadJson:
        return False
    return True


def _array_or_lines(part: FilePart, number: int, head: bytes, rest: bytes, exact: bool) -> Iterator[Record]:
    """A file whose first record line opens an array without being one: the whole file is an array, or lines."""
    try:
        yield from _array(head + rest, 1, exact)
    except BadJson as error:
        if part.format.startswith("json") and not part.format.startswith("jsonl"):
            raise UnreadableFile(f"not one whole JSON array: {error}") from None
        for line_number, line in enumerate((head + rest).split(b"\n"), number):
            if line.strip(_BLANK):
                yield from _line(line, line_number, exact)


def _line(line: bytes, line_number: int, exact: bool) -> Iterator[Record]:
    line = line.rstrip(b"\n").removesuffix(b"\r")
    try:
        if line.lstrip(_BLANK)[:1] == b"[":
            yield from _array(line, line_number, exact)
            return
        value, repairs = parse(line, exact=exact)
    except BadJson as error:
        yield Record(line_number, 1, None, lambda: line.decode("utf-8", "replace"), bad=str(error))
        return
    yield Record(line_number, 1, value, lambda: line.decode("utf-8", "replace"), repairs)


def _array(data: bytes, line_number: int, exact: bool) -> Iterator[Record]:
    """The elements of one array, each with its own repairs. Raises BadJson before the first is yielded."""
    if not exact:
        try:
            values = orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
        else:
            texts: list[str] = []

            def text_of(index: int) -> str:
                if not texts:
                    texts.extend(elements(data.decode("utf-8")))
                return texts[index]

            for index, value in enumerate(values):
                if _has_long_integer(value):
                    value = parse_text(text_of(index))[0]
                yield Record(line_number, index + 1, value, lambda i=index: text_of(i))  # type: ignore[misc]
            return
    try:
        text, damaged = data.decode("utf-8"), False
    except UnicodeDecodeError:
        text, damaged = data.decode("utf-8", "replace"), True
    for index, piece in enumerate(elements(text)):
        value, repairs = parse_text(piece)
        if damaged and "\ufffd" in piece and not any(what == "invalid_text" for what, _ in repairs):
            repairs = [("invalid_text", "bytes that are not UTF-8 became U+FFFD"), *repairs]
        yield Record(line_number, index + 1, value, lambda p=piece: p, repairs)  # type: ignore[misc]


def _has_long_integer(value: Any) -> bool:
    """Whether orjson may have turned a long integer at the top of a record into a float."""
    return isinstance(value, dict) and any(isinstance(v, float) and abs(v) >= 2**63 for v in value.values())


def _parquet(part: FilePart) -> Iterator[Record]:
    """Rows as records; the row's number is the line."""
    import pyarrow as pa  # takes long to import, and most nights bring no Parquet
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(part.file) as file:
            number = 0
            for batch in file.iter_batches(batch_size=10_000):
                batch = batch.cast(
                    pa.schema([f.with_type(_microseconds(f.type)) for f in batch.schema]), safe=False
                )
                for row in batch.to_pylist():
                    number += 1
                    repairs: list[tuple[str, str]] = []
                    value = _plain(row, "", repairs)
                    yield Record(number, 1, value, lambda v=value: orjson.dumps(v).decode(), repairs)  # type: ignore[misc]
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(f"not a readable Parquet file: {str(error).splitlines()[0]}") from error


def _microseconds(kind: Any) -> Any:
    """The Arrow type with nanosecond times cut to microseconds, at every depth."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_microseconds(f.type)) for f in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_microseconds(kind.value_type))
    return kind


def _plain(value: Any, path: str, repairs: list[tuple[str, str]]) -> Any:
    """A Parquet value as the JSON value it stands for."""
    if isinstance(value, dict):
        return {k: _plain(v, f"{path}.{k}" if path else k, repairs) for k, v in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):  # a map
            return {str(k): _plain(v, f"{path}.{k}", repairs) for k, v in value}
        return [_plain(item, f"{path}[{i}]", repairs) for i, item in enumerate(value)]
    if isinstance(value, datetime):
        if value.tzinfo:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and value - value != 0:
        repairs.append(("non_finite_number", path))
        return None
    return value
