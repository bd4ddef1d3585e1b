"""Tables to records: CSV, XLSX, and a ZIP of either. A record is a dict of header to text."""

from __future__ import annotations

import csv
import io
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import IO, Any

from .files import BOM, LONGEST_RECORD, FilePart, Record, UnreadableFile, most_unpacked, open_bytes

CSV_FORMATS = frozenset({"csv"})
EXPORT_FORMATS = frozenset({"csv", "xlsx", "zip"})
# Hostile archives: what one ZIP may unpack to.
_MAX_UNPACKED = 2 * 1024**3
_MAX_MEMBERS = 1000
_MAX_CELLS = 20_000_000
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    struct.error,
)
_CELL_NAME = re.compile(rb"""\br\s*=\s*["']([A-Z]{1,3})(\d{1,7})["']""")
_LONGEST_LINE = LONGEST_RECORD + 1
_LONE_RETURN = re.compile(r"\r(?!\n)")
csv.field_size_limit(16 * 1024**2)


def read(part: FilePart) -> Iterator[Record]:
    """All rows of a CSV, XLSX or ZIP file in the order of their places. Raises UnreadableFile."""
    if part.format == "zip":
        yield from _zip(part)
    elif part.format == "xlsx":
        yield from _xlsx(part.file.read_bytes(), 0)[0]
    else:
        header = _header_line(part) if part.start_byte else None
        with open_bytes(part) as stream:
            yield from _csv(_TextLines(stream), part.start_line, header, may_go_on=True)


def _header_line(part: FilePart) -> list[str]:
    """The header of a CSV file of which only the added part is read."""
    with open_bytes(replace(part, start_byte=0, start_line=0, end_byte=part.start_byte)) as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", "replace", newline="")
        return _names(next(csv.reader(text), []))


class _TextLines:
    """The lines of a CSV as text, counted. row: those of the row that is being read, as text that can be shown."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.count = 0
        self.row: list[str] = []
        self.row_bytes = 0
        self.damaged = False

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(_LONGEST_LINE):
            self.count += 1
            self.row_bytes += len(line)
            if len(line) == _LONGEST_LINE:
                raise UnreadableFile(f"not a readable CSV file: line {self.count} is longer than 64 MiB")
            if self.count == 1:
                line = line.removeprefix(BOM)
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                text, self.damaged = line.decode("utf-8", "replace"), True
            if "\0" in text:
                text, self.damaged = text.replace("\0", "\ufffd"), True
            # Only \n ends a line; the csv module would stop at a lone \r, so it is put aside as \0.
            text = _LONE_RETURN.sub("\0", text)
            self.row.append(text)
            yield text


def _csv(
    lines: _TextLines, lines_before: int, header: list[str] | None, *, may_go_on: bool = False
) -> Iterator[Record]:
    """may_go_on: a last row that is short of cells and has no line end may be one that is being written."""
    reader = csv.reader(iter(lines))
    start = 0
    while True:
        lines.row.clear()
        lines.row_bytes = 0
        lines.damaged = False
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableFile(
                f"not a readable CSV file: line {lines_before + start + 1}: {error}"
            ) from error
        line_number, start = lines_before + start + 1, reader.line_num
        is_cut = may_go_on and not lines.row[-1].endswith(("\n", "\0"))
        raw = "".join(lines.row).rstrip("\r\n").replace("\0", "\r")
        row = [cell.replace("\0", "\r") for cell in row]
        if header is None:
            header = _names(row)
        elif raw.strip() and is_cut and len(row) < len(header):
            yield Record(
                line_number,
                1,
                None,
                lambda r=raw: r,  # type: ignore[misc]
                bad=f"the last row has no end and {len(row)} of {len(header)} cells",
                bad_reason="bad_csv_row",
                unfinished=lines.row_bytes,
            )
        elif raw.strip():
            repairs = [("invalid_text", "bytes that are not UTF-8 became U+FFFD")] if lines.damaged else []
            yield Record(line_number, 1, _row(header, row), lambda r=raw: r, repairs)  # type: ignore[misc]


def _names(header: list[str]) -> list[str]:
    """The names of columns. Where a header stands twice, the first keeps it: no cell is lost."""
    times: Counter[str] = Counter()
    names = []
    for cell in header:
        times[cell] += 1
        names.append(cell if times[cell] == 1 else f"{cell} ({times[cell]})")
    return names


def _row(header: list[str], cells: list[str]) -> dict[str, str]:
    names = [*header, *(f"column {i + 1}" for i in range(len(header), len(cells)))]
    return dict(zip(names, cells, strict=False))


def _xlsx(data: bytes, lines_before: int) -> tuple[list[Record], int]:
    """The rows of every sheet; sheets go on where the one before ended."""
    import python_calamine  # most nights bring no XLSX

    _require_modest(data)
    try:
        workbook = python_calamine.load_workbook(io.BytesIO(data))
        sheets = [
            workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in workbook.sheet_names
        ]
    except (python_calamine.CalamineError, ValueError, OSError) as error:
        raise UnreadableFile(f"not a readable XLSX file: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the library's, on broken files; it is no Exception
            raise
        raise UnreadableFile("not a readable XLSX file: its reader gave up") from None
    records: list[Record] = []
    for rows in sheets:
        header = _names([_cell(c) for c in rows[0]]) if rows else []
        for number, cells in enumerate(rows[1:], lines_before + 2):
            texts = [_cell(c) for c in cells]
            if any(texts):
                records.append(Record(number, 1, _row(header, texts), lambda t=texts: ",".join(t)))  # type: ignore[misc]
        lines_before += len(rows)
    return records, lines_before


def _require_modest(data: bytes) -> None:
    """Raises UnreadableFile where a workbook would take more memory than there is: two cells span a whole table."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            if "xl/workbook.xml" not in names or names & {"content.xml", "xl/workbook.bin"}:
                raise UnreadableFile("not a readable XLSX file: a workbook of another format")
            if sum(member.file_size for member in archive.infolist()) > most_unpacked(len(data)):
                raise UnreadableFile("not a readable XLSX file: it unpacks to too much")
            for name in names:
                if name.endswith(".xml") and _cells_spanned(archive, name) > _MAX_CELLS:
                    raise UnreadableFile(
                        f"not a readable XLSX file: a sheet spans more than {_MAX_CELLS:,} cells"
                    )
    except _BROKEN_ZIP as error:
        raise UnreadableFile(f"not a readable XLSX file: {error}") from error


