"""HubSpot exports: what companies and contacts have in common. Rows are kept whole, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from dagster_project.readers import table_records
from dagster_project.readers.files import Record

from . import PLACE
from .loading import FileLoad, Incoming, LoadContext, Loader

# match_key: of the domain (companies) or the email (contacts).
COLUMNS = "record_id VARCHAR, match_key VARCHAR, name VARCHAR, properties VARCHAR"
DDL = f"{PLACE}, {COLUMNS}"
_RECORD_ID = ("Record ID", "hs_object_id")


class ExportLoader(Loader):
    """Reads exports of one object; headers may be labels or internal names."""

    def __init__(
        self,
        context: LoadContext,
        table: str,
        key_headers: tuple[str, ...],
        match_key: Callable[[object], str | None],
        name: Callable[[dict[str, str]], str | None],
    ) -> None:
        self.connection, self.table = context.connection, table
        self.key_headers, self.match_key, self.name = key_headers, match_key, name
        self.rows = Incoming(context.connection, f"incoming_{table}", DDL)
        self.incoming = [self.rows]

    def read(self, load: FileLoad) -> None:
        for record in table_records.read(load.part):
            load.records += 1
            self._accept(load, record, record.value)

    def _accept(self, load: FileLoad, record: Record, row: dict[str, str]) -> None:
        record_id = first(row, _RECORD_ID)
        if record_id is None:
            load.reject(record, "bad_crm_row", "no Record ID")
            return
        load.repair(record, record.repairs)
        self.rows.add(
            (
                *load.place(record),
                record_id.strip(),
                self.match_key(first(row, self.key_headers)),
                self.name(row),
                json.dumps(row, ensure_ascii=False, separators=(",", ":")),
            )
        )

    def finish(self, loads: Sequence[FileLoad]) -> None:
        self.connection.execute(f"INSERT INTO raw.{self.table} SELECT * FROM {self.rows.name}")


def first(row: dict[str, Any], headers: Sequence[str]) -> str | None:
    """The first non-blank cell under any of these headers, in any case."""
    lowered = {header.strip().lower(): cell for header, cell in row.items()}
    for header in headers:
        cell = lowered.get(header.lower())
        if isinstance(cell, str) and cell.strip():
            return cell
    return None
