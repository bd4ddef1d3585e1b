"""Reads CRM exports (CSV, XLSX, a ZIP of either), to stand for the account that they came from.

Headers are labels or internal names. What is no property that can be written, or no value that it takes, is left out.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from . import values
from .errors import Problem
from .objects import ObjectType
from .store import Store

KINDS = ("companies", "contacts")
_ID = ("record id", "record id - company", "record id - contact", "hs_object_id")


def load(store: Store, folder: Path) -> dict[str, int]:
    """Place the records of the exports below `companies/` and `contacts/` of a folder. Returns how many of each.

    Raises OSError and ValueError.
    """
    placed = dict.fromkeys(KINDS, 0)
    for kind in KINDS:
        files = sorted(file for file in (folder / kind).rglob("*") if file.is_file())
        if not (folder / kind).is_dir():
            raise ValueError(
                f"{folder / kind} is no folder; name the one that holds companies/ and contacts/"
            )
        rows: dict[str, dict[str, str]] = {}
        for file in files:
            for row in _rows(file.name, file.read_bytes()):
                record_id = next((row[name] for name in row if name.strip().lower() in _ID), "").strip()
                if record_id.isdecimal():
                    rows[record_id] = row
        for record_id, row in rows.items():
            properties = _properties(store.type(kind), row)
            if not store.companies.find(record_id) and not store.contacts.find(record_id):
                store.put(kind, properties, record_id=int(record_id))
                placed[kind] += 1
    return placed


def _properties(kind: ObjectType, row: dict[str, str]) -> dict[str, str]:
    by_label = {prop.label.lower(): prop for prop in kind.schema.properties.values()}
    found: dict[str, str] = {}
    for header, text in row.items():
        prop = kind.schema.properties.get(header.strip()) or by_label.get(header.strip().lower())
        if prop is None or not text.strip():
            continue
        options = {option["label"].lower(): option["value"] for option in prop.options}
        text = options.get(text.strip().lower(), text.strip())
        if prop.name == kind.more:
            found[prop.name] = text
        elif not prop.read_only and not isinstance(checked := values.check(prop, text, None), Problem):
            holder = kind.by_key(checked) if prop.name == kind.key and kind.unique_key else []
            if not holder:
                found[prop.name] = checked
    return found


def _rows(name: str, data: bytes) -> Iterator[dict[str, str]]:
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for member in packed.namelist():
                yield from _rows(member, packed.read(member))
    elif name.lower().endswith(".xlsx"):
        from python_calamine import CalamineWorkbook  # not needed for CSV

        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        for sheet in book.sheet_names:
            rows = book.get_sheet_by_name(sheet).to_python()
            header, *rest = [[str(cell) for cell in row] for row in rows] or [[]]
            for row in rest:
                cells = [cell.removesuffix(".0") for cell in row]
                yield dict(zip(header, cells, strict=False))
    elif name.lower().endswith(".csv"):
        for record in csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace"))):
            yield {str(k): v for k, v in record.items() if k is not None and isinstance(v, str)}
