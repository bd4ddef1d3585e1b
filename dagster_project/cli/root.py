"""What every command shares: the group they hang on, and errors told so that a person can go on from them."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, NoReturn, TypeVar

import click

from dagster_project.orchestration import log
from dagster_project.settings import Settings, SettingsError, load_settings

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger(__name__)
_json_log: log.JsonLog | None = None  # where it is for machines what is told


class Failed(Exception):
    """The command could not do its work. The text is for people."""


class RunFailed(Failed):
    """The job failed, and whoever launched it has posted the alert."""


def explained(command: F) -> F:
    """Errors for people: what is wrong, where, and what to do; no traceback."""
    sleeps = command.__name__ == "run"  # whom its errors concern may be asleep

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from dagster_project.readers.raw_storage import RawStorageError
        from dagster_project.sources import require_known_retention
        from dagster_project.warehouse.database import DatabaseError
        from dagster_project.warehouse.models import ModelError

        settings = None
        log_as(kwargs.get("log_format"))
        try:
            settings = load_settings()
            require_known_retention(settings)
            with _stoppable(command.__name__):
                command(settings, *args, **kwargs)
        except RunFailed as error:
            _fail(f"Error: {error}", 1)
        except (SettingsError, Failed, DatabaseError, ModelError, RawStorageError) as error:
            wrong_settings = isinstance(error, SettingsError)
            if sleeps:
                _alert(settings, str(error))
            _fail(f"Wrong settings.\n{error}" if wrong_settings else f"Error: {error}", 1 + wrong_settings)
        except BrokenPipeError:
            # Whoever reads has seen enough (`| head`): no error, and nothing more to say at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            _fail("Stopped. Nothing is lost: run the same command again.", 1)
        except Exception as error:  # a bug, or a machine that fails: told of, and then shown in full
            if sleeps:
                _alert(settings, f"{type(error).__name__}: {error}")
            raise

    return run  # type: ignore[return-value]


_STAND = ("ui", "serve", "portal")  # they end in an order of their own


@contextmanager
def _stoppable(command: str) -> Iterator[None]:
    if command in _STAND:
        yield
        return
    from .stopping import stopped_at_once

    # Ctrl-C in a run would be taken for a step's failure, too; elsewhere it interrupts as usual.
    also = (signal.SIGINT,) if command == "run" else ()
    with stopped_at_once(command.replace("_", "-"), _say_stopped, signal.SIGTERM, *also):
        yield


def _say_stopped(text: str) -> None:
    if _json_log is not None:
        _json_log.error("run_failed", text)
    else:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def log_as(wanted: str | None) -> log.JsonLog | None:
    """Begin the log for machines where it is wanted; before the settings are read, where an option says so."""
    global _json_log
    if _json_log is None and wanted == "json":
        _json_log = log.JsonLog()
    elif _json_log is None:
        log.for_people()
    return _json_log


def _fail(text: str, status: int) -> NoReturn:
    if _json_log is not None:
        _json_log.error("run_failed", text)
    else:
        click.echo(text, err=True)
    sys.exit(status)


def _alert(settings: Settings | None, wrong: str) -> None:
    from dagster_project.pipeline import alerts

    with suppress(SettingsError):  # it may be the webhook that is wrong
        to_do = "set right what is named above, then run `warehouse run`; nothing is lost"
        if problem := alerts.send(settings, "The warehouse did not run", [wrong], to_do):
            _log.error(problem, extra={"event": "alert_not_posted"})


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="usage-warehouse")
def main() -> None:
    """Product usage from raw files to profiles in DuckDB and HubSpot.

    Folders: WAREHOUSE_DATA (default data/), WAREHOUSE_RAW (default <data>/raw). Settings: warehouse.toml.
    """
