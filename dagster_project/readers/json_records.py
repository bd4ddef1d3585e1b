"""JSON files to records: JSON lines, lines that are arrays, one array, each compressed or not; and Parquet."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import IO, Any, NamedTuple

import orjson

from .files import BOM, LONGEST_RECORD, FilePart, Record, UnreadableFile, open_bytes
from .json_arrays import Element, elements
from .json_text import BadJson, Repair, Unfinished, parse, parse_text

FORMATS = frozenset(
    f"{kind}{packed}" for kind in ("json", "jsonl", "ndjson") for packed in ("", ".gz", ".zst")
) | {"parquet"}
_BLANK = b" \t\r\n"
# Longer lines and arrays are not held in memory as a whole.
_AT_ONCE = 16 * 1024**2
_KEPT = 256 * 1024  # of a line that is too long; it is cut again where it is stored


class _Line(NamedTuple):
    """data: the line, or the beginning of a very long one. start: how many bytes of the part precede it."""

    number: int
    start: int
    data: bytes
    is_whole: bool

    @property
    def opens_array(self) -> bool:
        return self.data.lstrip(_BLANK)[:1] == b"["


def read(part: FilePart, *, exact: bool) -> Iterator[Record]:
    """All records of a JSON or Parquet file in the order of their places. Raises UnreadableFile."""
    if part.format == "parquet":
        yield from _parquet(part)
        return
    may_be_array = part.start_byte == 0
    for line in _physical_lines(part):
        if line.is_whole and not line.data.strip(_BLANK):
            continue
        if line.opens_array and not line.is_whole:
            with suppress(BadJson):
                yield from _long_array(part, line.start, line.number, one_line=True)
                may_be_array = False
                continue
        if may_be_array and line.opens_array and not (line.is_whole and _is_json(line.data)):
            # The first record line opens an array without being one: the whole file is an array, or lines.
            try:
                yield from _whole_array(part, line.start, exact)
                return
            except Unfinished:
                raise UnreadableFile("a JSON array that does not end") from None
            except BadJson as error:
                if part.format.startswith("json") and not part.format.startswith("jsonl"):
                    raise UnreadableFile(f"not one whole JSON array: {error}") from None
        may_be_array = False
        yield from _line(line.data, line.number, exact) if line.is_whole else _long_line(part, line, exact)


def read_lines(part: FilePart, wanted: set[int], *, exact: bool) -> Iterator[Record]:
    """The records of some lines of a JSON lines file that has no line longer than a record may be."""
    with open_bytes(part) as stream:
        lines = iter(stream.readline, b"")
        at = part.start_line
        for number in sorted(wanted):
            yield from _line(next(islice(lines, number - at - 1, None)), number, exact)
            at = number


def _physical_lines(part: FilePart) -> Iterator[_Line]:
    """The lines of a file, but of very long ones the beginning only."""
    with open_bytes(part) as stream:
        number, at = part.start_line, 0
        while data := stream.readline(_AT_ONCE):
            number += 1
            start, is_whole = at, data.endswith(b"\n") or len(data) < _AT_ONCE
            at += len(data)
            if start == 0 and part.start_byte == 0 and data.startswith(BOM):
                start, data = len(BOM), data.removeprefix(BOM)
            yield _Line(number, start, data, is_whole)
            while not is_whole:
                rest = stream.readline(_AT_ONCE)
                is_whole = rest.endswith(b"\n") or len(rest) < _AT_ONCE
                at += len(rest)


@contextmanager
def _open_at(part: FilePart, start: int) -> Iterator[IO[bytes]]:
    with open_bytes(part) as stream:
        while start and (skipped := stream.read(min(start, 1 << 20))):
            start -= len(skipped)
        yield stream


def _is_json(line: bytes) -> bool:
    try:
        parse(line, exact=False)
    except BadJson:
        return False
    return True


def _whole_array(part: FilePart, start: int, exact: bool) -> Iterator[Record]:
    """A file that is one array. Raises BadJson before the first element is yielded."""
    with _open_at(part, start) as stream:
        data = stream.read(_AT_ONCE)
    if len(data) < _AT_ONCE:
        yield from _array(data, 1, exact)
    else:
        yield from _long_array(part, start, 1, one_line=False)


def _long_array(part: FilePart, start: int, number: int, *, one_line: bool) -> Iterator[Record]:
    """An array that is not held in memory. Raises BadJson before the first element is yielded: it is read twice."""
    for _ in _elements_at(part, start, one_line):
        pass
    for index, element in enumerate(_elements_at(part, start, one_line), 1):
        yield _record(number, index, element)


def _elements_at(part: FilePart, start: int, one_line: bool) -> Iterator[Element]:
    with _open_at(part, start) as stream:
        yield from elements(_one_line(stream) if one_line else stream.read)


def _one_line(stream: IO[bytes]) -> Callable[[int], bytes]:
    """To read a stream up to the end of its line."""
    ended = False

    def read_on(size: int) -> bytes:
        nonlocal ended
        data = b"" if ended else stream.readline(size)
        ended = data.endswith(b"\n")
        return data

    return read_on


def _record(line: int, index: int, element: Element) -> Record:
    return Record(
        line,
        index,
        element.value,
        lambda: element.text,
        element.repairs,
        bad=f"longer than {LONGEST_RECORD // 1024**2} MiB" if element.too_long else None,
    )


def _long_line(part: FilePart, line: _Line, exact: bool) -> Iterator[Record]:
    with _open_at(part, line.start) as stream:
        data = stream.readline(LONGEST_RECORD + 1)
    if data.endswith(b"\n") or len(data) <= LONGEST_RECORD:
        yield from _line(data, line.number, exact)
    else:
        text = data[:_KEPT].decode("utf-8", "replace")
        yield _record(line.number, 1, Element(text, too_long=True))


def _line(line: bytes, line_number: int, exact: bool) -> Iterator[Record]:
    unfinished = 0 if line.endswith(b"\n") else len(line)  # the last of a file that may be written to
    line = line.rstrip(b"\n").removesuffix(b"\r")
    try:
        if line.lstrip(_BLANK)[:1] == b"[":
            yield from _array(line, line_number, exact)
            return
        value, repairs = parse(line, exact=exact)
    except BadJson as error:
        yield Record(
            line_number,
            1,
            None,
            lambda: line.decode("utf-8", "replace"),
            bad=str(error),
            unfinished=unfinished,
        )
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
                    texts.extend(element.text for element in elements(io.BytesIO(data).read))
                return texts[index]

            for index, value in enumerate(values):
                if _has_long_integer(value):
                    value = parse_text(text_of(index))[0]
                yield Record(line_number, index + 1, value, lambda i=index: text_of(i))  # type: ignore[misc]
            return
    for index, element in enumerate(list(elements(io.BytesIO(data).read)), 1):
        yield _record(line_number, index, element)


def _has_long_integer(value: Any) -> bool:
    """Whether orjson may have turned a long integer at the top of a record into a float."""
    return isinstance(value, dict) and any(isinstance(v, float) and abs(v) >= 2**63 for v in value.values())


def _parquet(part: FilePart) -> Iterator[Record]:
    """Rows as records; the row's number is the line."""
    import pyarrow as pa  # takes long to import, and most nights bring no Parquet
    import pyarrow.parquet as pq

    try:
        with part.file.open("rb") as raw, pq.ParquetFile(raw) as file:
            number = 0
            for batch in file.iter_batches(batch_size=10_000):
                kind = pa.struct([f.with_type(_microseconds(f.type)) for f in batch.schema])
                for row in batch.cast(pa.schema(list(kind)), safe=False).to_pylist():
                    number += 1
                    repairs: list[Repair] = []
                    value = _plain(row, kind, "", repairs)
                    yield Record(number, 1, value, partial(_json_text, value), repairs)
    except (pa.ArrowException, OSError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableFile(f"not a readable Parquet file: {reason}") from error


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _microseconds(kind: Any) -> Any:
    """The Arrow type with nanosecond times cut to microseconds, at every depth."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_microseconds(f.type)) for f in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _microseconds(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_microseconds(kind.value_type))
    return kind


def _plain(value: Any, kind: Any, path: str, repairs: list[Repair]) -> Any:
    """A Parquet value of an Arrow type as the JSON value it stands for."""
    import pyarrow as pa

    if isinstance(value, dict):
        # Every row of a struct has all its fields: one that is null was not given. A map has a null where it is meant.
        return {
            f.name: _plain(value[f.name], f.type, f"{path}.{f.name}" if path else f.name, repairs)
            for f in kind
            if value[f.name] is not None
        }
    if isinstance(value, list) and pa.types.is_map(kind):
        return {str(k): _plain(v, kind.item_type, f"{path}.{k}", repairs) for k, v in value}
    if isinstance(value, list):
        return [_plain(item, kind.value_type, f"{path}[{i}]", repairs) for i, item in enumerate(value)]
    if isinstance(value, str) and isinstance(kind, pa.JsonType):
        with suppress(BadJson):
            value, more = parse_text(value)
            repairs += more
        return value
    if isinstance(value, datetime):
        if value.tzinfo:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):  # older writers, and enums, do not say that it is text
            return value.decode()
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and value - value != 0:
        repairs.append(("non_finite_number", path))
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)  # a duration, a time of day
