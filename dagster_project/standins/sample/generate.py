"""One call that makes a set, with stories or in bulk."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from .bulk import Shape, generate_bulk
from .companies import BULK_EVENTS, NAMED, SOURCES, Progress, make_companies, make_days, make_plan
from .stories import generate_stories


def is_bulk(days: int, events_per_day: int, clean: bool) -> bool:
    """Whether a set of this size is written from templates, without stories."""
    return clean and days * events_per_day > BULK_EVENTS


def generate(
    out: Path,
    *,
    days: int,
    companies: int,
    events_per_day: int,
    seed: int,
    end: date,
    clean: bool,
    rows_per_file: int,
    bulk: bool = False,
    shape: Shape | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Writes the files below `out` and returns the number of records per source, as the warehouse counts.

    shape: of the events of a bulk set; the default is one token a company, and small events.

    A folder that has raw files already is left alone (FileExistsError): a second set beside a first one
    would be neither.
    """
    bulk = bulk or is_bulk(days, events_per_day, clean)
    for name, value, least in (
        ("days", days, 1),
        ("companies", companies, 1 if bulk else len(NAMED)),
        ("events per day", events_per_day, 1),
        ("rows per file", rows_per_file, 1),
    ):
        if value < least:
            raise ValueError(f"{name}: {value} is too few, {least} is the least")
    if companies > 200_000:
        raise ValueError(f"companies: {companies} is too many, 200000 is the most")
    for source in SOURCES:
        if any((out / source).glob("*")):
            raise FileExistsError(f"{out / source} is not empty; choose another folder, or remove it first")
    tell = progress or (lambda _: None)
    if bulk:
        everyone = make_companies(companies, seed)
        period = make_days(days, end)
        return generate_bulk(
            out, period, everyone, events_per_day, seed, rows_per_file, tell, shape or Shape()
        )
    plan = make_plan(days, companies, events_per_day, seed, end)
    return generate_stories(out, plan, clean, rows_per_file, tell)
