"""One JSON array, or values one behind the other, however long: in memory is one element and a bit of what follows.

The text comes from a stream, so that an array of gigabytes costs no more memory than its largest element.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .files import LONGEST_RECORD
from .json_text import BadJson, Repair, Unfinished, interpreted, parse_text, value_at

_PIECE = 1 << 20
_WHITESPACE = re.compile(r"[ \t\n\r]*")
_ESCAPED = re.compile("[\udc80-\udcff]")
_STRING_END = re.compile(r'(?:[^"\\]++|\\.)*+"', re.DOTALL)
_MARK = re.compile(r'["\[\]{},]')
_BRACKET = re.compile(r'["\[\]{}]')
# Of an element that is too long, this much is kept; it is cut again where it is stored.
_KEPT = 1 << 18


@dataclass(slots=True)
class Element:
    """text: as it came, bytes that are not UTF-8 as U+FFFD. too_long: nothing but the text's beginning is known."""

    text: str
    value: Any = None
    repairs: list[Repair] = field(default_factory=list)
    too_long: bool = False


class _Window:
    """The part of the text that is looked at: from `at` on, more is read when it is asked for."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._read_bytes = 0
        # Bytes that are not UTF-8 are kept apart until it is known in which element they are.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self.before, self.ended = "", 0, 0, False

    def more(self, size: int = _PIECE) -> bool:
        """Read on. False: there was nothing more."""
        if self.ended:
            return False
        data = self._read(size)
        self.ended = not data
        self._read_bytes += len(data)
        self.before += self.at
        self.text, self.at = self.text[self.at :] + self._decoder.decode(data, self.ended), 0
        return not self.ended

    def mark(self) -> str:
        """The next character that is no white space, without taking it; '' at the end."""
        while True:
            match = _WHITESPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def bytes_before(self) -> int:
        """How many bytes of the stream precede what is looked at."""
        behind = len(self.text[self.at :].encode("utf-8", "surrogateescape"))
        return self._read_bytes - behind - len(self._decoder.getstate()[0])

    def position(self) -> int:
        """How many characters precede what is looked at, counted from 1."""
        return self.before + self.at + 1


def elements(read: Callable[[int], bytes]) -> Iterator[Element]:
    """The elements of the one array that a stream holds. Raises BadJson where it is none, also in the middle of it:
    Unfinished where the stream ends before the array does.
    """
    window = _Window(read)
    yield from _elements(window)
    if window.mark():
        raise BadJson(f"text after the array at character {window.position()}")


def end_of_array(read: Callable[[int], bytes]) -> int:
    """How many bytes the array has with which a stream begins. Raises as `elements`."""
    window = _Window(read)
    for _ in _elements(window):
        pass
    return window.bytes_before()


def first_elements(read: Callable[[int], bytes]) -> Iterator[Element]:
    """As `elements`, of the array with which a stream begins; more may follow."""
    yield from _elements(_Window(read))


def values(read: Callable[[int], bytes]) -> Iterator[Element]:
    """The values that follow each other in a stream, blanks and commas between them. Raises BadJson."""
    window = _Window(read)
    while mark := window.mark():
        if mark == ",":
            window.at += 1
        else:
            yield _element(window, glued=True)


def _elements(window: _Window) -> Iterator[Element]:
    if window.mark() != "[":
        raise BadJson("not an array")
    window.at += 1
    if window.mark() == "]":
        window.at += 1
    else:
        while True:
            window.mark()
            yield _element(window)
            mark = window.mark()
            window.at += 1
            if mark == "]":
                break
            if not mark:
                raise Unfinished("the array does not end")
            if mark != ",":
                raise BadJson(f"the array does not go on or end at character {window.position() - 1}")


def _element(window: _Window, glued: bool = False) -> Element:
    """The element that begins here. The text behind it is read far enough to know that it ends here.

    glued: another value may follow at once.
    """
    while True:
        found, wrong = None, BadJson("no JSON value")
        try:
            found = value_at(window.text, window.at)
        except BadJson as error:
            wrong = error
        if found and (
            found[1] < len(window.text)
            if glued
            else window.text[_behind(window.text, found[1])] in (",", "]")
        ):
            break
        if window.ended:
            if not found:
                raise wrong
            break
        if len(window.text) - window.at > LONGEST_RECORD:
            return _too_long(window, wrong, glued)
        # Twice as much each time, as all of it is looked at again.
        window.more(max(_PIECE, len(window.text) - window.at))
    value, end = found
    text, window.at = window.text[window.at : end], end
    if len(text) > LONGEST_RECORD:
        return Element(_readable(text[:_KEPT]), too_long=True)
    return element_of(text, value)


def element_of(text: str, value: Any) -> Element:
    """The element that a text says, in which bytes that are not UTF-8 are escaped. value: what was read of it."""
    if _ESCAPED.search(text) is None:
        return Element(text, *interpreted(text, value))
    text = _readable(text)
    value, repairs = parse_text(text)
    repairs = [repair for repair in repairs if repair[0] != "invalid_text"]
    return Element(text, value, [("invalid_text", "bytes that are not UTF-8 became U+FFFD"), *repairs])


def _behind(text: str, end: int) -> slice:
    """Where the first character behind a value is that is no white space."""
    match = _WHITESPACE.match(text, end)
    at = match.end() if match else end
    return slice(at, at + 1)


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _too_long(window: _Window, wrong: BadJson, glued: bool) -> Element:
    """Go to where the element ends, without keeping it. Raises BadJson where it is not long but wrong."""
    begin, kept = window.position(), window.text[window.at : window.at + _KEPT]
    depth = 0
    while True:
        match = (_BRACKET if depth else _MARK).search(window.text, window.at)
        if match is None:
            window.at = len(window.text)
            if not window.more():
                raise Unfinished("the array does not end")
            continue
        mark, window.at = match.group(), match.end()
        if mark == '"':
            _skip_string(window)
        elif mark in "[{":
            depth += 1
        elif depth:
            depth -= mark in "]}"
            if glued and not depth:
                break
        else:
            window.at -= 1
            break
    if window.position() - begin <= LONGEST_RECORD:
        raise wrong
    return Element(_readable(kept), too_long=True)


def _skip_string(window: _Window) -> None:
    while (match := _STRING_END.match(window.text, window.at)) is None:
        text = window.text
        backslashes = len(text) - len(text.rstrip("\\")) if window.at < len(text) else 0
        window.at = max(window.at, len(text) - backslashes % 2)
        if not window.more():
            raise Unfinished("a string does not end")
    window.at = match.end()
