"""Credentials out of text that is kept as it came (rejected records)."""

from __future__ import annotations

import json
import re

_MAX_BYTES = 64 * 1024
_SECRET_KEY = r"(?:proxy-authorization|authorization|set-cookie2?|cookie)"
# A value after a credential's key: a closed string, a closed list of them, or (broken text) all that follows.
_CREDENTIAL = re.compile(
    rf"""(\\*["']?)({_SECRET_KEY})\1(\s*[:=]\s*)("(?:[^"\\]|\\.)*"|\\+".*?\\+"|\[\s*(?:"(?:[^"\\]|\\.)*"\s*,?\s*)*\]|null\b|.*\Z)""",
    re.IGNORECASE | re.DOTALL,
)
# Headers as a list of pairs: ["Authorization", "Bearer …"] or {"name": "Cookie", "value": "…"}.
_PAIR = re.compile(
    rf"""("{_SECRET_KEY}"\s*,\s*(?:"value"\s*:\s*)?)("(?:[^"\\]|\\.)*"|.*\Z)""",
    re.IGNORECASE | re.DOTALL,
)
_PAIR_TURNED = re.compile(
    rf"""("value"\s*:\s*)"(?:[^"\\]|\\.)*"(\s*,\s*"(?:name|key|header)"\s*:\s*"{_SECRET_KEY}")""",
    re.IGNORECASE | re.DOTALL,
)
_ESCAPED_ASCII = re.compile(r"(?<!\\)\\u00([2-7][0-9a-fA-F])")


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MOST_ENCODINGS = 4  # JSON in a string in JSON in a string …


def redact(text: str) -> str:
    """The text with the values of `Authorization` and `Cookie` headers replaced by `***`, cut to 64 KiB."""
    return _without_credentials(text, 0).encode("utf-8", "replace")[:_MAX_BYTES].decode("utf-8", "ignore")


def _without_credentials(text: str, encodings: int) -> str:
    if not _names_a_credential(text):
        return text
    if encodings < _MOST_ENCODINGS:
        text = _STRING.sub(lambda m: _inner(m.group(), encodings), text)
    if "\\u00" in text:
        # A key may be spelled with escapes; quotes and backslashes stay escaped.
        text = _ESCAPED_ASCII.sub(
            lambda m: m.group(0) if m.group(1) in ("22", "5c", "5C") else chr(int(m.group(1), 16)), text
        )
    text = _CREDENTIAL.sub(_hidden, text)
    text = _PAIR.sub(r'\1"***"', text)
    return _PAIR_TURNED.sub(r'\1"***"\2', text)


def _names_a_credential(text: str) -> bool:
    lowered = text.lower()
    return "authorization" in lowered or "cookie" in lowered or "\\u00" in lowered


def _inner(literal: str, encodings: int) -> str:
    """A string of the text, itself without credentials where it holds JSON."""
    if "\\" not in literal or not _names_a_credential(literal):
        return literal
    try:
        inner = json.loads(literal, strict=False)
    except ValueError:
        return literal
    clean = _without_credentials(inner, encodings + 1)
    return literal if clean == inner else json.dumps(clean, ensure_ascii=False)


def _hidden(match: re.Match[str]) -> str:
    """A credential's key as it came, its value as `***` between quotes of the same kind."""
    quote = match[1] if match[1].endswith('"') else '"'
    shown = "null" if match[4] == "null" else f"{quote}***{quote}"
    return f"{match[1]}{match[2]}{match[1]}{match[3]}{shown}"
