"""Metadata of companies, users and subscriptions: type locks in the order of loading, deep merge in the order of the updates.

A lock is made once and kept, so an update can be read again at any time with the same result: only new updates
are looked at for locks, and only whom they are about are merged again.
Locks and merge are one module: each reads values by what the other made of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from dagster_project.readers.json_text import read_text
from dagster_project.readers.values import domain_key, email_key
from dagster_project.warehouse.build import Build
from dagster_project.warehouse.python_models import PythonModel

TABLES = (
    "core.company_metadata",
    "core.user_metadata",
    "core.subscription_metadata",
    "core.rejected_updates",
    "marts.company_metadata",
    "marts.user_metadata",
    "marts.metadata_schema",
    "marts.metadata_conflicts",
)
_ENTITIES = {"company": "companies", "user": "users", "subscription": "subscriptions"}
# What updates give at top level: the last one that is not null stands.
_GIVEN = {
    "company": ("company_domain",),
    "user": (),
    "subscription": ("company_id", "status", "current_period_start", "current_period_end"),
}
_WITH_PATHS = ("company", "user")  # whose metadata has a table of leaves
_USER_COLUMNS = ("name", "first_name", "last_name", "phone", "photo_url")
_MERGED_AT_ONCE = 20_000  # companies or users: bounds what is in memory
_REMEMBERED = 50_000  # short texts of metadata: likewise
_EMPTY = re.compile(r":(\[\]|\{\})")  # an empty array or object as a key's value, in metadata's compact JSON
_CONTAINERS: dict[str, type] = {"object": dict, "array": list}

LockKey = tuple[str, str, str]  # entity, id ('' and '' for the organisation), key
Lock = tuple[str, bool, int | None, int | None]  # type, pinned, first file_seq and line


class Metadata:
    """Metadata by the locks and merges of `[metadata]`."""

    obeys = "metadata"

    def reads(self) -> Mapping[str, str]:
        return {}

    def fingerprint(self) -> str:
        return ""

    def build(self, work: Build) -> set[str]:
        return _build(work)


MODEL: PythonModel = Metadata()


def _build(work: Build) -> set[str]:
    """Bring the tables of metadata up to date with the updates loaded since. Returns those that changed."""
    connection = work.connection
    since = min(work.since(table) for table in TABLES)
    if since == 0:
        for table in TABLES:
            connection.execute(f"DELETE FROM {table}")
    locks = _Locks(work)
    changed = locks.read_new_updates(since)
    if since == 0:
        changed |= set(TABLES)
    for entity in _ENTITIES:
        ids = [
            row[0]
            for row in connection.execute(
                f"SELECT DISTINCT {entity}_id FROM raw.{entity}_updates WHERE load_seq > ? ORDER BY 1",
                [since],
            ).fetchall()
        ]
        if since:
            ids = sorted({*ids, *locks.read_anew(entity)})
        for start in range(0, len(ids), _MERGED_AT_ONCE):
            _merge_entities(work, entity, ids[start : start + _MERGED_AT_ONCE], locks)
            changed |= {f"core.{entity}_metadata", f"marts.{entity}_metadata"} & set(TABLES)
    return changed


class _Locks:
    """The types that keys are locked to, and the reading of metadata by them."""

    def __init__(self, work: Build) -> None:
        settings = work.settings.metadata
        self.connection = work.connection
        self.pins = {key.replace(".", "_"): kind for key, kind in settings.pins.items()}
        self.by_entity = settings.lock_scope == "entity"
        self.refuses = settings.on_conflict == "reject_update"
        self.locks: dict[LockKey, Lock] = {
            (entity, entity_id, key): (kind, pinned, file_seq, line)
            for key, kind, pinned, file_seq, line, entity, entity_id in self.connection.execute(
                "SELECT * FROM marts.metadata_schema"
            ).fetchall()
        }
        self.changed: dict[LockKey, Lock] = {}
        for key, kind in self.pins.items():
            if ("", "", key) not in self.locks:
                self._lock(("", "", key), (kind, True, None, None))

    def _lock(self, key: LockKey, lock: Lock) -> None:
        self.locks[key] = self.changed[key] = lock

    def scope(self, entity: str, entity_id: str) -> tuple[str, str]:
        return (entity, entity_id) if self.by_entity else ("", "")

    def expected(self, scope: tuple[str, str], key: str) -> str | None:
        if key in self.pins:
            return self.pins[key]
        lock = self.locks.get((*scope, key))
        return lock[0] if lock else None

    def read_new_updates(self, since: int) -> set[str]:
        """Lock the keys of new updates, list their conflicts. Returns the tables that changed."""
        conflicts: list[tuple[Any, ...]] = []
        refused: list[tuple[Any, ...]] = []
        cursor = self.connection.cursor().execute(
            """
            SELECT 'company', company_id, file_seq, line, element, metadata, raw, load_seq FROM raw.company_updates
            WHERE load_seq > $since AND metadata IS NOT NULL
            UNION ALL
            SELECT 'user', user_id, file_seq, line, element, metadata, raw, load_seq FROM raw.user_updates
            WHERE load_seq > $since AND metadata IS NOT NULL
            UNION ALL
            SELECT 'subscription', subscription_id, file_seq, line, element, metadata, raw, load_seq
            FROM raw.subscription_updates
            WHERE load_seq > $since AND metadata IS NOT NULL
            ORDER BY load_seq, line, element""",
            {"since": since},
        )
        # Many updates say the same. What locked nothing and fits all locks does so again: a lock stays as it is.
        nothing_new: set[tuple[tuple[str, str], str]] = set()
        while rows := cursor.fetchmany(10_000):
            for entity, entity_id, file_seq, line, element, text, raw, _ in rows:
                scope = self.scope(entity, entity_id)
                if (scope, text) in nothing_new:
                    continue
                found: list[tuple[Any, ...]] = []
                made: dict[LockKey, Lock] = {}
                self._learn(read_text(text), None, scope, (file_seq, line), found, made)
                if not (
                    found
                    or made
                    or _EMPTY.search(text)
                    or len(text) >= 1000
                    or len(nothing_new) >= _REMEMBERED
                ):
                    nothing_new.add((scope, text))
                conflicts += [(entity, entity_id, *f, file_seq, line, element) for f in found]
                if found and self.refuses:
                    key, path, expected, actual, _ = found[0]
                    detail = f"{path} is of type {actual}, {key} is locked to {expected}"
                    refused.append((_ENTITIES[entity], file_seq, line, element, detail, raw))
                else:
                    for key, lock in made.items():
                        self._lock(key, lock)
        changed = set()
        for table, more in (("marts.metadata_conflicts", conflicts), ("core.rejected_updates", refused)):
            if more:
                _insert(self.connection, table, more)
                changed.add(table)
        if self.changed:
            # A lock stays as it is, but a pin's first position is found later. It is the whole organisation's.
            pinned = [key for (_, _, key), lock in self.changed.items() if lock[1]]
            self.connection.execute(
                "DELETE FROM marts.metadata_schema WHERE entity_id = '' AND list_contains(?::VARCHAR[], key)",
                [pinned],
            )
            _insert(
                self.connection,
                "marts.metadata_schema",
                [(key, *lock, entity, entity_id) for (entity, entity_id, key), lock in self.changed.items()],
            )
            changed.add("marts.metadata_schema")
        return changed

    def _learn(
        self,
        value: Any,
        path: str | None,
        scope: tuple[str, str],
        position: tuple[int, int],
        conflicts: list[tuple[Any, ...]],
        made: dict[LockKey, Lock],
    ) -> None:
        """Walk a value in document order: lock what is new, list what does not fit (and leave out what is in it)."""
        if isinstance(value, list):
            for index, item in enumerate(value):
                self._learn(item, f"{path}[{index}]", scope, position, conflicts, made)
            return
        if not isinstance(value, dict):
            return
        for key, inner in value.items():
            if inner is None:
                continue
            where = key if path is None else f"{path}.{key}"
            actual = type_of(inner)
            lock_key = ("", "", key) if key in self.pins else (*scope, key)
            expected = self.pins.get(key) or (made.get(lock_key) or self.locks.get(lock_key) or (None,))[0]
            if _is_empty(inner) and expected in (None, *_CONTAINERS):
                continue  # it locks nothing, and stands for an empty value of the other kind
            if expected is None:
                made[lock_key] = (actual, False, *position)
            elif expected != actual:
                text = json.dumps(inner, ensure_ascii=False, separators=(",", ":"))
                conflicts.append((key, where, expected, actual, text))
                continue
            elif key in self.pins and (self.locks[lock_key][2] is None and lock_key not in made):
                made[lock_key] = (expected, True, *position)
            self._learn(inner, where, scope, position, conflicts, made)

    def kept(
        self, value: Any, scope: tuple[str, str], conflicts: frozenset[str], path: str | None = None
    ) -> Any:
        """A value without what does not fit the locks, empty objects and arrays as the locks have them.

        conflicts: the paths at which something was dropped. What came before its key's lock is none of them.
        """
        if isinstance(value, dict):
            kept = {}
            for key, inner in value.items():
                where = key if path is None else f"{path}.{key}"
                expected = None if inner is None else self.expected(scope, key)
                if _is_empty(inner):
                    if where not in conflicts:
                        kept[key] = _CONTAINERS.get(expected or "", type(inner))()
                elif expected is None or expected == type_of(inner):
                    kept[key] = self.kept(inner, scope, conflicts, where)
            return kept
        if isinstance(value, list):
            return [self.kept(item, scope, conflicts, f"{path}[{i}]") for i, item in enumerate(value)]
        return value

    def read_anew(self, entity: str) -> list[str]:
        """Whose empty objects and arrays stand for the other kind since keys were locked just now."""
        if self.by_entity:
            return []  # a lock is made by an update of the same one
        needles = [
            f"{json.dumps(key, ensure_ascii=False)}:{'[]' if lock[0] == 'object' else '{}'}"
            for (_, _, key), lock in self.changed.items()
            if lock[0] in _CONTAINERS
        ]
        if not needles:
            return []
        found = self.connection.execute(
            f"""
            SELECT DISTINCT {entity}_id FROM raw.{entity}_updates AS u
            WHERE (contains(metadata, ':[]') OR contains(metadata, ':{{}}'))
              AND EXISTS (SELECT 1 FROM (SELECT unnest(?::VARCHAR[]) AS needle) AS n WHERE contains(u.metadata, n.needle))""",
            [needles],
        ).fetchall()
        return [row[0] for row in found]


def _is_empty(value: Any) -> bool:
    return isinstance(value, dict | list) and not value


def type_of(value: Any) -> str:
    """The type of a non-null JSON value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


