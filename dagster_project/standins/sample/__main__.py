"""The command line: what is made, and where."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from .bulk import TOKENS, Shape
from .companies import BULK_EVENTS
from .generate import generate


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as YYYY-MM-DD") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.standins.sample",
        description="Write invented raw files for the warehouse: API calls, actions, updates, feature usage "
        "and CRM exports. The same arguments give the same bytes.",
        epilog=f"A --clean set of more than {BULK_EVENTS} API calls is written fast, as plain JSON lines, "
        "for measuring; all others have companies with stories and every file format.",
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT_DIR", help="where to write; must have no raw files yet"
    )
    parser.add_argument("--days", type=int, default=14, help="length of the period (default: %(default)s)")
    parser.add_argument("--companies", type=int, default=16, help="at least 16 (default: %(default)s)")
    parser.add_argument("--events-per-day", type=int, default=400, help="on average (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=7, help="another seed, another set (default: %(default)s)"
    )
    parser.add_argument(
        "--end",
        type=_day,
        default=date(2026, 11, 21),
        metavar="YYYY-MM-DD",
        help="last day of the period (default: %(default)s)",
    )
    parser.add_argument("--clean", action="store_true", help="no bad records, no duplicates")
    parser.add_argument(
        "--bulk", action="store_true", help="clean, and written fast and without stories at any size"
    )
    parser.add_argument(
        "--tokens",
        choices=TOKENS,
        default=TOKENS[0],
        help="bulk: whose session tokens API calls carry (default: %(default)s)",
    )
    parser.add_argument(
        "--wide", action="store_true", help="bulk: events of 2 to 20 KB, with 100 keys of metadata"
    )
    parser.add_argument(
        "--rows-per-file",
        type=int,
        default=500_000,
        metavar="N",
        help="API calls per file (default: %(default)s)",
    )
    parser.add_argument("--progress", action="store_true", help="name each file on standard error")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        counts = generate(
            given.out,
            days=given.days,
            companies=given.companies,
            events_per_day=given.events_per_day,
            seed=given.seed,
            end=given.end,
            clean=given.clean,
            rows_per_file=given.rows_per_file,
            bulk=given.bulk,
            shape=Shape(given.tokens, given.wide),
            progress=(lambda text: print(text, file=sys.stderr)) if given.progress else None,
        )
    except ValueError as problem:
        parser.error(str(problem))
    except OSError as problem:
        print(f"could not write: {problem}", file=sys.stderr)
        return 1
    print(f"{'source':<14}{'records':>12}{'files':>8}{'bytes':>16}")
    for source, records in counts.items():
        files = [path for path in (given.out / source).rglob("*") if path.is_file()]
        print(f"{source:<14}{records:>12,}{len(files):>8}{sum(p.stat().st_size for p in files):>16,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
