"""The push: makes the plan, puts it into the outbox, has it sent, and closes the accounts. Also the plan alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from time import sleep

import duckdb

from dagster_project.destinations.parts.published import (
    bounded_warehouse,
    need_digest,
    need_published,
    utc_now,
)
from dagster_project.settings import Settings
from dagster_project.warehouse.database import (
    Connection,
    open_published,
    transaction,
    value,
)
from dagster_project.warehouse.publish import publish

from . import outcomes
from .accounts import (
    NOT_SKIPPED,
    PushResult,
    Tally,
    close_account,
    note_calls,
    open_account,
    rehearsal,
    tallies_of,
)
from .api import Account, Api
from .associations import Associations
from .errors import (
    AccountRefused,
    DailyLimit,
    HubspotError,
    MissingToken,
    NotAllowed,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from .events import Events
from .keys import OBJECTS
from .ledger import remember_matches, remember_preflight, settle
from .lists import Lists
from .outbound import source_of
from .plan import Plan
from .planner import Planner, Resend
from .progress import Progress
from .sender import Sender

_log = logging.getLogger(__name__)


def is_up_to_date(settings: Settings) -> bool:
    """Whether a push would find what the last one found, and that one left nothing open. Asks nobody but the warehouse."""
    if not settings.analytics_file.exists():
        return False
    with open_published(settings) as connection:
        try:
            last = connection.execute(
                "SELECT source, exit_status FROM ops.hubspot_pushes ORDER BY push DESC LIMIT 1"
            ).fetchall()
            return last == [(source_of(connection, settings), 0)]
        except (duckdb.CatalogException, duckdb.BinderException):
            return False  # published before there were pushes, or by an older release


def load_fields(settings: Settings) -> Account:
    """Load the properties of the account into ops.hubspot_properties, and publish them. Raises as `make_plan` does."""
    need_published(settings)
    with Api(settings.hubspot) as api, bounded_warehouse(settings, "hubspot") as connection:
        account = api.load_account(settings.hubspot.portal_id)
        planner = Planner(connection, settings, api, utc_now())
        planner.read_columns()
        planner.forget()
        with transaction(connection):
            planner.keep_properties()
        publish(connection, settings)
        return account


def make_plan(settings: Settings, *, offline: bool = False, resend: Resend | None = None) -> Plan:
    """What a push would write. offline, or without a token: what can be said offline. Writes nothing to HubSpot.

    Raises HubspotError: nothing is published yet, a SELECT cannot be used, the token is not accepted or another
    account's, HubSpot cannot be read.
    """
    need_published(settings)
    try:
        api: Api | None = None if offline else Api(settings.hubspot)
    except MissingToken:
        api = None
    with bounded_warehouse(settings, "hubspot") as connection:
        settle(connection, utc_now())
        if api is None:
            return _planned(connection, settings, None, resend).as_plan()
        with api:
            api.load_account(settings.hubspot.portal_id)
            _recover(api, Progress(connection, api.account.portal_id, settings.hubspot))
            return _planned(connection, settings, api, resend).as_plan()


def push(
    settings: Settings,
    *,
    live: bool,
    digest: str | None = None,
    show: Callable[[Plan], None] | None = None,
    resend: Resend | None = None,
) -> PushResult:
    """Carry the plan out (live), or rehearse it. digest: of the plan that is meant; any other is refused.

    show: gets the plan before anything is written. Raises MissingToken, and HubspotError where it could not begin
    (see make_plan). What stops it later is in the result.
    """
    if not live:
        plan = make_plan(settings, resend=resend)
        if plan.offline:
            raise MissingToken
        need_digest(digest, plan.digest)
        if show:
            show(plan)
        return rehearsal(plan)
    need_published(settings)
    with Api(settings.hubspot) as api, bounded_warehouse(settings, "hubspot") as connection:
        try:
            api.load_account(settings.hubspot.portal_id)
            progress = Progress(connection, api.account.portal_id, settings.hubspot)
            _recover(api, progress)
            planner = _planned(connection, settings, api, resend)
            need_digest(digest, planner.digest())
            if show:
                show(planner.as_plan())
            number = _begin(connection, progress, planner)
        except (DailyLimit, NotAllowed, OutcomeUnknown, Refused, Unavailable) as error:
            if api.account.portal_id is None and isinstance(error, NotAllowed):
                raise  # a token that is none
            result = PushResult(
                True, {object_type: Tally() for object_type in OBJECTS}, portal_id=api.account.portal_id
            )
            note_calls(result, api, error, 0)
            close_account(connection, open_account(connection, result.portal_id, "", None), result)
        else:
            sender = Sender(api, progress, settings.hubspot.recreate_deleted)
            sender.send_all()
            said = [*planner.unreadable.said.values(), *progress.halted.values()]
            if said and sender.stop is None:
                sender.stop = AccountRefused("; ".join(dict.fromkeys(said)))
            settle(connection, utc_now())  # the ids of what was made
            account = progress.portal_id
            for wanted, more in (
                (planner.associations, Associations(api, connection, account)),
                (planner.lists, Lists(api, connection, account)),
                (planner.events, Events(api, connection, account, planner.event_names)),
            ):
                if wanted and isinstance(sender.stop, AccountRefused | None):
                    sender.stop = _send_more(more, progress) or sender.stop
            result = _finish(connection, api, progress, planner, sender.stop, number)
        _log.debug("publishing")
        publish(connection, settings)
        return result


def _planned(
    connection: Connection, settings: Settings, api: Api | None, resend: Resend | None = None
) -> Planner:
    planner = Planner(connection, settings, api, utc_now(), resend)
    try:
        planner.make()
    except duckdb.OutOfMemoryException:  # very long texts
        connection.execute(f"SET memory_limit = '{settings.warehouse.memory_limit}'")
        planner = Planner(connection, settings, api, utc_now(), resend)
        planner.make()
    return planner


def _recover(api: Api, progress: Progress) -> None:
    """What an earlier push left in the outbox: look up what may have been carried out, close its accounts."""
    connection, outbox = progress.connection, progress.outbox
    settle(connection, utc_now())
    if outbox.holds("sent"):
        _log.debug("looking up what was under way when the last push ended")
        latest = value(connection, "SELECT max(sent_at) FROM ops.hubspot_outbox WHERE state = 'sent'")
        sleep(
            min(
                max(0.0, outcomes.SETTLE_SECONDS - (utc_now() - latest).total_seconds()),
                outcomes.SETTLE_SECONDS,
            )
        )
        progress.load_types()
        outcomes.look_up(api, progress)
        settle(connection, utc_now())
    interrupted = value(connection, "SELECT max(push) FROM ops.hubspot_pushes WHERE ended_at IS NULL")
    with transaction(connection):
        # Found, but not as it was meant: the plan makes an update of it.
        connection.execute(
            """
            INSERT INTO ops.hubspot_records (portal_id, object, id, key, hubspot_id, seen_at)
            SELECT portal_id, object, id, key, hubspot_id, ? FROM ops.hubspot_outbox o
            WHERE state = 'ready' AND hubspot_id IS NOT NULL AND NOT EXISTS (
                FROM ops.hubspot_records r WHERE r.object = o.object AND r.key = o.key
                  AND r.portal_id IS NOT DISTINCT FROM o.portal_id)""",
            [utc_now()],
        )
        if interrupted is not None:
            close_account(
                connection, interrupted, PushResult(True, tallies_of(progress), stopped="it was interrupted")
            )
        connection.execute(
            "DELETE FROM ops.hubspot_outbox WHERE portal_id IS NOT DISTINCT FROM ?", [progress.portal_id]
        )
    progress.forget()


def _begin(connection: Connection, progress: Progress, planner: Planner) -> int:
    """Put the plan into the outbox, with all that is known before the first call. Returns the push's number."""
    with transaction(connection):
        number = open_account(connection, progress.portal_id, planner.digest(), planner.source)
        planner.keep_properties()
        connection.execute(
            "DELETE FROM ops.hubspot_changes WHERE changed_at < ?",
            [utc_now() - timedelta(days=progress.options.changes_days)],
        )
        connection.execute("DELETE FROM ops.hubspot_skips")
        connection.execute("INSERT INTO ops.hubspot_skips SELECT object, id, key, reason FROM plan_skips")
        remember_matches(connection, progress.portal_id, utc_now())
        planner.others.remember(planner.now)
        planner.want("(_object, _key) IN (SELECT (object, key) FROM ops.hubspot_rejects)")
        remember_preflight(connection, progress.portal_id, utc_now())
        progress.outbox.fill()
    progress.left_out = planner.left_out
    progress.planner = planner
    progress.load_types()
    planner.drop_what_is_in_the_outbox()
    return number


