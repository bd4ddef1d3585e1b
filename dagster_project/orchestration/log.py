"""Who hears what the warehouse logs: people, as text on stderr, or a collector of logs, as one JSON object a line.

Modules log by `logging`, below the name of the package: at DEBUG what is of a moment (which file, which table; with
`done` and `total` where a bar can be drawn, see progress.Steps), at INFO what is worth keeping, from WARNING on what
somebody should read. Fields of a JSON line: time, level, event, run, then those of the event. Secrets of the
environment are replaced. What a run came to is told by JsonLog here, or for people by summary.py.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagster_project.settings import Settings, without_secrets

if TYPE_CHECKING:
    from dagster_project.orchestration.launch import Outcome

_package = logging.getLogger("dagster_project")
_story = logging.getLogger("warehouse")  # the events of a run, each with its fields
_PAUSE_SECONDS = 1.0


@contextmanager
def listening(handler: logging.Handler) -> Iterator[None]:
    """Hand a handler what the warehouse logs meanwhile, from the handler's level on."""
    before = _package.level
    _package.addHandler(handler)
    # (A level of 0 would mean the root logger's, which is higher.)
    _package.setLevel(min(handler.level or logging.DEBUG, _package.getEffectiveLevel()))
    try:
        yield
    finally:
        _package.setLevel(before)
        _package.removeHandler(handler)


def for_people() -> None:
    """From now on, what somebody should read comes as text on stderr; until a JsonLog begins."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    _package.handlers = [handler]


class _JsonLine(logging.Formatter):
    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        time_of = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, Any] = {
            "time": time_of.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "run": self.run_id,
        }
        if record.name == _story.name:
            fields |= {"event": record.msg, **getattr(record, "fields", {})}
        elif record.name.startswith(_package.name):
            event = "progress" if record.levelno < logging.WARNING else "warning"
            fields |= {"event": getattr(record, "event", event), "message": record.getMessage()}
        else:
            fields |= {"event": "library", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        # Replaced before it is spelled as JSON, where a secret might look different.
        return json.dumps({k: _clean(v) for k, v in fields.items()}, default=str)


def _clean(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value


def _now_and_then() -> Callable[[logging.LogRecord], bool]:
    """A filter: a hundred thousand small files are a hundred thousand messages of a moment."""
    last = 0.0

    def wanted(record: logging.LogRecord) -> bool:
        nonlocal last
        if record.levelno > logging.DEBUG:
            return True
        if (now := time.monotonic()) - last < _PAUSE_SECONDS:
            return False
        last = now
        return True

    return wanted


class JsonLog:
    """The story of one run, line by line."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.run_id = str(uuid.uuid4())
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLine(self.run_id))
        handler.addFilter(_now_and_then())
        logging.root.handlers, _package.handlers = [handler], []
        logging.captureWarnings(True)
        _story.setLevel(logging.INFO)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """The log of what goes on meanwhile; of what is of a moment, a line a second."""
        self._tell("run_started")
        with listening(logging.NullHandler()):  # the handler of the root does it
            yield

    def show_run(self, _: Settings, outcome: Outcome) -> None:
        """The end of a run that went well."""
        for source, s in sorted(outcome.loaded.summaries.items()):
            counts = ("files", "bytes", "records", "loaded", "duplicates", "rejected", "repaired")
            self._tell("loaded", source=source, **{name: getattr(s, name) for name in counts})
            for line in s.unreadable:
                self.warn("unreadable", file=line)
        for path in outcome.loaded.unknown:
            self.warn("left_alone", file=path)
        for warning in outcome.loaded.warnings:
            self.warn("warning", message=warning)
        for table in outcome.built.values():
            for check in table.checks:
                if not check.passed:
                    self.warn("check_failed", table=check.model, check=check.name, rows=check.failures)
        if (pushed := outcome.pushed) is not None:
            objects = {name: vars(tally) for name, tally in pushed.objects.items()}
            self._tell("pushed", live=pushed.live, calls=pushed.calls, digest=pushed.digest, objects=objects)
            for column in pushed.left_out:
                self.warn("left_out", column=f"{column.object}.{column.column}", reason=column.reason)
            if pushed.stopped:
                self.warn("push_stopped", message=pushed.stopped)
        changed = sorted(name for name, table in outcome.built.items() if table.changed)
        self._tell(
            "run_ended",
            seconds=self._seconds(),
            new_files=outcome.loaded.new_files,
            known_files=outcome.loaded.known_files,
            tables_changed=changed,
        )

    def warn(self, event: str, **fields: Any) -> None:
        _story.warning(event, extra={"fields": fields})

    def error(self, event: str, text: str) -> None:
        _story.error(event, extra={"fields": {"message": text, "seconds": self._seconds()}})

    def _tell(self, event: str, **fields: Any) -> None:
        _story.info(event, extra={"fields": fields})

    def _seconds(self) -> float:
        return round(time.monotonic() - self.started, 3)
