"""Launches the nightly job from the command line, so that it is recorded like any other run."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dagster_project.orchestration import dagster_home
from dagster_project.pipeline.nightly import LoadResult
from dagster_project.settings import Settings, project_folder, project_root
from dagster_project.warehouse.build import Built
from dagster_project.warehouse.database import DatabaseError

if TYPE_CHECKING:  # not needed on most nights
    from dagster import DagsterInstance

    from dagster_project.destinations.hubspot import PushResult

_log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What a run came to. failure: why it failed, for people; None: it went well. pushed: None where it does not push."""

    run_id: str
    failure: str | None = None
    loaded: LoadResult = field(default_factory=LoadResult)
    built: dict[str, Built] = field(default_factory=dict)
    pushed: PushResult | None = None


def prepare_dagster_home(settings: Settings) -> None:
    """Dagster's storage lies in <data>/dagster unless DAGSTER_HOME says otherwise."""
    dagster_home.make_ready(settings.dagster_home)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)


def _alert(instance: DagsterInstance, run_id: str, settings: Settings) -> None:
    from dagster_project.orchestration.alerts import tell_of_run

    if problem := tell_of_run(instance, run_id, settings):
        _log.error(problem, extra={"event": "alert_not_posted"})


@contextmanager
def _storage(settings: Settings) -> Iterator[None]:
    """Dagster's storage, ready. Raises DatabaseError where it cannot be read or written, also later on."""
    try:
        prepare_dagster_home(settings)
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, sqlite3.Error | OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        damaged = "not a database" in str(cause) or "malformed" in str(cause)
        raise DatabaseError(
            f"Dagster's storage in {settings.dagster_home} failed: {cause}. What to do: "
            + (
                "it is damaged; move the folder away, a new one is made. With it goes the record of earlier runs, no data"
                if damaged
                else "see that the folder can be written and the disk is not full, then run the same again: nothing is lost"
            )
        ) from error


@contextmanager
def _databases_kept_open(home: Path) -> Iterator[None]:
    """Have Dagster's SQLite databases open as long as a run writes to them.

    Dagster opens one anew for each event, and whoever is the last to close it moves its write-ahead log over: some 600
    times a night. With one more connection that is done once.
    """
    with ExitStack() as kept:
        for file in filter(Path.is_file, home.rglob("*.db")):
            with suppress(sqlite3.Error):  # Dagster meets the same, and says so
                connection = kept.enter_context(closing(sqlite3.connect(file)))
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        yield


def nightly(
    settings: Settings,
    *,
    run_id: str | None,
    as_of: date | None,
    full: bool,
    apply_settings: bool = False,
    retries: int,
) -> Outcome:
    """Run the nightly job in this process and wait for it, and post the alert if there is need for one.

    retries: of steps that failed for a lock or a disk.
    """
    _log.debug("starting Dagster")
    with _storage(settings):
        return _nightly(
            settings,
            run_id or str(uuid.uuid4()),
            as_of,
            {"full": full, "apply_settings": apply_settings},
            retries,
        )


