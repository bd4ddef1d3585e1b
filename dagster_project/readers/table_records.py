"""Tables to records: CSV, XLSX, and a ZIP of either. A record is a dict of header to text."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from .files import BOM, FilePart, Record, UnreadableFile, open_bytes

CSV_FORMATS = frozenset({"csv"})
EXPORT_FORMATS = frozenset({"csv", "xlsx", "zip"})
# Hostile archives: what one ZIP may unpack to.
_MAX_MEMBER_BYTES = 2 * 1024**3
_MAX_MEMBERS = 1000
_LONE_RETURN = re.compile(r"\r(?!\n)")
csv.field_size_limit(16 * 1024**2)


def read(part: FilePart) -> Iterator[Record]:
    """All rows of a CSV, XLSX or ZIP file in the order of their places. Raises UnreadableFile."""
    if part.format == "zip":
        yield from _zip(part)
    elif part.format == "xlsx":
        yield from _xlsx(part.file.read_bytes(), 0)[0]
    else:
        with open_bytes(part) as stream:
            data = stream.read()
        header = _header_line(part) if part.start_byte else None
        yield from _csv(data, part.start_line, header)


def _header_line(part: FilePart) -> list[str]:
    """The header of a CSV file of which only the added part is read."""
    whole = FilePart(
        part.file_seq, part.source, part.path, part.file, 0, 0, part.start_byte, None, part.first_seen
    )
    with open_bytes(whole) as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", "replace", newline="")
        return next(csv.reader(text), [])


def _csv(data: bytes, lines_before: int, header: list[str] | None) -> Iterator[Record]:
    try:
        text, damaged = data.removeprefix(BOM).decode("utf-8"), False
    except UnicodeDecodeError:
        text, damaged = data.removeprefix(BOM).decode("utf-8", "replace"), True
    if "\0" in text:
        text, damaged = text.replace("\0", "\ufffd"), True
    # Only \n ends a line; the csv module would stop at a lone \r, so it is put aside as \0.
    text = _LONE_RETURN.sub("\0", text)
    lines: list[str] = []  # the physical lines of the row being read, for its text as it came

    def feed() -> Iterator[str]:
        for line in io.StringIO(text, newline="\n"):
            lines.append(line)
            yield line

    reader = csv.reader(feed())
    start = 0
    while True:
        lines.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableFile(
                f"not a readable CSV file: line {lines_before + start + 1}: {error}"
            ) from error
        line_number, start = lines_before + start + 1, reader.line_num
        raw = "".join(lines).rstrip("\r\n").replace("\0", "\r")
        row = [cell.replace("\0", "\r") for cell in row]
        if header is None:
            header = row
        elif raw.strip():
            repairs = (
                [("invalid_text", "bytes that are not UTF-8 became U+FFFD")]
                if damaged and "\ufffd" in raw
                else []
            )
            yield Record(line_number, 1, _row(header, row), lambda r=raw: r, repairs)  # type: ignore[misc]


def _row(header: list[str], cells: list[str]) -> dict[str, str]:
    names = [*header, *(f"column {i + 1}" for i in range(len(header), len(cells)))]
    return dict(zip(names, cells, strict=False))


def _xlsx(data: bytes, lines_before: int) -> tuple[list[Record], int]:
    """The rows of every sheet; sheets go on where the one before ended."""
    import python_calamine  # most nights bring no XLSX

    try:
        workbook = python_calamine.load_workbook(io.BytesIO(data))
        sheets = [
            workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in workbook.sheet_names
        ]
    except (python_calamine.CalamineError, ValueError, OSError) as error:
        raise UnreadableFile(f"not a readable XLSX file: {error}") from error
    records: list[Record] = []
    for rows in sheets:
        header = [_cell(c) for c in rows[0]] if rows else []
        for number, cells in enumerate(rows[1:], lines_before + 2):
            texts = [_cell(c) for c in cells]
            if any(texts):
                records.append(Record(number, 1, _row(header, texts), lambda t=texts: ",".join(t)))  # type: ignore[misc]
        lines_before += len(rows)
    return records, lines_before


def _cell(value: Any) -> str:
    """A cell as HubSpot's CSV would show it: ids without a decimal point, times to the minute."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S" if value.second else "%Y-%m-%d %H:%M")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _zip(part: FilePart) -> Iterator[Record]:
    """The rows of a ZIP's tables in the order of their names; lines go on from one member to the next."""
    lines = 0
    try:
        with zipfile.ZipFile(part.file) as archive:
            members = sorted(
                (
                    m
                    for m in archive.infolist()
                    if not m.is_dir() and m.filename.lower().endswith((".csv", ".xlsx"))
                ),
                key=lambda m: m.filename.encode(),
            )
            if not members:
                raise UnreadableFile("no CSV or XLSX file in the archive")
            if len(members) > _MAX_MEMBERS or sum(m.file_size for m in members) > _MAX_MEMBER_BYTES:
                raise UnreadableFile("the archive unpacks to more than 1,000 tables or 2 GiB")
            for member in members:
                with archive.open(member) as stream:
                    data = stream.read(_MAX_MEMBER_BYTES)
                if member.filename.lower().endswith(".xlsx"):
                    records, lines = _xlsx(data, lines)
                    yield from records
                else:
                    yield from _csv(data, lines, None)
                    lines += data.count(b"\n") + (not data.endswith(b"\n"))
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        OSError,
        EOFError,
        zlib.error,
    ) as error:
        raise UnreadableFile(f"not a readable ZIP file: {error}") from error