class Branch(dict[str, Any]):
    """A merged object; `at`: the time of the update that began it."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.at = at


class Leaf:
    """A merged value that is no object, and the time of the update that wrote it."""

    __slots__ = ("at", "value")

    def __init__(self, value: Any, at: datetime) -> None:
        self.value, self.at = value, at


def merge(into: Branch, update: dict[str, Any], at: datetime) -> None:
    """Deep merge: the last writer wins per leaf, objects merge, arrays are replaced whole."""
    for key, value in update.items():
        if isinstance(value, dict):
            branch = into.get(key)
            if not isinstance(branch, Branch):
                into[key] = branch = Branch(at)  # also where a null stood: the object starts afresh
            merge(branch, value, at)
        else:
            into[key] = Leaf(value, at)


def without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    """A campaign without the fields that an SDK left unset; the metadata's nulls clear, these do not."""
    return {
        key: without_nulls(inner) if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if inner is not None
    }


def plain(node: Branch | Leaf) -> Any:
    return {k: plain(v) for k, v in node.items()} if isinstance(node, Branch) else node.value


def leaves(node: Branch, path: str | None = None) -> Iterator[tuple[str, str, str, float | None, datetime]]:
    """path, type, text, number, time of each leaf that is not null."""
    for key, inner in node.items():
        where = key if path is None else f"{path}.{key}"
        if isinstance(inner, Branch):
            if inner:
                yield from leaves(inner, where)
            else:
                yield where, "object", "{}", None, inner.at
        elif inner.value is not None:
            value = inner.value
            text = (
                value
                if isinstance(value, str)
                else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            )
            number = None
            if type_of(value) == "number":
                try:
                    number = float(value)
                except OverflowError:
                    number = float("inf") if value > 0 else float("-inf")
            yield where, type_of(value), text, number, inner.at


