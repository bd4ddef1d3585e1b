"""Random histories of a folder: files grow, are rotated, packed, moved, copied, rewritten, cut, delivered again, withdrawn.

The rows that are loaded must be those of a plain reading of the contract (oracle.py), and a full rebuild must change none.
"""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone; chance here keeps no secret)
from __future__ import annotations

import gzip
import json
import random
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
HEADER = "account_id,user_id,feature_id,timestamp,total,event_id\n"
FEATURE_FORMATS = next(source.formats for source in nightly.all_sources() if source.folder == "features")


class Folder:
    """What lies below raw/: path without a packing to (content, packing)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.files: dict[str, tuple[str, str]] = {}
        self.count = 0

    def lines(self, source: str) -> str:
        text = ""
        for _ in range(self.random.randint(1, 3)):
            self.count += 1
            key = f"k{self.random.randint(1, 8)}" if self.random.random() < 0.3 else None
            if source == "features":
                text += f"c{self.count},u,f,2026-03-30,1,{key or ''}\n"
            else:
                call = {"request": {"time": "2026-03-30T10:00:00Z"}, "company_id": f"c{self.count}"}
                text += json.dumps({**call, "transaction_id": key} if key else call) + "\n"
        return text

    def new(self) -> None:
        source = self.random.choice(("events", "features"))
        is_array = source == "events" and self.random.random() < 0.2
        ending = "json" if is_array else "csv" if source == "features" else "jsonl"
        path = f"{source}/{self.random.choice(FOLDERS)}{self.random.choice('abc')}{len(self.files)}.{ending}"
        text = self.lines(source)
        if is_array:
            text = "[" + ",".join(text.splitlines()) + "]"
        self.files[path] = (HEADER if source == "features" else "") + text, ""

    def step(self) -> None:
        if not self.files or self.random.random() < 0.25:
            self.new()
            return
        path = self.random.choice(sorted(self.files))
        text, packing = self.files[path]
        source, _, name = path.partition("/")
        name = name.rpartition("/")[2]
        act = self.random.choice(
            ("grow", "grow", "half", "rotate", "pack", "move", "copy", "rewrite", "delete", "again")
        )
        if act == "grow" and not path.endswith(".json"):
            self.files[path] = self.whole(text) + self.lines(source), packing
        elif act == "half" and not path.endswith(".json"):
            line = self.lines(source).splitlines()[0]
            self.files[path] = self.whole(text) + line[: self.random.randint(1, len(line) - 1)], packing
        elif act == "rotate" and not path.endswith(".json"):
            self.files[f"{source}/{name.partition('.')[0]}-1.{name.partition('.')[2]}"] = (
                self.whole(text) + self.lines(source),
                packing,
            )
            self.files[path] = (HEADER if source == "features" else "") + self.lines(source), ""
        elif act == "pack":
            packings = [p for p in ("", ".gz", ".zst") if source == "events" or f"csv{p}" in FEATURE_FORMATS]
            self.files[path] = text, self.random.choice(packings)
        elif act in ("move", "copy"):
            to = f"{source}/{self.random.choice(FOLDERS)}{self.random.choice('xyz')}{name}"
            self.files[to] = self.files[path]
            if act == "move" and to != path:
                del self.files[path]
        elif act == "rewrite":
            self.files[path] = (HEADER if source == "features" else "") + self.lines(source), packing
        elif act == "delete":
            del self.files[path]
        elif act == "again":  # the same records and one more, in another order
            first, *rest = text.splitlines(keepends=True)
            rest.reverse()
            self.files[f"{path.rpartition('/')[0]}/again-{name}"] = first + "".join(rest), packing
            del self.files[path]

    @staticmethod
    def whole(text: str) -> str:
        """The text up to the end of its last line; a half-written one is left out or goes on as it is."""
        return text[: text.rfind("\n") + 1]

    def bytes(self) -> dict[str, bytes]:
        packs = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstandard.compress}
        return {path + how: packs[how](text.encode()) for path, (text, how) in self.files.items()}


def loaded(warehouse: Warehouse) -> list[tuple[int, int, int, str]]:
    rows = warehouse.query("""
        SELECT file_seq, line, element, company_id AS who FROM raw.api_calls
        UNION ALL SELECT file_seq, line, element, account_id FROM raw.feature_events ORDER BY ALL""")
    return [tuple(row.values()) for row in rows]


def accounts(warehouse: Warehouse) -> list[tuple[object, ...]]:
    names = ("file_seq", "records", "loaded", "duplicates", "rejected")
    return sorted(tuple(row[name] for name in names) for row in warehouse.table("ops.files"))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(3, 1000)))
def test_a_history_of_a_folder(seed: int, tmp_path: Path) -> None:
    folder, warehouse = Folder(seed), Warehouse(tmp_path)
    before: dict[str, bytes] = {}
    nights: list[Night] = []
    for index in range(folder.random.randint(2, 5)):
        for _ in range(folder.random.randint(1, 4)):
            folder.step()
        here = folder.bytes()
        at = datetime(2026, 4, 1, 3) + timedelta(days=index)
        changed = {path: data for path, data in here.items() if before.get(path) != data}
        nights.append(Night(at, changed, tuple(path for path in before if path not in here)))
        for path in nights[-1].removed:
            (warehouse.raw / path).unlink()
        for path, data in changed.items():
            warehouse.put(path, data)
        warehouse.night(AS_OF, at)
        before = here
    expected = oracle.load(nights, OracleSettings())
    right = [(*call.order, call.company_id or "") for call in expected.calls]
    right += [(*event.order, event.account_id) for event in expected.features]
    assert loaded(warehouse) == sorted(right), f"seed {seed}"
    counts = [
        (f["file_seq"], f["records"], f["loaded"], f["duplicates"], f["rejected"]) for f in expected.files
    ]
    assert accounts(warehouse) == sorted(counts), f"seed {seed}"
    # What is gone is withdrawn; then a full rebuild can be had, and changes nothing.
    with open_warehouse(warehouse.settings) as connection:
        try:
            plan = withdrawal.look(connection, nightly.raw_place(warehouse.settings), [], gone=True)
        except withdrawal.CannotWithdraw:
            return
        withdrawal.carry_out(connection, plan, at)
    warehouse.night(AS_OF, at)
    warehouse.night(AS_OF, at)
    incremental = loaded(warehouse), accounts(warehouse)
    warehouse.night(AS_OF, at, full=True)
    assert (loaded(warehouse), accounts(warehouse)) == incremental, f"seed {seed}, full"
