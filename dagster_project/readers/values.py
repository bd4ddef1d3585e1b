"""The value rules that every source shares: ids, times, match keys."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import idna

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(Z|z| UTC|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
# What rejects say of a text that is no time.
TIMES_UNDERSTOOD = (
    "understood are 2026-11-26T10:00:00 with or without a zone (Z, +02:00, UTC), a date, "
    "and a JSON number of seconds or milliseconds since 1970"
)
DAY = timedelta(days=1)
# Dates before this stand for none: year 1, 1970.
EARLIEST = datetime(1990, 1, 1)  # noqa: DTZ001
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
_FIRST_MILLISECONDS = 10**11
# A whole number larger than this loses digits in JSON readers and in HubSpot.
LARGEST_INTEGER = 2**53
Repairs = list[tuple[str, str]]
# Listed once a file and field, with its count: see `FileLoad.repair`.
WHOLE_FLOAT = "whole_float"


def id_of(value: object) -> str | None:
    """An id: a string as it is, a whole JSON number as its decimal string; None for anything else or blank."""
    if isinstance(value, str):
        return value if value.strip() else None
    value = whole(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def id_in(record: dict[str, Any], field: str, repairs: Repairs) -> str | None:
    """The id in a field of a record. One that is written as a float is noted."""
    value = record.get(field)
    if type(value) is str:
        return value if value.strip() else None
    return None if value is None else id_of(noted_whole(value, field, repairs))


def whole(value: object) -> object:
    """A float that is whole as the integer that it stands for; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def noted_whole(value: object, field: str, repairs: Repairs) -> object:
    """As `whole`, noted where it changes something."""
    if isinstance(value, float) and value.is_integer():
        repairs.append((WHOLE_FLOAT, field))
        return int(value)
    return value


def time_of(value: object) -> datetime | None:
    """A time as naive UTC, digits past microseconds cut; None for anything that is no time, or before 1990."""
    if isinstance(value, str):
        at = _time_of_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        at = _time_of_number(value)
    else:
        return None
    return at if at is not None and at >= EARLIEST else None


def _time_of_number(value: float) -> datetime | None:
    """Seconds since 1970, or milliseconds where it is too large for these."""
    try:
        exact = Decimal(repr(value))
        microseconds = int(exact * (10**6 if value < _FIRST_MILLISECONDS else 10**3))
        return _EPOCH + timedelta(microseconds=microseconds)
    except (ArithmeticError, ValueError):
        return None


def _time_of_text(value: str) -> datetime | None:
    match = _TIME.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        at = datetime(  # noqa: DTZ001 - the warehouse keeps UTC without a zone
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int(fraction[:6].ljust(6, "0")) if fraction else 0,
        )
        if zone and zone[0] in "+-":
            hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
            if hours > 23 or minutes > 59:
                return None
            offset = timedelta(hours=hours, minutes=minutes)
            at = at + offset if zone[0] == "-" else at - offset
    except (ValueError, OverflowError):
        return None
    return at


def no_time(name: str, value: object) -> str:
    """Why a value is no time, for people."""
    if value is None:
        return f"{name} is missing"
    if isinstance(value, str) and (at := _time_of_text(value)) is not None:
        return f"{name} is {shown(value)}: a time before {EARLIEST.year} stands for none ({at.date()})"
    return f"{name} is {shown(value)}, which is no time: {TIMES_UNDERSTOOD}"


def no_id(name: str, value: object) -> str:
    """Why a value is no id, for people."""
    if value is None:
        return f"{name} is missing"
    if isinstance(value, str):
        return f"{name} is blank"
    return f"{name} is {shown(value)}: an id is text or a whole number"


def shown(value: object, most: int = 200) -> str:
    """A value as it stands in a record, for people."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else text[:most] + "…"


def end_of(day: date) -> datetime:
    """The moment at which a GMT day ends."""
    return datetime(day.year, day.month, day.day) + DAY  # noqa: DTZ001


def start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001


def latest_time(received: date | None, first_seen: datetime) -> datetime:
    """The last moment that is not future: 24 h after the end of the received date (unknown: after first seen)."""
    try:
        return (end_of(received) if received else first_seen) + DAY
    except OverflowError:  # a received date at the end of the calendar
        return datetime.max  # noqa: DTZ901


def is_future(at: datetime, received: date | None, first_seen: datetime) -> bool:
    return at > latest_time(received, first_seen)


def domain_key(value: object) -> str | None:
    """The match key of a domain: bare ASCII host name, without scheme, credentials, port, path or www.

    None where what is left names no host: `N/A`, `localhost`, `http:/x`.
    """
    if not isinstance(value, str):
        return None
    host = value.strip().lower()
    host = re.sub(r"^[a-z][a-z0-9+.-]*://", "", host).removeprefix("//")
    host = re.split(r"[/?#\\]", host, maxsplit=1)[0].rpartition("@")[2]
    host = re.sub(r":\d*$", "", host).strip()
    host = _ascii(host).removeprefix("www.").removesuffix(".")
    return host if _is_host(host) else None


def email_key(value: object) -> str | None:
    """The match key of an email: trimmed, lower case. None where it is no name, one `@` and a host name."""
    if not isinstance(value, str):
        return None
    email = value.strip().lower()
    name, at, host = email.partition("@")
    if not at or not name or re.search(r"\s", name) or not _is_host(_ascii(host)):
        return None
    return email


_LABELS = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))+")


def _is_host(host: str) -> bool:
    """Whether it is a host name with a dot in it, whose last label has two letters or more."""
    if len(host) > 253 or not _LABELS.fullmatch(host):
        return False
    return sum(letter.isalpha() for letter in host.rpartition(".")[2]) >= 2


def _ascii(host: str) -> str:
    """A host name by IDNA, of 2008 or, where that does not know it (an emoji, an underscore), of 2003; else as it is."""
    if host.isascii():
        return host
    with suppress(idna.IDNAError, UnicodeError):
        return idna.encode(host, uts46=True).decode("ascii")
    with suppress(UnicodeError):
        return host.encode("idna").decode("ascii")
    return host
