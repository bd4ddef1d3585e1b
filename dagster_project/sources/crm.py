"""HubSpot exports: what companies and contacts have in common. Rows are kept whole, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from dagster_project.readers import table_records
from dagster_project.readers.files import Record
from dagster_project.warehouse.columns import Kind

from . import POSITION, RawColumn, RawTable
from .loading import FileLoad, Incoming, LoadContext, Loader, objects

_RECORD_ID = ("Record ID", "hs_object_id")


def export_table(name: str, about: str, matched_by: Kind) -> RawTable:
    """The raw table of one object. matched_by: what its match key is."""
    return RawTable(
        name,
        about,
        [
            *POSITION,
            RawColumn("record_id", "VARCHAR", "HubSpot's id"),
            RawColumn("match_key", "VARCHAR", f"of the {matched_by}", holds=matched_by, erases_row=True),
            RawColumn("name", "VARCHAR", "its name"),
            RawColumn("properties", "VARCHAR", "the whole row, JSON object"),
        ],
    )


class ExportLoader(Loader):
    """Reads exports of one object; headers may be labels or internal names."""

    def __init__(
        self,
        context: LoadContext,
        table: RawTable,
        key_headers: tuple[str, ...],
        match_key: Callable[[object], str | None],
        name: Callable[[dict[str, str]], str | None],
    ) -> None:
        self.connection, self.table = context.connection, table
        self.key_headers, self.match_key, self.name = key_headers, match_key, name
        self.rows = Incoming(context.connection, table)
        self.incoming = [self.rows]

    def read(self, load: FileLoad) -> None:
        for record, row in objects(load, table_records.read(load.part)):
            self._accept(load, record, row)

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
        self.connection.execute(f"INSERT INTO raw.{self.table.name} FROM {self.rows.all}")


def first(row: dict[str, Any], headers: Sequence[str]) -> str | None:
    """The first non-blank cell under any of these headers, in any case."""
    lowered = {header.strip().lower(): cell for header, cell in row.items()}
    for header in headers:
        cell = lowered.get(header.lower())
        if isinstance(cell, str) and cell.strip():
            return cell
    return None
