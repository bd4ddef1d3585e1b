"""Makes what the SELECTs need and HubSpot lacks: the property group, properties, and options of the group's own."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dagster_project.destinations.parts.published import bounded_warehouse, need_published, utc_now
from dagster_project.settings import Settings
from dagster_project.warehouse.database import Connection

from .answers import problem_of
from .api import BATCH, Api, Json
from .errors import OutcomeUnknown, Refused
from .events import Definition, known_events, make_definition
from .files import cohorts_of
from .lookup import in_batches
from .planner import Planner
from .preflight import Column, Property
from .values import MADE, kind_of

_log = logging.getLogger(__name__)
GROUP, GROUP_LABEL = "api_analytics", "API Analytics"
_WORDS = {"api": "API", "id": "ID", "4xx": "4xx", "5xx": "5xx"}
_WINDOWS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
_YES_NO = {"true": "Yes", "false": "No"}
_EXISTS = re.compile(r"already exist|_NAME_EXISTS", re.IGNORECASE)
_TRIES = 3  # of a write that was not answered


@dataclass(frozen=True)
class NewProperty:
    """A property that HubSpot lacks. options: values of a selection."""

    object: str
    name: str
    label: str
    type: str
    field_type: str
    options: tuple[str, ...] = ()
    is_unique: bool = False


@dataclass
class InitResult:
    """groups: object types that lack the group. options: property (object, name) to the options that it lacks.

    live: they were made, but for those in `failed` (object and name to HubSpot's words). unusable: columns of a
    type that HubSpot has nothing for. events: definitions of custom events, where the settings want these.
    """

    live: bool
    groups: list[str] = field(default_factory=list)
    properties: list[NewProperty] = field(default_factory=list)
    options: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    unusable: dict[tuple[str, str], str] = field(default_factory=dict)
    events: list[Definition] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        return int(bool(self.failed or self.unusable))


def init_properties(settings: Settings, *, live: bool) -> InitResult:
    """Show (live: and make) what the SELECTs name and HubSpot lacks. What is there already is left as it is.

    Raises MissingToken; HubspotError where nothing is published, or the token may not do it.
    """
    need_published(settings)
    result = InitResult(live)
    with Api(settings.hubspot) as api, bounded_warehouse(settings, "hubspot") as connection:
        api.load_account(settings.hubspot.portal_id)
        planner = Planner(connection, settings, api, utc_now())
        for object_type, columns in planner.read_columns().items():
            found = planner.properties[object_type]
            lacking = _compare(connection, object_type, columns, found, result)
            key = planner.keys[object_type]
            if key.is_own and key.property not in found:
                label = _label(key.property)
                lacking.insert(
                    0, NewProperty(object_type, key.property, label, *MADE["text"], is_unique=True)
                )
            result.properties += lacking
            if lacking and not _has_group(api, object_type, found.values()):
                result.groups.append(object_type)
        if wanted := planner.event_definitions:
            known = known_events(api, wanted, api.account.portal_id)
            result.events = [one for name, one in wanted.items() if name not in known]
        if live:
            _make(api, result, planner)
            for event in result.events:
                labels = {name: _label(name) for name in event.properties}
                if said := make_definition(api, event, _label(event.name), labels):
                    result.failed["events", event.name] = said
    return result


def _compare(
    connection: Connection,
    object_type: str,
    columns: Iterable[Column],
    found: dict[str, Property],
    result: InitResult,
) -> list[NewProperty]:
    lacking = []
    for column in columns:
        kind = kind_of(column.type)
        existing = found.get(column.name)
        if kind is None:
            result.unusable[object_type, column.name] = (
                f"HubSpot has nothing for the type {column.type}; cast it in the SELECT"
            )
        elif existing is None:
            options = _options(connection, object_type, column) if kind == "list" else ()
            if kind == "list" and not options:
                result.unusable[object_type, column.name] = (
                    "it has no value yet, and a selection needs options"
                )
                continue
            lacking.append(NewProperty(object_type, column.name, _label(column.name), *MADE[kind], options))
        elif kind == "list" and existing.group == GROUP and not existing.external_options:
            more = [o for o in _options(connection, object_type, column) if o not in existing.options]
            if more:
                result.options[object_type, column.name] = more
    return lacking


def _options(connection: Connection, object_type: str, column: Column) -> tuple[str, ...]:
    """The values of a list column; where these are cohorts, all cohorts, also those that nobody is in yet."""
    name = '"' + column.name.replace('"', '""') + '"'
    held = {
        row[0]
        for row in connection.execute(
            f"SELECT DISTINCT unnest(CAST({name} AS VARCHAR[])) FROM plan_selected_{object_type}"
        ).fetchall()
        if row[0]
    }
    entity = {"companies": "company", "contacts": "user"}.get(object_type)
    cohorts = cohorts_of(entity) if entity else set()
    return tuple(
        sorted(
            held | cohorts if (held and held <= cohorts) or (not held and "cohort" in column.name) else held
        )
    )


def _has_group(api: Api, object_type: str, properties: Iterable[Property]) -> bool:
    if any(one.group == GROUP for one in properties):
        return True
    try:
        return any(group.get("name") == GROUP for group in api.groups(object_type))
    except Refused:
        return False  # making it will tell


def _make(api: Api, result: InitResult, planner: Planner) -> None:
    for object_type in planner.keys:
        new = [one for one in result.properties if one.object == object_type]
        if object_type in result.groups:
            _log.debug("making the group %s for %s", GROUP_LABEL, object_type)
            _write(api.create_group, object_type, {"name": GROUP, "label": GROUP_LABEL})
        _make_properties(api, object_type, new, result.failed)
        for (kind, name), more in result.options.items():
            if kind == object_type:
                existing = planner.properties[object_type][name]
                options = _options_body({**existing.options, **{one: _label(one) for one in more}})
                answer = _write(partial(api.update_property, object_type), name, {"options": options})
                if answer.get("errors"):
                    result.failed[object_type, name] = str(answer["errors"][0].get("message"))


def _make_properties(
    api: Api, object_type: str, new: list[NewProperty], failed: dict[tuple[str, str], str]
) -> None:
    """One property that HubSpot does not want makes it refuse a whole call: that is halved until it is alone."""
    waiting: list[Sequence[NewProperty]] = list(in_batches(new, BATCH))
    made: set[str] = set()  # HubSpot said so; its list may lag behind
    unanswered = 0
    while waiting:
        batch = waiting.pop()
        _log.debug("making %d properties for %s", len(batch), object_type)
        try:
            answer = api.create_properties(object_type, [_body(one) for one in batch])
        except OutcomeUnknown:
            unanswered += 1
            if unanswered < _TRIES and (lacking := _lacking(api, object_type, batch)):
                waiting.append(lacking)
            continue
        except Refused as refused:
            if len(batch) > 1:
                half = len(batch) // 2
                waiting += [batch[half:], batch[:half]]
                continue
            answer = {"errors": [dict(refused.body)]}
        made.update(str(one.get("name")) for one in answer.get("results") or [] if isinstance(one, dict))
        for error in [e for e in answer.get("errors") or [] if isinstance(e, dict)]:
            problem = problem_of(error, ())
            for one in batch:
                if len(batch) == 1 or _names(error, one.name):
                    if _EXISTS.search(f"{error.get('subCategory')} {problem.message}"):
                        made.add(one.name)
                    else:
                        failed[object_type, one.name] = problem.message
    unsaid = [one for one in new if one.name not in made and (object_type, one.name) not in failed]
    for one in _lacking(api, object_type, unsaid) if unsaid else []:
        failed[object_type, one.name] = "HubSpot did not make it"


def _names(error: Json, name: str) -> bool:
    """Whether an error is about a property: it stands as a word of its own in what HubSpot says."""
    said = f"{error.get('context')} {error.get('message')}"
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) is not None


def _lacking(api: Api, object_type: str, wanted: Iterable[NewProperty]) -> list[NewProperty]:
    there = {str(one.get("name")) for one in api.properties(object_type)}
    return [one for one in wanted if one.name not in there]


def _write(call: Callable[[str, Any], Json], name: str, body: Any) -> Json:
    """What exists already is no failure, so what was not answered is sent again."""
    for _ in range(_TRIES):
        try:
            return call(name, body)
        except OutcomeUnknown:
            continue
        except Refused as refused:
            if refused.status == 409 or "exist" in str(refused).lower():
                return {}
            return {"errors": [dict(refused.body)]}
    return {}


def _body(new: NewProperty) -> Json:
    options = _YES_NO if new.type == "bool" else {one: _label(one) for one in new.options}
    body: Json = {
        "groupName": GROUP,
        "name": new.name,
        "label": new.label,
        "type": new.type,
        "fieldType": new.field_type,
        "description": "Kept up to date by the usage warehouse.",
    }
    if new.is_unique:
        body["hasUniqueValue"] = True
    return {**body, "options": _options_body(options)} if options else body


def _options_body(options: Mapping[str, str]) -> list[Json]:
    return [
        {"label": label, "value": value, "displayOrder": place, "hidden": False}
        for place, (value, label) in enumerate(options.items())
    ]


def _label(name: str) -> str:
    """`api_calls_30d` as people read it: API calls, 30 days."""
    *words, last = name.split("_")
    text = " ".join(_WORDS.get(word, word) for word in [*words, *([] if last in _WINDOWS else [last])])
    text = text[:1].upper() + text[1:]
    return f"{text}, {_WINDOWS[last]}" if last in _WINDOWS and words else text or name
