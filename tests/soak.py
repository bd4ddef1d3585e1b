"""How much a test that tries at random tries: little in `make test`, much in `make soak`.

Such a test is marked `@pytest.mark.soak` and asks `budget` for its counts.
"""

from __future__ import annotations

import os

LONG = bool(os.environ.get("WAREHOUSE_SOAK"))


def budget(few: int, many: int) -> int:
    """few: what `make test` does, in a second or ten. many: what `make soak` does, in minutes."""
    return many if LONG else few
