"""JSON files to records: lines of values or arrays, values over several lines, one array; each compressed or not.

A line is read at once where it holds one value, as it should. Whatever else is on it is read more slowly: several
values one behind the other, a value that runs on over the next lines, what is too long to be held in memory.
Long, since these ways hand lines back to one another, and must number and refuse them alike.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import IO, Any

import orjson

from . import parquet_records
from .files import BOM, LONGEST_RECORD, FilePart, Record, UnreadableFile, open_bytes
from .json_arrays import Element, element_of, elements, end_of_array, first_elements, values
from .json_text import BadJson, Unfinished, parse, parse_text, value_at

FORMATS = frozenset(
    f"{kind}{packed}" for kind in ("json", "jsonl", "ndjson") for packed in ("", ".gz", ".zst")
) | {"parquet"}
_BLANK = b" \t\r\n"
_BETWEEN = re.compile(r"[ \t\r\n,]*")
# Longer lines and arrays are not held in memory as a whole.
_AT_ONCE = 16 * 1024**2
_KEPT = 256 * 1024  # of a line that is too long; it is cut again where it is stored
# How much may be looked at, over a whole file, of values that begin and do not end.
_MOST_IN_VAIN = 512 * 1024**2


@dataclass(slots=True)
class _Line:
    """data: the line, or the beginning of a very long one. start: how many bytes of the part precede it.

    is_rest: a value that began before ends on it; this is what stands behind that.
    """

    number: int
    start: int
    data: bytes
    is_whole: bool = True
    is_rest: bool = False


def read(part: FilePart, *, exact: bool) -> Iterator[Record]:
    """All records of a JSON or Parquet file in the order of their positions. Raises UnreadableFile."""
    if part.format == "parquet":
        yield from parquet_records.read(part)
        return
    with _Lines(part) as lines:
        yield from _Reading(part, lines, exact).records()


def read_lines(part: FilePart, wanted: set[int], *, exact: bool) -> Iterator[Record]:
    """The records of some lines of a JSON lines file that has no line longer than a record may be."""
    with _Lines(part) as lines:
        reading = _Reading(part, lines, exact)
        reading.may_be_array = False
        for number in sorted(wanted):
            line = lines.skip_to(number)
            if line is not None:
                yield from reading.line(line)


def may_run_on(line: bytes, following: bytes) -> bool:
    """Whether a value that starts on a line may end on a later one, as far as the line that follows tells."""
    text = _text(line)
    _, at, error = _values_in(text)
    if not isinstance(error, Unfinished):
        return False
    _, _, error = _values_in(text[at:] + _text(following), most=1)
    return not error or isinstance(error, Unfinished)


def _text(data: bytes) -> str:
    """Bytes that are not UTF-8 are escaped until it is known in which value they are."""
    return data.removeprefix(BOM).decode("utf-8", "surrogateescape")


def _values_in(
    text: str, at: int = 0, most: int | None = None
) -> tuple[list[tuple[int, int, Any]], int, BadJson | None]:
    """The values in a text (from, to, value), where the last of them ends or the next begins, and what is wrong there."""
    found: list[tuple[int, int, Any]] = []
    while True:
        match = _BETWEEN.match(text, at)
        at = match.end() if match else at
        if at == len(text) or len(found) == most:
            return found, at, None
        try:
            value, end = value_at(text, at)
        except BadJson as error:
            return found, at, error
        found.append((at, end, value))
        at = end


class _Lines:
    """The lines of a part, one after the other; they can be put back, and read on from anywhere."""

    def __init__(self, part: FilePart) -> None:
        self._part = part
        self._ahead: deque[_Line] = deque()
        self._open = ExitStack()

    def __enter__(self) -> _Lines:
        self.go_to(0, self._part.start_line)
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._open.__exit__(*error)

    def go_to(self, start: int, lines_before: int) -> None:
        self._open.close()
        self._stream = self._open.enter_context(_open_at(self._part, start))
        self._at, self._number = start, lines_before
        self._ahead.clear()

    def go_to_end(self) -> None:
        self._ahead.clear()
        self._stream = io.BytesIO()

    def next(self) -> _Line | None:
        if self._ahead:
            return self._ahead.popleft()
        data = self._stream.readline(_AT_ONCE)
        if not data:
            return None
        self._number += 1
        line = _Line(self._number, self._at, data, data.endswith(b"\n") or len(data) < _AT_ONCE)
        self._at += len(data)
        is_whole = line.is_whole
        while not is_whole:
            rest = self._stream.readline(_AT_ONCE)
            is_whole = rest.endswith(b"\n") or len(rest) < _AT_ONCE
            self._at += len(rest)
        return line

    def put_back(self, lines: Iterable[_Line]) -> None:
        self._ahead.extendleft(reversed(list(lines)))

    def skip_to(self, number: int) -> _Line | None:
        """The line of this number, all before it left out; where it starts is not known then."""
        while self._ahead:
            line = self._ahead.popleft()
            if line.number == number:
                return line
        skipped = number - self._number - 1
        if skipped > 0:
            next(islice(iter(self._stream.readline, b""), skipped - 1, None), None)
            self._number, self._at = number - 1, -(1 << 62)
        return self.next()

    def start_of(self, line: _Line) -> int:
        if line.start >= 0:
            return line.start
        with open_bytes(self._part) as stream:
            return sum(map(len, islice(stream, line.number - self._part.start_line - 1)))


@contextmanager
def _open_at(part: FilePart, start: int) -> Iterator[IO[bytes]]:
    with open_bytes(part) as stream:
        while start and (skipped := stream.read(min(start, 1 << 20))):
            start -= len(skipped)
        yield stream


class _Reading:
    """One part being read. may_be_array: no record came yet, so the file may be one array."""

    def __init__(self, part: FilePart, lines: _Lines, exact: bool) -> None:
        self.part, self.lines, self.exact = part, lines, exact
        self.may_be_array = part.start_byte == 0
        self._in_vain = 0

    def records(self) -> Iterator[Record]:
        exact, following = self.exact, self.lines.next
        while (line := following()) is not None:
            if line.is_whole and line.data[:1] == b"{":
                try:
                    value, repairs = parse(line.data, exact=exact)
                except BadJson:
                    pass
                else:
                    self.may_be_array = False
                    yield Record(line.number, 1, value, partial(_readable, line.data), repairs)
                    continue
            yield from self.line(line)

    def line(self, line: _Line) -> Iterator[Record]:
        """The records of a line, however many there are on it, and wherever the last of them ends."""
        if line.data.startswith(BOM):
            line = replace(line, start=line.start + len(BOM), data=line.data.removeprefix(BOM))
        stripped = line.data.lstrip(_BLANK) or (b"" if line.is_whole else self._behind_blanks(line))
        if not stripped:
            return
        may_be_array, self.may_be_array = self.may_be_array, False
        if not line.is_whole:
            opens_array = stripped[:1] == b"["
            numbered = self._numbered(line, opens_array and may_be_array)
            yield from self._long_line(numbered, opens_array, may_be_array)
            return
        try:
            if stripped[:1] == b"[":
                line = self._numbered(line, may_be_array)
                yield from _array(line.data, line.number, self.exact)
            else:
                value, repairs = parse(line.data, exact=self.exact)
                yield Record(line.number, 1, value, partial(_readable, line.data), repairs)
        except BadJson as error:
            if stripped[:1] == b"[" and isinstance(error, Unfinished):
                yield from self._array_over_lines(line, may_be_array)
            else:
                if stripped[:1] == b"[":
                    self._require_array(line, may_be_array, error)
                yield from self._values(line)

    def _numbered(self, line: _Line, may_be_array: bool) -> _Line:
        """An array that is all of a file, but for blank lines, is on its first line."""
        is_all = may_be_array and line.number > self.part.start_line + 1 and self._is_rest_blank()
        return replace(line, number=1) if is_all else line

    # What is on the line and the lines behind it

    def _values(self, line: _Line) -> Iterator[Record]:
        """Several values, or one that runs on over the next lines. One bad record where not all of the line is JSON."""
        text = _text(line.data)
        found, at, error = _values_in(text)
        if not found and error is None:
            error = BadJson("no value on the line")
        ahead: list[_Line] = []
        is_end = False
        while isinstance(error, Unfinished):
            # Twice as much each time, as all of it is looked at again.
            more = list(islice(iter(self.lines.next, None), max(len(ahead), 1)))
            is_end = not more
            if is_end or any(not one.is_whole for one in more) or len(text) > LONGEST_RECORD:
                ahead += more
                break
            ahead += more
            text += "".join(_text(one.data) for one in more)
            last, at, error = _values_in(text, at, most=1)
            found += last
        waits = 0
        if error is not None and not line.is_rest:
            if not line.data.endswith(b"\n"):
                waits = len(line.data)
            elif is_end and ahead and not ahead[-1].data.endswith(b"\n"):
                waits = len(line.data) + sum(len(one.data) for one in ahead)
        if error is None:
            self.lines.put_back(_behind(line, ahead, found[-1][1], text) if ahead else [])
        elif ahead and not waits:
            self._count_in_vain(line, len(text))
            self.lines.put_back(ahead)
        yield from self._accepted(line, text, found, error, waits)

    def _accepted(
        self, line: _Line, text: str, found: list[tuple[int, int, Any]], error: BadJson | None, waits: int
    ) -> Iterator[Record]:
        if error is None:
            try:
                if len(found) == 1 and isinstance(found[0][2], list):
                    # An array by itself, a comma behind it perhaps.
                    alone = text[found[0][0] : found[0][1]].encode("utf-8", "surrogateescape")
                    yield from _array(alone, line.number, self.exact)
                    return
                several = [element_of(text[start:end], value) for start, end, value in found]
            except BadJson as wrong:
                error = wrong
            else:
                for index, element in enumerate(several, 1):
                    yield _record(line.number, index, element)
                return
        yield Record(line.number, 1, None, partial(_readable, line.data), bad=str(error), unfinished=waits)

    def _count_in_vain(self, line: _Line, size: int) -> None:
        self._in_vain += size
        if self._in_vain > _MOST_IN_VAIN:
            raise UnreadableFile(
                f"wrong format: line {line.number} is one of too many on which values begin that do not end"
            )

    def _array_over_lines(self, line: _Line, may_be_array: bool) -> Iterator[Record]:
        """An array that begins here and ends on a later line, read twice: it yields no element before it is known to be
        whole. Where it is the first value of the file, it may be all of it.
        """
        start = self.lines.start_of(line)
        if may_be_array:
            with _open_at(self.part, start) as stream:
                data = stream.read(_AT_ONCE)
            if len(data) < _AT_ONCE:
                try:
                    yield from _array(data, 1, self.exact)
                except BadJson:
                    pass
                else:
                    self.lines.go_to(start + len(data), line.number)
                    return
        try:
            with _open_at(self.part, start) as stream:
                end = end_of_array(stream.read)
        except BadJson as error:
            if may_be_array and isinstance(error, Unfinished):
                raise UnreadableFile("a JSON array that does not end") from None
            if may_be_array and self._is_named_array:
                raise UnreadableFile(f"not one whole JSON array: {error}") from None
            self._count_in_vain(line, _AT_ONCE if self.part.size > _AT_ONCE else self.part.size)
            waits = 0
            if isinstance(error, Unfinished) and not line.is_rest and not self._ends_line():
                waits = self.part.end_byte - self.part.start_byte - start
            yield from self._accepted(self._filled(line), "", [], error, waits)
            if waits:
                self.lines.go_to_end()
            return
        with _open_at(self.part, start) as stream:
            lines_in = sum(piece.count(b"\n") for piece in _pieces(stream, end))
        self.lines.go_to(start + end, line.number + lines_in - 1)
        number = 1 if may_be_array and self._is_rest_blank() else line.number
        with _open_at(self.part, start) as stream:
            for index, element in enumerate(first_elements(stream.read), 1):
                yield _record(number, index, element)

    @property
    def _is_named_array(self) -> bool:
        """Whether it may be meant as one array, by its name: a broken one is no lines then."""
        return self.part.format.split(".")[0] == "json"

    def _ends_line(self) -> bool:
        """Whether the part ends with a line end."""
        last = b""
        with open_bytes(self.part) as stream:
            while data := stream.read(1 << 20):
                last = data[-1:]
        return last == b"\n"

    def _is_rest_blank(self) -> bool:
        """Whether nothing but blank lines follow."""
        seen = []
        while (line := self.lines.next()) is not None:
            seen.append(line)
            if line.data.strip(_BLANK):
                break
        self.lines.put_back(seen)
        return line is None

    # Lines that are not held in memory

    def _long_line(self, line: _Line, opens_array: bool, may_be_array: bool) -> Iterator[Record]:
        for read_values in (elements, values) if opens_array else (values,):
            try:
                # Twice: nothing is yielded before all of the line is known to be JSON.
                count = sum(1 for _ in self._on_line(line, read_values))
            except BadJson as error:
                if read_values is elements:
                    if isinstance(error, Unfinished):
                        yield from self._array_over_lines(line, may_be_array)
                        return
                    self._require_array(line, may_be_array, error)
                continue
            if read_values is values:
                if not count:
                    continue  # commas only
                if opens_array and count == 1:
                    read_values = first_elements  # an array by itself, a comma behind it
            for index, element in enumerate(self._on_line(line, read_values), 1):
                yield _record(line.number, index, element)
            return
        line = self._filled(line)
        if line.is_whole:
            yield from self._values(line)
        else:
            yield _record(line.number, 1, Element(_readable(line.data[:_KEPT]), too_long=True))

    def _behind_blanks(self, line: _Line) -> bytes:
        """What a line begins with that has more blanks before it than are held in memory; empty where nothing follows."""
        with _open_at(self.part, self.lines.start_of(line)) as stream:
            read_on = _one_line(stream)
            while (data := read_on(_AT_ONCE)) and not (stripped := data.lstrip(_BLANK)):
                pass
            return stripped if data else b""

    def _filled(self, line: _Line) -> _Line:
        """All of a line, as far as it is not longer than a record may be."""
        if line.is_whole:
            return line
        with _open_at(self.part, line.start) as stream:
            data = stream.readline(LONGEST_RECORD + 1)
        return replace(line, data=data, is_whole=data.endswith(b"\n") or len(data) <= LONGEST_RECORD)

    def _require_array(self, line: _Line, may_be_array: bool, error: BadJson) -> None:
        """Raises UnreadableFile where a file that is meant as one array is broken in there."""
        if not (may_be_array and self._is_named_array):
            return
        try:
            for _ in self._on_line(line, first_elements):
                pass
        except BadJson:
            raise UnreadableFile(f"not one whole JSON array: {error}") from None

    def _on_line(
        self, line: _Line, read_values: Callable[[Callable[[int], bytes]], Iterator[Element]]
    ) -> Iterator[Element]:
        with _open_at(self.part, self.lines.start_of(line)) as stream:
            yield from read_values(_one_line(stream))


def _behind(line: _Line, ahead: list[_Line], end: int, text: str) -> list[_Line]:
    """Of lines that were looked at, what is behind a value that ends `end` characters behind the beginning of `line`."""
    at = len(_text(line.data))
    for index, one in enumerate(ahead):
        length = len(_text(one.data))
        if end <= at + length:
            rest = text[end : at + length].encode("utf-8", "surrogateescape")
            if not rest.strip(_BLANK + b","):
                return ahead[index + 1 :]
            start = one.start + len(one.data) - len(rest)
            return [_Line(one.number, start, rest, is_rest=True), *ahead[index + 1 :]]
        at += length
    return []


def _pieces(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size and (data := stream.read(min(size, 1 << 20))):
        size -= len(data)
        yield data


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


def _readable(line: bytes) -> str:
    return line.rstrip(b"\n").removesuffix(b"\r").decode("utf-8", "replace")


def _array(data: bytes, line_number: int, exact: bool) -> Iterator[Record]:
    """The elements of one array, each with its own repairs. Raises BadJson before the first is yielded."""
    if not exact:
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
        else:
            texts: list[str] = []

            def text_of(index: int) -> str:
                if not texts:
                    texts.extend(element.text for element in elements(io.BytesIO(data).read))
                return texts[index]

            for index, value in enumerate(found):
                if _has_long_integer(value):
                    value = parse_text(text_of(index))[0]
                yield Record(line_number, index + 1, value, lambda i=index: text_of(i))  # type: ignore[misc]
            return
    for index, element in enumerate(list(elements(io.BytesIO(data).read)), 1):
        yield _record(line_number, index, element)


def _has_long_integer(value: Any) -> bool:
    """Whether orjson may have turned a long integer at the top of a record into a float."""
    return isinstance(value, dict) and any(isinstance(v, float) and abs(v) >= 2**63 for v in value.values())
