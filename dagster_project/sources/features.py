"""Feature-usage events, as CustomerSuccessBox takes them: `raw/features/` to `raw.feature_events`.

Names are cut to 64 characters, totals checked, and at most so many features and modules are tracked: slots are
taken in the order in which events are loaded and never freed. Reading knows nothing of slots, event ids and names of other
files; all that depends on them is decided over the batch (`FeatureLoader.decide`): what was changed in a record is noted
beside its row until it is known whether the record counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from dagster_project.readers import json_records, table_records
from dagster_project.readers.csv_records import Columns, NoteFile
from dagster_project.readers.files import Record, UnreadableFile
from dagster_project.readers.values import (
    LARGEST_INTEGER,
    Repairs,
    id_in,
    is_future,
    no_id,
    no_time,
    noted_whole,
    shown,
    time_of,
)
from dagster_project.warehouse.database import append_rows

from . import FIRST_LOAD, POSITION, RawColumn, RawTable, Source, typed
from .deciding import KEY, KEY_FIRST, KEY_LAST, decide, key_numbers
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
    is_large=True,
)
FEATURE_KEYS = RawTable(
    "feature_keys",
    "Hashes of the event ids by which events are told apart.",
    [KEY_FIRST, FIRST_LOAD, KEY_LAST],
    is_large=True,
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
# Of a batch only: what was changed in its records, if they count.
NOTES = RawTable(
    "feature_notes",
    "Repairs to come.",
    [
        *POSITION,
        RawColumn("number", "INTEGER", "which of the record's"),
        RawColumn("what", "VARCHAR", "see ops.repairs"),
        RawColumn("detail", "VARCHAR", "see ops.repairs"),
        RawColumn(
            "field",
            "VARCHAR",
            "a name that fills all 64 characters: which; the repair is one if it is merged",
        ),
        *FEATURE_NAMES.columns[1:3],
    ],
)
_NAMES = ("feature_id", "module_id", "product_id")
_SLOTS = ("feature", "module")
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
_NOWHERE = (2**63 - 1,) * 3  # a position behind all others
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
    feature_id, coalesce(TRY_CAST(total_text AS BIGINT), 1) AS total, 
    key_first(nullif(event_id, '')) AS key_first, key_last(nullif(event_id, '')) AS key_last,
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
        self.connection, self.engine = context.connection, context.engine
        self.settings = context.settings.features
        # A row has its key behind the columns of the table.
        self.rows = StagingTable(self.connection, FEATURE_EVENTS, [*FEATURE_EVENTS.columns, *KEY])
        self.notes = StagingTable(self.connection, NOTES)
        self.staging = [self.rows, self.notes]
        self.new_slots: list[tuple[str, str, int]] = []

    # Reading

    def read(self, load: FileLoad) -> None:
        given = {"received": load.part.received, "accept_backdated": self.settings.accept_backdated}
        slow_lines = typed.read(self.connection, load, self.rows, [READING], given)
        for record, given_values in objects(load, _records(load, slow_lines, load.repair_file)):
            self._accept(load, record, given_values)

    def _accept(self, load: FileLoad, record: Record, value: dict[str, Any]) -> None:
        csv = load.part.format in table_records.CSV_FORMATS
        repairs = list(record.repairs)
        account, user = id_in(value, "account_id", repairs), id_in(value, "user_id", repairs)
        names = {name: _name_in(value, name, repairs) for name in _NAMES}
        if account is None or user is None or not names["feature_id"]:
            missing = "account_id" if account is None else "user_id" if user is None else "feature_id"
            load.reject(record, "missing_id", no_id(missing, value.get(missing)))
            return
        at = time_of(value.get("timestamp"))
        if at is None:
            load.reject(record, "bad_time", no_time("timestamp", value.get("timestamp")))
            return
        given = value.get("total")
        not_finite = any(w == "non_finite_number" and "total" in d.split(", ") for w, d in record.repairs)
        total = None if not_finite else total_of(noted_whole(given, "total", repairs), csv)
        if total is None:
            load.reject(
                record,
                "bad_total",
                f"total is {'not finite' if not_finite else shown(given)}: a whole number from 0 to 2^53 is understood",
            )
            return
        received_date, _ = received(load, value)
        reason = self._misdated(at, received_date, load) if total else None
        if reason:
            load.reject(record, reason, f"timestamp {at.isoformat()}, received {received_date or 'unknown'}")
            return
        key = key_numbers(id_in(value, "event_id", repairs))
        position = load.position(record)
        notes = [(*repair, None, None, None) for repair in repairs] + list(_long_names(names))
        for number, note in enumerate(notes):
            self.notes.add((*position, number, *note))
        if total:  # else it is as if never sent: it takes no slot and no key
            cut = (names[name][:NAME_LENGTH] for name in ("product_id", "module_id", "feature_id"))
            self.rows.add((*position, at, account, user, *cut, total, *key))

    def _misdated(self, at: datetime, received_date: Any, load: FileLoad) -> str | None:
        if received_date is None:
            return "future" if is_future(at, None, load.part.first_seen) else None
        if at.date() > received_date:
            return "future"
        return "backdated" if at.date() < received_date and not self.settings.accept_backdated else None

    # Deciding

    def decide(self, loads: Sequence[FileLoad]) -> None:
        slots, modules_full = self._take_slots()
        decide(
            self.engine,
            self.connection,
            "feature_outcomes",
            "feature_outcomes",
            incoming=self.rows,
            known="raw.feature_keys",
            slots="feature_slots",
            modules_full="(VALUES ({}, {}, {})) AS v (load_seq, line, element)".format(*modules_full),
        )
        counts: dict[int, int] = {}
        refused: dict[int, dict[tuple[int, int], str]] = {}
        for load_seq, line, element, outcome in self.connection.execute(
            """SELECT load_seq, line, element, outcome FROM feature_outcomes WHERE outcome <> 'duplicate'
            ORDER BY load_seq, line, element"""
        ).fetchall():
            refused.setdefault(load_seq, {})[line, element] = outcome
        for load_seq, count in self.connection.execute(
            "SELECT load_seq, count(*) FROM feature_outcomes WHERE outcome = 'duplicate' GROUP BY load_seq"
        ).fetchall():
            counts[load_seq] = count
        records = {load.load_seq: _look_again(load, refused.get(load.load_seq, {})) for load in loads}
        if any(load.error is not None for load in loads):
            return
        notes = self._standing_notes()
        for load in loads:
            load.duplicates += counts.get(load.load_seq, 0)
            for record in records[load.load_seq]:
                reason = refused[load.load_seq][record.line, record.element]
                kind = reason.removesuffix("_limit")
                name = _name_in(record.value, f"{kind}_id", [])[:NAME_LENGTH]
                load.reject(
                    record, reason, f"{len(slots[kind])} {kind}s are tracked, {name!r} is none of them"
                )
            load.rejects.sort(key=lambda row: row[3:5])
            for line, element, repairs in notes.get(load.load_seq, ()):
                load.repair_at(line, element, repairs)
            load.close()

    def _take_slots(self) -> tuple[dict[str, set[str]], tuple[int, int, int]]:
        """Which names are tracked in the end, also in a table; and behind which position modules are full."""
        slots: dict[str, set[str]] = {kind: set() for kind in _SLOTS}
        for kind, name in self.connection.execute("SELECT kind, name FROM raw.feature_slots").fetchall():
            slots[kind].add(name)
        limits = {"feature": self.settings.feature_limit, "module": self.settings.module_limit}
        candidates = self._candidates()
        full = (0, 0, 0) if len(slots["module"]) >= limits["module"] else _NOWHERE
        self.new_slots = []
        taken: set[tuple[int, int]] = set()
        for *position, module, feature, key_first, key_last in candidates:
            wanted = {"module": module, "feature": feature}
            new = {kind: name for kind, name in wanted.items() if name and name not in slots[kind]}
            # None is taken unless both are to be had; what is refused does not take its event id.
            if (key_first, key_last) in taken or any(len(slots[kind]) >= limits[kind] for kind in new):
                continue
            if key_first is not None:
                taken.add((key_first, key_last))
            for kind, name in new.items():
                slots[kind].add(name)
                self.new_slots.append((kind, name, position[0]))
            if "module" in new and len(slots["module"]) >= limits["module"]:
                full = (position[0], position[1], position[2])
        self.connection.execute("CREATE OR REPLACE TEMP TABLE feature_slots (kind VARCHAR, name VARCHAR)")
        append_rows(
            self.connection, "feature_slots", [(kind, name) for kind in _SLOTS for name in slots[kind]]
        )
        return slots, full

    def _candidates(self) -> list[tuple[Any, ...]]:
        decide(
            self.engine,
            self.connection,
            "feature_candidates",
            "feature_candidates",
            incoming=self.rows,
            known="raw.feature_keys",
            slots="raw.feature_slots",
        )
        return self.connection.execute(
            """SELECT load_seq, line, element, module_id, feature_id, key_first, key_last FROM feature_candidates
            ORDER BY load_seq, line, element"""
        ).fetchall()

    def _standing_notes(self) -> dict[int, list[tuple[int, int, list[tuple[str, str]]]]]:
        """What was changed in records that count, by file and in the order of their positions."""
        decide(
            self.engine,
            self.connection,
            "feature_names",
            "feature_names",
            names=f"(FROM {self.notes.all} WHERE field IS NOT NULL)",
            known="raw.feature_names",
            outcomes="feature_outcomes",
        )
        notes: dict[int, list[tuple[int, int, list[tuple[str, str]]]]] = {}
        before = None
        for load_seq, line, element, what, detail in self.connection.execute(f"""
            SELECT n.load_seq, n.line, n.element, n.what, n.detail
            FROM {self.notes.all} AS n
            LEFT JOIN feature_names AS f USING (load_seq, line, element, field)
            ANTI JOIN (FROM feature_outcomes WHERE outcome <> 'duplicate') AS o USING (load_seq, line, element)
            WHERE n.field IS NULL OR f.is_merged = 1
            ORDER BY n.load_seq, n.line, n.element, n.number""").fetchall():
            if before != (load_seq, line, element):
                before = load_seq, line, element
                notes.setdefault(load_seq, []).append((line, element, []))
            notes[load_seq][-1][2].append((what, detail))
        return notes

    def finish(self, loads: Sequence[FileLoad]) -> None:
        rows = self.rows.rows
        self.engine.insert(self.connection, FEATURE_EVENTS, rows, "feature_outcomes")
        self.engine.insert(self.connection, FEATURE_KEYS, rows, "feature_outcomes", "key_first IS NOT NULL")
        append_rows(self.connection, "raw.feature_slots", self.new_slots)
        self.connection.execute(
            "INSERT INTO raw.feature_names SELECT field, name, original, load_seq FROM feature_names"
        )


def _records(load: FileLoad, lines: set[int] | None, note: NoteFile = lambda *_: None) -> Iterator[Record]:
    """A file's records; of its lines those, where it is read by lines. note: is told what was changed in the file."""
    if load.part.format in table_records.CSV_FORMATS:
        return table_records.read(load.part, _COLUMNS, note, grows=True)
    if lines is None:
        return json_records.read(load.part, exact=False)
    return json_records.read_lines(load.part, lines, exact=False)