def _merge_entities(work: Build, entity: str, ids: list[str], locks: _Locks) -> None:
    """Merge all updates of some companies, users or subscriptions again, and replace their rows."""
    connection = work.connection
    given_columns = "".join(f", u.{name}" for name in _GIVEN[entity])
    updates = connection.execute(
        f"""
        SELECT u.{entity}_id, u.effective_at, u.metadata, u.campaign, c.paths{given_columns}
        FROM raw.{entity}_updates AS u
        LEFT JOIN (
            SELECT file_seq, line, element, list(path) AS paths FROM marts.metadata_conflicts GROUP BY ALL
        ) AS c ON c.file_seq = u.file_seq AND c.line = u.line AND c.element = u.element
        LEFT JOIN core.rejected_updates AS r ON r.file_seq = u.file_seq AND r.line = u.line AND r.element = u.element
        WHERE u.{entity}_id IN (SELECT unnest(?::VARCHAR[])) AND r.file_seq IS NULL
        ORDER BY u.{entity}_id, u.effective_at, u.file_seq, u.line, u.element""",
        [ids],
    ).fetchall()
    rows: list[tuple[Any, ...]] = []
    paths: list[tuple[Any, ...]] = []
    for entity_id, group in _grouped(updates):
        scope = locks.scope(entity, entity_id)
        metadata = campaign = None
        latest: list[Any] = [None] * len(_GIVEN[entity])
        for _, at, metadata_text, campaign_text, conflicts, *given_here in group:
            if metadata_text is not None:
                metadata = Branch(at) if metadata is None else metadata
                given = read_text(metadata_text)
                if conflicts or _EMPTY.search(metadata_text):
                    given = locks.kept(given, scope, frozenset(conflicts or ()))
                merge(metadata, given, at)
            if campaign_text is not None and (given := without_nulls(read_text(campaign_text))):
                campaign = Branch(at) if campaign is None else campaign
                merge(campaign, given, at)
            latest = [new if new is not None else old for new, old in zip(given_here, latest, strict=True)]
        known = plain(metadata) if metadata is not None else {}
        row = (entity_id, *_who(entity, known, latest), group[0][1], _json(metadata))
        rows.append(row if entity == "subscription" else (*row, _json(campaign)))
        if metadata is not None:
            paths += [(entity_id, *leaf) for leaf in leaves(metadata)]
    tables = [(f"core.{entity}_metadata", rows)]
    if entity in _WITH_PATHS:
        tables.append((f"marts.{entity}_metadata", paths))
    for table, more in tables:
        connection.execute(f"DELETE FROM {table} WHERE {entity}_id IN (SELECT unnest(?::VARCHAR[]))", [ids])
        _insert(connection, table, more)


