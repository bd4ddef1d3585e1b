"""How a step fails: in words for people, and tried again only where that can help.

A lock or a disk may be free again in a minute. Wrong settings, failed checks and a model that DuckDB refuses
stay what they are until a person changes something.

Dagster keeps what it is told, and an erase does not look there. So nothing of a record goes into a run's log: messages
are stored without the values in them, names of raw files are counted. In full they go to `Results`, for the command line,
or to the log of the process.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dagster as dg

from dagster_project.orchestration.log import listening
from dagster_project.pipeline.nightly import utc_now
from dagster_project.readers.raw_storage import RawStorageError
from dagster_project.settings import Settings, SettingsError, load_settings
from dagster_project.warehouse.build import BuildError
from dagster_project.warehouse.database import TRANSIENT, DatabaseError
from dagster_project.warehouse.publish import note_outcome
from dagster_project.warehouse.replay import MissingFiles
from dagster_project.warehouse.retention import RetentionError

from .orphans import hold
from .results import Results

_log = logging.getLogger(__name__)
_FOR_PEOPLE = (DatabaseError, BuildError, MissingFiles, RawStorageError, RetentionError, SettingsError)
_OF_THE_MACHINE = (DatabaseError, RawStorageError, RetentionError, SettingsError)  # no record speaks in them
# What DuckDB and others quote, and addresses.
_VALUES = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|[^\s'\"]+@[^\s'\"]+")

# Set on the runs of `warehouse run`.
COMMAND_LINE_TAG = "launched_by"
# Whoever starts a run from the command line says how often its steps are tried again.
RETRIES_TAG = "warehouse/retries"

RETRIES: dg.RetryPolicy = dg.RetryPolicy(
    max_retries=load_settings().retries.limit, delay=load_settings().retries.wait_seconds
)


class _RunLog(logging.Handler):
    """What is worth keeping of what the warehouse logs while a step goes on, into the run's log."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        super().__init__(logging.INFO)
        self.context = context

    def emit(self, record: logging.LogRecord) -> None:
        if (
            record.levelno == logging.INFO
        ):  # what is above it is for whoever reads this process's log, see `told`
            self.context.log.info(without_values(record.getMessage()))


def without_values(text: str) -> str:
    """A message without what it quotes: that may be of a record."""
    return _VALUES.sub("…", text)


def kinds_of(is_large: bool) -> set[str]:
    """What Dagster shows of an asset besides: who does the heavy half of large ones."""
    return {"spark"} if is_large and load_settings().engine.kind == "spark" else set()


def cluster_metadata(settings: Settings) -> dict[str, dg.MetadataValue]:
    """The cluster that a step asked, and what for: the names that the cluster's own pages have for its jobs."""
    if settings.engine.kind == "local":
        return {}
    from dagster_project.spark.session import operations, shown

    return {
        "cluster": dg.MetadataValue.text(shown(settings)),
        "spark_operations": dg.MetadataValue.json(operations()),
    }


def told(context: dg.AssetExecutionContext, text: str) -> None:
    """Something that a person should read, in full, and not in Dagster's storage. The command line shows it itself."""
    if COMMAND_LINE_TAG not in context.run.tags:
        _log.warning("%s", text)


def quiet_about_checks(context: dg.AssetExecutionContext) -> None:
    """Checks that need not be run again are not told of. Dagster would list them by name, in every run, as if they had been
    forgotten.
    """
    context.log.addFilter(
        lambda record: "did not yield or return expected outputs" not in record.getMessage()
    )


@contextmanager
def explained(context: dg.AssetExecutionContext, results: Results) -> Iterator[None]:
    """Every error of a step as Dagster's Failure."""
    hold(context.run.run_id)
    try:
        with listening(_RunLog(context)):
            yield
    except dg.Failure:
        note_outcome(load_settings(), utc_now(), context.op_execution_context.op_def.name)
        raise
    except Exception as error:  # without this, Dagster would try all of them again
        text = str(error) if isinstance(error, _FOR_PEOPLE) else f"{type(error).__name__}: {error}"
        limit = int(context.run.tags.get(RETRIES_TAG, RETRIES.max_retries))
        heals = isinstance(error, (*TRANSIENT, RawStorageError)) and context.retry_number < limit
        stored = text if isinstance(error, _OF_THE_MACHINE) else without_values(text)
        if isinstance(error, MissingFiles):
            stored = "files that were loaded are gone from raw/; `warehouse run --full` names each"
        with suppress(SettingsError):
            note_outcome(load_settings(), utc_now(), context.op_execution_context.op_def.name)
        # Not from the error: Dagster would keep its text, too.
        raise failed(context, results, text, stored, heals=heals) from None


def failed(
    context: dg.AssetExecutionContext, results: Results, text: str, stored: str, *, heals: bool = False
) -> dg.Failure:
    """The Failure of a step. text: why, in full; stored: what Dagster keeps of it."""
    results.failure = text
    if stored != text:
        told(context, text)
    return dg.Failure(stored, allow_retries=heals)
