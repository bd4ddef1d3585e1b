"""The push: what the plan says is written down, sent, and its outcome written down. Also the plan alone.

Before a call a total is in the ledger as `sent`, without a code; after it with what became of it. So whoever finds one
without a code knows that its push was killed under way, and that nobody knows whether it arrived: it is `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from dagster_project.destinations.parts import published
from dagster_project.destinations.parts.pace import MOST_IN_FLIGHT
from dagster_project.destinations.parts.parallel import in_batches
from dagster_project.destinations.parts.published import bounded_warehouse, need_digest, need_published
from dagster_project.settings import Settings
from dagster_project.warehouse.database import Connection, transaction, value
from dagster_project.warehouse.publish import publish

from . import planner
from .api import Api, Outcome, need_access
from .planner import KEY, KEYS, Plan

_UNDER_WAY = "state = 'sent' AND code IS NULL"


@dataclass
class PushResult:
    """What a push came to: planned = sent + unknown + refused + day_over.

    not_reached: what it did not come to, as it stopped; the next push plans it again. A rehearsal (live False) has planned
    and day_over only.
    """

    live: bool
    digest: str
    planned: int = 0
    sent: int = 0
    unknown: int = 0
    refused: int = 0
    day_over: int = 0
    not_reached: int = 0
    calls: int = 0
    stopped: str | None = None

    @property
    def exit_status(self) -> int:
        """1: it ended early, an outcome is unknown, or a day was over before its totals were sent."""
        return int(bool(self.stopped or self.unknown or self.day_over))


def utc_now() -> datetime:
    return published.utc_now()


def make_plan(settings: Settings, *, retry_unknown: bool = False) -> Plan:
    """What a push would send now. Raises DestinationError: nothing is published yet, the SELECT cannot be used."""
    need_published(settings)
    with bounded_warehouse(settings, "csb") as connection:
        _close_what_was_killed(connection)
        return planner.make(connection, settings, utc_now().date(), retry_unknown=retry_unknown)


def push(
    settings: Settings,
    *,
    live: bool,
    digest: str | None = None,
    retry_unknown: bool = False,
    show: Callable[[Plan], None] | None = None,
) -> PushResult:
    """Carry the plan out (live), or rehearse it. digest: of the plan that is meant; any other is refused.

    Raises DestinationError where it could not begin. What stops it later is in the result.
    """
    if not live:
        plan = make_plan(settings, retry_unknown=retry_unknown)
        need_digest(digest, plan.digest)
        if show:
            show(plan)
        return rehearsal(plan)
    need_access()
    need_published(settings)
    with bounded_warehouse(settings, "csb") as connection:
        today = utc_now().date()  # not before: another run may have been waited for
        ends = datetime(today.year, today.month, today.day) + timedelta(days=1)  # noqa: DTZ001  (UTC without a zone)
        with Api(settings.customersuccessbox, ends, utc_now) as api:
            _close_what_was_killed(connection)
            plan = planner.make(connection, settings, today, retry_unknown=retry_unknown)
            need_digest(digest, plan.digest)
            if show:
                show(plan)
            number = _begin(connection, today, plan)
            stopped = _send(connection, api, number)
            result = _finish(connection, number, plan, api.pace.calls, stopped)
        publish(connection, settings)
        return result


def rehearsal(plan: Plan) -> PushResult:
    """What a push of this plan would come to."""
    return PushResult(
        False, plan.digest, planned=plan.calls + plan.over, day_over=plan.over, calls=plan.calls
    )


def _begin(connection: Connection, today: date, plan: Plan) -> int:
    """Open the push's account, and list what is over already."""
    number = int(value(connection, "SELECT coalesce(max(push), 0) + 1 FROM ops.csb_pushes"))
    with transaction(connection):
        connection.execute(
            "INSERT INTO ops.csb_pushes (push, started_at, day, digest) VALUES (?, ?, ?, ?)",
            [number, utc_now(), today, plan.digest],
        )
        _list_as_over(connection, number, "is_over")
    return number


def _send(connection: Connection, api: Api, number: int) -> str | None:
    """Send what is planned, a few at a time. Returns why it stopped before the end."""
    done = 0
    with ThreadPoolExecutor(MOST_IN_FLIGHT, thread_name_prefix="customersuccessbox") as pool:
        for rows in planner.in_order(connection, "NOT is_over"):
            for few in in_batches(rows, MOST_IN_FLIGHT):
                entries = _write_down(connection, number, few)
                outcomes = list(pool.map(api.add, [_body(row) for row in few]))
                with transaction(connection):
                    for row, entry, outcome in zip(few, entries, outcomes, strict=True):
                        _note(connection, entry, outcome, is_again=row[-1] is not None)
                done += len(few)
                if any(outcome.state == "day_over" for outcome in outcomes):
                    with transaction(connection):
                        _list_as_over(
                            connection,
                            number,
                            "NOT is_over AND entry IS NULL AND rowid IN "
                            f"(SELECT rowid FROM csb_plan WHERE NOT is_over ORDER BY rowid OFFSET {done})",
                        )
                    return None
                stops = [outcome.stops for outcome in outcomes if outcome.stops]
                if stops:
                    return stops[0]
    return None


