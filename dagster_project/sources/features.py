"""Feature-usage events, as CustomerSuccessBox takes them: `raw/features/` to `raw.feature_events`.

Names are cut to 64 characters, totals checked, and at most so many features and modules are tracked: slots are
taken in the order in which events are loaded and never freed. So records are decided one after the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from dagster_project.readers import json_records, table_records
from dagster_project.readers.csv_records import Columns
from dagster_project.readers.files import Record
from dagster_project.readers.values import (
    LARGEST_INTEGER,
    Repairs,
    id_in,
    id_of,
    is_future,
    no_id,
    no_time,
    noted_whole,
    shown,
    time_of,
)
from dagster_project.warehouse.database import append_rows, value

from . import FIRST_LOAD, POSITION, RawColumn, RawTable, Source, typed
from .reading import FileLoad, LoadContext, Loader, StagingTable, objects, received

NAME_LENGTH = 64
FEATURE_EVENTS = RawTable(
    "feature_events",
    "Feature-usage events that count; names cut to 64 characters.",
    [
        *POSITION,
        RawColumn("event_at", "TIMESTAMP", "UTC"),
        RawColumn("account_id", "VARCHAR", "the company", holds="company", erases_row=True),
        RawColumn("user_id", "VARCHAR", "the user", holds="user", erases_row=True),
        RawColumn("product_id", "VARCHAR", "'': none"),
        RawColumn("module_id", "VARCHAR", "'': none"),
        RawColumn("feature_id", "VARCHAR", "the feature"),
        RawColumn("total", "BIGINT", "how often it was used"),
    ],
    retained_by="event_at",
)
FEATURE_KEYS = RawTable(
    "feature_keys",
    "Hashes of the event ids by which events are told apart.",
    [RawColumn("key", "BLOB", "md5"), FIRST_LOAD],
)
FEATURE_SLOTS = RawTable(
    "feature_slots",
    "The features and modules that are tracked.",
    [RawColumn("kind", "VARCHAR", "feature or module"), RawColumn("name", "VARCHAR", "its id"), FIRST_LOAD],
)
FEATURE_NAMES = RawTable(
    "feature_names",
    "What names that fill all 64 characters were cut from.",
    [
        RawColumn("field", "VARCHAR", "feature_id, module_id or product_id"),
        RawColumn("name", "VARCHAR", "as it is kept"),
        RawColumn("original", "VARCHAR", "as it came"),
        FIRST_LOAD,
    ],
)
_NAMES = ("feature_id", "module_id", "product_id")
_COLUMNS = Columns(
    needed=[("account_id",), ("user_id",), ("feature_id",), ("timestamp",)],
    fields=(
        "account_id",
        "user_id",
        "feature_id",
        "module_id",
        "product_id",
        "timestamp",
        "total",
        "event_id",
        "received_at",
    ),
)
_LOOKUP_ROWS = 50_000
# Whole numbers as text; data frames write them as floats.
_TEXT_TOTAL = re.compile(r"(\d+)(?:\.0+)?", re.ASCII)


# A name that fills all 64 characters may have to be cut; a total of 0 and one of 16 digits and more need a look.
READING = typed.Reading(
    """account_id VARCHAR, user_id VARCHAR, product_id VARCHAR, module_id VARCHAR, feature_id VARCHAR,
    "timestamp" VARCHAR, total JSON, event_id VARCHAR, received_at VARCHAR""",
    """WITH texts AS (
    SELECT *, plain_time("timestamp") AS event_at, plain_time(received_at) AS received,
        CAST(total AS VARCHAR) AS total_text
    FROM parsed
), dated AS (
    SELECT *, CAST(event_at AS DATE) AS day, coalesce(CAST(received AS DATE), $received) AS received_date
    FROM texts
)
SELECT event_at, account_id, user_id, coalesce(product_id, '') AS product_id, coalesce(module_id, '') AS module_id,
    feature_id, coalesce(TRY_CAST(total_text AS BIGINT), 1) AS total, unhex(md5(nullif(event_id, ''))) AS key,
    event_at IS NULL OR (received_at IS NOT NULL AND received IS NULL)
    OR coalesce(account_id, '') = '' OR coalesce(user_id, '') = '' OR coalesce(feature_id, '') = ''
    OR unsure_id(account_id) OR unsure_id(user_id) OR unsure_id(product_id) OR unsure_id(module_id) OR unsure_id(feature_id)
    OR unsure_id(event_id)
    OR length(product_id) >= 64 OR length(module_id) >= 64 OR length(feature_id) >= 64
    OR NOT coalesce(regexp_full_match(total_text, '[1-9][0-9]{0,14}'), true)
    OR coalesce(day > received_date OR (day < received_date AND NOT $accept_backdated),
                late(event_at, NULL, $latest)) AS needs_slow_path
