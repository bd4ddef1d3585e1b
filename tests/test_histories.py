"""Random histories of a folder: files grow, are rotated, packed, moved, copied, rewritten, cut, delivered again, withdrawn.

The rows that are loaded must be those of a plain reading of the contract (oracle.py), and a full rebuild must change none.
"""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone; chance here keeps no secret)
from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import oracle
import pytest
import zstandard
from harness import Warehouse
from oracle import Night, OracleSettings
from soak import budget

from dagster_project.pipeline import nightly
from dagster_project.sources import withdrawal
from dagster_project.warehouse.database import open_warehouse

AS_OF = date(2026, 3, 31)
FOLDERS = ("", "dt=2026-03-30/", "dt=2026-03-31/", "old/")
SOURCES = ("events", "features", "crm/companies")
HEADERS = {
    "features": "account_id,user_id,feature_id,timestamp,total,event_id\n",
    "crm/companies": "Record ID,Company name,Company Domain Name\n",
}
# What is loaded, with its place; what was rejected; and each file's account.
LOADED = """
    SELECT 'loaded' AS what, file_seq, line, element, company_id AS who FROM raw.api_calls
    UNION ALL SELECT 'loaded', file_seq, line, element, account_id FROM raw.feature_events
    UNION ALL SELECT 'loaded', file_seq, line, element, name FROM raw.crm_companies
        WHERE file_seq IN (SELECT loaded_seq FROM raw.paths)
    UNION ALL SELECT 'rejected', file_seq, line, element, reason FROM raw.rejects WHERE waits IS NOT true
    UNION ALL SELECT 'account', file_seq, coalesce(records, 0), coalesce(loaded, 0),
        coalesce(duplicates, 0) || ', ' || coalesce(rejected, 0) FROM raw.files"""


