"""What a run came to, and what the warehouse's state is, as a person sees it on the screen."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from dagster_project.cli import screen
from dagster_project.orchestration.launch import Outcome
from dagster_project.pipeline.nightly import raw_storage
from dagster_project.rendering import answers
from dagster_project.settings import Settings, shipped_root
from dagster_project.warehouse.database import open_published

if TYPE_CHECKING:
    from dagster_project.cli.status import Status

_PROFILES = 20


def show_run(settings: Settings, outcome: Outcome) -> None:
    """The end of a run: what was loaded, what changed, what wants attention, who is who, how to go on."""
    loaded = outcome.loaded
    if any(summary.files for summary in loaded.summaries.values()):
        table = screen.new_table(
            "Loaded",
            "source",
            *(f">{name}" for name in ("files", "records", "loaded", "duplicates", "rejected", "repaired")),
        )
        for source, s in sorted(loaded.summaries.items()):
            table.add_row(
                source,
                *(f"{n:,}" for n in (s.files, s.records, s.loaded, s.duplicates, s.rejected, s.repaired)),
            )
        screen.console.print(table)
    else:
        place = raw_storage(settings).name
        screen.console.print(
            f"Nothing new below {place}: {loaded.known_files} files are loaded already."
            if loaded.known_files
            else f"Nothing to load below {place} yet: put files into its folders events, companies, users and so on."
        )
    changed = sum(table.changed for table in outcome.built.values())
    screen.console.print(
        f"{changed} of {len(outcome.built)} tables changed." if changed else "No table changed."
    )
    _attention(outcome)
    if outcome.pushed is not None:
        from dagster_project.cli import plans  # not needed on most nights

        plans.show_push(outcome.pushed)
    with open_published(settings) as connection:
        screen.print_query(
            connection,
            "Rejected records, all time",
            """
            SELECT source, reason, count(*) AS records, any_value(detail) AS example FROM ops.rejects
            GROUP BY ALL ORDER BY records DESC, source, reason LIMIT 12""",
        )
        screen.print_query(
            connection,
            f"Company profiles (the {_PROFILES} busiest)",
            f"""
            SELECT company_id, company_name, company_domain, calls_7d, calls_30d, errors_4xx + errors_5xx AS errors,
                   users, feature_total_30d AS features, strftime(last_seen_at, '%Y-%m-%d %H:%M') AS last_seen,
                   array_to_string(cohorts, ', ') AS cohorts
            FROM marts.company_profiles ORDER BY calls_30d DESC, company_id LIMIT {_PROFILES}""",
        )
        day = connection.execute("SELECT as_of FROM marts.as_of").fetchall()[0][0]
    screen.console.print(f"Windows end with {day} (GMT). Published: {settings.analytics_file}")
    tool = "make" if (shipped_root() / "Makefile").is_file() else "warehouse"  # make: in a checkout
    screen.console.print(
        'Look at it:  [bold]warehouse status[/]   [bold]warehouse sql "FROM company_profiles"[/]   '
        f"[bold]{tool} portal[/]   [bold]{tool} ui[/]"
    )


def _attention(outcome: Outcome) -> None:
    lines = [
        *(f"left alone, folder or format not known: {path}" for path in outcome.loaded.unknown),
        *outcome.loaded.warnings,
        *(
            f"unreadable, nothing of it is loaded: {line}"
            for summary in outcome.loaded.summaries.values()
            for line in summary.unreadable
        ),
        *(
            f"check {check.model}.{check.name}: {check.failures} rows, such as {check.sample[:160]}"
            for table in outcome.built.values()
            for check in table.checks
            if not check.passed
        ),
    ]
    for line in lines:
        screen.attend(line)


def show_status(status: Status) -> None:
    """What needs a person, most urgent first, with what helps; then the last run, what is published, and its tables."""
    errors = sum(finding.severity == "error" for finding in status.findings)
    warnings = len(status.findings) - errors
    if not status.findings:
        screen.console.print("[green]All is well.[/] Nothing needs a person.")
    else:
        parts = (
            [f"[bold red]{errors} to set right[/]"] * bool(errors),
            [f"[bold yellow]{warnings} to look at[/]"] * bool(warnings),
        )
        screen.console.print(", ".join(itertools.chain(*parts)) + ":")
    for finding in status.findings:
        mark = "[red]\N{BALLOT X}[/]" if finding.severity == "error" else "[yellow]![/]"
        screen.console.print(f"{mark} {screen.safe(finding.what)}", soft_wrap=True)
        for line in finding.where[: screen.SEEN]:
            screen.console.print(f"    {screen.safe(line)}", soft_wrap=True)
        if len(finding.where) > screen.SEEN:
            screen.console.print(
                f"    ... and {len(finding.where) - screen.SEEN:,} more: warehouse status --json"
            )
        if finding.command:
            screen.console.print(
                f"  [green]\N{RIGHTWARDS ARROW}[/] {screen.safe(finding.command)}", soft_wrap=True
            )
    if (run := status.run) is not None:
        at = "".join(
            f", {what} {when:%Y-%m-%d %H:%M}"
            for what, when in (("started", run.started_at), ("ended", run.ended_at))
            if when
        )
        screen.console.print(
            f"Last run: {screen.safe(run.job)}{at} (UTC): {run.status}, run {run.run_id}", soft_wrap=True
        )
    if status.as_of is not None:
        screen.console.print(f"Windows end with {status.as_of} (GMT).")
    for title, rows in (("Loaded files", status.sources), ("Tables", status.tables)):
        if rows:
            batch = [tuple(row.values()) for row in rows]
            screen.print_answer(title, answers.Answer(list(rows[0]), [], iter([batch])))
