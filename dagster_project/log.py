"""What `warehouse run` tells when nobody watches: one JSON object a line on stderr, for a collector of logs.

Fields: time, level, event, run, then those of the event. Secrets of the environment are replaced. For people there
is summary.py.
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
    from dagster_project.launch import Outcome

_logger = logging.getLogger("warehouse")


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
        if record.name == _logger.name:
            fields |= {"event": record.msg, **getattr(record, "fields", {})}
        else:
            fields |= {"event": "library", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        # Replaced before it is spelled as JSON, where a secret might look different.
        return json.dumps({k: _clean(v) for k, v in fields.items()}, default=str)


def _clean(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value


class JsonLog:
    """The story of one run, line by line."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.run_id = str(uuid.uuid4())
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLine(self.run_id))
        logging.root.handlers = [handler]
        logging.captureWarnings(True)
        _logger.setLevel(logging.INFO)

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        told = 0.0

        def tell(message: str) -> None:
            nonlocal told
            if time.monotonic() - told >= 1:  # a hundred thousand small files are a hundred thousand messages
                told = time.monotonic()
                self._tell("progress", message=message)

        self._tell("run_started")
        yield tell

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
        _logger.warning(event, extra={"fields": fields})

    def error(self, event: str, text: str) -> None:
        _logger.error(event, extra={"fields": {"message": text, "seconds": self._seconds()}})

    def _tell(self, event: str, **fields: Any) -> None:
        _logger.info(event, extra={"fields": fields})

    def _seconds(self) -> float:
        return round(time.monotonic() - self.started, 3)