class Folder:
    """What lies below raw/: path without a packing to (content, what its last line lacks, packing)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.files: dict[str, tuple[str, str, str]] = {}
        self.count = 0

    def record(self, source: str) -> str:
        self.count += 1
        key = f"k{self.random.randint(1, 8)}" if self.random.random() < 0.3 else None
        if source == "features":
            return f"c{self.count},u,f,2026-03-30,1,{key or ''}"
        if source == "crm/companies":
            return f"{self.random.randint(1, 20)},Name {self.count},c{self.count}.example"
        call = {"request": {"time": "2026-03-30T10:00:00Z"}, "company_id": f"c{self.count}"}
        return json.dumps({**call, "transaction_id": key} if key else call)

    def lines(self, source: str, like: str = "") -> str:
        """Records, with the ends of lines of the text that they are added to."""
        end = "\r\n" if "\r" in like or (not like and self.random.random() < 0.2) else "\n"
        records = [self.record(source) for _ in range(self.random.randint(1, 3))]
        if source == "events" and self.random.random() < 0.2:
            records = [f"[{','.join(records)}]"]
        return "".join(record + end for record in records)

    def fresh(self, source: str) -> str:
        return HEADERS.get(source, "") + self.lines(source)

    def new(self) -> None:
        source = self.random.choice(("events", "events", "features", "features", "crm/companies"))
        is_array = source == "events" and self.random.random() < 0.2
        ending = "json" if is_array else "jsonl" if source == "events" else "csv"
        path = f"{source}/{self.random.choice(FOLDERS)}{self.random.choice('abc')}{len(self.files)}.{ending}"
        text = self.fresh(source)
        if is_array:
            text = "[" + ",".join(self.record(source) for _ in range(3)) + "]"
        self.files[path] = text, "", ""

    def step(self) -> None:
        if not self.files or self.random.random() < 0.25:
            self.new()
            return
        path = self.random.choice(sorted(self.files))
        text, rest, packing = self.files[path]
        source = next(source for source in SOURCES if path.startswith(source + "/"))
        name = path.rpartition("/")[2]
        act = self.random.choice(
            (
                "grow",
                "grow",
                "half",
                "rotate",
                "pack",
                "move",
                "copy",
                "rewrite",
                "cut",
                "delete",
                "again",
                "both",
            )
        )
        if act in ("grow", "half", "rotate", "cut") and path.endswith(".json"):
            return
        if act == "both":  # packed under its new name, and begun anew, in one night
            act, packing = (
                "rotate",
                self.random.choice(("", ".gz", ".zst") if source != "crm/companies" else ("",)),
            )
        if act == "grow":
            self.files[path] = self.ended(text, rest) + self.lines(source, text), "", packing
        elif act == "half":
            line = self.lines(source, text).splitlines(keepends=True)[0]
            cut = self.random.randint(1, len(line))
            self.files[path] = self.ended(text, rest) + line[:cut], line[cut:], packing
        elif act == "rotate":
            stem, _, ending = name.partition(".")
            whole = self.ended(text, rest)
            more = self.lines(source, text) if self.random.random() < 0.7 else ""
            self.files[f"{source}/{stem}-1.{ending}"] = whole + more, "", packing
            self.files[path] = self.fresh(source), "", ""
        elif act == "pack" and source != "crm/companies":
            self.files[path] = text, rest, self.random.choice(("", ".gz", ".zst"))
        elif act in ("move", "copy"):
            to = f"{source}/{self.random.choice(FOLDERS)}{self.random.choice('xyz')}{name}"
            self.files[to] = self.files[path]
            if act == "move" and to != path:
                del self.files[path]
        elif act == "rewrite":
            self.files[path] = self.fresh(source), "", packing
        elif act == "cut":  # no more than its beginning is left
            lines = text.splitlines(keepends=True)
            self.files[path] = "".join(lines[: self.random.randint(1, len(lines))]), "", packing
        elif act == "delete":
            del self.files[path]
        elif act == "again":  # the same records, in another order
            first, *others = text.splitlines(keepends=True)
            others.reverse()
            folder = path.rpartition("/")[0]
            self.files[f"{folder}/again-{name}"] = first + "".join(others), "", packing
            del self.files[path]

    def ended(self, text: str, rest: str) -> str:
        """The text with its last line whole; or without it, where it never came to an end."""
        if rest and self.random.random() < 0.3:
            return text[: text.rfind("\n") + 1]
        return text + rest

    def bytes(self) -> dict[str, bytes]:
        packs = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstandard.compress}
        return {path + how: packs[how](text.encode()) for path, (text, _, how) in self.files.items()}


class History:
    """A warehouse, and what the plain reading makes of all that befell it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.folder, self.warehouse = Folder(seed), Warehouse(folder)
        self.before: dict[str, bytes] = {}
        self.nights: list[Night] = []
        self.loaded: list[tuple[object, ...]] = []
        self.builds_all = seed % 10 == 0  # the others build what tells that a run ended well

    @property
    def now(self) -> datetime:
        return datetime(2026, 4, 1, 3) + timedelta(days=len(self.nights))

    def night(self, how_withdrawn: str = "") -> None:
        """The folder comes to be what it is now; a file is taken back (or all that are gone); and a run."""
        here, now = self.folder.bytes(), self.now
        changed = {path: data for path, data in here.items() if self.before.get(path) != data}
        removed = tuple(path for path in self.before if path not in here)
        for path in removed:
            (self.warehouse.raw / path).unlink()
        for path, data in changed.items():
            self.warehouse.put(path, data)
        withdrawn = self.withdraw(how_withdrawn) if how_withdrawn else ()
        self.nights.append(Night(now, changed, removed, tuple(withdrawn)))
        self.run(now)
        self.before = here

    def run(self, now: datetime, *, full: bool = False) -> None:
        with open_warehouse(self.warehouse.settings) as connection:
            nightly.load_new_files(connection, self.warehouse.settings, now=now, full=full)
            nightly.build_tables(
                connection,
                self.warehouse.settings,
                as_of=AS_OF,
                now=now,
                selected=None if self.builds_all else {"ops.rejects"},
            )
            self.loaded = connection.execute(
                LOADED
            ).fetchall()  # opening the databases again takes as long as a night

    def tables(self) -> dict[str, list[tuple[object, ...]]]:
        """What was computed from it, but for what tells of the past."""
        found = {}
        with open_warehouse(self.warehouse.settings) as connection:
            for model in nightly.models().values():
                if model.schema in ("core", "marts") and not model.is_history:
                    columns = ", ".join(
                        c.name for c in model.columns if c.name not in ("updated_at", "load_seq")
                    )
                    rows = connection.execute(
                        f"SELECT CAST(t AS VARCHAR) FROM (SELECT {columns} FROM {model.name}) AS t"
                    )
                    found[model.name] = sorted(rows.fetchall())
        return found

    def withdraw(self, how: str) -> Sequence[int]:
        """Take `one` file back, or all that are `gone`. Nothing, where it cannot be: others are wanted for it, and gone."""
        with open_warehouse(self.warehouse.settings) as connection:
            loaded = connection.execute(
                "SELECT file_seq FROM raw.files WHERE load_seq IS NOT NULL AND withdrawn_at IS NULL ORDER BY 1"
            ).fetchall()
            if not loaded:
                return ()
            names = [str(self.folder.random.choice(loaded)[0])] if how == "one" else []
            try:
                plan = withdrawal.look(
                    connection, nightly.raw_storage(self.warehouse.settings), names, gone=how == "gone"
                )
            except withdrawal.CannotWithdraw:
                return ()
            if plan.files:
                withdrawal.carry_out(connection, plan, self.now)
            return [file.file_seq for file in plan.files]

    def found(self) -> list[tuple[object, ...]]:
        """What is loaded, with its place; what was rejected; and each file's account."""
        return sorted(self.loaded)

    def expected(self) -> list[tuple[object, ...]]:
        right = oracle.load(self.nights, OracleSettings())
        rows: list[tuple[object, ...]] = [("loaded", *call.order, call.company_id) for call in right.calls]
        rows += [("loaded", *event.order, event.account_id) for event in right.features]
        rows += [("loaded", *row.order, row.cells["Company name"]) for row in right.crm]
        rows += [
            ("rejected", row["file_seq"], row["line"], row["element"], row["reason"]) for row in right.rejects
        ]
        rows += [
            ("account", f["file_seq"], f["records"], f["loaded"], f"{f['duplicates']}, {f['rejected']}")
            for f in right.files
        ]
        return sorted(rows)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(4, 80)))
def test_a_history_of_a_folder(seed: int, tmp_path: Path) -> None:
    history = History(seed, tmp_path)
    chance = history.folder.random
    for index in range(chance.randint(2, 6)):
        for _ in range(chance.randint(1, 4)):
            history.folder.step()
        history.night(chance.choice(("", "", "one", "gone")) if index else "")
        assert history.found() == history.expected(), f"seed {seed}, night {index + 1}"
    # What is gone is withdrawn; then a full rebuild can be had, and changes nothing.
    history.night("gone")
    history.night()
    assert history.found() == history.expected(), f"seed {seed}, withdrawn"
    nights = history.tables() if history.builds_all else None
    history.run(history.now, full=True)
    assert history.found() == history.expected(), f"seed {seed}, full"
    if nights is not None:
        full = history.tables()
        assert [name for name in full if full[name] != nights[name]] == [], f"seed {seed}, full"
