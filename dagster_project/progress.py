"""How far a piece of work has come, for whoever looks on; and, for now, what a run hands to who started it."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger(__name__)

# Results of the steps of the run that is going on in this process, by step.
results: dict[str, Any] = {}


class Steps:
    """Work of so many steps. Each is logged at DEBUG with `done` and `total`, of which a terminal draws a bar."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0

    def next(self, name: str) -> None:
        """The next step begins."""
        self.done += 1
        at = {"done": self.done, "total": self.total}
        _log.debug("%s %d/%d %s", self.what, self.done, self.total, name, extra=at)
