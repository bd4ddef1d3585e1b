"""Cohorts: how many are in each, and who came and went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from .asking import Ask, View
from .listing import Listing

_COHORTS = """
WITH moves AS (
    SELECT entity, cohort, max(changed_at) AS changed_at,
           count(*) FILTER (WHERE change = 'entered' AND changed_at >= $since) AS entered,
           count(*) FILTER (WHERE change = 'left' AND changed_at >= $since) AS left_it
    FROM marts.cohort_changes GROUP BY entity, cohort
), members AS (
    SELECT entity, cohort, count(*) AS members FROM marts.cohort_members GROUP BY entity, cohort
)
SELECT c.entity, c.cohort, c.about, coalesce(m.members, 0) AS members, coalesce(v.entered, 0) AS entered,
       coalesce(v.left_it, 0) AS left_it, v.changed_at
FROM marts.cohorts AS c LEFT JOIN moves AS v USING (entity, cohort) LEFT JOIN members AS m USING (entity, cohort)
ORDER BY c.entity, c.cohort"""

CHANGES = Listing(
    title="Who entered and left cohorts",
    about="Every change, newest first. The time is that of the run that found it.",
    query="SELECT changed_at, cohort, entity, id, change FROM marts.cohort_changes",
    looks={"id": "entity"},
    order="changed_at DESC, cohort, entity, id, change",
    facets=("entity", "cohort", "change"),
)

NOTIFICATIONS = Listing(
    title="What webhooks were told",
    about="Who entered or left a cohort whose file says `-- notify: entered, left`, and what became of telling a webhook of it. "
    "Newest first.",
    query="""SELECT changed_at, cohort, entity, id, change, state, notify_to, tries, tried_at, problem FROM ops.notifications""",
    looks={"id": "entity", "problem": "bad"},
    order="changed_at DESC, cohort, entity, id, change",
    facets=("cohort", "change", "state"),
)


def page(ask: Ask) -> View:
    # Changes carry the clock of the run that found them, so this window is the clock's too.
    since = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=30)
    return View("cohorts.html", "Cohorts", {"cohorts": ask.rows(_COHORTS, since=since)}, main="cohorts")
