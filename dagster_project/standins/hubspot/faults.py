"""Faults on demand: a list of rules, each matched on the call and fired on the nth one or by chance.

A rule that fires once is used up; ``probability`` and ``every`` go on until ``times`` is reached, if given.
The same seed and the same calls give the same faults.
"""

from __future__ import annotations

import random
import re
import threading
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Literal

Do = Literal["status", "rate", "cut", "hang", "empty", "conflict", "merge", "archive"]
KINDS = ("status", "rate", "cut", "hang", "empty", "conflict", "merge", "archive")
WHENS = ("before", "after", "mid")


@dataclass(frozen=True)
class Fault:
    """What to do to which call.

    ``do``: ``status`` answers ``status`` (``body``, or a gateway's HTML page with ``html``); ``rate`` is
    a 429 of ``policy``; ``cut`` closes the connection, in the middle of the answer with ``when="mid"``,
    by a reset with ``reset``; ``hang`` waits ``seconds`` and then answers as usual; ``empty`` answers
    2xx without a body; ``conflict`` refuses the whole call with 409; ``merge`` and ``archive`` do that
    to the first record named in the call, just before it is carried out. ``when``: whether the write is
    applied (``after``, ``mid``) or not.

    Which: ``method``, ``path`` (a regular expression, searched), ``operation`` (such as
    ``contacts.batch_update``, with ``*``); then the ``nth`` matching call, ``every`` so many, or with a
    ``probability``.
    """

    do: Do
    method: str | None = None
    path: str | None = None
    operation: str | None = None
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    times: int | None = None
    when: Literal["before", "after", "mid"] = "before"
    status: int = 503
    policy: Literal["TEN_SECONDLY_ROLLING", "DAILY", "SECONDLY"] = "TEN_SECONDLY_ROLLING"
    seconds: float = 60.0
    body: Any = None
    html: bool = False
    retry_after: float | None = None
    reset: bool = False

    def __post_init__(self) -> None:
        if self.do not in KINDS or self.when not in WHENS:
            raise ValueError(f"do is one of {', '.join(KINDS)}; when is one of {', '.join(WHENS)}")
        if self.path is not None:
            re.compile(self.path)

    @classmethod
    def from_json(cls, given: Any) -> Fault:
        if not isinstance(given, dict):
            raise ValueError("a fault is an object")
        unknown = set(given) - {f.name for f in fields(cls)}
        if unknown or "do" not in given:
            raise ValueError(f"a fault needs 'do'; unknown: {', '.join(sorted(unknown)) or 'nothing'}")
        return cls(**given)

    @property
    def most(self) -> int | None:
        lasting = self.every is not None or self.probability is not None
        return self.times if self.times is not None or lasting else 1

    def matches(self, method: str, path: str, operation: str) -> bool:
        return (
            (self.method is None or self.method.upper() == method)
            and (self.path is None or re.search(self.path, path) is not None)
            and (self.operation is None or fnmatchcase(operation, self.operation))
        )


@dataclass
class _Armed:
    fault: Fault
    seen: int = 0
    fired: int = 0


class FaultPlan:
    def __init__(self, faults: list[Fault] | None, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._armed = [_Armed(fault) for fault in faults or []]

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._armed.extend(_Armed(fault) for fault in faults)

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    def pick(self, method: str, path: str, operation: str) -> list[Fault]:
        """The faults that this call gets, in the order of the plan."""
        picked = []
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if not fault.matches(method, path, operation):
                    continue
                armed.seen += 1
                if fault.most is not None and armed.fired >= fault.most:
                    continue
                if fault.nth is not None and armed.seen < fault.nth:
                    continue
                if fault.every is not None and armed.seen % fault.every:
                    continue
                if fault.probability is not None and self._random.random() >= fault.probability:
                    continue
                armed.fired += 1
                picked.append(fault)
        return picked

    def state(self) -> list[dict[str, Any]]:
        with self._lock:
            return [
                {
                    **{k: v for k, v in asdict(a.fault).items() if v is not None},
                    "seen": a.seen,
                    "fired": a.fired,
                }
                for a in self._armed
            ]
