"""How fresh what is published is: when the last good run ended, and what the last run came to.

A run that finds nothing new publishes nothing, so the published file's own time does not say it. Runs leave a note beside
it (warehouse/publish.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster_project.warehouse.publish import last_outcome

from .published import Published


@dataclass(frozen=True)
class Freshness:
    """good_at: when the last good run ended; failed_at: when the last run failed, if it did; hours: what is too old."""

    good_at: datetime | None
    failed_at: datetime | None
    failed_step: str
    hours: int
    now: datetime

    @property
    def is_stale(self) -> bool:
        return self.good_at is not None and self.now - self.good_at > timedelta(hours=self.hours)


def of(published: Published) -> Freshness | None:
    """None: nothing is published."""
    settings = published.settings
    outcome = last_outcome(settings)
    good_at = outcome.good_at
    if good_at is None:
        try:
            changed = settings.analytics_file.stat().st_mtime
        except OSError:
            return None
        good_at = datetime.fromtimestamp(changed, UTC).replace(tzinfo=None)
    now = datetime.now(UTC).replace(tzinfo=None)
    return Freshness(good_at, outcome.failed_at, outcome.failed_step, settings.freshness.published_hours, now)
