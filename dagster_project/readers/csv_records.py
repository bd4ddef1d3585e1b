"""CSV as people have it, to records: whatever the separator, the encoding and the ends of its lines.

A record is a dict of header to text. A cell is text: nothing is made a number or a time here.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, NamedTuple

from .files import BOM, LONGEST_RECORD, UTF_16, FilePart, Record, UnreadableFile, open_bytes
from .redact import HIDDEN, is_credential, redact_words

FORMATS = frozenset({"csv", "csv.gz", "csv.zst"})
# What was changed in the file as a whole: the line where it is first seen, what, and the detail.
NoteFile = Callable[[int, str, str], None]
_SEPARATORS = (",", ";", "\t")
_SEPARATOR_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)
_LONE_RETURN = re.compile(r"\r(?!\n)")
_BOM = "\ufeff"
_LONGEST_LINE = LONGEST_RECORD + 1
_PIECE = 1 << 20
_BEGINNING = 1 << 16
_MOST_HEADERS_SHOWN = 20
csv.field_size_limit(16 * 1024**2)


@dataclass(frozen=True)
class Columns:
    """What a source takes of a table.

    needed: columns without which no row can be used; of each, the names that it may have. fields: names that stand in
    the records as they are spelled here, in whatever case they are in the file.
    """

    needed: Sequence[Sequence[str]]
    fields: Sequence[str] = ()

    def missing(self, names: Sequence[str]) -> list[str]:
        found = {plain(name) for name in names}
        return [group[0] for group in self.needed if not any(plain(name) in found for name in group)]


def plain(name: str) -> str:
    """A header without what people write differently."""
    return name.strip().casefold()


@dataclass(frozen=True)
class Header:
    """names: of the columns, unique. hidden: the columns that hold credentials."""

    names: Sequence[str]
    hidden: Sequence[int]

    @classmethod
    def of(cls, cells: Sequence[str], columns: Columns) -> Header:
        """Names are trimmed; where one stands twice, the first keeps it: no cell is lost."""
        trimmed = [cell.strip() for cell in cells]
        while trimmed and not trimmed[-1]:
            trimmed.pop()
        for name in columns.fields:
            if name not in trimmed:  # the exact spelling first, then the first of any other
                alike = [index for index, other in enumerate(trimmed) if plain(other) == plain(name)]
                trimmed = [name if [index] == alike[:1] else other for index, other in enumerate(trimmed)]
        times: Counter[str] = Counter()
        names = []
        for index, cell in enumerate(trimmed, 1):
            name = cell or f"column {index}"
            times[name] += 1
            names.append(name if times[name] == 1 else f"{name} ({times[name]})")
        return cls(names, [index for index, name in enumerate(names) if is_credential(name)])

    def row(self, cells: list[str], *, wide: bool = False) -> dict[str, str] | None:
        """The row's cells by their columns; what is missing is empty. None where there are more cells than columns.

        wide: cells may stand behind the last column, as in a spreadsheet, where they shift no others.
        """
        width, names = len(self.names), self.names
        if len(cells) < width:
            cells = cells + [""] * (width - len(cells))
        elif len(cells) > width and any(cell.strip() for cell in cells[width:]):
            if not wide:
                return None
            names = [*names]
            names += [f"column {number}" for number in range(width + 1, len(cells) + 1)]
        row = dict(zip(names, cells, strict=False))
        for index in self.hidden:
            row[self.names[index]] = row[self.names[index]] and HIDDEN
        return row

    def shown(self, cells: Sequence[str], raw: str, separator: str = ",") -> str:
        """A row as text that may be kept: as it came, but for credentials. Where cells are shifted, it keeps less."""
        if not self.hidden:
            return raw
        first = self.hidden[0]
        shifted = len(cells) > len(self.names)
        text = io.StringIO()
        csv.writer(text, delimiter=separator, lineterminator="").writerow(
            HIDDEN if cell and (index in self.hidden or (shifted and index >= first)) else cell
            for index, cell in enumerate(cells)
        )
        return text.getvalue()


def require(columns: Columns, cells: Sequence[str], separator: str | None, where: str = "") -> None:
    """Raises UnreadableFile where a header lacks what a source must have."""
    missing = columns.missing(cells)
    if missing:
        found = ", ".join(_title(cell) for cell in cells[:_MOST_HEADERS_SHOWN])
        more = ", …" if len(cells) > _MOST_HEADERS_SHOWN else ""
        by = ""
        if separator is not None:
            by = f" (separator: {_SEPARATOR_NAMES.get(separator, repr(separator))})"
        raise UnreadableFile(
            f"{where}the header has no column {', '.join(missing)}; the headers found{by}: "
            f"{redact_words(found) or 'none'}{more}"
        )


def _title(cell: str) -> str:
    """A header for people; where it looks like a value, the file has no header: values are not shown."""
    name = cell.strip()
    is_value = "@" in name or len(name) > 60 or sum(letter.isdigit() for letter in name) > 3
    return "a value" if is_value else repr(name)


def read(part: FilePart, columns: Columns, note: NoteFile, *, grows: bool) -> Iterator[Record]:
    """The rows of a CSV file in the order of their positions. Raises UnreadableFile.

    grows: such a file may go on later; a last row that is only begun then waits (`Record.unfinished`).
    """
    head, wide = None, None
    if part.start_byte:
        # Of a file that grew only the added part is read: its header stands at the beginning.
        before = replace(part, start_byte=0, start_line=0, end_byte=part.start_byte)
        with open_bytes(before) as stream:
            beginning = stream.read(_BEGINNING)
        if beginning.startswith(UTF_16):
            wide = "utf-16-le" if beginning.startswith(UTF_16[0]) else "utf-16-be"
        line_end = "\n" if b"\n" in beginning else "\r"
        with open_bytes(before) as stream:
            head = _head(_Lines(stream, wide or "utf-8", line_end), columns, "")
    yield from Table(
        partial(open_bytes, part), columns, note, part.start_line, head=head, wide=wide, grows=grows
    ).records()


class Head(NamedTuple):
    separator: str
    header: Header


@dataclass
class Table:
    """One CSV text. lines: those before it, in the end with its own; where: what errors begin with.

    wide: its encoding, where it is UTF-16 without its beginning. grows: it may go on later.
    """

    opened: Callable[[], AbstractContextManager[IO[bytes]]]
    columns: Columns
    note: NoteFile
    lines: int = 0
    where: str = ""
    head: Head | None = None
    wide: str | None = None
    grows: bool = False

    def records(self) -> Iterator[Record]:
        text = _survey(self.opened, self.wide)
        if text.odd_line is not None:
            line = self.lines + text.odd_line
            self.note(line, "not_utf8", f"{self.where}line {line} is not UTF-8: read as cp1252 (Windows)")
        with self.opened() as stream:
            lines = _Lines(stream, text.encoding, text.line_end)
            yield from self._rows(lines, text)
            self.lines += lines.count
            lines.detach()

    def _rows(self, lines: _Lines, text: _Text) -> Iterator[Record]:
        separator, header = self.head or _head(lines, self.columns, self.where)
        reader = csv.reader(iter(lines), delimiter=separator)
        while True:
            line = self.lines + lines.count + 1
            lines.row.clear()
            lines.has_nul = False
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UnreadableFile(
                    f"not a readable CSV file: {self.where}line {line}: {error} (is a quote not closed?)"
                ) from error
            if lines.ended:  # in the middle of the row
                raise UnreadableFile(
                    f"not a readable CSV file: {self.where}line {line}: a quote that is opened there is not closed"
                )
            raw = "".join(lines.row)
            if not raw.strip():
                continue
            if lines.has_lone_returns:
                cells = [cell.replace("\0", "\r") for cell in cells]
            raw = raw.rstrip("\r\n")
            shown = partial(header.shown, cells, raw, separator)
            row = header.row(cells)
            if row is None:
                bad = f"{len(cells)} cells, and the header has {len(header.names)}: {_advice(separator)}"
                yield Record(line, 1, None, shown, bad=bad, bad_reason="bad_csv_row", is_table=True)
            elif (
                self.grows
                and len(cells) < len(header.names)
                and lines.count == text.lines
                and not text.ends_line
            ):
                bad = f"the last row has no line end and {len(cells)} of {len(header.names)} cells"
                yield Record(
                    line,
                    1,
                    None,
                    shown,
                    bad=bad,
                    bad_reason="bad_csv_row",
                    is_table=True,
                    unfinished=text.last_bytes,
                )
            else:
                repairs = [("invalid_text", "NUL characters became U+FFFD")] if lines.has_nul else []
                yield Record(line, 1, row, shown, repairs, is_table=True)


def _advice(separator: str) -> str:
    return f"a cell with {_SEPARATOR_NAMES.get(separator, repr(separator))} in it must stand in quotes"


def _head(lines: _Lines, columns: Columns, where: str) -> Head:
    """The separator and the header, from the first lines. An empty file has no columns, and no rows."""
    separators: Sequence[str] = _SEPARATORS
    text = ""
    for line in lines:
        if not text and lines.count == 1 and (match := _SEPARATOR_LINE.fullmatch(line)):
            separators = (match[1],)
            continue
        text += line
        if text.strip() and text.count('"') % 2 == 0:
            break
    if not text.strip():
        return Head(separators[0], Header((), ()))
    if text.lstrip()[:1] in ("{", "["):
        raise UnreadableFile(f"wrong format: {where}it is JSON in a .csv: name it .jsonl or .json")
    found = {
        by: next(csv.reader(io.StringIO(text.strip("\r\n"), newline=""), delimiter=by), [])
        for by in separators
    }
    # Whatever gives the columns that are needed; if none does, what gives most: it is named in the error.
    by = min(separators, key=lambda by: (len(columns.missing(found[by])), -len(found[by])))
    require(columns, found[by], by, where)
    return Head(by, Header.of(found[by], columns))


class _Text(NamedTuple):
    """encoding, line_end: how a CSV is to be read. odd_line: the first that is not UTF-8. lines: how many there are;
    last_bytes: how many bytes the last of them has, where it has no line end."""

    encoding: str
    line_end: str
    odd_line: int | None
    lines: int
    last_bytes: int

    @property
    def ends_line(self) -> bool:
        return self.last_bytes == 0


def _survey(opened: Callable[[], AbstractContextManager[IO[bytes]]], wide: str | None) -> _Text:
    with opened() as stream:
        data = stream.read(_PIECE)
        if wide or data.startswith(UTF_16):
            return _survey_wide(stream, data, wide or "utf-16")
        decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        ends = {b"\n": _Ends(), b"\r": _Ends()}
        is_utf8, at = True, 0
        not_utf8: dict[bytes, int] = {}
        while True:
            if is_utf8:
                try:
                    decode(data, not data)
                except UnicodeDecodeError as error:
                    is_utf8 = False
                    good = max(error.start - (len(error.object) - len(data)), 0)
                    not_utf8 = {
                        end: found.count + data.count(end, 0, good) + 1 for end, found in ends.items()
                    }
            if not data:
                break
            for end, found in ends.items():
                found.see(data, end, at)
            at += len(data)
            data = stream.read(_PIECE)
        end = b"\r" if ends[b"\r"].count and not ends[b"\n"].count else b"\n"
        found, last = ends[end], at - ends[end].behind
        return _Text(
            "utf-8" if is_utf8 else "cp1252", end.decode(), not_utf8.get(end), found.count + (last > 0), last
        )


def _survey_wide(stream: IO[bytes], data: bytes, encoding: str) -> _Text:
    decode = codecs.getincrementaldecoder(encoding)("replace").decode
    counts: Counter[str] = Counter()
    last = ""
    while data:
        text = decode(data)
        counts.update({mark: text.count(mark) for mark in "\r\n"})
        last = (last + text).rpartition("\n")[2]
        data = stream.read(_PIECE)
    end = "\r" if counts["\r"] and not counts["\n"] else "\n"
    last = last.rpartition(end)[2]
    return _Text(encoding, end, None, counts[end] + (last != ""), len(last.encode("utf-16-le")))


@dataclass
class _Ends:
    """The line ends of one kind: how many, and how many bytes precede what is behind the last."""

    count: int = 0
    behind: int = 0

    def see(self, data: bytes, end: bytes, at: int) -> None:
        if found := data.count(end):
            self.count += found
            self.behind = at + data.rindex(end) + 1


class _Lines:
    """The lines of a CSV as text, counted. row: those of the row that is being read, as they came.

    ended: there are no more, and somebody asked for one.
    """

    def __init__(self, stream: IO[bytes], encoding: str, line_end: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding, "replace", newline=line_end)
        self._lone_returns = line_end != "\r"
        self._bom = _BOM if encoding != "cp1252" else BOM.decode("cp1252")
        self.count = 0
        self.row: list[str] = []
        self.ended = False
        self.has_lone_returns = False
        self.has_nul = False

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(_LONGEST_LINE):
            self.count += 1
            if len(line) == _LONGEST_LINE:
                raise UnreadableFile(f"not a readable CSV file: line {self.count} is longer than 64 MiB")
            if not self.row:
                line = line.removeprefix(self._bom)  # files that were joined have one in the middle, too
            if "\0" in line:
                self.has_nul = True
                line = line.replace("\0", "\ufffd")
            self.row.append(line)
            if self._lone_returns and _LONE_RETURN.search(line):
                # Only \n ends a line; the csv module would stop at a lone \r, so it is put aside as \0.
                self.has_lone_returns = True
                line = _LONE_RETURN.sub("\0", line)
            yield line
        self.ended = True

    def detach(self) -> None:
        """Leave the stream to who opened it."""
        self._text.detach()
