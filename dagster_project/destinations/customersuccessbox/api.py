"""CustomerSuccessBox's HTTP API: one call, tried again while it was not carried out and the day lasts.

Only here is its address written. What an answer means for the account of a total is said by `Outcome`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from dagster_project.destinations.parts.errors import DestinationError, NoAnswer
from dagster_project.destinations.parts.http import Bearer, Http, is_token, retry_after
from dagster_project.destinations.parts.pace import Pace
from dagster_project.settings import CustomerSuccessBoxSettings, csb_api_key, csb_base_url

FEATURE = "/api/v1_1/feature"
_TRIES = 12
_FIRST_WAIT = 0.5
_NOT_NOW = {408, 425, 429}  # and all of 500 and more: it is to be sent again
_NOT_ALLOWED = {401, 403}

State = Literal["sent", "unknown", "refused", "day_over"]


class MissingKey(DestinationError):
    """CustomerSuccessBox cannot be called."""

    def __init__(self, name: str) -> None:
        what = {
            "CSB_API_KEY": "export the API key of your CustomerSuccessBox account",
            "CSB_BASE_URL": "export its address, https://<domain>.customersuccessbox.com",
        }
        super().__init__(f"{name} is not set: {what[name]}")


class DayOver(Exception):
    """The day is over, or so nearly that a call might arrive in the next: nothing of it may be sent any more."""


@dataclass(frozen=True)
class Outcome:
    """What became of a total. stops: why no further one is worth trying, where that is so."""

    state: State
    code: str | None = None
    stops: str | None = None


class _UntilTheDayEnds(Pace):
    """So many calls a second, none of them later than the last moment."""

    def __init__(self, a_second: float, last: datetime, now: Callable[[], datetime]) -> None:
        # Below one a second, the interval is what is longer.
        super().__init__(max(1, int(a_second)), max(1, int(a_second)) / a_second)
        self._last, self._now = last, now

    def take(self, *, is_write: bool = False) -> None:
        super().take(is_write=is_write)
        # Looked at behind all waits, right before the call.
        if self._now() >= self._last:
            with self._changed:
                self.calls -= 1
                self.write_calls -= is_write
            self.give_back()
            raise DayOver


def need_access() -> tuple[str, str]:
    """The address and the key. Raises MissingKey."""
    key, base = csb_api_key(), csb_base_url()
    if base is None:
        raise MissingKey("CSB_BASE_URL")
    if key is None:
        raise MissingKey("CSB_API_KEY")
    if not is_token(key):
        raise DestinationError("CSB_API_KEY holds characters that no key has; copy it again")
    return base, key


class Api:
    """Threads may share it. day_ends: the moment from which nothing is sent, but for the margin. Raises MissingKey."""

    def __init__(
        self, settings: CustomerSuccessBoxSettings, day_ends: datetime, now: Callable[[], datetime]
    ) -> None:
        base, key = need_access()
        self._day_ends, self._now = day_ends, now
        last = day_ends - timedelta(seconds=settings.margin_seconds)
        self.pace = _UntilTheDayEnds(settings.calls_per_second, last, now)
        self._http = Http("CustomerSuccessBox", base, self.pace, settings.timeout_seconds, {key})
        self._auth = Bearer(key)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def add(self, feature: Mapping[str, Any]) -> Outcome:
        """Add to a day's total, once. What was not carried out (429, 5xx) is tried again; what is not known, is not."""
        code = ""
        for _ in range(_TRIES):
            try:
                status, text, headers = self._http.send(
                    "POST", FEATURE, auth=self._auth, data=orjson.dumps(feature), is_write=True
                )
            except DayOver:
                return Outcome("day_over", code or None)
            except NoAnswer as error:
                return Outcome("unknown", error.code)
            code = str(status)
            if status in _NOT_NOW or status >= 500:
                if status != 429:  # Http has seen to that
                    self.pace.refused(_FIRST_WAIT, retry_after(headers))
                continue
            if 200 <= status < 300:
                if self._now() >= self._day_ends:
                    return Outcome("unknown", code)  # under which day it arrived, nobody knows
                return _taken(code, text)
            stops = f"CustomerSuccessBox answered {code}: {text[:300]}" if status in _NOT_ALLOWED else None
            return Outcome("refused", code, stops)
        return Outcome("refused", code, f"CustomerSuccessBox answered {code} again and again")


def _taken(code: str, text: str) -> Outcome:
    """A 2xx counts for what its body says."""
    try:
        said = orjson.loads(text)["success"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Outcome("unknown", code)
    return Outcome("sent" if said is True else "refused", code)
