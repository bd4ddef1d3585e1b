"""How much a test that tries at random tries: little in `make test`, much in `make soak`.

Such a test is marked `@pytest.mark.soak` and asks `budget` for its counts. `make soak` takes some two hours on two cores;
`WAREHOUSE_SOAK=10 make soak` tries ten times as much.
"""

from __future__ import annotations

import os

_TIMES = int(os.environ.get("WAREHOUSE_SOAK") or 0)
LONG = _TIMES > 0


def budget(few: int, many: int) -> int:
    """How many tries. few: what `make test` does, in a second or ten. many: what `make soak` does, in minutes."""
    return many * _TIMES if LONG else few
