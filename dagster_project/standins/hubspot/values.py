"""One value against its property: every value travels as a JSON string and is checked by the property's type.

Sources: HubSpot's properties guide for the forms, live answers for the codes. Which code a text that is too
long, or a broken validation rule, gets is not known; ``PROPERTY_VALUE_TOO_LONG`` and
``VALIDATION_RULE_FAILED`` are this emulator's.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from .errors import Problem

if TYPE_CHECKING:
    from .schema import Property, Rule

MAX_TEXT = 65_536
DAY_MS = 86_400_000
MAX_EPOCH_MS = 253_402_300_799_999

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?\Z", re.ASCII)
_EPOCH = re.compile(r"-?\d{1,15}\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z\Z", re.ASCII)
_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+([A-Za-z]{2,63}|xn--[A-Za-z0-9-]{1,59})\Z",
    re.ASCII,
)


@lru_cache(maxsize=8192)
def iso(ms: int) -> str:
    """Epoch milliseconds as ``2026-09-01T12:00:00.000Z``."""
    whole, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def epoch_ms(text: str) -> int | None:
    """A date, a date-time or epoch milliseconds, as milliseconds; None if it is none of them."""
    if _EPOCH.match(text):
        ms = int(text)
        return ms if abs(ms) <= MAX_EPOCH_MS and ms >= -62_135_596_800_000 else None
    try:
        if _DATE.match(text):
            moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        elif _DATETIME.match(text):
            moment = datetime.fromisoformat(text)
        else:
            return None
    except ValueError:
        return None
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def is_email(text: str) -> bool:
    return len(text) <= 254 and len(text.partition("@")[0]) <= 64 and bool(_EMAIL.match(text))


def normal_key(text: str) -> str:
    """Emails and domains are stored trimmed and in lower case."""
    return text.strip().lower()


def as_id(text: str) -> int:
    """A record's or list's id as a number; -1 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def split_multi(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(";") if part.strip()]


def check(prop: Property, text: str, old: str | None) -> str | Problem:
    """The value to store (``""`` clears), or why it is refused. ``old`` is what a leading ``;`` appends
    to.
    """
    name, kind = prop.name, prop.type
    if prop.read_only:
        return Problem("READ_ONLY_VALUE", f'"{name}" is a read only property; its value cannot be set.', name)
    if text == "":
        return ""
    if kind in ("string", "phone_number"):
        if len(text) > MAX_TEXT:
            return Problem(
                "PROPERTY_VALUE_TOO_LONG",
                f"The value has {len(text)} characters, more than {MAX_TEXT}.",
                name,
            )
        if name == "email":
            text = normal_key(text)
            if not is_email(text):
                return Problem("INVALID_EMAIL", f"Email address {text} is invalid", name)
        elif name == "domain":
            text = normal_key(text)
        return text
    if kind == "number":
        if not _NUMBER.match(text) or not math.isfinite(float(text)):
            return Problem("INVALID_LONG", f"{text} was not a valid number.", name)
        return text
    if kind == "bool":
        if text not in ("true", "false"):
            return Problem(
                "INVALID_OPTION", f"{text} was not one of the allowed options: [true, false]", name
            )
        return text
    if kind == "date":
        ms = epoch_ms(text)
        if ms is None or ms % DAY_MS or "T" in text:
            return Problem(
                "INVALID_DATE", f"{text} is not midnight UTC or a date in the form YYYY-MM-DD.", name
            )
        return iso(ms)[:10]
    if kind == "datetime":
        ms = epoch_ms(text)
        if ms is None or _DATE.match(text):
            return Problem("INVALID_LONG", f"{text} was not a valid long.", name)
        return iso(ms)
    if kind == "enumeration":
        return _option(prop, text, old)
    return Problem("READ_ONLY_VALUE", f'"{name}" is of type {kind}, which cannot be set.', name)


def _option(prop: Property, text: str, old: str | None) -> str | Problem:
    multiple = prop.field_type == "checkbox"
    if not multiple:
        wanted = [text]
    elif text.startswith(";"):
        wanted = [*split_multi(old), *text[1:].split(";")]
    else:
        wanted = text.split(";")
    if not prop.external_options:
        for value in wanted:
            if value not in prop.option_values:
                allowed = ", ".join(option["value"] for option in prop.options[:50])
                message = f"{value} was not one of the allowed options: [{allowed}]"
                return Problem("INVALID_OPTION", message, prop.name)
    return ";".join(dict.fromkeys(wanted))


def check_rule(rule: Rule, prop: Property, text: str) -> Problem | None:
    """One of the account's own validation rules; rule types not listed here are stored and not enforced."""
    kind, args = rule.type, rule.arguments
    first = args[0] if args else ""
    host = text.rpartition("@")[2]
    ok = True
    if kind == "MAX_LENGTH":
        ok = len(text) <= int(first)
    elif kind == "MIN_LENGTH":
        ok = len(text) >= int(first)
    elif kind in ("MAX_NUMBER", "MIN_NUMBER"):
        if prop.type == "number":
            ok = float(text) <= float(first) if kind == "MAX_NUMBER" else float(text) >= float(first)
    elif kind == "REGEX":
        ok = re.fullmatch(first, text) is not None
    elif kind == "ALPHANUMERIC":
        ok = text.isalnum()
    elif kind == "EMAIL_ALLOWED_DOMAINS":
        ok = host in args
    elif kind == "EMAIL_BLOCKED_DOMAINS":
        ok = host not in args
    if ok:
        return None
    return Problem("VALIDATION_RULE_FAILED", f"{text[:100]} breaks the rule {kind} {list(args)}.", prop.name)