def _cells_spanned(archive: zipfile.ZipFile, name: str) -> int:
    """How large a table the cells of a sheet span, by the names that they have."""
    width = height = 0
    text = b""
    with archive.open(name) as stream:
        while chunk := stream.read(1 << 20):
            text = text[-32:] + chunk
            for column, row in _CELL_NAME.findall(text):
                number = 0
                for letter in column:
                    number = number * 26 + letter - 64
                width, height = max(width, number), max(height, int(row))
    return width * height


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


def _is_hidden(name: str) -> bool:
    """What macOS puts into an archive beside each file, say."""
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")


def _zip(part: FilePart) -> Iterator[Record]:
    """The rows of a ZIP's tables in the order of their names; lines go on from one member to the next."""
    lines = 0
    try:
        with zipfile.ZipFile(part.file) as archive:
            members = sorted(
                (
                    m
                    for m in archive.infolist()
                    if not m.is_dir()
                    and m.filename.lower().endswith((".csv", ".xlsx"))
                    and not _is_hidden(m.filename)
                ),
                key=lambda m: m.filename.encode(),
            )
            if not members:
                raise UnreadableFile("no CSV or XLSX file in the archive")
            unpacked = sum(m.file_size for m in members)
            if len(members) > _MAX_MEMBERS or unpacked > min(_MAX_UNPACKED, most_unpacked(part.size)):
                raise UnreadableFile(
                    "the archive unpacks to more than 1,000 tables, 2 GiB or 300 times its size"
                )
            for member in members:
                with archive.open(member) as stream:
                    if member.filename.lower().endswith(".xlsx"):
                        records, lines = _xlsx(stream.read(), lines)
                        yield from records
                    else:
                        text = _TextLines(stream)
                        yield from _csv(text, lines, None)
                        lines += text.count
    except _BROKEN_ZIP as error:
        raise UnreadableFile(f"not a readable ZIP file: {error}") from error