FROM dated
""",
)


class FeatureLoader(Loader):
    def __init__(self, context: LoadContext) -> None:
        self.connection = context.connection
        self.settings = context.settings.features
        self.rows = StagingTable(
            self.connection, FEATURE_EVENTS, [*FEATURE_EVENTS.columns, FEATURE_KEYS.columns[0]]
        )
        self.staging = [self.rows]
        self.slots: dict[str, set[str]] = {"feature": set(), "module": set()}
        for kind, name in self.connection.execute("SELECT kind, name FROM raw.feature_slots").fetchall():
            self.slots[kind].add(name)
        # Every original of a name that fills all 64 characters: two of them that fall together are listed.
        self.originals: dict[tuple[str, str], set[str]] = {}
        for field, name, original in self.connection.execute(
            "SELECT field, name, original FROM raw.feature_names"
        ).fetchall():
            self.originals.setdefault((field, name), set()).add(original)
        self.keys: set[bytes] = set()  # event ids that are known to be taken
        self.load_seq = 0  # of the file that is being read
        self.new: dict[str, list[tuple[Any, ...]]] = {"feature_slots": [], "feature_names": []}

    def read(self, load: FileLoad) -> None:
        slots = {kind: set(names) for kind, names in self.slots.items()}
        originals = {key: set(names) for key, names in self.originals.items()}
        new = {table: len(rows) for table, rows in self.new.items()}
        self.keys, self.load_seq = set(), load.load_seq
        try:
            self._read(load)
        except BaseException:
            # Nothing of an unreadable file is loaded: it takes no slot either.
            self.slots, self.originals = slots, originals
            for table, length in new.items():
                del self.new[table][length:]
            raise

    def _read(self, load: FileLoad) -> None:
        csv = load.part.format in table_records.CSV_FORMATS
        given = {"received": load.part.received, "accept_backdated": self.settings.accept_backdated}
        self.rows.flush()
        slow_lines = typed.read(self.connection, load, self.rows, [READING], given, self._set_aside)
        if csv:
            records = table_records.read(load.part, _COLUMNS, load.repair_file, grows=True)
        elif slow_lines is None:
            records = json_records.read(load.part, exact=False)
        else:
            records = json_records.read_lines(load.part, slow_lines, exact=False)
        waiting: list[tuple[Record, dict[str, Any], tuple[Any, ...]]] = []
        for record, given_values in objects(load, records):
            row = self._check(load, record, given_values, csv)
            if row is not None:
                waiting.append((record, given_values, row))
            if len(waiting) >= _LOOKUP_ROWS:
                self._decide(load, waiting)
                waiting = []
        self._decide(load, waiting)

    def _set_aside(self, table: str, flagged: Collection[int]) -> None:
        """Mark for the slow path what depends on other records: event ids that come again, names for which there may be no slot.

        So what is left takes part in no decision, and can be taken at once. flagged: lines of which DuckDB may tell little.
        """
        if value(self.connection, f"SELECT count(key) FROM {table}"):
            self.connection.execute(f"""UPDATE {table} SET needs_slow_path = true WHERE key IN (
                SELECT key FROM {table} GROUP BY key HAVING count(*) > 1
                UNION ALL SELECT key FROM raw.feature_keys UNION ALL SELECT key FROM {self.rows.all})""")
        limits = {"module": self.settings.module_limit, "feature": self.settings.feature_limit}
        for kind, limit in limits.items():
            # All names that the file may bring: those that its lines show, and one for each that shows none for sure.
            shown = f"left({kind}_id, {NAME_LENGTH})"
            hidden = f"needs_slow_path AND ({kind}_id IS NULL OR unsure_id({kind}_id))"
            names, unsure = self.connection.execute(
                f"SELECT list(DISTINCT {shown}), count(*) FILTER ({hidden}) FROM {table} WHERE {kind}_id <> '' OR {hidden}"
            ).fetchall()[0]
            new = [name for name in names or () if name is not None and name not in self.slots[kind]]
            if len(self.slots[kind]) + len(new) + unsure + len(flagged) > limit:
                self.connection.execute(
                    f"UPDATE {table} SET needs_slow_path = true WHERE {kind}_id IN (SELECT unnest(?::VARCHAR[]))",
                    [new],
                )
        for kind in limits:
            for (name,) in self.connection.execute(
                f"SELECT DISTINCT {kind}_id FROM {table} WHERE NOT needs_slow_path AND {kind}_id <> '' ORDER BY ALL"
            ).fetchall():
                self._take(kind, name)

    def _check(
        self, load: FileLoad, record: Record, value: dict[str, Any], csv: bool
    ) -> tuple[Any, ...] | None:
        """The checks that look at one record alone; the row, or None where it is rejected."""
        repairs = list(record.repairs)
        account, user = id_in(value, "account_id", repairs), id_in(value, "user_id", repairs)
        names = {name: _name_in(value, name, repairs) for name in _NAMES}
        if account is None or user is None or not names["feature_id"]:
            missing = "account_id" if account is None else "user_id" if user is None else "feature_id"
            load.reject(record, "missing_id", no_id(missing, value.get(missing)))
            return None
        at = time_of(value.get("timestamp"))
        if at is None:
            load.reject(record, "bad_time", no_time("timestamp", value.get("timestamp")))
            return None
        given = value.get("total")
        not_finite = any(w == "non_finite_number" and "total" in d.split(", ") for w, d in record.repairs)
        total = None if not_finite else total_of(noted_whole(given, "total", repairs), csv)
        if total is None:
            load.reject(
                record,
                "bad_total",
                f"total is {'not finite' if not_finite else shown(given)}: a whole number from 0 to 2^53 is understood",
            )
            return None
        received_date, _ = received(load, value)
        reason = self._misdated(at, received_date, load) if total else None
        if reason:
            load.reject(record, reason, f"timestamp {at.isoformat()}, received {received_date or 'unknown'}")
            return None
        id_in(value, "event_id", repairs)
        record.repairs = repairs
        return (
            *load.position(record),
            at,
            account,
            user,
            names["product_id"],
            names["module_id"],
            names["feature_id"],
            total,
        )

    def _misdated(self, at: datetime, received_date: Any, load: FileLoad) -> str | None:
        if received_date is None:
            return "future" if is_future(at, None, load.part.first_seen) else None
        if at.date() > received_date:
            return "future"
        return "backdated" if at.date() < received_date and not self.settings.accept_backdated else None

    def _decide(
        self, load: FileLoad, waiting: Sequence[tuple[Record, dict[str, Any], tuple[Any, ...]]]
    ) -> None:
        """What depends on the records before: duplicates, then slots, in order."""
        event_ids = [_key(value.get("event_id")) for _, value, _ in waiting]
        self._look_up({key for key in event_ids if key is not None})
        for (record, _, row), key in zip(waiting, event_ids, strict=True):
            *head, product, module, feature, total = row
            given = {"feature_id": feature, "module_id": module, "product_id": product}
            product, module, feature = (name[:NAME_LENGTH] for name in (product, module, feature))
            if total == 0:
                # As if never sent: it takes no slot and no key.
                load.repair(record, [*record.repairs, *self._cuts(given)])
                continue
            if key is not None and key in self.keys:
                load.duplicates += 1
                load.repair(record, [*record.repairs, *self._cuts(given)])
                continue
            full = self._full(module, feature)
            if full is not None:
                load.reject(record, *full)
                continue
            self._take("module", module)
            self._take("feature", feature)
            if key is not None:
                self.keys.add(key)
            load.repair(record, [*record.repairs, *self._cuts(given)])
            self.rows.add((*head, product, module, feature, total, key))

    def _look_up(self, keys: set[bytes]) -> None:
        """Which of these event ids were taken before, by a file of this batch or of an earlier one."""
        unknown = list(keys - self.keys)
        if unknown:
            found = self.connection.execute(
                f"""SELECT key FROM (SELECT key FROM raw.feature_keys UNION ALL SELECT key FROM {self.rows.all})
                WHERE key IN (SELECT unnest(?::BLOB[]))""",
                [unknown],
            ).fetchall()
            self.keys.update(bytes(row[0]) for row in found)

    def _full(self, module: str, feature: str) -> tuple[str, str] | None:
        """Why no slot is to be had for a name that is not tracked yet. None is taken unless both are to be had."""
        modules, features = self.slots["module"], self.slots["feature"]
        if module and module not in modules and len(modules) >= self.settings.module_limit:
            return "module_limit", f"{len(modules)} modules are tracked, {module!r} is none of them"
        if feature not in features and len(features) >= self.settings.feature_limit:
            return "feature_limit", f"{len(features)} features are tracked, {feature!r} is none of them"
        return None

    def _take(self, kind: str, name: str) -> None:
        """Take a slot for a name that has none yet."""
        if name and name not in self.slots[kind]:
            self.slots[kind].add(name)
            self.new["feature_slots"].append((kind, name, self.load_seq))

    def _cuts(self, given: dict[str, str]) -> list[tuple[str, str]]:
        """What cutting the names changed, and which other names they became one with."""
        repairs = []
        for field in _NAMES:
            original = given[field]
            name = original[:NAME_LENGTH]
            if len(name) < NAME_LENGTH:
                continue
            if name != original:
                repairs.append(
                    ("name_cut", f"{field} {original[:1000]!r} was cut to {NAME_LENGTH} characters")
                )
            known = self.originals.setdefault((field, name), set())
            digest = hashlib.md5(original.encode(), usedforsecurity=False).hexdigest()
            if digest not in known:
                if known:
                    repairs.append(
                        (
                            "names_merged",
                            f"{field} {original[:1000]!r} is one with another name of the same beginning",
                        )
                    )
                known.add(digest)
                self.new["feature_names"].append((field, name, digest, self.load_seq))
        return repairs

    def finish(self, loads: Sequence[FileLoad]) -> None:
        self.connection.execute(f"INSERT INTO raw.feature_events SELECT * EXCLUDE (key) FROM {self.rows.all}")
        self.connection.execute(
            f"INSERT INTO raw.feature_keys SELECT key, load_seq FROM {self.rows.all} WHERE key IS NOT NULL"
        )
        for table, rows in self.new.items():
            append_rows(self.connection, f"raw.{table}", rows)


def _name_in(record: dict[str, Any], field: str, repairs: Repairs) -> str:
    """A name as it came; '' where it is missing, or blank once it is cut."""
    name = id_in(record, field, repairs)
    return name if name and name[:NAME_LENGTH].strip() else ""


def total_of(value: object, csv: bool = False) -> int | None:
    """A total as a whole number; absent is 1; None for what is no total."""
    if value is None or (csv and value == ""):
        return 1
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if (match := _TEXT_TOTAL.fullmatch(value)) is None:
            return None
        digits = match[1].lstrip("0") or "0"
        value = int(digits) if len(digits) <= 17 else LARGEST_INTEGER + 1
    return value if isinstance(value, int) and 0 <= value <= LARGEST_INTEGER else None


def _key(event_id: object) -> bytes | None:
    text = id_of(event_id)
    return None if text is None else hashlib.md5(text.encode(), usedforsecurity=False).digest()


SOURCE = Source(
    folder="features",
    formats=json_records.FORMATS | table_records.CSV_FORMATS,
    tables=[FEATURE_EVENTS, FEATURE_KEYS, FEATURE_SLOTS, FEATURE_NAMES],
    loader=FeatureLoader,
    reads_in_order=True,
)
