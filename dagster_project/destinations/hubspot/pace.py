"""How fast HubSpot may be called: as its rate headers say, within the configured share."""

from __future__ import annotations

from collections.abc import Mapping

from dagster_project.destinations.parts import pace

# Until HubSpot's headers say more: the smallest plan's limit.
_SLOTS, _INTERVAL = 100, 10.0
FIRST_WAIT = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 2.5}


class Pace(pace.Pace):
    """Says when the next call may be sent, and whether the account's day is used up."""

    def __init__(self, rate_share: float = 1.0, daily_share: float = 1.0) -> None:
        super().__init__(_SLOTS, _INTERVAL)
        self._rate_share, self._daily_share = rate_share, daily_share
        self.day_is_used_up = False

    def obey(self, headers: Mapping[str, str], now: float, is_refused: bool) -> None:
        most = _number(headers, "X-HubSpot-RateLimit-Max")
        if most is not None and most >= 1:
            self.slots = max(1, int(most * self._rate_share))
        interval = _number(headers, "X-HubSpot-RateLimit-Interval-Milliseconds")
        if interval is not None and interval > 0:
            self.interval = min(interval / 1000, 60.0)
        remaining = _number(headers, "X-HubSpot-RateLimit-Remaining")
        if remaining is not None and not is_refused:  # after a refusal its own wait counts
            self.others_used(int(remaining), now)
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
