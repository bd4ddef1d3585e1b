"""Credentials out of text that is kept as it came (rejected records)."""

from __future__ import annotations

import re

_MAX_BYTES = 64 * 1024
_SECRET_KEY = r"(?:proxy-authorization|authorization|set-cookie2?|cookie)"
# A value after a credential's key: a closed string, a closed list of them, or (broken text) all that follows.
_CREDENTIAL = re.compile(
    rf"""(["']?)({_SECRET_KEY})\1(\s*[:=]\s*)("(?:[^"\\]|\\.)*"|\[\s*(?:"(?:[^"\\]|\\.)*"\s*,?\s*)*\]|null\b|.*\Z)""",
    re.IGNORECASE | re.DOTALL,
)
# Headers as a list of pairs: ["Authorization", "Bearer …"] or {"name": "Cookie", "value": "…"}.
_PAIR = re.compile(
    rf"""("{_SECRET_KEY}"\s*,\s*(?:"value"\s*:\s*)?)("(?:[^"\\]|\\.)*"|.*\Z)""",
    re.IGNORECASE | re.DOTALL,
)
_ESCAPED_ASCII = re.compile(r"\\u00([2-7][0-9a-fA-F])")


def redact(text: str) -> str:
    """The text with the values of `Authorization` and `Cookie` headers replaced by `***`, cut to 64 KiB."""
    if "\\u00" in text:
        # A key may be spelled with escapes; quotes and backslashes stay escaped.
        text = _ESCAPED_ASCII.sub(
            lambda m: m.group(0) if m.group(1) in ("22", "5c", "5C") else chr(int(m.group(1), 16)), text
        )
    lowered = text.lower()
    if "authorization" not in lowered and "cookie" not in lowered:
        return _cut(text)
    text = _CREDENTIAL.sub(
        lambda m: f"{m[1]}{m[2]}{m[1]}{m[3]}" + ("null" if m[4] == "null" else '"***"'), text
    )
    text = _PAIR.sub(r'\1"***"', text)
    return _cut(text)


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:_MAX_BYTES].decode("utf-8", "ignore")
