"""How a step fails: in words for people, and tried again only where that can help.

A lock or a disk may be free again in a minute. Wrong settings, failed checks and a model that DuckDB refuses
stay what they are until a person changes something.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from dagster_project.log import listening
from dagster_project.readers.places import PlaceError
from dagster_project.settings import SettingsError, load_settings
from dagster_project.warehouse.build import BuildError
from dagster_project.warehouse.database import TRANSIENT, DatabaseError
from dagster_project.warehouse.replay import MissingFiles
from dagster_project.warehouse.retention import RetentionError

from .orphans import hold

_FOR_PEOPLE = (DatabaseError, BuildError, MissingFiles, PlaceError, RetentionError, SettingsError)

# Set on the runs of `warehouse run`.
COMMAND_LINE_TAG = "launched_by"
# Whoever starts a run from the command line says how often its steps are tried again.
RETRIES_TAG = "warehouse/retries"

RETRIES: dg.RetryPolicy = dg.RetryPolicy(
    max_retries=load_settings().retries.limit, delay=load_settings().retries.wait_seconds
)


class _RunLog(logging.Handler):
    """What the warehouse logs while a step goes on, into the run's log. Not the DEBUG ones: they are of a moment."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        super().__init__(logging.INFO)
        self.context = context

    def emit(self, record: logging.LogRecord) -> None:
        self.context.log.log(record.levelno, record.getMessage())


@contextmanager
def explained(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Every error of a step as Dagster's Failure."""
    hold(context.run.run_id)
    try:
        with listening(_RunLog(context)):
            yield
    except dg.Failure:
        raise
    except Exception as error:  # without this, Dagster would try all of them again
        text = str(error) if isinstance(error, _FOR_PEOPLE) else f"{type(error).__name__}: {error}"
        limit = int(context.run.tags.get(RETRIES_TAG, RETRIES.max_retries))
        heals = isinstance(error, (*TRANSIENT, PlaceError)) and context.retry_number < limit
        raise dg.Failure(text, allow_retries=heals) from error