def _send_more(more: Lists | Associations | Events, progress: Progress) -> HubspotError | None:
    """What goes beyond records. Returns what ended it early."""
    try:
        more.send()
    except HubspotError as error:
        return error
    finally:
        progress.left_out += more.left_out
    return None


def _finish(
    connection: Connection,
    api: Api,
    progress: Progress,
    planner: Planner,
    stop: HubspotError | None,
    number: int,
) -> PushResult:
    """Settle, close the accounts, and leave in the outbox only what is unknown."""
    settle(connection, utc_now())
    given = [progress.portal_id]
    unknown = progress.given_up
    for _, inputs in progress.calls("sent"):
        unknown += len(inputs)
        with progress.written():
            for one in inputs:
                progress.reject(one, is_final=False)
                progress.mark([one], "sent")
    with transaction(connection):
        reason = "daily_limit" if isinstance(stop, DailyLimit) else "stopped"
        connection.execute(
            """
            UPDATE ops.hubspot_outbox SET state = ?
            WHERE state IN ('ready', 'gone') AND portal_id IS NOT DISTINCT FROM ?""",
            [reason, *given],
        )
        connection.execute(
            f"""
            INSERT INTO ops.hubspot_skips
            SELECT object, id, key, state FROM ops.hubspot_outbox
            WHERE portal_id IS NOT DISTINCT FROM ? AND action <> 'repair' AND state NOT IN ({NOT_SKIPPED})""",
            given,
        )
        tallies = tallies_of(progress)
        for object_type, counts in planner.first_counts.items():
            tally = tallies[object_type]
            tally.planned += counts.skipped + counts.rejected
            tally.skipped += counts.skipped
            tally.rejected += counts.rejected
            tally.unchanged, tally.held_back = counts.unchanged, counts.held_back
        result = PushResult(
            True,
            tallies,
            planner.digest(),
            left_out=progress.left_out,
            portal_id=progress.portal_id,
            held_back=planner.held_back,
            listed=planner.listed,
        )
        note_calls(result, api, stop, unknown)
        close_account(connection, number, result)
        progress.outbox.clear()
    return result
