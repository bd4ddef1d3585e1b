"""Credentials out of text that is kept as it came (rejected records)."""

from __future__ import annotations

import json
import re

_MAX_BYTES = 64 * 1024
# What is looked at, of longer texts. The patterns are possessive: hostile text costs time in proportion to its size.
_MAX_CHARACTERS = 1024**2
_IN_QUOTES = r'"(?:[^"\\]++|\\.)*+"'
_HEADERS = r"proxy-authorization|authorization|set-cookie2?|cookie"


class _Secrets:
    """Where credentials stand in text, by the names of what holds them."""

    def __init__(self, names: str) -> None:
        key = f"(?:{names})"
        # Where none of these is in a text, there is no need to look further. A key may be spelled with escapes.
        self.named = re.compile(rf"{names}|\\u00", re.IGNORECASE)
        # A value after a credential's key: a closed string, a closed list of them, a number, or (broken text) all
        # that follows.
        self.credential = re.compile(
            rf"""((?<!\\)\\*+["']?|["']?)({key})\1(\s*+[:=]\s*+)({_IN_QUOTES}|\\++".*?\\++"|"""
            rf"""\[\s*+(?:{_IN_QUOTES}\s*+,?\s*+)*+\]|null\b|-?\d++(?=\s*+[,}}\]])|.*\Z)""",
            re.IGNORECASE | re.DOTALL,
        )
        # Headers as a list of pairs: ["Authorization", "Bearer …"] or {"name": "Cookie", "value": "…"}; not where the
        # name is the value of another header, as "authorization" is in a browser's preflight request.
        self.pair = re.compile(
            rf"""([\[,]\s*"{key}"\s*,\s*|"{key}"\s*,\s*"value"\s*:\s*)({_IN_QUOTES}|.*\Z)""",
            re.IGNORECASE | re.DOTALL,
        )
        self.pair_turned = re.compile(
            rf"""("value"\s*:\s*){_IN_QUOTES}(\s*,\s*"(?:name|key|header)"\s*:\s*"{key}")""",
            re.IGNORECASE | re.DOTALL,
        )


_CREDENTIALS = _Secrets(_HEADERS)
_CREDENTIALS_AND_TOKENS = _Secrets(f"{_HEADERS}|session_token")
_ESCAPED_ASCII = re.compile(r"(?<!\\)\\u00([2-7][0-9a-fA-F])")


_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_MOST_ENCODINGS = 4  # JSON in a string in JSON in a string …


def redact(text: str, *, tokens: bool = False) -> str:
    """The text with the values of `Authorization` and `Cookie` headers replaced by `***`, cut to 64 KiB.

    tokens: those of `session_token`, too.
    """
    secrets = _CREDENTIALS_AND_TOKENS if tokens else _CREDENTIALS
    return (
        _without_credentials(text[:_MAX_CHARACTERS], secrets, 0)
        .encode("utf-8", "replace")[:_MAX_BYTES]
        .decode("utf-8", "ignore")
    )


def _without_credentials(text: str, secrets: _Secrets, encodings: int) -> str:
    if not secrets.named.search(text):
        return text
    if encodings < _MOST_ENCODINGS:
        text = _STRING.sub(lambda m: _inner(m.group(), secrets, encodings), text)
    if "\\u00" in text:
        # A key may be spelled with escapes; quotes and backslashes stay escaped.
        text = _ESCAPED_ASCII.sub(
            lambda m: m.group(0) if m.group(1) in ("22", "5c", "5C") else chr(int(m.group(1), 16)), text
        )
    text = secrets.credential.sub(_hidden, text)
    text = secrets.pair.sub(r'\1"***"', text)
    return secrets.pair_turned.sub(r'\1"***"\2', text)


def _inner(literal: str, secrets: _Secrets, encodings: int) -> str:
    """A string of the text, itself without credentials where it holds JSON."""
    if "\\" not in literal or not secrets.named.search(literal):
        return literal
    try:
        inner = json.loads(literal, strict=False)
    except ValueError:
        return literal
    clean = _without_credentials(inner, secrets, encodings + 1)
    return literal if clean == inner else json.dumps(clean, ensure_ascii=False)


def _hidden(match: re.Match[str]) -> str:
    """A credential's key as it came, its value as `***` between quotes of the same kind."""
    quote = match[1] if match[1].endswith('"') else '"'
    shown = "null" if match[4] == "null" else f"{quote}***{quote}"
    return f"{match[1]}{match[2]}{match[1]}{match[3]}{shown}"
