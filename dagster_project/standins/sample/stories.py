"""A set with stories, file by file."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from .actions import actions_of_day
from .calls import Call, calls_of_day, event_lines, node_event, parquet_row, parquet_schema, python_event
from .companies import (
    CRM_TWIN,
    DAY_FEATURE_CSV,
    DAY_LATE_FILE,
    SOURCES,
    Company,
    Plan,
    Progress,
    format_of,
    late_claim_paths,
)
from .crm import (
    CRM_COMPANY_HEADER,
    CRM_CONTACT_LABELS,
    CRM_CONTACT_NAMES,
    crm_company_rows,
    crm_contact_rows,
    xlsx_bytes,
    zip_bytes,
)
from .dirt import dirt
from .features import FEATURE_COLUMNS, csv_lines, feature_rows, features_of_day
from .files import chunks_of, join_lines, mix_lines, write_file
from .records import node_json, python_json
from .subscriptions import subscription_updates_of_day, subscriptions_on_the_first_day
from .updates import backfill, company_updates_of_day, late_claims, user_updates_of_day


def _write_events(
    folder: Path, kind: str, number: int, calls: Sequence[Call], extra: Sequence[bytes]
) -> Path:
    """One file of events in the format `kind`."""
    path = folder / f"events-{number:03d}.{kind}"
    if kind == "parquet":
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([parquet_row(call) for call in calls], schema=parquet_schema())
        pq.write_table(table, path, compression="zstd")
        return path
    if kind == "json":
        elements = [python_json(python_event(c)) if c.is_python else node_json(node_event(c)) for c in calls]
        write_file(path, b"[\n" + b",\n".join(elements) + b"\n]\n")
        return path
    content = join_lines(mix_lines([line for line, _ in event_lines(calls)], extra))
    if kind == "jsonl.gz":
        content = gzip.compress(content, mtime=0)
    elif kind == "jsonl.zst":
        content = zstandard.ZstdCompressor(level=9).compress(content)
    write_file(path, content)
    return path


def generate_stories(
    out: Path, plan: Plan, clean: bool, rows_per_file: int, progress: Progress
) -> dict[str, int]:
    counts = dict.fromkeys(SOURCES, 0)
    days = len(plan.days)
    strewn = [] if clean else dirt(days, plan.days[-1])
    for item in strewn:
        counts[item.source] += len(item.outcomes)

    def extra(source: str, index: int, kind: str = "jsonl") -> list[bytes]:
        return [d.text for d in strewn if (d.source, d.kind, d.day) == (source, kind, index)]

    def write_lines(source: str, name: str, lines: Sequence[bytes], more: Sequence[bytes] = ()) -> None:
        counts[source] += len(lines)
        if lines or more:
            write_file(out / source / name, join_lines(mix_lines(lines, more)))

    companies, users = backfill(plan)
    # "backfill" sorts before "dt=…", so these records come first and lock the right types.
    write_lines("companies", "backfill.jsonl", [node_json(update) for update in companies])
    write_lines("users", "backfill.jsonl", [node_json(update) for update in users])
    known = [node_json(update) for update in subscriptions_on_the_first_day(plan)]
    write_lines("subscriptions", "backfill.jsonl", known)
    for source, path, claim in zip(
        ("companies", "users"), late_claim_paths(days, plan.days[-1]), late_claims(), strict=True
    ):
        write_lines(source, path.removeprefix(f"{source}/"), [claim])

    for index, day in enumerate(plan.days):
        folder = f"dt={day}"
        calls = calls_of_day(plan, index)
        counts["events"] += len(calls)
        if index == plan.at(DAY_LATE_FILE):
            late = [call for call in calls if call.company_id == CRM_TWIN]
            calls = [call for call in calls if call.company_id != CRM_TWIN]
            write_file(
                out / "events" / folder / "late-gateway.jsonl",
                join_lines([line for line, _ in event_lines(late)]),
            )
        kind = format_of(index, days)
        spoiled = extra("events", index)
        chunks = list(chunks_of(calls, rows_per_file)) or ([[]] if spoiled else [])
        for number, chunk in enumerate(chunks, start=1):
            file = _write_events(out / "events" / folder, kind, number, chunk, spoiled if number == 1 else [])
            progress(str(file.relative_to(out)))
        for source, name, lines in (
            ("actions", "actions", [node_json(action) for action in actions_of_day(plan, index)]),
            ("companies", "updates", company_updates_of_day(plan, index)),
            ("users", "updates", user_updates_of_day(plan, index)),
            ("subscriptions", "updates", subscription_updates_of_day(plan, index)),
        ):
            write_lines(source, f"{folder}/{name}.jsonl", lines, extra(source, index))
        _write_features(out, plan, index, counts, extra)

    _write_crm(out, plan.companies, counts, extra)
    return counts


def _write_features(
    out: Path, plan: Plan, index: int, counts: dict[str, int], extra: Callable[[str, int, str], list[bytes]]
) -> None:
    """A day's feature events: JSON lines; on one day CSV besides, and the first day's in a folderless CSV."""
    events = features_of_day(plan, index)
    counts["features"] += len(events)
    folder = out / "features" / f"dt={plan.days[index]}"
    is_csv_day = index == plan.at(DAY_FEATURE_CSV)
    from_console = events if index == 0 else events[: len(events) // 2] if is_csv_day else []
    events = events[len(from_console) :]
    if index == 0:
        path = out / "features" / "console-first-day.csv"
        write_file(path, join_lines(csv_lines(FEATURE_COLUMNS, feature_rows(from_console))))
    rows = feature_rows(from_console) if index else []
    more_rows = extra("features", index, "csv")
    if rows or more_rows:
        header, *lines = csv_lines(FEATURE_COLUMNS, rows)
        write_file(folder / "console.csv", join_lines([header, *mix_lines(lines, more_rows)]))
    more = extra("features", index, "jsonl")
    if events or more:
        lines = [node_json(event) for event in events]
        write_file(folder / "features.jsonl", join_lines(mix_lines(lines, more)))


def _write_crm(
    out: Path,
    companies: Sequence[Company],
    counts: dict[str, int],
    extra: Callable[[str, int, str], list[bytes]],
) -> None:
    first, second = crm_company_rows(companies)
    header, *lines = csv_lines(CRM_COMPANY_HEADER, first)
    rows = mix_lines(lines, extra("crm/companies", -1, "csv"))
    folder = out / "crm" / "companies"
    write_file(folder / "hubspot-companies.csv", b"\xef\xbb\xbf" + join_lines([header, *rows]))  # with a BOM
    write_file(folder / "hubspot-companies-recent.xlsx", xlsx_bytes(CRM_COMPANY_HEADER, second))
    counts["crm/companies"] += len(first) + len(second)

    first, second = crm_contact_rows(companies)
    header, *lines = csv_lines(CRM_CONTACT_NAMES, first)
    rows = mix_lines(lines, extra("crm/contacts", -1, "csv"))
    folder = out / "crm" / "contacts"
    write_file(folder / "contacts-internal-names.csv", join_lines([header, *rows]))
    member = join_lines(csv_lines(CRM_CONTACT_LABELS, second))
    write_file(folder / "hubspot-contacts.zip", zip_bytes([("hubspot-contacts.csv", member)]))
    counts["crm/contacts"] += len(first) + len(second)
