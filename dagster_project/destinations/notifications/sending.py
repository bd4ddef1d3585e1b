"""Telling: what waits in `ops.notifications` is marked as under way, sent, and what became of it written down.

The build puts rows there in the transaction that finds the change. Whoever finds one that is under way knows that its run
was killed, and that nobody knows whether the message arrived: it is `unknown`, and not sent again. Nothing here fails a run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dagster_project.destinations.parts.webhook import Outcome, post
from dagster_project.settings import Settings, SettingsError, notification_webhook
from dagster_project.warehouse.database import Connection, transaction, value

from .message import Change, message

_PAUSE_SECONDS = 2.0
_OF = "notify_to IS NOT DISTINCT FROM ?"
# Names are told with the ids; those of this run are published by now.
_WAITING = f"""
SELECT n.cohort, n.entity, n.id, n.change, coalesce(c.company_name, u.name) AS name
FROM ops.notifications AS n
LEFT JOIN marts.company_profiles AS c ON n.entity = 'company' AND c.company_id = n.id
LEFT JOIN marts.user_profiles AS u ON n.entity = 'user' AND u.user_id = n.id
WHERE n.state = 'waiting' AND n.{_OF}
ORDER BY n.entity, n.cohort, n.changed_at, n.change, n.id"""


@dataclass
class Told:
    """What became of the notifications that waited. changed: ops.notifications is to be published again."""

    sent: int = 0
    changed: bool = False
    problems: list[str] = field(default_factory=list)


def tell(connection: Connection, settings: Settings) -> Told:
    """Send all that waits, a message for each webhook."""
    told = Told()
    # A webhook under way here is one of a run that was killed: runs have the warehouse one after the other.
    if value(connection, "SELECT count(*) FROM ops.notifications WHERE state = 'sending'"):
        with transaction(connection):
            connection.execute(
                "UPDATE ops.notifications SET state = 'unknown', problem = 'the run was killed' WHERE state = 'sending'"
            )
        told.changed = True
    webhooks = connection.execute(
        "SELECT DISTINCT notify_to FROM ops.notifications WHERE state = 'waiting' ORDER BY 1"
    ).fetchall()
    for (name,) in webhooks:
        _tell_one(connection, settings, name, told)
    return told


def _tell_one(connection: Connection, settings: Settings, name: str | None, told: Told) -> None:
    rows = connection.execute(_WAITING, [name]).fetchall()
    try:
        url, variable = notification_webhook(name)
    except SettingsError as error:
        told.problems.append(f"{len(rows)} notifications wait: {error}")
        return
    if url is None:
        told.problems.append(f"{len(rows)} notifications wait: set {variable}")
        return
    text = message([Change(*row) for row in rows], settings)
    now = datetime.now(UTC).replace(tzinfo=None)
    with transaction(connection):
        connection.execute(
            f"""UPDATE ops.notifications SET state = 'sending', tries = tries + 1, tried_at = ?, problem = NULL
            WHERE state = 'waiting' AND {_OF}""",
            [now, name],
        )
    outcome = _post(settings, url, text)
    with transaction(connection):
        connection.execute(
            f"UPDATE ops.notifications SET state = ?, problem = ? WHERE state = 'sending' AND {_OF}",
            [outcome.state, outcome.problem, name],
        )
    told.changed = True
    if outcome.problem is None:
        told.sent += len(rows)
    else:
        then = "they are sent with the next run" if outcome.state == "waiting" else "they are not sent again"
        told.problems.append(f"{len(rows)} notifications: {outcome.problem}; {then}; look at {variable}")


@dataclass(frozen=True)
class _Result:
    state: str
    problem: str | None = None


def _post(settings: Settings, url: str, text: str) -> _Result:
    """A few tries, as long as it is known that nothing arrived."""
    options = settings.alerts
    answer = Outcome(False, "")
    for attempt in range(options.attempts):
        if attempt:
            time.sleep(_PAUSE_SECONDS * attempt)
        answer = post(url, text, options.timeout_seconds)
        if answer.problem is None:
            return _Result("sent")
        if answer.is_unknown:
            return _Result("unknown", answer.problem)
        if not answer.may_go_later:
            break
    return _Result("waiting", answer.problem)
