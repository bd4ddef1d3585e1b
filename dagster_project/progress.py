"""What a run says of itself while it goes on, and what it hands to whoever started it in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# The command line listens here; runs that the daemon starts have no listener and write to their log only.
listener: Callable[[str], None] | None = None
# Results of the steps of the run that is going on in this process, by step.
results: dict[str, Any] = {}


def tell(message: str) -> None:
    if listener is not None:
        listener(message)
