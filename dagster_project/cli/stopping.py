"""A command that is told to stop (SIGTERM, by systemd, say) says what it was at, and stops at once.

Not by an exception: Dagster puts handlers of its own in the place of whatever is there, and takes the exception for a
step's, to be tried again. The signal's number is written to a socket whoever handles it, and a thread waits there. To
stop at any moment is what everything here is made for: what was not committed is done again by the same command.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dagster_project.orchestration.log import listening


class _Latest(logging.Handler):
    """What was said last of what goes on."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = record.getMessage()


@contextmanager
def stopped_at_once(command: str, tell: Callable[[str], None], *signals: signal.Signals) -> Iterator[None]:
    """Meanwhile, end the process with 1 at one of these signals, and tell what was stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    latest = _Latest(logging.DEBUG)
    number = os.getpid()

    def watch() -> None:
        while byte := ours.recv(1):
            if byte[0] in signals and os.getpid() == number:
                at = f" while {latest.said}" if latest.said else ""
                with suppress(Exception):  # nobody may be there to hear it; it ends all the same
                    tell(
                        f"`warehouse {command}` was stopped by {signal.Signals(byte[0]).name}{at}. Nothing is lost: "
                        "the same command goes on from there"
                    )
                _end_children()
                os._exit(1)

    before = {one: signal.getsignal(one) for one in signals}
    for one in signals:
        signal.signal(one, lambda *_: None)
    old = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    try:
        with listening(latest):
            yield
    finally:
        signal.set_wakeup_fd(old)
        for one, handler in before.items():
            signal.signal(one, handler)
        theirs.close()  # the thread ends


def _end_children() -> None:
    """What this process started does not outlive it."""
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError, ValueError):
            for child in task.read_text().split():
                os.kill(int(child), signal.SIGTERM)
