"""The value rules that every source shares: ids, times, match keys."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime, timedelta

import idna

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
DAY = timedelta(days=1)
# A whole number larger than this loses digits in JSON readers and in HubSpot.
LARGEST_INTEGER = 2**53


def id_of(value: object) -> str | None:
    """An id: a string as it is, a JSON integer as its decimal string; None for anything else or blank."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def time_of(value: object) -> datetime | None:
    """A time as naive UTC, digits past microseconds cut; None for anything that is no time."""
    if not isinstance(value, str) or (match := _TIME.fullmatch(value)) is None:
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
        if zone and zone != "Z":
            hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
            if hours > 23 or minutes > 59:
                return None
            offset = timedelta(hours=hours, minutes=minutes)
            at = at + offset if zone[0] == "-" else at - offset
    except (ValueError, OverflowError):
        return None
    return at


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
    """The match key of a domain: bare ASCII host name, without scheme, credentials, port, path or www."""
    if not isinstance(value, str):
        return None
    host = value.strip().lower()
    host = re.sub(r"^[a-z][a-z0-9+.-]*://", "", host).removeprefix("//")
    host = re.split(r"[/?#\\]", host, maxsplit=1)[0].rpartition("@")[2]
    host = re.sub(r":\d*$", "", host).strip()
    if not host.isascii():
        host = _ascii(host)
    return host.removeprefix("www.").rstrip(".") or None


def _ascii(host: str) -> str:
    """A host name by IDNA, of 2008 or, where that does not know it (an emoji, an underscore), of 2003; else as it is."""
    with suppress(idna.IDNAError, UnicodeError):
        return idna.encode(host, uts46=True).decode("ascii")
    with suppress(UnicodeError):
        return host.encode("idna").decode("ascii")
    return host


def email_key(value: object) -> str | None:
    """The match key of an email: trimmed, lower case."""
    return (value.strip().lower() or None) if isinstance(value, str) else None