def _nightly(
    settings: Settings, run_id: str, as_of: date | None, load: dict[str, bool], retries: int
) -> Outcome:
    import dagster as dg

    from dagster_project.definitions import defs
    from dagster_project.orchestration.alerts import failure_of
    from dagster_project.orchestration.old_runs import forget_old_runs
    from dagster_project.orchestration.orphans import abandoned, give_up, hold, release
    from dagster_project.orchestration.results import RESULTS, Results
    from dagster_project.orchestration.steps import COMMAND_LINE_TAG, RETRIES_TAG

    config: dict[str, Any] = {
        "ops": {
            "load_raw_files": {"config": load},
            "build_tables": {"config": {"as_of": as_of.isoformat() if as_of else None}},
        },
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    job, results = defs.resolve_job_def("nightly"), Results()
    try:
        with dagster_home.alone(settings.dagster_home):
            opened = dg.DagsterInstance.get()
        with opened as instance, _databases_kept_open(settings.dagster_home):
            hold(run_id)
            for run in abandoned(instance):
                if COMMAND_LINE_TAG in run.tags:  # others are the daemon's to look after
                    give_up(instance, run)
                    _alert(instance, run.run_id, settings)
            result = job.execute_in_process(
                run_config=config,
                run_id=run_id,
                instance=instance,
                raise_on_error=False,
                resources={RESULTS: results},
                tags={COMMAND_LINE_TAG: "warehouse run", RETRIES_TAG: str(retries)},
            )
            _alert(instance, run_id, settings)
            forget_old_runs(instance)
    finally:
        release(run_id)
    outcome = Outcome(
        run_id,
        loaded=results.loaded,
        built=results.built,
        pushed=results.pushed,
    )
    if not result.success:
        outcome.failure = (
            results.failure or failure_of(result.all_events)
        ) + f"\nRun {run_id} in Dagster's UI (`warehouse ui`) has the whole log."
    return outcome


@dataclass(frozen=True)
class LastRun:
    """What became of the last run, whoever started it. Times are UTC.

    status: Dagster's word for it, in small letters. failure: why it failed. failed_checks: each with what it found.
    last_good_at: when a run that loads and publishes everything last ended well; None: none is on record.
    """

    job: str
    run_id: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None
    failure: str | None
    failed_checks: tuple[str, ...]
    last_good_at: datetime | None


def last_run(settings: Settings) -> LastRun | None:
    """The last run on record; None: no run yet. Raises DatabaseError where the record cannot be read."""
    if not (settings.dagster_home / "dagster.yaml").exists():
        return None
    with _storage(settings):
        return _last_run(settings)


def _last_run(settings: Settings) -> LastRun | None:
    import dagster as dg

    from dagster_project.orchestration.alerts import failed_checks, failure_of, run_events
    from dagster_project.orchestration.jobs import NIGHTLY, SYNC

    def utc(seconds: float | None) -> datetime | None:
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) if seconds else None

    with dg.DagsterInstance.get() as instance:
        records = instance.get_run_records(limit=1)
        if not records:
            return None
        run = records[0].dagster_run
        failed = run.status == dg.DagsterRunStatus.FAILURE
        good = [
            utc(record.end_time)
            for job in (NIGHTLY, SYNC)
            for record in instance.get_run_records(
                dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1
            )
        ]
        return LastRun(
            run.job_name,
            run.run_id,
            run.status.value.lower(),
            utc(records[0].start_time),
            utc(records[0].end_time),
            failure_of(run_events(instance, run.run_id, "STEP_FAILURE", "PIPELINE_FAILURE"))
            if failed
            else None,
            () if failed else tuple(failed_checks(instance, run.run_id, settings)),
            max((at for at in good if at), default=None),
        )


def user_interface(settings: Settings, options: Sequence[str]) -> list[str]:
    """The command that is Dagster's UI and daemon; it is also told an address, by --host and --port."""
    prepare_dagster_home(settings)
    os.environ["WAREHOUSE_PROJECT"] = str(project_folder())  # before it is somewhere else
    # Not in the checkout, whose dagster.yaml is for those who run `dagster dev` without this command.
    os.chdir(settings.dagster_home)
    return [_tool("dagster"), "dev", "-w", _workspace(), *options]


_PARTS = {
    "webserver": ("dagster-webserver", "-w", "workspace.yaml"),
    "daemon": ("dagster-daemon", "run", "-w", "workspace.yaml"),
    "code": (
        *("dagster", "code-server", "start", "-m", "dagster_project.definitions"),
        *("--location-name", "usage_warehouse"),
    ),
}


def serve(settings: Settings, part: str, options: Sequence[str]) -> NoReturn:
    """Become one part of a standing Dagster, with the storage that `warehouse run` uses."""
    command = part_command(settings, part, options)
    os.execv(command[0], [Path(command[0]).name, *command[1:]])


def part_command(settings: Settings, part: str, options: Sequence[str]) -> list[str]:
    """The command that is one part of a standing Dagster."""
    prepare_dagster_home(settings)
    tool, *given = _PARTS[part]
    if {"-w", "--workspace"} & set(options) and "-w" in given:
        given = given[: given.index("-w")]
    # Dagster's other formats are coloured, also where nobody sees colours.
    if settings.logging.format == "json" or not sys.stderr.isatty():
        given += ["--log-format", "json"]
    os.environ["WAREHOUSE_PROJECT"] = str(project_folder())
    os.chdir(project_folder())
    return [_tool(tool), *(_workspace() if word == "workspace.yaml" else word for word in given), *options]


def _workspace() -> str:
    own = project_folder() / "workspace.yaml"
    return str(own if own.is_file() else project_root() / "workspace.yaml")


def _tool(name: str) -> str:
    """A command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))
