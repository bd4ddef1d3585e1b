"""Company, user and subscription updates: what all have in common. Metadata is kept as given but for its keys' dots.

Locks, merges and claims are computed from the raw updates later (models.metadata, core.claims), so that a
changed setting can be applied to history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from dagster_project.readers import json_records
from dagster_project.readers.files import Record
from dagster_project.readers.redact import may_hold_credentials, without_credentials
from dagster_project.readers.values import id_in, id_of, is_future, no_id, no_time, start_of, time_of

from . import POSITION, RawColumn, RawTable, typed
from .reading import FileLoad, LoadContext, Loader, StagingTable, objects, received

COLUMNS = (
    *POSITION,
    RawColumn("company_id", "VARCHAR", "the company", holds="company"),
    RawColumn("user_id", "VARCHAR", "the user", holds="user"),
    RawColumn("session_token", "VARCHAR", "the token that it claims", holds="token"),
    RawColumn("effective_at", "TIMESTAMP", "modified_time, else when it was received or first seen, UTC"),
    RawColumn("company_domain", "VARCHAR", "as it was given at top level"),
    RawColumn("metadata", "VARCHAR", "JSON object, dots in keys replaced", names_anybody="json"),
    RawColumn("campaign", "VARCHAR", "JSON object", names_anybody="json"),
    RawColumn("raw", "VARCHAR", "the update, where it has metadata", as_it_came=True, names_anybody="json"),
    RawColumn("anonymous_id", "VARCHAR", "the browser's that a user claims", holds="anonymous"),
)

# The fast path takes updates whose metadata is flat and whose text leaves nothing to interpret. So these go record by record:
# escapes; what may be a credential; keys that come twice, or become one; numbers that two libraries spell differently; nested
# values.
_STRUCTURE = json.dumps(
    {
        **dict.fromkeys(("company_id", "user_id", "session_token", "anonymous_id"), "VARCHAR"),
        **dict.fromkeys(("modified_time", "received_at"), "VARCHAR"),
        **dict.fromkeys(("company_domain", "metadata", "campaign"), "JSON"),
    }
)
_MACROS = r"""
CREATE OR REPLACE TEMP MACRO in_text(t, part) AS (length(t) - length(replace(t, part, ''))) // length(part);
CREATE OR REPLACE TEMP MACRO unsure_object(t) AS t IS NOT NULL AND (
    NOT starts_with(t, '{') OR in_text(t, '{') > 1 OR contains(t, '[')
    OR in_text(t, '":') <> len(json_keys(t))
    OR len(list_distinct(list_transform(json_keys(t), lambda k: replace(k, '.', '_')))) <> len(json_keys(t))
    OR regexp_matches(t, '(?i)authori|cookie|key|token|secret|passw')
    OR regexp_matches(t, '\d{16}|\d[eE]|0\.0000|-0[,}]|\x{130}|"[^"]*\.[^"]*\.[^"]*":'));
"""
# Signs of credentials and addresses in the text that is kept, see readers/redact.py; and letters that are others in lower case.
_SIGNS = "(?i)authori|cookie|key|auth|access|refresh|security|secret|passw|bearer|basic|//|[?#\\\\\u0130]"
_QUERY = """WITH texts AS (
    SELECT line, nullif(company_id, '') AS company_id, nullif(user_id, '') AS user_id,
        nullif(session_token, '') AS session_token, nullif(anonymous_id, '') AS anonymous_id,
        modified_time, received_at, plain_time(modified_time) AS modified, plain_time(received_at) AS received,
        nullif(CAST(company_domain AS VARCHAR), 'null') AS domain, json_keys(line) AS keys,
        nullif(CAST(metadata AS VARCHAR), 'null') AS metadata, nullif(CAST(campaign AS VARCHAR), 'null') AS campaign
    FROM parsed
)
SELECT company_id, user_id, session_token, coalesce(modified, received, $arrived) AS effective_at,
    nullif(json_extract_string(domain, '$'), '') AS company_domain,
    regexp_replace(metadata, '"([^".]*)\\.([^".]*)":', '"\\1_\\2":', 'g') AS metadata, campaign,
    CASE WHEN metadata IS NOT NULL THEN line END AS raw, anonymous_id,
    {id_key} IS NULL OR unsure_id(company_id) OR unsure_id(user_id) OR unsure_id(session_token) OR unsure_id(anonymous_id)
    OR (modified_time IS NOT NULL AND (modified IS NULL OR late(modified, received, $latest)))
    OR (received_at IS NOT NULL AND received IS NULL)
    OR NOT coalesce(regexp_matches(domain, '^"[!-~]'), true)
    OR unsure_object(metadata) OR unsure_object(campaign)
    OR contains(line, '\\') OR strlen(line) > 65536 OR in_text(line, '{{') + in_text(line, '[') > 200
    OR (metadata IS NOT NULL AND (regexp_matches(line, '{signs}') OR ($hides_tokens AND contains(lower(line), 'session'))))
    OR len(list_distinct(keys)) <> len(keys) AS needs_slow_path