def _look_again(load: FileLoad, positions: Collection[tuple[int, int]]) -> list[Record]:
    """Records as they came, in their order. The file gets an error where they are not there any more."""
    if not positions:
        return []
    found = []
    try:
        with load.part.local_copy():
            lines = {line for line, _ in positions} if load.by_line else None
            for record in _records(load, lines):
                if (record.line, record.element) in positions and isinstance(record.value, dict):
                    found.append(record)
            if len(found) < len(positions):
                raise UnreadableFile("it was written to while it was read")
    except (UnreadableFile, OSError) as error:
        load.error = str(error)
    return found


def _long_names(given: dict[str, str]) -> Iterator[tuple[str, str, str | None, str | None, str | None]]:
    """Notes on names that fill all 64 characters, which may be one with others: (what, detail, field, name, original)."""
    for field in _NAMES:
        original = given[field]
        name = original[:NAME_LENGTH]
        if len(name) < NAME_LENGTH:
            continue
        if name != original:
            yield (
                "name_cut",
                f"{field} {original[:1000]!r} was cut to {NAME_LENGTH} characters",
                None,
                None,
                None,
            )
        digest = hashlib.md5(original.encode(), usedforsecurity=False).hexdigest()
        merged = f"{field} {original[:1000]!r} is one with another name of the same beginning"
        yield "names_merged", merged, field, name, digest


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


SOURCE = Source(
    folder="features",
    formats=json_records.FORMATS | table_records.CSV_FORMATS,
    tables=[FEATURE_EVENTS, FEATURE_KEYS, FEATURE_SLOTS, FEATURE_NAMES],
    loader=FeatureLoader,
)
