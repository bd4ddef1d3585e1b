"""How fast a destination may be called: so many calls an interval, a few at a time, and a wait after each refusal.

A slot is taken from the moment a call is sent until one interval after its answer came. However long a call was
under way, the other side therefore never counts more calls in an interval than there are slots.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Mapping

# At worst, all calls that are under way are refused at once. So no more of them are sent than may be refused.
_REFUSALS, _REFUSAL_SPAN = 4, 10.1
MOST_IN_FLIGHT = _REFUSALS
LONGEST_WAIT, LONGEST_RETRY_AFTER = 30.0, 120.0


class Pace:
    """Says when the next call may be sent. Shared by all threads. A destination overrides `obey` for headers that it knows."""

    def __init__(self, slots: int, interval: float, *, in_flight: int = MOST_IN_FLIGHT) -> None:
        self.slots, self.interval = slots, interval
        self.most_in_flight = min(in_flight, MOST_IN_FLIGHT)
        self._taken: list[float] = []  # a heap: when each used slot is free again
        self._in_flight = 0
        self._refused: deque[float] = deque()
        self._in_a_row = 0
        self._paused_until = 0.0
        self._changed = threading.Condition()
        self.calls = self.write_calls = 0  # retries included

    def take(self, *, is_write: bool = False) -> None:
        """Wait until a call may be sent, and count it as under way."""
        with self._changed:
            while (wait := self.wait_at(time.monotonic())) is None or wait > 0:
                self._changed.wait(wait)
            self._in_flight += 1
            self.calls += 1
            self.write_calls += is_write

    def give_back(self, headers: Mapping[str, str] | None = None, *, is_refused: bool = False) -> None:
        """The call that `take` allowed is over, with these headers of its answer (None: there was none)."""
        with self._changed:
            now = time.monotonic()
            self._in_flight -= 1
            self.obey(headers or {}, now, is_refused)
            heapq.heappush(self._taken, now + self.interval)
            self._changed.notify_all()

    def refused(self, first_wait: float, retry_after: float | None) -> None:
        """The call that is under way got a 429: everybody waits, longer each time in a row."""
        with self._changed:
            now = time.monotonic()
            self._refused.append(now)
            # Calls that were under way together are refused together: that is one refusal.
            self._in_a_row += now >= self._paused_until
            wait = min(first_wait * 2 ** (self._in_a_row - 1), LONGEST_WAIT)
            if retry_after is not None:
                wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER))
            self._paused_until = max(self._paused_until, now + wait)

    def went_through(self) -> None:
        with self._changed:
            self._in_a_row = 0

    def obey(self, headers: Mapping[str, str], now: float, is_refused: bool) -> None:
        """What the headers of an answer say of the limits. Called within the lock."""

    def others_used(self, free: int, now: float) -> None:
        """No more than `free` slots are left, as somebody else uses the same limit: theirs are not ours for an interval."""
        ours = self.slots - len(self._taken) - self._in_flight - 1
        for _ in range(ours - max(free, 0)):
            heapq.heappush(self._taken, now + self.interval)

    def wait_at(self, now: float) -> float | None:
        """Seconds until something may have changed; 0: a call may be sent; None: wait for another call's end."""
        while self._taken and self._taken[0] <= now:
            heapq.heappop(self._taken)
        while self._refused and self._refused[0] <= now - _REFUSAL_SPAN:
            self._refused.popleft()
        if self._paused_until > now:
            return self._paused_until - now
        if self._in_flight >= self.most_in_flight:
            return None
        if self._in_flight + len(self._refused) >= _REFUSALS:
            return self._refused[0] + _REFUSAL_SPAN - now
        if self._in_flight + len(self._taken) >= self.slots:
            return self._taken[0] - now if self._taken else None
        return 0.0