FROM texts
"""


class UpdateLoader(Loader):
    """Reads updates of one entity; `id_key` is the id without which an update is none."""

    def __init__(self, context: LoadContext, table: RawTable, id_key: str) -> None:
        self.connection, self.table, self.id_key = context.connection, table, id_key
        self.rows = StagingTable(context.connection, table)
        self.staging = [self.rows]

    def read(self, load: FileLoad) -> None:
        slow_lines = self._read_typed(load)
        part = load.part
        records = (
            json_records.read(part, exact=True)
            if slow_lines is None
            else json_records.read_lines(part, slow_lines, exact=True)
        )
        for record, value in objects(load, records):
            self._accept(load, record, value)

    def _read_typed(self, load: FileLoad) -> set[int] | None:
        if self.table.columns[len(COLUMNS) :]:
            return None  # what a table has besides is read record by record
        folder = load.part.received
        given = {
            "arrived": start_of(folder) if folder else load.part.first_seen,
            "hides_tokens": load.hides_tokens,
        }
        query = _QUERY.format(id_key=self.id_key, signs=_SIGNS)
        reading = typed.Reading(_STRUCTURE, query, keeps_lines=True, macros=_MACROS, gain=4)
        return typed.read(self.connection, load, self.rows, [reading], given)

    def _accept(self, load: FileLoad, record: Record, value: dict[str, Any]) -> None:
        if id_of(value.get(self.id_key)) is None:
            load.reject(record, "missing_id", no_id(self.id_key, value.get(self.id_key)))
            return
        repairs = list(record.repairs)
        received_date, received_at = received(load, value)
        given = value.get("modified_time")
        modified = time_of(given)
        if modified is None and given is not None:
            repairs.append(("modified_time_bad", f"{no_time('modified_time', given)}; it counts as missing"))
        if modified and is_future(modified, received_date, load.part.first_seen):
            repairs.append(
                ("modified_time_future", f"modified_time {modified.isoformat()} counts as missing")
            )
            modified = None
        domain = value.get("company_domain")
        row = (
            *load.position(record),
            id_in(value, "company_id", repairs),
            id_in(value, "user_id", repairs),
            id_in(value, "session_token", repairs),
            modified or received_at or load.part.first_seen,
            domain if isinstance(domain, str) and domain.strip() else None,
            _object_text(value.get("metadata"), "metadata", repairs, underscored),
            _object_text(value.get("campaign"), "campaign", repairs, lambda v, _: v),
            # A later setting may refuse an update for its metadata: it is kept as it came, to be listed then.
            load.redacted(record.raw()) if value.get("metadata") is not None else None,
            id_in(value, "anonymous_id", repairs),
            *self.more(value, repairs),
        )
        load.repair(record, repairs)
        self.rows.add(row)

    def more(self, value: dict[str, Any], repairs: list[tuple[str, str]]) -> Iterable[object]:
        """The columns that a table has behind those of all updates."""
        return ()

    def finish(self, loads: Sequence[FileLoad]) -> None:
        self.connection.execute(f"INSERT INTO raw.{self.table.name} FROM {self.rows.all}")


def _object_text(
    value: Any, name: str, repairs: list[tuple[str, str]], clean: Callable[[Any, list[tuple[str, str]]], Any]
) -> str | None:
    """A JSON object as text; None for null, and for anything else, which is listed."""
    if value is None:
        return None
    if not isinstance(value, dict):
        repairs.append((f"{name}_not_object", json.dumps(value, ensure_ascii=False)[:1000]))
        return None
    text = _text(value)
    if may_hold_credentials(text):
        hidden: list[str] = []
        value = without_credentials(value, hidden)
        if hidden:
            repairs.append(("credential_hidden", f"{name}: {', '.join(hidden)}"))
            text = _text(value)
    return _text(clean(value, repairs)) if "." in text else text


def _text(value: dict[str, Any]) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def underscored(value: Any, repairs: list[tuple[str, str]], path: str = "") -> Any:
    """Dots in keys become underscores at every depth; of two keys that become one, the last stands."""
    if isinstance(value, dict):
        result: dict[str, Any] = {}
        origin: dict[str, str] = {}
        for key in value:
            name = key.replace(".", "_")
            where = f"{path}.{name}" if path else name
            if name in result:
                repairs.append(
                    ("key_collision", f"{where}: {key!r} stands, {origin[name]!r} was never there")
                )
                del result[name]
            result[name], origin[name] = value[key], key
        return {
            name: underscored(inner, repairs, f"{path}.{name}" if path else name)
            for name, inner in result.items()
        }
    if isinstance(value, list):
        return [underscored(inner, repairs, f"{path}[{i}]") for i, inner in enumerate(value)]
    return value