def _who(entity: str, metadata: dict[str, Any], given: list[Any]) -> tuple[Any, ...]:
    """The columns that say who it is. given: those of `_GIVEN`."""
    if entity == "subscription":
        return tuple(given)
    return _company(metadata, given[0]) if entity == "company" else _user(metadata)


def _company(metadata: dict[str, Any], domain: str | None) -> tuple[str | None, ...]:
    name = _string(metadata.get("name")) or _string(metadata.get("company_name"))
    return domain_key(domain if domain is not None else metadata.get("company_domain")), name


def _user(metadata: dict[str, Any]) -> tuple[str | None, ...]:
    phone = metadata.get("phone")
    if isinstance(phone, int) and not isinstance(phone, bool):
        metadata = {**metadata, "phone": str(phone)}
    return email_key(metadata.get("email")), *(_string(metadata.get(column)) for column in _USER_COLUMNS)


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _json(branch: Branch | None) -> str | None:
    return None if branch is None else json.dumps(plain(branch), ensure_ascii=False, separators=(",", ":"))


def _grouped(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    group: list[tuple[Any, ...]] = []
    for row in rows:
        if group and group[0][0] != row[0]:
            yield group[0][0], group
            group = []
        group.append(row)
    if group:
        yield group[0][0], group


def _insert(connection: Any, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        import polars as pl  # takes long to import; a night without updates does without

        empty = connection.sql(f"FROM {table} LIMIT 0").pl()
        frame = pl.DataFrame(rows, schema=empty.schema, orient="row")  # noqa: F841 - DuckDB reads it by its name
        connection.execute(f"INSERT INTO {table} SELECT * FROM frame")
