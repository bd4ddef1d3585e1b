"""One JSON text to a value: strict and fast where it can be, lenient and listed where SDKs are not strict."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import orjson

Repair = tuple[str, str]  # what, detail

_SURROGATE = re.compile("[\ud800-\udfff]")
_LONG_DIGITS = re.compile(rb"\d{19}")
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')
_MAX_INTEGER_DIGITS = 4000  # Python refuses longer ones; no producer means them as numbers
_MAX_DEPTH = 200


# What may stand at the end of a text that was cut off within a literal, a number or an escape.
_CUT_WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_CUT_NUMBERS = (".", "e+", "e-", "E+", "E-")  # behind a digit
_CUT_ESCAPE = re.compile("u[0-9a-fA-F]{0,4}")
_NO_VALUE = "no JSON value"
_WANTS_VALUE = (_NO_VALUE, "Expecting value")


class BadJson(ValueError):
    """The text is no JSON, however leniently read."""


class Unfinished(BadJson):
    """The text is the beginning of JSON: it ends too early, and nothing before that is wrong."""


def _last_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Duplicate keys: the last wins, and stands where the last stood."""
    result = dict(pairs)
    if len(result) != len(pairs):
        result = {}
        for key, value in pairs:
            result.pop(key, None)
            result[key] = value
    return result


def _number(text: str) -> object:
    return int(text) if len(text) <= _MAX_INTEGER_DIGITS else math.inf


_DECODER = json.JSONDecoder(object_pairs_hook=_last_wins, parse_int=_number)
_scan: Callable[[str, int], tuple[Any, int]] = _DECODER.scan_once  # type: ignore[attr-defined]
_WHITESPACE = re.compile(r"[ \t\n\r]*")
# Possessive, and strings may lack their end: time and memory stay in proportion to the text.
_NESTING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def parse(data: bytes, *, exact: bool) -> tuple[Any, list[Repair]]:
    """A JSON text as Python values, and what had to be changed in it.

    exact: keep the document order of repeated keys and every digit of long integers (updates need it).
    Raises BadJson.
    """
    if not _LONG_DIGITS.search(data):
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
        else:
            if not exact or _is_exact(data, value):
                return value, []
    repairs: list[Repair] = []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        repairs.append(("invalid_text", "bytes that are not UTF-8 became U+FFFD"))
    value, more = parse_text(text)
    if repairs:
        more = [r for r in more if r[0] != "invalid_text"]
    return value, repairs + more


def _is_exact(data: bytes, value: Any) -> bool:
    """Whether a value that was read fast is what the exact way gives: no key stands twice, nothing is too deep."""
    if data.count(b"{") + data.count(b"[") > _MAX_DEPTH or _SPACED_COLON.search(data):
        return False
    # A text that holds `":` counts as a key too many, and is read exactly.
    return data.count(b'":') == (_keys(value) if isinstance(value, dict | list) else 0)


def _keys(value: Any) -> int:
    """How many keys a value of orjson's holds, at every depth."""
    found, inner = (len(value), value.values()) if isinstance(value, dict) else (0, value)
    for item in inner:
        if type(item) is dict or type(item) is list:
            found += _keys(item)
    return found


def read_text(text: str) -> Any:
    """A JSON text that this project wrote, with every digit of its integers."""
    return json.loads(text) if _LONG_DIGITS.search(text.encode()) else orjson.loads(text)


def parse_text(text: str) -> tuple[Any, list[Repair]]:
    """As `parse`, from text that may hold U+FFFD already."""
    repairs: list[Repair] = []
    # Whatever walks the value later walks it recursively.
    if _may_be_deep(text) and (shallow := _without_depth(text)) != text:
        text = shallow
        repairs.append(("nested_too_deep", f"values nested deeper than {_MAX_DEPTH} became null"))
    match = _WHITESPACE.match(text)
    value, end = value_at(text, match.end() if match else 0)
    if _WHITESPACE.fullmatch(text, end) is None:
        raise BadJson(f"text after the value at character {end + 1}")
    return _sanitize(value, text, repairs)


