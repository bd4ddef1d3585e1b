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
_MAX_INTEGER_DIGITS = 4000  # Python refuses longer ones; no producer means them as numbers
_MAX_DEPTH = 200


class BadJson(ValueError):
    """The text is no JSON, however leniently read."""


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


def parse(data: bytes, *, exact: bool) -> tuple[Any, list[Repair]]:
    """A JSON text as Python values, and what had to be changed in it.

    exact: keep the document order of repeated keys and every digit of long integers (updates need it).
    Raises BadJson.
    """
    if not exact and not _LONG_DIGITS.search(data):
        try:
            return orjson.loads(data), []
        except orjson.JSONDecodeError:
            pass
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


def parse_text(text: str) -> tuple[Any, list[Repair]]:
    """As `parse`, from text that may hold U+FFFD already."""
    repairs: list[Repair] = []
    # Whatever walks the value later walks it recursively.
    if text.count("{") + text.count("[") > _MAX_DEPTH and (shallow := _without_depth(text)) != text:
        text = shallow
        repairs.append(("nested_too_deep", f"values nested deeper than {_MAX_DEPTH} became null"))
    value, end = _decode(text)
    if _WHITESPACE.fullmatch(text, end) is None:
        raise BadJson(f"text after the value at character {end + 1}")
    return _sanitize(value, text, repairs)


def _decode(text: str) -> tuple[Any, int]:
    match = _WHITESPACE.match(text)
    try:
        return _scan(text, match.end() if match else 0)
    except StopIteration as error:
        raise BadJson(f"no JSON value at character {int(error.value or 0) + 1}") from None
    except json.JSONDecodeError as error:
        raise BadJson(f"{error.msg} at character {error.pos + 1}") from None


def elements(text: str) -> list[str]:
    """The texts of the elements of one JSON array, as they came. Raises BadJson where it is none."""
    whitespace = _WHITESPACE

    def skip(at: int) -> int:
        match = whitespace.match(text, at)
        return match.end() if match else at

    at = skip(0)
    if text[at : at + 1] != "[":
        raise BadJson("not an array")
    at, found = skip(at + 1), []
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            try:
                _, end = _scan(text, at)
            except StopIteration as error:
                raise BadJson(f"no JSON value at character {int(error.value or 0) + 1}") from None
            except json.JSONDecodeError as error:
                raise BadJson(f"{error.msg} at character {error.pos + 1}") from None
            except RecursionError:
                end = _skip_value(text, at)
            found.append(text[at:end])
            at = skip(end)
            mark = text[at : at + 1]
            at += 1
            if mark == "]":
                break
            if mark != ",":
                raise BadJson(f"the array does not go on or end at character {at}")
            at = skip(at)
    if skip(at) != len(text):
        raise BadJson(f"text after the array at character {at + 1}")
    return found


def _sanitize(value: Any, text: str, repairs: list[Repair]) -> tuple[Any, list[Repair]]:
    """Numbers that are not finite to null, lone surrogates to U+FFFD, each listed once with its paths."""
    infinite: list[str] = []
    surrogates = 0
    lowered = text if "\\u" in text else ""
    may_hold_surrogates = "\\ud" in lowered or "\\uD" in lowered

    def clean_text(item: str) -> str:
        nonlocal surrogates
        if may_hold_surrogates and _SURROGATE.search(item):
            surrogates += 1
            return _SURROGATE.sub("\ufffd", item)
        return item

    def walk(item: Any, path: str) -> Any:
        if isinstance(item, str):
            return clean_text(item)
        if isinstance(item, float) and not math.isfinite(item):
            infinite.append(path)
            return None
        if isinstance(item, dict):
            return {clean_text(k): walk(v, f"{path}.{k}" if path else k) for k, v in item.items()}
        if isinstance(item, list):
            return [walk(v, f"{path}[{i}]") for i, v in enumerate(item)]
        return item

    if may_hold_surrogates or "NaN" in text or "Infinity" in text or re.search(r"\d[eE]|\d{300}", text):
        value = walk(value, "")
        if infinite:
            repairs.append(("non_finite_number", ", ".join(infinite)[:1000]))
        if surrogates:
            repairs.append(("invalid_text", "lone surrogates became U+FFFD"))
    return value, repairs


def _skip_value(text: str, at: int) -> int:
    """Where the object or array that starts at `at` ends, without recursion."""
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text[at:], re.DOTALL):
        mark = match.group()
        depth += (mark in "[{") - (mark in "]}") if len(mark) == 1 else 0
        if depth == 0:
            return at + match.end()
    raise BadJson("a nested value does not end")


def _without_depth(text: str) -> str:
    """The text with every object or array below _MAX_DEPTH levels replaced by null."""
    kept: list[str] = []
    depth = start = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.DOTALL):
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
