"""Which feature events stand is decided over whole batches by SQL; here it is held against the rules, told event by event.

Whatever the limits, the nights, the batches, the ways in which files are read and who reads them.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse
from soak import budget

from dagster_project.pipeline import nightly
from dagster_project.readers.files import Record
from dagster_project.sources import features, loading, typed, workers
from dagster_project.sources.reading import FileLoad
from dagster_project.warehouse.database import open_warehouse

NOW = datetime(2026, 4, 1, 3)  # noqa: DTZ001
NAMES = ("feature_id", "module_id", "product_id")
COLUMNS = ("account_id", "user_id", *NAMES, "timestamp", "total", "event_id")
Event = dict[str, Any]


class Plain:
    """The rules, one event after the other."""

    def __init__(self, feature_limit: int, module_limit: int) -> None:
        self.limits = {"feature": feature_limit, "module": module_limit}
        self.slots: dict[str, set[str]] = {"feature": set(), "module": set()}
        self.event_ids: set[str] = set()
        self.originals: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.found: dict[str, set[tuple[Any, ...]]] = defaultdict(set)

    def file(self, path: str, events: list[tuple[int, int, Event]]) -> None:
        floats: dict[str, list[tuple[int, int]]] = {}
        counts = dict.fromkeys(("records", "loaded", "duplicates", "rejected", "repaired"), 0)
        for line, element, event in events:
            outcome, detail, repairs = self._event(event)
            counts["records"] += 1
            counts[outcome if outcome in counts else "rejected"] += 1
            if outcome not in counts:
                text = ",".join(row_of(event)) if path.endswith("csv") else text_of(event)
                self.found["rejects"].add((path, line, element, outcome, detail, text))
                continue
            counts["repaired"] += bool(repairs)
            self.found["repairs"] |= {(path, line, element, *repair) for repair in repairs}
            if isinstance(event.get("total"), float):
                floats.setdefault("total", []).append((line, element))
            if outcome == "loaded" and event.get("total") != 0:
                names = [(event.get(name) or "")[:64] for name in NAMES]
                self.found["events"].add((path, line, element, *names, int(event.get("total", 1))))
        for field, places in floats.items():
            many = "1 whole number is" if len(places) == 1 else f"{len(places)} whole numbers are"
            self.found["repairs"].add((path, *places[0], "whole_float", f"{field}: {many} written as floats"))
            counts["repaired"] += 1
        self.found["files"].add((path, *counts.values()))

    def _event(self, event: Event) -> tuple[str, str, list[tuple[str, str]]]:
        feature, module = (event.get("feature_id") or "")[:64], (event.get("module_id") or "")[:64]
        if not feature:
            return "missing_id", "", []
        event_id = event.get("event_id")
        if event.get("total") == 0:
            return "loaded", "", self._names(event)
        if event_id is not None and event_id in self.event_ids:
            return "duplicates", "", self._names(event)
        for kind, name in (("module", module), ("feature", feature)):
            slots = self.slots[kind]
            if name and name not in slots and len(slots) >= self.limits[kind]:
                return f"{kind}_limit", f"{len(slots)} {kind}s are tracked, {name!r} is none of them", []
        self.slots["feature"].add(feature)
        self.slots["module"] |= {module} - {""}
        if event_id is not None:
            self.event_ids.add(event_id)
        return "loaded", "", self._names(event)

    def _names(self, event: Event) -> list[tuple[str, str]]:
        repairs = []
        for field in NAMES:
            original = event.get(field) or ""
            if len(original) > 64:
                repairs.append(("name_cut", f"{field} {original!r} was cut to 64 characters"))
            if len(original) >= 64:
                known = self.originals[field, original[:64]]
                if known and original not in known:
                    repairs.append(
                        (
                            "names_merged",
                            f"{field} {original!r} is one with another name of the same beginning",
                        )
                    )
                known.add(original)
        return repairs


def text_of(event: Event) -> str:
    return json.dumps(event, sort_keys=True)


def row_of(event: Event) -> list[str]:
    return [str(event.get(column, "")) for column in COLUMNS]


def traffic(chance: random.Random, names: dict[str, list[str]], ids: list[str]) -> list[Event]:
    events = []
    for _ in range(chance.randrange(60)):
        event: Event = {"account_id": "a", "user_id": "u", "timestamp": "2026-03-30T10:00:00Z"}
        for field in NAMES:
            if chance.random() < (0.98 if field == "feature_id" else 0.7):
                event[field] = chance.choice(names[field])
        if chance.random() < 0.4:
            event["event_id"] = chance.choice(ids)
        if chance.random() < 0.3:
            event["total"] = chance.choice([0, 1, 5, 2.0, 7.0])
        events.append(event)
    return events


def written(chance: random.Random, events: list[Event]) -> tuple[str, str, list[tuple[int, int, Event]]]:
    """An ending, a file's text, and where each event is in there."""
    kind = chance.choice(["jsonl", "jsonl", "jsonl", "json", "csv"])
    if kind == "json":
        return kind, json.dumps(events), [(1, n, event) for n, event in enumerate(events, 1)]
    if kind == "csv":
        # Text has no floats that are noted.
        events = [{**e, "total": int(e["total"])} if "total" in e else e for e in events]
        rows = [COLUMNS, *map(row_of, events)]
        return (
            kind,
            "".join(",".join(row) + "\n" for row in rows),
            [(n, 1, e) for n, e in enumerate(events, 2)],
        )
    lines, places = [], []
    rest = list(events)
    while rest:
        several = chance.randrange(2, 5) if chance.random() < 0.05 else 1
        taken, rest = rest[:several], rest[several:]
        lines.append(json.dumps(taken if several > 1 else taken[0]))
        places += [(len(lines), n, event) for n, event in enumerate(taken, 1)]
    return kind, "".join(f"{line}\n" for line in lines), places


