"""Call limits: a rolling window of ten seconds, a day that turns at midnight in the account's zone, and
search.

Facts: 100 or 190 calls in 10 s and 250,000 to 1,000,000 a day by plan; a 429 names its ``policyName``;
the daily headers are missing under OAuth; search has 5 calls a second of its own and sends no rate
headers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

MESSAGES = {
    "TEN_SECONDLY_ROLLING": "You have reached your ten_secondly_rolling limit.",
    "SECONDLY": "You have reached your secondly limit.",
    "DAILY": "You have reached your daily limit.",
}


@dataclass(frozen=True)
class Limits:
    """None lifts a limit. ``window`` is the rolling window in seconds; ``count_refused``: a 429 counts
    too.
    """

    rolling: int | None = 190
    daily: int | None = 625_000
    search_per_second: int | None = 5
    window: float = 10.0
    time_zone: str = "UTC"
    count_refused: bool = False


def rate_body(policy: str) -> dict[str, Any]:
    """The body of a 429; its ``correlationId`` is added when it is sent."""
    return {"status": "error", "message": MESSAGES[policy], "errorType": "RATE_LIMIT", "policyName": policy}


class RateLimiter:
    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self._clock = clock
        self._zone = ZoneInfo(limits.time_zone)
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()
        self._searches: deque[float] = deque()
        self._day = ""
        self.used_today = 0
        self.refused = 0
        self.max_refused_in_10s = 0
        self._refusals: deque[float] = deque()

    def take(self, is_search: bool, oauth: bool) -> tuple[str | None, dict[str, str]]:
        """Counts one call: the policy that refuses it, or None, and the headers of its answer."""
        limits = self.limits
        with self._lock:
            now = self._clock()
            self._turn(now)
            queue, most, span = self._calls, limits.rolling, limits.window
            if is_search:
                queue, most, span = self._searches, limits.search_per_second, 1.0
            while queue and queue[0] <= now - span:
                queue.popleft()
            policy = None
            if limits.daily is not None and self.used_today >= limits.daily:
                policy = "DAILY"
            elif most is not None and len(queue) >= most:
                policy = "SECONDLY" if is_search else "TEN_SECONDLY_ROLLING"
            if policy is None or limits.count_refused:
                if most is not None:
                    queue.append(now)
                self.used_today += 1
            if policy is not None:
                self._note_refusal(now)
            return policy, ({} if is_search else self._headers(oauth))

    def refuse(self) -> None:
        """Counts a 429 that a fault made."""
        with self._lock:
            self._note_refusal(self._clock())

    def use_up_day(self) -> None:
        with self._lock:
            self._turn(self._clock())
            self.used_today = max(self.used_today, self.limits.daily or 0)

    def _turn(self, now: float) -> None:
        day = datetime.fromtimestamp(now, self._zone).date().isoformat()
        if day != self._day:
            self._day, self.used_today = day, 0

    def _note_refusal(self, now: float) -> None:
        self.refused += 1
        self._refusals.append(now)
        while self._refusals[0] <= now - 10.0:
            self._refusals.popleft()
        self.max_refused_in_10s = max(self.max_refused_in_10s, len(self._refusals))

    def _headers(self, oauth: bool) -> dict[str, str]:
        limits, headers = self.limits, {}
        if limits.rolling is not None:
            headers["X-HubSpot-RateLimit-Max"] = str(limits.rolling)
            headers["X-HubSpot-RateLimit-Remaining"] = str(max(0, limits.rolling - len(self._calls)))
            headers["X-HubSpot-RateLimit-Interval-Milliseconds"] = str(int(limits.window * 1000))
        if limits.daily is not None and not oauth:
            headers["X-HubSpot-RateLimit-Daily"] = str(limits.daily)
            headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(max(0, limits.daily - self.used_today))
        return headers
