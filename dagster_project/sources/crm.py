"""HubSpot exports: what companies and contacts have in common. Rows are kept whole, as one JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from dagster_project.readers import table_records
from dagster_project.readers.csv_records import Columns, plain
from dagster_project.readers.files import Record
from dagster_project.readers.values import shown
from dagster_project.warehouse.columns import Kind

from . import POSITION, RawColumn, RawTable
from .reading import FileLoad, LoadContext, Loader, StagingTable, objects

# What spreadsheets make of an id, and what is still the same id.
_DIGITS = re.compile(r'="(\d+)"|(\d+)(?:\.0+)?', re.ASCII)


def export_table(name: str, about: str, matched_by: Kind) -> RawTable:
    """The raw table of one object. matched_by: what its match key is."""
    return RawTable(
        name,
        about,
        [
            *POSITION,
            RawColumn("record_id", "VARCHAR", "HubSpot's id"),
            RawColumn("match_key", "VARCHAR", f"of the {matched_by}", holds=matched_by, erases_row=True),
            RawColumn("name", "VARCHAR", "its name", names_anybody="text"),
            RawColumn("properties", "VARCHAR", "the whole row, JSON object", names_anybody="json"),
        ],
    )


class ExportLoader(Loader):
    """Reads exports of one object; headers may be labels or internal names."""

    def __init__(
        self,
        context: LoadContext,
        table: RawTable,
        entity: str,
        key_headers: tuple[str, ...],
        match_key: Callable[[object], str | None],
        name: Callable[[dict[str, str]], str | None],
    ) -> None:
        self.connection, self.table = context.connection, table
        self.id_headers = ("Record ID", "hs_object_id", f"Record ID - {entity}")
        self.columns = Columns(needed=[self.id_headers])
        self.key_headers, self.match_key, self.name = key_headers, match_key, name
        self.rows = StagingTable(context.connection, table)
        self.staging = [self.rows]

    def read(self, load: FileLoad) -> None:
        records = table_records.read(load.part, self.columns, load.repair_file, grows=True)
        for record, row in objects(load, records):
            self._accept(load, record, row)

    def _accept(self, load: FileLoad, record: Record, row: dict[str, str]) -> None:
        given = first(row, self.id_headers)
        match = _DIGITS.fullmatch(given.strip()) if given else None
        if match is None:
            said = f"Record ID is {shown(given)}: digits are understood" if given else "no Record ID"
            load.reject(record, "bad_crm_row", said)
            return
        load.repair(record, record.repairs)
        self.rows.add(
            (
                *load.position(record),
                match[1] or match[2],
                self.match_key(first(row, self.key_headers)),
                self.name(row),
                json.dumps(row, ensure_ascii=False, separators=(",", ":")),
            )
        )

    def finish(self, loads: Sequence[FileLoad]) -> None:
        self.connection.execute(f"INSERT INTO raw.{self.table.name} FROM {self.rows.all}")


def first(row: dict[str, Any], headers: Sequence[str]) -> str | None:
    """The first non-blank cell under any of these headers: of each, the column that is spelled so, else in any case."""
    for name in _columns(tuple(row), tuple(headers)):
        if isinstance(cell := row[name], str) and cell.strip():
            return cell
    return None


@lru_cache(maxsize=256)  # the rows of a file have the same columns
def _columns(names: tuple[str, ...], headers: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that are meant by these headers, in the order of the headers."""
    alike: dict[str, str] = {}
    for name in names:
        alike.setdefault(plain(name), name)
    meant = (header if header in names else alike.get(plain(header)) for header in headers)
    return tuple(name for name in meant if name is not None)
