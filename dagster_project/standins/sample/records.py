"""Text of times and records, in the two dialects that Moesif's SDKs speak."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, date, datetime, time, timedelta


def moment_of(day: date, seconds: float) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(milliseconds=round(seconds * 1000))


def node_time(moment: datetime) -> str:
    """JavaScript's toISOString()."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def python_time(moment: datetime) -> str:
    """datetime.isoformat() of a naive UTC time, which is what the Python SDK sends."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


def node_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def python_json(value: object) -> bytes:
    """As Python writes JSON: spaces, escapes for all but ASCII, and NaN where there is one."""
    return json.dumps(value).encode("ascii")


def random_id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def random_address(rng: random.Random) -> str:
    """From the ranges that are kept for documentation (RFC 5737)."""
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"
