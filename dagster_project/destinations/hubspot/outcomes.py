"""What is found out by reading: the outcome of writes that HubSpot left open, records that are gone or merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import sleep

from dagster_project.destinations.parts.published import utc_now
from dagster_project.warehouse.database import Connection, transaction

from .answers import Input, Problem
from .api import Api
from .errors import NotAllowed, Refused
from .keys import Key
from .ledger import settle
from .lookup import Found, all_records, by_id, by_key, in_batches, side_by_side
from .progress import Progress

# A call of which nothing is known may still be under way in HubSpot. Before a company is made once more this long is
# waited: domains are not unique there, so a late one would make a double.
SETTLE_SECONDS = 5.0
_GONE = Problem("OBJECT_NOT_FOUND", "the record does not exist in HubSpot any more", is_gone=True)


def look_up(api: Api, progress: Progress) -> None:
    """Read what HubSpot holds of each record whose outcome is unknown, and go by that."""
    for object_type in progress.keys:
        for is_create in (False, True):
            inputs = list(progress.outbox.inputs("sent", object_type, is_create))
            try:
                _look_up(api, progress, object_type, inputs)
            except (NotAllowed, Refused) as error:
                if isinstance(error, NotAllowed) and error.status == 401:
                    raise
                still = {one.record for one in progress.outbox.inputs("sent", object_type, is_create)}
                _reject(progress, [one for one in inputs if one.record in still], _unreadable(error))


def _look_up(api: Api, progress: Progress, object_type: str, inputs: Sequence[Input]) -> None:
    """inputs: only updates, or only creates."""
    if not inputs:
        return
    key = progress.keys[object_type]
    if inputs[0].hubspot_id is None and not key.can_be_read:
        if any(map(progress.has_timed_out, inputs)):
            sleep(SETTLE_SECONDS)
        refused: dict[str, Refused] = {}
        found = _by_domain(api, key, inputs, refused=refused)
        _compare(progress, object_type, inputs, found, refused)
        return
    read = _by_key if inputs[0].hubspot_id is None else _by_id
    for batch, (found, refused) in side_by_side(in_batches(inputs), lambda b: _read(api, key, read, b)):
        _compare(progress, object_type, batch, found, refused)


def find_gone(api: Api, progress: Progress, recreate: bool) -> None:
    """Records that HubSpot does not know any more: deleted, unless their key leads to another one."""
    for object_type in progress.keys:
        gone = list(progress.outbox.inputs("gone", object_type, False))
        if not gone:
            continue
        refused: dict[str, Refused] = {}
        found: dict[str, list[Found]] = {}
        key = progress.keys[object_type]
        try:
            if key.can_be_read:
                for batch in in_batches(gone):
                    found |= _by_key(api, key, batch, values=False, refused=refused)
            else:
                # A listing is dear: not for what was gone before already.
                known = _known_as_gone(progress.connection)
                if recreate or any(one.key not in known for one in gone):
                    found = _by_domain(api, key, gone, values=False)
        except (NotAllowed, Refused) as error:
            if isinstance(error, NotAllowed) and error.status == 401:
                raise
            _reject(progress, gone, _unreadable(error))
            continue
        with progress.written():
            for one in gone:
                others = {record.hubspot_id for record in found.get(one.key, [])} - {one.hubspot_id}
                if one.key in refused:
                    progress.note([one], _unreadable(refused[one.key]))
                    progress.reject(one, is_final=False)
                elif len(others) > 1:
                    progress.mark([one], "ambiguous")
                elif not (others or recreate) or not progress.move(
                    object_type, one, next(iter(others), None)
                ):
                    progress.note([one], _GONE)
                    progress.reject(one)


def plan_repairs(progress: Progress) -> None:
    """Records that turned out to be merged into another: that one is to hold what the profile seen last says."""
    connection = progress.connection
    settle(connection, utc_now())
    with transaction(connection):
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE push_merged (object VARCHAR, key VARCHAR, hubspot_id VARCHAR)"
        )
        connection.executemany(
            "INSERT INTO push_merged VALUES (?, ?, ?)", [list(one) for one in sorted(progress.merged)]
        )
        connection.execute("""
            UPDATE plan_sendable SET hubspot_id = m.hubspot_id FROM push_merged m
            WHERE plan_sendable.object = m.object AND plan_sendable.key = m.key""")
        assert progress.planner is not None
        progress.planner.want(
            "(_object, _key) IN (SELECT (object, key) FROM plan_sendable SEMI JOIN push_merged USING (object, hubspot_id))"
        )
        connection.execute(_REPAIRS, {"portal_id": progress.portal_id})
    progress.merged.clear()


_REPAIRS = """
    INSERT INTO ops.hubspot_outbox
           (record, portal_id, object, action, id, key, hubspot_id, properties, state, attempts)
       SELECT (SELECT max(record) FROM ops.hubspot_outbox) + row_number() OVER (), $portal_id, s.object, 'repair', s.id,
              s.key, s.hubspot_id,
              to_json(map(list(w.property ORDER BY w.property), list(w.value ORDER BY w.property))), 'ready', 0
       FROM (
           FROM plan_sendable SEMI JOIN push_merged USING (object, hubspot_id)
           QUALIFY row_number() OVER (PARTITION BY object, hubspot_id ORDER BY seen DESC NULLS LAST, id) = 1
       ) s
       JOIN plan_wanted w ON w.object = s.object AND w.key = s.key AND w.code IS NULL AND w.value <> ''
        AND NOT w.only_if_empty
       WHERE NOT EXISTS (
           FROM ops.hubspot_ledger l
           WHERE l.portal_id IS NOT DISTINCT FROM $portal_id AND l.object = w.object AND l.key = w.key
             AND l.property = w.property AND l.hubspot_id = s.hubspot_id AND l.value = w.value)
       GROUP BY ALL"""


def _compare(
    progress: Progress,
    object_type: str,
    inputs: Sequence[Input],
    found: dict[str, list[Found]],
    refused: Mapping[str, Refused],
) -> None:
    """found, refused: by id for updates, by key for creates."""
    with progress.written():
        for one in inputs:
            name = one.hubspot_id or one.key
            records = found.get(name, [])
            if name in refused or any(record.hubspot_id in refused for record in records):
                progress.note([one], _unreadable(refused.get(name) or refused[records[0].hubspot_id]))
                progress.reject(one, is_final=False)
            elif len(records) > 1:
                progress.mark([one], "ambiguous")
            elif not records and one.hubspot_id is not None:
                progress.mark([one], "gone")
            elif not records:
                progress.try_again(one)
            elif _holds(progress, object_type, one, records[0]):
                progress.acknowledge(object_type, one, records[0].hubspot_id)
            elif one.hubspot_id is None:
                progress.turn_into_update(object_type, one, records[0].hubspot_id)
            else:
                progress.try_again(one)


def _reject(progress: Progress, inputs: Sequence[Input], problem: Problem) -> None:
    """HubSpot does not say what became of them, and will not: they are tried again, but nothing waits for them."""
    with progress.written():
        progress.note(inputs, problem)
        for one in inputs:
            progress.reject(one, is_final=False)


def _unreadable(error: NotAllowed | Refused) -> Problem:
    return Problem("NOT_READABLE", f"HubSpot refuses to show the record: {error}")


def _holds(progress: Progress, object_type: str, one: Input, record: Found) -> bool:
    return all(
        progress.is_held(object_type, name, sent, record.properties.get(name))
        for name, sent in one.properties.items()
    )


Read = Callable[[Api, Key, Sequence[Input], dict[str, Refused]], dict[str, list[Found]]]


def _read(
    api: Api, key: Key, read: Read, inputs: Sequence[Input]
) -> tuple[dict[str, list[Found]], dict[str, Refused]]:
    refused: dict[str, Refused] = {}
    return read(api, key, inputs, refused), refused


def _by_id(
    api: Api, key: Key, inputs: Sequence[Input], refused: dict[str, Refused]
) -> dict[str, list[Found]]:
    ids = list(dict.fromkeys(one.hubspot_id for one in inputs if one.hubspot_id is not None))
    found = by_id(api, key, ids, _names(inputs), refused)
    return {hubspot_id: [record] for hubspot_id, record in found.items()}


def _by_key(
    api: Api, key: Key, inputs: Sequence[Input], refused: dict[str, Refused], *, values: bool = True
) -> dict[str, list[Found]]:
    found = by_key(api, key, [one.key for one in inputs], _names(inputs) if values else (), refused)
    return {text: [record] for text, record in found.items()}


def _by_domain(
    api: Api,
    key: Key,
    inputs: Sequence[Input],
    *,
    refused: dict[str, Refused] | None = None,
    values: bool = True,
) -> dict[str, list[Found]]:
    """By listing all companies, as search lags behind writes; the values of those found by a read a hundred."""
    wanted = {one.key for one in inputs}
    found: dict[str, list[Found]] = {}
    for records, _ in all_records(api, key):
        for record in records:
            for text in wanted.intersection(record.keys):
                found.setdefault(text, []).append(record)
    if not values:
        return found
    ids = sorted({record.hubspot_id for records in found.values() for record in records})
    with_values: dict[str, Found] = {}
    for batch in in_batches(ids):
        with_values |= by_id(api, key, batch, _names(inputs), refused)
    return {
        text: [with_values.get(one.hubspot_id, one) for one in records] for text, records in found.items()
    }


def _names(inputs: Iterable[Input]) -> list[str]:
    return sorted({name for one in inputs for name in one.properties})


def _known_as_gone(connection: Connection) -> set[str]:
    return {
        row[0]
        for row in connection.execute(
            "SELECT key FROM ops.hubspot_rejects WHERE object = 'companies' AND code = 'OBJECT_NOT_FOUND'"
        ).fetchall()
    }
