"""The accounts of a push: a row of ops.hubspot_pushes, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from dagster_project.destinations.parts.published import utc_now
from dagster_project.warehouse.database import Connection, value

from .api import Api
from .errors import DailyLimit, HubspotError
from .plan import HeldBack, Plan
from .preflight import LeftOut
from .progress import Progress

NOT_SKIPPED = "'settled', 'rejected', 'sent'"


@dataclass
class Tally:
    """Records of one object type: planned = acknowledged + rejected + skipped."""

    planned: int = 0
    acknowledged: int = 0
    rejected: int = 0
    skipped: int = 0
    unchanged: int = 0
    held_back: int = 0
    created: int = 0
    updated: int = 0


@dataclass
class PushResult:
    """What a push came to. calls: all calls to HubSpot, write_calls those that write, retries included.

    unknown: records of which HubSpot did not say what became of them. stopped: why it ended early. A rehearsal
    (live False) has planned, skipped, rejected and unchanged records only, with those that would be created and
    updated, and the writes that it would take.
    """

    live: bool
    objects: dict[str, Tally]
    digest: str = ""
    calls: int = 0
    write_calls: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    daily_limit_resumes_at: datetime | None = None
    unknown: int = 0
    stopped: str | None = None
    portal_id: int | None = None
    held_back: list[HeldBack] = field(default_factory=list)
    listed: int = 0

    @property
    def exit_status(self) -> int:
        """1: a column was left out, it ended early, or a record's outcome is unknown."""
        return int(bool(self.left_out or self.stopped or self.unknown))

    @property
    def total(self) -> Tally:
        return Tally(
            *(sum(column) for column in zip(*(vars(t).values() for t in self.objects.values()), strict=True))
        )


def rehearsal(plan: Plan) -> PushResult:
    """What a push of this plan would come to."""
    objects = {
        name: Tally(
            planned=c.creates + c.updates + c.skipped + c.rejected,
            rejected=c.rejected,
            skipped=c.skipped,
            unchanged=c.unchanged,
            held_back=c.held_back,
            created=c.creates,
            updated=c.updates,
        )
        for name, c in plan.counts.items()
    }
    return PushResult(
        False,
        objects,
        plan.digest,
        plan.calls,
        plan.calls,
        plan.left_out,
        stopped="; ".join(plan.unreadable) or None,
        portal_id=plan.account,
        held_back=plan.held_back,
    )


def note_calls(result: PushResult, api: Api, stop: HubspotError | None, unknown: int) -> None:
    result.calls, result.write_calls, result.unknown = api.pace.calls, api.pace.write_calls, unknown
    result.stopped = str(stop) if stop else None
    result.daily_limit_resumes_at = stop.resumes_at if isinstance(stop, DailyLimit) else None


def tallies_of(progress: Progress) -> dict[str, Tally]:
    """What became of the records in the outbox."""
    tallies = {object_type: Tally() for object_type in progress.keys}
    for object_type, action, state, number in progress.connection.execute(
        """
        SELECT object, action, state, count(*) FROM ops.hubspot_outbox
        WHERE portal_id IS NOT DISTINCT FROM ? AND action <> 'repair' GROUP BY ALL""",
        [progress.portal_id],
    ).fetchall():
        tally = tallies.setdefault(object_type, Tally())  # its SELECT may be gone since
        tally.planned += number
        if state == "settled":
            tally.acknowledged += number
            tally.created += number if action == "create" else 0
            tally.updated += number if action != "create" else 0
        elif state in ("rejected", "sent"):
            tally.rejected += number
        else:
            tally.skipped += number
    return tallies


def open_account(connection: Connection, portal_id: int | None, digest: str, source: str | None) -> int:
    """A row of the accounts. Returns its number."""
    number = int(value(connection, "SELECT coalesce(max(push), 0) + 1 FROM ops.hubspot_pushes"))
    connection.execute(
        """
        INSERT INTO ops.hubspot_pushes (push, started_at, portal_id, digest, source, planned, acknowledged, rejected, skipped,
                                        unchanged, held_back, created, updated, unknown, calls, write_calls)
        VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)""",
        [number, utc_now(), portal_id, digest, source],
    )
    return number


def close_account(connection: Connection, number: int, result: PushResult) -> None:
    left_out = "\n".join(f"{one.object}.{one.column}: {one.reason}" for one in result.left_out)
    total = vars(result.total)
    connection.execute(
        f"""
        UPDATE ops.hubspot_pushes SET {", ".join(f"{name} = ?" for name in total)}, ended_at = ?, unknown = ?, listed = ?,
            calls = ?, write_calls = ?, left_out = ?, stopped = ?, resumes_at = ?, exit_status = ?
        WHERE push = ?""",
        [
            *total.values(),
            utc_now(),
            result.unknown,
            result.listed,
            result.calls,
            result.write_calls,
            left_out or None,
            result.stopped,
            result.daily_limit_resumes_at,
            result.exit_status,
            number,
        ],
    )
