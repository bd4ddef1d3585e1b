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
from dagster_project.readers.values import id_in, id_of, is_future, no_id, no_time, time_of

from . import POSITION, RawColumn, RawTable
from .loading import FileLoad, Incoming, LoadContext, Loader, objects, received

COLUMNS = (
    *POSITION,
    RawColumn("company_id", "VARCHAR", "the company", holds="company"),
    RawColumn("user_id", "VARCHAR", "the user", holds="user"),
    RawColumn("session_token", "VARCHAR", "the token that it claims", holds="token"),
    RawColumn("effective_at", "TIMESTAMP", "modified_time, else when it was received or first seen, UTC"),
    RawColumn("company_domain", "VARCHAR", "as it was given at top level"),
    RawColumn("metadata", "VARCHAR", "JSON object, dots in keys replaced"),
    RawColumn("campaign", "VARCHAR", "JSON object"),
    RawColumn("raw", "VARCHAR", "the update, where it has metadata", as_it_came=True),
    RawColumn("anonymous_id", "VARCHAR", "the browser's that a user claims", holds="anonymous"),
)


class UpdateLoader(Loader):
    """Reads updates of one entity; `id_key` is the id without which an update is none."""

    def __init__(self, context: LoadContext, table: RawTable, id_key: str) -> None:
        self.connection, self.table, self.id_key = context.connection, table, id_key
        self.rows = Incoming(context.connection, table)
        self.incoming = [self.rows]

    def read(self, load: FileLoad) -> None:
        for record, value in objects(load, json_records.read(load.part, exact=True)):
            self._accept(load, record, value)

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
            *load.place(record),
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
