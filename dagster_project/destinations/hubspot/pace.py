"""How fast HubSpot may be called: as its rate headers say, within the configured share.

A slot is taken from the moment a call is sent until one interval after its answer came. However long a call was
under way, HubSpot therefore never counts more calls in an interval than there are slots.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Mapping

# Until HubSpot's headers say more: the smallest plan's limit.
_SLOTS, _INTERVAL = 100, 10.0
# At worst, all calls that are under way are refused at once. So no more of them are sent than may be refused.
_REFUSALS, _REFUSAL_SPAN = 4, 10.1
MOST_IN_FLIGHT = _REFUSALS
_FIRST_WAIT = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 2.5}


class Pace:
    """Says when the next call may be sent. Shared by all threads."""

    def __init__(self, rate_share: float = 1.0, daily_share: float = 1.0) -> None:
        self._rate_share, self._daily_share = rate_share, daily_share
        self._slots, self._interval = _SLOTS, _INTERVAL
        self._taken: list[float] = []  # a heap: when each used slot is free again
        self._in_flight = 0
        self._refused: deque[float] = deque()
        self._in_a_row = 0
        self._paused_until = 0.0
        self._changed = threading.Condition()
        self.day_is_used_up = False
        self.calls = self.write_calls = 0  # retries included

    def take(self, *, is_write: bool = False) -> None:
        """Wait until a call may be sent, and count it as under way."""
        with self._changed:
            while (wait := self._wait(time.monotonic())) is None or wait > 0:
                self._changed.wait(wait)
            self._in_flight += 1
            self.calls += 1
            self.write_calls += is_write

    def give_back(self, headers: Mapping[str, str] | None = None, *, is_refused: bool = False) -> None:
        """The call that `take` allowed is over, with these headers of its answer (None: there was none)."""
        with self._changed:
            now = time.monotonic()
            self._in_flight -= 1
            self._obey(headers or {}, now, is_refused)
            heapq.heappush(self._taken, now + self._interval)
            self._changed.notify_all()

    def refused(self, policy: str, retry_after: float | None) -> None:
        """The call that is under way got a 429: everybody waits, longer each time in a row."""
        with self._changed:
            now = time.monotonic()
            self._refused.append(now)
            # Calls that were under way together are refused together: that is one refusal.
            self._in_a_row += now >= self._paused_until
            wait = min(_FIRST_WAIT.get(policy, 2.5) * 2 ** (self._in_a_row - 1), 30.0)
            if retry_after is not None:
                wait = max(wait, min(retry_after, 120.0))
            self._paused_until = max(self._paused_until, now + wait)

    def went_through(self) -> None:
        with self._changed:
            self._in_a_row = 0

    def _wait(self, now: float) -> float | None:
        """Seconds until something may have changed; 0: a call may be sent; None: wait for another call's end."""
        while self._taken and self._taken[0] <= now:
            heapq.heappop(self._taken)
        while self._refused and self._refused[0] <= now - _REFUSAL_SPAN:
            self._refused.popleft()
        if self._paused_until > now:
            return self._paused_until - now
        if self._in_flight >= MOST_IN_FLIGHT:
            return None
        if self._in_flight + len(self._refused) >= _REFUSALS:
            return self._refused[0] + _REFUSAL_SPAN - now
        if self._in_flight + len(self._taken) >= self._slots:
            return self._taken[0] - now if self._taken else None
        return 0.0

    def _obey(self, headers: Mapping[str, str], now: float, is_refused: bool) -> None:
        most = _number(headers, "X-HubSpot-RateLimit-Max")
        if most is not None and most >= 1:
            self._slots = max(1, int(most * self._rate_share))
        interval = _number(headers, "X-HubSpot-RateLimit-Interval-Milliseconds")
        if interval is not None and interval > 0:
            self._interval = min(interval / 1000, 60.0)
        remaining = _number(headers, "X-HubSpot-RateLimit-Remaining")
        if remaining is not None and not is_refused:  # after a refusal its own wait counts
            # Somebody else uses the same limit: what they used is not ours until the interval is over.
            free = self._slots - len(self._taken) - self._in_flight - 1
            for _ in range(int(free - max(remaining, 0))):
                heapq.heappush(self._taken, now + self._interval)
        daily = _number(headers, "X-HubSpot-RateLimit-Daily")
        left = _number(headers, "X-HubSpot-RateLimit-Daily-Remaining")
        if left is not None and (
            left <= 0 or (daily is not None and daily - left >= daily * self._daily_share)
        ):
            self.day_is_used_up = True


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        return float(headers[name])
    except (KeyError, ValueError):
        return None