def _write_down(connection: Connection, number: int, rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Into the ledger, as sent, before anything is. Returns where each is in it."""
    entries = []
    with transaction(connection):
        now, last = utc_now(), _last_entry(connection)
        for *named, adds, _, entry in rows:
            if entry is None:
                last += 1
                connection.execute(
                    f"""INSERT INTO ops.csb_ledger (entry, day, {KEY}, total, state, sent_at, code, push)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'sent', ?, NULL, ?)""",
                    [last, *named, adds, now, number],
                )
            else:
                connection.execute(
                    "UPDATE ops.csb_ledger SET state = 'sent', sent_at = ?, code = NULL, push = ? WHERE entry = ?",
                    [now, number, entry],
                )
            entries.append(last if entry is None else int(entry))
    return entries


def _note(connection: Connection, entry: int, outcome: Outcome, *, is_again: bool) -> None:
    # What was sent before, and may have arrived then, stays unknown where it could not be sent again.
    state = "unknown" if is_again and outcome.state == "day_over" else outcome.state
    connection.execute(
        """UPDATE ops.csb_ledger SET state = ?, code = ?, sent_at = CASE WHEN ? THEN NULL ELSE sent_at END
        WHERE entry = ?""",
        [state, outcome.code or "", state == "day_over", entry],
    )


def _last_entry(connection: Connection) -> int:
    return int(value(connection, "SELECT coalesce(max(entry), 0) FROM ops.csb_ledger"))


def _list_as_over(connection: Connection, number: int, condition: str) -> None:
    connection.execute(
        f"""INSERT INTO ops.csb_ledger (entry, day, {KEY}, total, state, sent_at, code, push)
        SELECT ? + row_number() OVER (ORDER BY rowid), day, {KEY}, adds, 'day_over', NULL, '', ?
        FROM csb_plan WHERE {condition}""",
        [_last_entry(connection), number],
    )


def _close_what_was_killed(connection: Connection) -> None:
    """A push that was killed left totals of which nobody knows whether they arrived, and an open account."""
    with transaction(connection):
        connection.execute(f"UPDATE ops.csb_ledger SET state = 'unknown', code = '' WHERE {_UNDER_WAY}")
        for (number,) in connection.execute(
            "SELECT push FROM ops.csb_pushes WHERE ended_at IS NULL"
        ).fetchall():
            result = _tally(connection, number, PushResult(True, "", stopped="it was interrupted"))
            _close(connection, number, result)


def _finish(connection: Connection, number: int, plan: Plan, calls: int, stopped: str | None) -> PushResult:
    with transaction(connection):
        result = _tally(connection, number, PushResult(True, plan.digest, calls=calls, stopped=stopped))
        result.not_reached = plan.calls + plan.over - result.planned
        _close(connection, number, result)
    return result


def _tally(connection: Connection, number: int, result: PushResult) -> PushResult:
    for state, count in connection.execute(
        "SELECT state, count(*) FROM ops.csb_ledger WHERE push = ? GROUP BY state", [number]
    ).fetchall():
        setattr(result, state, count)
    result.planned = result.sent + result.unknown + result.refused + result.day_over
    return result


def _close(connection: Connection, number: int, result: PushResult) -> None:
    names = (
        "planned",
        "sent",
        "unknown",
        "refused",
        "day_over",
        "not_reached",
        "calls",
        "stopped",
        "exit_status",
    )
    connection.execute(
        f"UPDATE ops.csb_pushes SET ended_at = ?, {', '.join(f'{name} = ?' for name in names)} WHERE push = ?",
        [utc_now(), *(getattr(result, name) for name in names), number],
    )


def _body(row: Sequence[Any]) -> dict[str, Any]:
    """As CustomerSuccessBox documents it: `type` says that it is the use of a feature."""
    day, *named, adds, at, _ = row
    # Of another day it would be wrong, and it is not needed: then it is now, which is today.
    at = at if at is not None and at.date() == day else utc_now()
    return {
        **dict(zip(KEYS, named, strict=True)),
        "total": adds,
        "type": "feature",
        "timestamp": at.isoformat(timespec="milliseconds") + "Z",
    }
