"""Parquet files to records: the JSON values that their rows stand for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from .files import FilePart, Record, UnreadableFile
from .json_text import BadJson, Repair, parse_text

# Where records have an object, tables without nested columns have its JSON text.
_OBJECTS = ("request", "response", "metadata", "campaign")


def read(part: FilePart) -> Iterator[Record]:
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
                    for name in _OBJECTS:
                        if isinstance(value.get(name), str):
                            value[name] = _parsed(value[name], repairs)
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


def _parsed(text: str, repairs: list[Repair]) -> Any:
    """The object that a JSON text says; any other text as it is."""
    if text.lstrip()[:1] == "{":
        with suppress(BadJson):
            value, more = parse_text(text)
            repairs += more
            return value
    return text
