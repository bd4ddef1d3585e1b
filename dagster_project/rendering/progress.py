"""How far a piece of work has come, for whoever looks on."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)


class Steps:
    """Work of so many steps. Each is logged at DEBUG with `done` and `total`, of which a terminal draws a bar."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0

    def next(self, name: str) -> None:
        """The next step begins."""
        self.done += 1
        at = {"done": self.done, "total": self.total}
        _log.debug("%s %d/%d %s", self.what, self.done, self.total, name, extra=at)