def loaded(warehouse: Warehouse) -> dict[str, set[tuple[Any, ...]]]:
    queries = {
        "events": "path, line, element, feature_id, module_id, product_id, total FROM raw.feature_events",
        "rejects": "path, line, element, reason, CASE WHEN reason = 'missing_id' THEN '' ELSE detail END, raw FROM raw.rejects",
        "repairs": "path, line, element, what, detail FROM raw.repairs",
    }
    with open_warehouse(warehouse.settings) as connection:
        found = {
            name: connection.execute(f"SELECT {query} JOIN raw.files USING (file_seq)").fetchall()
            for name, query in queries.items()
        }
        found["files"] = connection.execute(
            "SELECT path, records, loaded, duplicates, rejected, repaired FROM raw.files"
        ).fetchall()
        found["slots"] = connection.execute("SELECT kind, name FROM raw.feature_slots").fetchall()
    found["rejects"] = [
        (*row, text_of(json.loads(raw)) if raw[0] == "{" else raw) for *row, raw in found["rejects"]
    ]
    assert all(len(rows) == len(set(rows)) for rows in found.values()), "a row came twice"
    return {name: set(rows) for name, rows in found.items()}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(4, 200)))
def test_slots_and_event_ids_are_as_the_rules_say(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SMALLEST_BYTES", 0)
    count = 1 + seed % 2 if seed % 5 == 0 else 1  # processes take long to start
    assert_by_the_rules(tmp_path, seed, monkeypatch, {"workers": count})


def assert_by_the_rules(
    folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch, engine: Mapping[str, Any]
) -> None:
    """Load three nights of random events, and hold what became of them against the rules. engine: who does it."""
    chance = random.Random(seed)
    limits = {f"{kind}_limit": chance.choice([1, 2, 3, 5, 9, 256]) for kind in ("feature", "module")}
    plain = Plain(**limits)
    monkeypatch.setattr(typed, "SMALLEST_BYTES", chance.choice([0, 2000, 1 << 60]))
    monkeypatch.setattr(loading, "_BATCH_FILES", chance.choice([1, 2, 500]))
    monkeypatch.setattr(loading, "_SHARE_FILES", chance.choice([1, 50]))
    warehouse = Warehouse(folder, features=limits, engine=engine)
    ids = [f"id{n}" for n in range(chance.choice([2, 20, 200]))]
    names = {field: [f"{field[0]}{n}" for n in range(chance.choice([1, 4, 12, 300]))] for field in NAMES}
    for field in NAMES:
        names[field] += [field[0] * 64, field[0] * 64 + "x", field[0] * 70, "é" * 63, ""]
    for night in range(3):
        for number in range(chance.randrange(4)):
            ending, text, places = written(chance, traffic(chance, names, ids))
            path = f"features/{night}-{number}.{ending}"
            if places:
                warehouse.put(path, text)
                plain.file(path, places)
        with open_warehouse(warehouse.settings) as connection:
            nightly.load_new_files(connection, warehouse.settings, now=NOW + timedelta(days=night))
    found = loaded(warehouse)
    assert found.pop("slots") == {(kind, name) for kind, names in plain.slots.items() for name in names}
    assert found == {name: plain.found[name] for name in found}, f"seed {seed}"


def test_a_file_that_is_gone_before_its_refused_records_are_looked_at_takes_no_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path, features={"feature_limit": 1})
    event = {"account_id": "a", "user_id": "u", "timestamp": "2026-03-30", "event_id": "1"}
    gone = warehouse.put(
        "features/a.jsonl", [{**event, "feature_id": "x"}, {**event, "feature_id": "y", "event_id": "2"}]
    )
    warehouse.put("features/b.jsonl", [{**event, "feature_id": "y"}])
    look = features._look_again

    def looked(load: FileLoad, places: Collection[tuple[int, int]]) -> list[Record]:
        gone.unlink(missing_ok=True)
        return look(load, places)

    monkeypatch.setattr(features, "_look_again", looked)
    with open_warehouse(warehouse.settings) as connection:
        nightly.load_new_files(connection, warehouse.settings, now=NOW)
    assert [(row["kind"], row["name"]) for row in warehouse.table("raw.feature_slots")] == [("feature", "y")]
    assert warehouse.query(
        "SELECT loaded, duplicates, error IS NULL AS is_read FROM raw.files ORDER BY file_seq"
    ) == [
        {"loaded": None, "duplicates": None, "is_read": False},
        {"loaded": 1, "duplicates": 0, "is_read": True},
    ]