def value_at(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that starts at `at`, and where it ends. Nested too deep for Python: None stands for the value."""
    try:
        return _scan(text, at)
    except StopIteration as error:
        raise _wrong(_NO_VALUE, text, int(error.value or 0)) from None
    except json.JSONDecodeError as error:
        raise _wrong(error.msg, text, error.pos) from None
    except RecursionError:
        return None, _end_of_nested(text, at)


def _wrong(reason: str, text: str, at: int) -> BadJson:
    rest = text[at : at + 10]
    if not rest.strip(" \t\r\n") and _WHITESPACE.fullmatch(text, at):
        rest = ""
    is_cut = (
        not rest
        or reason.startswith("Unterminated string")
        or (reason in _WANTS_VALUE and any(word.startswith(rest) for word in _CUT_WORDS))
        or (text[at - 1 : at].isdigit() and any(part.startswith(rest) for part in _CUT_NUMBERS))
        or (reason.startswith("Invalid \\u") and _CUT_ESCAPE.fullmatch(rest) is not None)
    )
    return (Unfinished if is_cut else BadJson)(f"{reason} at character {at + 1}")


def interpreted(text: str, value: Any) -> tuple[Any, list[Repair]]:
    """As `parse_text`, from the value that a text holds, where it is known."""
    return parse_text(text) if _may_be_deep(text) else _sanitize(value, text, [])


def _sanitize(value: Any, text: str, repairs: list[Repair]) -> tuple[Any, list[Repair]]:
    """Numbers that are not finite to null, lone surrogates to U+FFFD, each listed once with its paths."""
    may_hold_surrogates = "\\ud" in text or "\\uD" in text
    if may_hold_surrogates or "NaN" in text or "Infinity" in text or re.search(r"\d[eE]|\d{300}", text):
        cleaning = _Cleaning(may_hold_surrogates)
        value = cleaning.value(value, "")
        if cleaning.infinite:
            repairs.append(("non_finite_number", ", ".join(cleaning.infinite)[:1000]))
        if cleaning.surrogates:
            repairs.append(("invalid_text", "lone surrogates became U+FFFD"))
    return value, repairs


class _Cleaning:
    """No functions that refer to themselves: while files are loaded, nobody collects such circles."""

    def __init__(self, may_hold_surrogates: bool) -> None:
        self.may_hold_surrogates = may_hold_surrogates
        self.infinite: list[str] = []
        self.surrogates = 0

    def text(self, item: str) -> str:
        if self.may_hold_surrogates and _SURROGATE.search(item):
            self.surrogates += 1
            return _SURROGATE.sub("\ufffd", item)
        return item

    def value(self, item: Any, path: str) -> Any:
        if isinstance(item, str):
            return self.text(item)
        if isinstance(item, float) and not math.isfinite(item):
            self.infinite.append(path)
            return None
        if isinstance(item, dict):
            return {self.text(k): self.value(v, f"{path}.{k}" if path else k) for k, v in item.items()}
        if isinstance(item, list):
            return [self.value(v, f"{path}[{i}]") for i, v in enumerate(item)]
        return item


def _may_be_deep(text: str) -> bool:
    return text.count("{") + text.count("[") > _MAX_DEPTH


def _end_of_nested(text: str, at: int) -> int:
    """Where the object or array that starts at `at` ends, without recursion."""
    depth = 0
    for match in _NESTING.finditer(text, at):
        mark = match.group()
        depth += (mark in "[{") - (mark in "]}") if len(mark) == 1 else 0
        if depth == 0:
            return match.end()
    raise Unfinished("a nested value does not end")


def _without_depth(text: str) -> str:
    """The text with every object or array below _MAX_DEPTH levels replaced by null."""
    kept: list[str] = []
    depth = start = 0
    for match in _NESTING.finditer(text):
        mark = match.group()
        if mark in ("[", "{"):
            depth += 1
            if depth == _MAX_DEPTH + 1:
                kept += [text[start : match.start()], "null"]
        elif mark in ("]", "}"):
            depth -= 1
            if depth == _MAX_DEPTH:
                start = match.end()
    kept.append(text[start:] if depth <= _MAX_DEPTH else "")
    return "".join(kept)
