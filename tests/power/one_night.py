"""A night as it is, in a process of its own: 0 where it ended well, 1 where it says why not."""

from __future__ import annotations

import sys
from datetime import date, datetime
from pathlib import Path

from dagster_project.pipeline import nightly
from dagster_project.settings import Settings
from dagster_project.warehouse.database import DatabaseError, open_warehouse
from dagster_project.warehouse.publish import is_published, publish


def main() -> int:
    data, as_of, now, run_id, full = sys.argv[1:]
    settings = Settings(data=Path(data), raw=Path(data) / "raw")
    clock = datetime.fromisoformat(now)
    try:
        with open_warehouse(settings) as connection:
            nightly.load_new_files(connection, settings, now=clock, full=bool(full))
            nightly.build_tables(
                connection, settings, as_of=date.fromisoformat(as_of), now=clock, run_id=run_id
            )
            if not is_published(connection, settings):
                publish(connection, settings)
    except (DatabaseError, OSError) as error:
        print(f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
