"""Tables to records: CSV, XLSX, and a ZIP of either. A record is a dict of header to text."""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from typing import Any

from . import csv_records
from .csv_records import Columns, Header, NoteFile, Table, require
from .files import FilePart, Record, UnreadableFile, most_unpacked

CSV_FORMATS = csv_records.FORMATS
EXPORT_FORMATS = CSV_FORMATS | {"xlsx", "zip"}
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


def read(part: FilePart, columns: Columns, note: NoteFile, *, grows: bool = False) -> Iterator[Record]:
    """All rows of a CSV, XLSX or ZIP file in the order of their positions. Raises UnreadableFile.

    grows: a CSV file may go on later. note: is told what was changed in the file as a whole.
    """
    if part.format == "zip":
        yield from _zip(part, columns, note)
    elif part.format == "xlsx":
        yield from _xlsx(part.file.read_bytes(), 0, columns, note)[0]
    else:
        yield from csv_records.read(part, columns, note, grows=grows)


def _xlsx(
    data: bytes, lines_before: int, columns: Columns, note: NoteFile, where: str = ""
) -> tuple[list[Record], int]:
    """The rows of every sheet that is seen; sheets go on where the one before ended."""
    import python_calamine  # most nights bring no XLSX

    _require_modest(data)
    seen = python_calamine.SheetVisibleEnum.Visible
    try:
        workbook = python_calamine.load_workbook(io.BytesIO(data))
        sheets = [
            (sheet.name, workbook.get_sheet_by_name(sheet.name).to_python(skip_empty_area=False))
            for sheet in workbook.sheets_metadata
            if sheet.visible == seen
        ]
    except (python_calamine.CalamineError, ValueError, OSError) as error:
        raise UnreadableFile(f"not a readable XLSX file: {where}{error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the library's, on broken files; it is no Exception
            raise
        raise UnreadableFile(f"not a readable XLSX file: {where}its reader gave up") from None
    for sheet in workbook.sheets_metadata:
        if sheet.visible != seen:
            note(
                lines_before + 1, "sheet_hidden", f"{where}the sheet {sheet.name!r} is hidden: it is left out"
            )
    records: list[Record] = []
    for name, rows in sheets:
        titles = [_cell(cell) for cell in rows[0]] if rows else []
        if any(any(_cell(cell) for cell in row) for row in rows):
            require(columns, titles, None, f"{where}sheet {name!r}: ")
        header = Header.of(titles, columns)
        for number, cells in enumerate(rows[1:], lines_before + 2):
            texts = [_cell(cell) for cell in cells]
            if not any(texts):
                continue
            shown = partial(header.shown, texts, ",".join(texts))
            row = header.row(texts, wide=True)
            records.append(Record(number, 1, row, shown, is_table=True))
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


def _is_link(member: zipfile.ZipInfo) -> bool:
    """A symbolic link holds a path, and no rows."""
    return stat.S_ISLNK(member.external_attr >> 16)


def _zip(part: FilePart, columns: Columns, note: NoteFile) -> Iterator[Record]:
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
                    and not _is_link(m)
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
                where = f"{member.filename}: "
                if member.filename.lower().endswith(".xlsx"):
                    records, lines = _xlsx(archive.read(member), lines, columns, note, where)
                    yield from records
                else:
                    table = Table(partial(archive.open, member), columns, note, lines, where)
                    yield from table.records()
                    lines = table.lines
    except _BROKEN_ZIP as error:
        raise UnreadableFile(f"not a readable ZIP file: {error}") from error
