"""What a person sees on the screen: progress, what a run came to, what is published.

Long, since every command's tables are drawn here, by the same few functions: so they look alike at every width.
"""

from __future__ import annotations

import csv
import itertools
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.status import Status as Spinner
from rich.table import Table

from dagster_project.orchestration.launch import Outcome
from dagster_project.orchestration.log import listening
from dagster_project.pipeline.nightly import raw_storage
from dagster_project.rendering import answers, csv_text
from dagster_project.settings import Settings, shipped_root
from dagster_project.warehouse.database import Connection, open_published


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # whoever reads has seen enough (`| head`): see cli/root.py


# Where nobody told how wide the screen is (a log, a pipe), tables get the room they need.
_console = _Screen(highlight=False, width=None if sys.stdout.isatty() else 160)
_PROFILES = 20
_NARROW = 120  # characters of a screen
_SEEN, _PIPED, _LONGEST = 60, 5_000, 200  # rows on a terminal, rows in a file, characters of a cell

if TYPE_CHECKING:
    from dagster_project.cli.status import Status
    from dagster_project.destinations import customersuccessbox, hubspot
    from dagster_project.pipeline.erase import Erasure
    from dagster_project.sources.withdrawal import Withdrawal


@contextmanager
def progress() -> Iterator[None]:
    """A line that tells what is going on; on a terminal it is overwritten, in a log it is left out."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status("starting") as status, listening(_StatusLine(status)):
        yield


class _StatusLine(logging.Handler):
    """What is logged last, and a bar where it says how much of it is done."""

    def __init__(self, status: Spinner) -> None:
        super().__init__()
        self.status = status

    def emit(self, record: logging.LogRecord) -> None:
        shown: RenderableType = _safe(record.getMessage())
        if (total := getattr(record, "total", 0)) > 1:
            line = Table.grid(padding=(0, 1))
            line.add_row(ProgressBar(total=total, completed=getattr(record, "done", 0), width=24), shown)
            shown = line
        self.status.update(shown)


def show_run(settings: Settings, outcome: Outcome) -> None:
    """The end of a run: what was loaded, what changed, what wants attention, who is who, how to go on."""
    loaded = outcome.loaded
    if any(summary.files for summary in loaded.summaries.values()):
        table = _table(
            "Loaded",
            "source",
            *(f">{name}" for name in ("files", "records", "loaded", "duplicates", "rejected", "repaired")),
        )
        for source, s in sorted(loaded.summaries.items()):
            table.add_row(
                source,
                *(f"{n:,}" for n in (s.files, s.records, s.loaded, s.duplicates, s.rejected, s.repaired)),
            )
        _console.print(table)
    else:
        place = raw_storage(settings).name
        _console.print(
            f"Nothing new below {place}: {loaded.known_files} files are loaded already."
            if loaded.known_files
            else f"Nothing to load below {place} yet: put files into its folders events, companies, users and so on."
        )
    changed = sum(table.changed for table in outcome.built.values())
    _console.print(f"{changed} of {len(outcome.built)} tables changed." if changed else "No table changed.")
    _attention(outcome)
    if outcome.pushed is not None:
        show_push(outcome.pushed)
    with open_published(settings) as connection:
        _print(
            connection,
            "Rejected records, all time",
            """
            SELECT source, reason, count(*) AS records, any_value(detail) AS example FROM ops.rejects
            GROUP BY ALL ORDER BY records DESC, source, reason LIMIT 12""",
        )
        _print(
            connection,
            f"Company profiles (the {_PROFILES} busiest)",
            f"""
            SELECT company_id, company_name, company_domain, calls_7d, calls_30d, errors_4xx + errors_5xx AS errors,
                   users, feature_total_30d AS features, strftime(last_seen_at, '%Y-%m-%d %H:%M') AS last_seen,
                   array_to_string(cohorts, ', ') AS cohorts
            FROM marts.company_profiles ORDER BY calls_30d DESC, company_id LIMIT {_PROFILES}""",
        )
        day = connection.execute("SELECT as_of FROM marts.as_of").fetchall()[0][0]
    _console.print(f"Windows end with {day} (GMT). Published: {settings.analytics_file}")
    tool = "make" if (shipped_root() / "Makefile").is_file() else "warehouse"  # make: in a checkout
    _console.print(
        'Look at it:  [bold]warehouse status[/]   [bold]warehouse sql "FROM company_profiles"[/]   '
        f"[bold]{tool} portal[/]   [bold]{tool} ui[/]"
    )


def show_status(status: Status) -> None:
    """What needs a person, most urgent first, with what helps; then the last run, what is published, and its tables."""
    errors = sum(finding.severity == "error" for finding in status.findings)
    warnings = len(status.findings) - errors
    if not status.findings:
        _console.print("[green]All is well.[/] Nothing needs a person.")
    else:
        parts = (
            [f"[bold red]{errors} to set right[/]"] * bool(errors),
            [f"[bold yellow]{warnings} to look at[/]"] * bool(warnings),
        )
        _console.print(", ".join(itertools.chain(*parts)) + ":")
    for finding in status.findings:
        mark = "[red]\N{BALLOT X}[/]" if finding.severity == "error" else "[yellow]![/]"
        _console.print(f"{mark} {_safe(finding.what)}", soft_wrap=True)
        for line in finding.where[:_SEEN]:
            _console.print(f"    {_safe(line)}", soft_wrap=True)
        if len(finding.where) > _SEEN:
            _console.print(f"    ... and {len(finding.where) - _SEEN:,} more: warehouse status --json")
        if finding.command:
            _console.print(f"  [green]\N{RIGHTWARDS ARROW}[/] {_safe(finding.command)}", soft_wrap=True)
    if (run := status.run) is not None:
        at = "".join(
            f", {what} {when:%Y-%m-%d %H:%M}"
            for what, when in (("started", run.started_at), ("ended", run.ended_at))
            if when
        )
        _console.print(
            f"Last run: {_safe(run.job)}{at} (UTC): {run.status}, run {run.run_id}", soft_wrap=True
        )
    if status.as_of is not None:
        _console.print(f"Windows end with {status.as_of} (GMT).")
    for title, rows in (("Loaded files", status.sources), ("Tables", status.tables)):
        if rows:
            batch = [tuple(row.values()) for row in rows]
            _show(title, answers.Answer(list(rows[0]), [], iter([batch])))


_PLANNED = ("creates", "updates", "unchanged", "held_back", "skipped", "rejected", "calls")


def _held_back(reasons: Sequence[hubspot.HeldBack]) -> None:
    """Why records wait: what HubSpot said the last time."""
    rows = (
        (r.object, r.property or "the whole record", f"{r.records:,}", r.code, r.message) for r in reasons
    )
    _print_some(
        "Held back: HubSpot refused the same before",
        ("object", "property", "records", "code", "HubSpot said"),
        rows,
    )
    if reasons:
        _console.print(
            "They are tried again when the value or the property changes. Every one: "
            '[bold]warehouse sql "FROM ops.hubspot_rejects"[/]'
        )


def show_plan(plan: hubspot.Plan) -> None:
    """What a push would write: counts, changes, what is left out, skipped and refused, calls and digest."""
    _print_counts("HubSpot plan", _PLANNED, plan.counts)
    for line in plan.unreadable:
        _attend(line)
    changes = ((c.object, c.action, c.key, c.property, c.old, c.new) for c in plan.rows())
    if _console.width < _NARROW:
        _print_changes(changes)
    else:
        _print_some("Changes", ("object", "what", "key", "property", "old", "new"), changes)
    _left_out(plan.left_out)
    skips = ((s.object, s.id, s.key, s.reason) for s in plan.skips)
    _print_some("Skipped", ("object", "id", "key", "reason"), skips)
    refused = ((o, id_, key, name, value, code) for o, id_, key, name, value, code in plan.refused)
    _print_some("HubSpot would refuse", ("object", "id", "key", "property", "value", "code"), refused)
    lists = ((one.object, one.name, f"{one.added:,}", f"{one.removed:,}") for one in plan.lists)
    _print_some("Lists", ("object", "list", "added", "removed"), lists)
    _print_some("Events", ("event", "to be sent"), ((name, f"{n:,}") for name, n in plan.events.items()))
    if plan.associations:
        _console.print(f"{plan.associations:,} contacts are to be associated with the company of their user.")
    _held_back(plan.held_back)
    where = "offline: against what HubSpot last acknowledged" if plan.offline else f"account {plan.account}"
    _console.print(
        f"{plan.calls} write calls, digest {plan.digest} ({where}). Nothing was written to HubSpot."
    )


def write_plan(plan: hubspot.Plan, file: Path) -> None:
    """Every value that would be written, as CSV. Raises OSError."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("object", "what", "id", "key", "hubspot_id", "property", "old", "new"))
        writer.writerows(map(csv_text.cell, vars(change).values()) for change in plan.rows())


def _print_counts(title: str, names: Sequence[str], objects: Mapping[str, object]) -> None:
    """What became of how many, a line an object; on a narrow screen a column an object."""
    counts = {name: [f"{getattr(of, n):,}" for n in names] for name, of in objects.items()}
    words = [name.replace("_", " ") for name in names]
    if _console.width < _NARROW:
        table = _table(title, "", *(f">{name}" for name in counts))
        for word, *row in zip(words, *counts.values(), strict=True):
            table.add_row(word, *row)
    else:
        table = _table(title, "object", *(f">{word}" for word in words))
        for name, row in counts.items():
            table.add_row(name, *row)
    _console.print(table)


def _print_some(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table of many rows, as far as a person reads; where no person looks on, nearly all of them, each in a line."""
    is_seen = _console.is_terminal
    console = _console if is_seen else Console(highlight=False, width=2000)
    most = _SEEN if is_seen else _PIPED
    table = _table(title, *columns, longest=48 if is_seen else _LONGEST)
    rows = iter(rows)
    for row in itertools.islice(rows, most):
        table.add_row(*(_cell(cell if cell is None else str(cell)[:_LONGEST]) for cell in row))
    if table.row_count:
        console.print(table)
    if next(rows, None) is not None:
        _more(most)


def _more(most: int) -> None:
    _console.print(
        f"... and more than these {most:,}: `warehouse plan --csv FILE` writes every change to a file"
    )


def _print_changes(changes: Iterable[tuple[str, str, str, str, Any, Any]]) -> None:
    """A record, and below it a line for each value: for a narrow screen, as far as a person reads."""
    last: tuple[str, ...] = ()
    for count, (thing, action, key, name, old, new) in enumerate(changes):
        if not count:
            _console.print("[bold]Changes[/]")
        if count == _SEEN:
            _more(_SEEN)
            return
        if (thing, action, key) != last:
            last = (thing, action, key)
            _console.print(f"{thing}: {action} {_safe(key)}", soft_wrap=True)
        before = f"{_safe(str(old)[:_LONGEST])} \N{RIGHTWARDS ARROW} " if old not in (None, "") else ""
        _console.print(f"    {_safe(name)}: {before}{_safe(str(new)[:_LONGEST])}", soft_wrap=True)


def show_push(result: hubspot.PushResult) -> None:
    """What a push, or its rehearsal, came to."""
    names = ("planned", "acknowledged", "created", "updated", "unchanged", "held_back", "skipped", "rejected")
    title = "Pushed to HubSpot" if result.live else "Rehearsal: nothing was written to HubSpot"
    _print_counts(title, names, result.objects)
    _left_out(result.left_out)
    _held_back(result.held_back)
    if result.unknown:
        _console.print(
            f"[yellow]![/] the outcome of {result.unknown} records is unknown; the next push looks them up first"
        )
    if result.stopped:
        _console.print(f"[yellow]![/] {_safe(result.stopped)}")
    _console.print(f"{result.calls} calls ({result.write_calls} writes), digest {result.digest}")
    if not result.live:
        _console.print("Write it: [bold]warehouse push --live[/]")


def show_csb_plan(plan: customersuccessbox.Plan) -> None:
    """What CustomerSuccessBox would be told now."""
    if plan.rows:
        title = f"For CustomerSuccessBox on {plan.today} (GMT)"
        if _console.width < _NARROW:
            _console.print(f"[bold]{title}[/]")
            for day, account, user, product, module, feature, adds, before, is_over in plan.rows[:_SEEN]:
                place = " / ".join(one for one in (product, module, feature) if one)
                told = f" (told before: {before:,})" if before else ""
                over = " [yellow]the day is over[/]" if is_over else ""
                _console.print(
                    f"{day} {_cell(account)} {_cell(user)}\n    {_cell(place)}: {adds:,}{told}{over}",
                    soft_wrap=True,
                )
        else:
            names = ("day", "account", "user", "product", "module", "feature", ">adds", ">told before", "")
            table = _table(title, *names)
            for *row, is_over in plan.rows[:_SEEN]:
                table.add_row(*(_cell(one) for one in row), "the day is over" if is_over else "")
            _console.print(table)
        if plan.calls + plan.over > _SEEN:
            _console.print(f"... and {plan.calls + plan.over - _SEEN:,} more")
    if plan.over:
        _console.print(
            f"[yellow]![/] {plan.over:,} totals are of a day that is over: CustomerSuccessBox does not add them up any more, "
            "so they are listed and not sent"
        )
    if plan.ahead:
        _console.print(
            f"[yellow]![/] {plan.ahead:,} totals are less than what was told: that cannot be taken back"
        )
    if plan.unknown:
        _console.print(
            f"[yellow]![/] of {plan.unknown:,} calls today it is not known whether they arrived; "
            "`--retry-unknown` sends them again"
        )
    _console.print(f"{plan.calls:,} calls, some {plan.seconds:,.0f} seconds; digest {plan.digest}")


def show_csb_push(result: customersuccessbox.PushResult) -> None:
    """What a push to CustomerSuccessBox, or its rehearsal, came to."""
    names = ("planned", "sent", "unknown", "refused", "day_over", "not_reached")
    title = (
        "Sent to CustomerSuccessBox" if result.live else "Rehearsal: nothing was sent to CustomerSuccessBox"
    )
    table = _table(title, *(f">{name.replace('_', ' ')}" for name in names))
    table.add_row(*(f"{getattr(result, name):,}" for name in names))
    _console.print(table)
    if result.stopped:
        _console.print(f"[yellow]![/] {_safe(result.stopped)}")
    _console.print(f"{result.calls:,} calls, digest {result.digest}")
    if not result.live:
        _console.print("Send it: [bold]warehouse csb push --live[/]")


def show_init(result: hubspot.InitResult) -> None:
    """The property groups, properties and options that HubSpot lacks, or that were made."""
    what = "made" if result.live else "to be made"
    table = _table(f"Property group and properties {what}", "object", "property", "what")
    for group in result.groups:
        table.add_row(group, "", f"group, {what}")
    for new in result.properties:
        failed = result.failed.get((new.object, new.name))
        table.add_row(new.object, new.name, _safe(f"refused: {failed}") if failed else f"{new.type}, {what}")
    for (name, column), options in result.options.items():
        table.add_row(name, column, _safe(f"options {', '.join(options)}, {what}"))
    for event in result.events:
        said = result.failed.get(("events", event.name))
        table.add_row(event.object, event.name, _safe(f"refused: {said}") if said else f"event, {what}")
    for (name, column), reason in result.unusable.items():
        table.add_row(name, column, _safe(f"left out: {reason}"))
    if table.row_count:
        _console.print(table)
    else:
        _console.print("HubSpot has every property that the mapping names.")
    if not result.live and table.row_count:
        _console.print("Make them: [bold]warehouse hubspot-init --live[/]")


def _left_out(columns: Sequence[hubspot.LeftOut]) -> None:
    for column in columns:
        _console.print(f"[yellow]![/] left out: {column.object}.{column.column}: {_safe(column.reason)}")


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
        _attend(line)


def show_erasure(erasure: Erasure) -> None:
    """What an erase would remove, before it does."""
    table = _table("To be erased", "table", ">rows that name them")
    for name, rows in sorted(erasure.rows.items()):
        if rows:
            table.add_row(name, f"{rows:,}")
    _console.print(table if table.row_count else "Nothing that is loaded names them.")
    for id_ in erasure.unknown:
        _attend(f"{id_} is not known here: only later files would be kept from bringing it")
    for text, others in sorted(erasure.theirs.shared_with.items()):
        _attend(f"{text} stays, as others have it, too: {', '.join(sorted(others))}")


def show_withdrawal(plan: Withdrawal) -> None:
    """What a withdrawal would take back, before it does."""
    if not plan.files:
        _console.print("Nothing is to be withdrawn.")
        return
    table = _table("To be withdrawn", ">file_seq", "source", "path", ">records", ">loaded", longest=_LONGEST)
    for file in plan.files:
        table.add_row(
            str(file.file_seq), file.source, _safe(file.path), f"{file.records:,}", f"{file.loaded:,}"
        )
    _console.print(table)
    if plan.again:
        _console.print(
            f"{len(plan.again):,} files are loaded again by the next run: what they lost may count now."
        )


def show_erased(settings: Settings, erasure: Erasure) -> None:
    """What was erased, and what is left to do elsewhere."""
    _console.print("Erased, and published without them. ops.erasures has the record.")
    if erasure.files:
        _attend(
            f"files below {raw_storage(settings).name} still hold records of erased ones; they stay out when they are loaded "
            "again:"
        )
        for path in erasure.files:
            _console.print(f"    {_safe(path)}")
    for title, records in erasure.elsewhere.items():
        _attend(f"{title} is not touched. Delete there, for good:")
        for thing, record in records:
            _console.print(f"    {_safe(thing)} {_safe(record)}")


def _attend(line: str) -> None:
    _console.print(f"[yellow]![/] {_safe(line)}", soft_wrap=True)


def _print(connection: Connection, title: str, query: str) -> None:
    _show(title, answers.ask(connection, query))


def _show(title: str, answer: answers.Answer) -> None:
    """A table that is readable at this width; nothing where there are no rows."""
    first = next(answer.batches, [])
    if first:
        whole = answers.Answer(answer.names, answer.types, itertools.chain([first], answer.batches))
        _console.print(f"[bold]{title}[/]")
        for line in answers.as_table(whole, _console.width, "`warehouse sql` shows them.", upright=0):
            _console.print(line, markup=False, soft_wrap=True)


def _table(title: str, *columns: str, longest: int = 48) -> Table:
    """A table; a column whose name begins with `>` holds numbers. On a narrow screen it has no lines, and texts go on in the
    next line: nothing is cut off. The first column, which tells rows apart, stays whole, and so do numbers.
    """
    narrow = _console.width < _NARROW
    table = Table(title=title, title_justify="left", title_style="bold")
    if narrow:
        table.box, table.show_edge, table.pad_edge, table.padding = (
            box.SIMPLE_HEAD,
            False,
            False,
            (0, 1, 0, 0),
        )
    for place, column in enumerate(columns):
        is_number = column.startswith(">")
        table.add_column(
            column.removeprefix(">"),
            justify="right" if is_number else "left",
            overflow="fold" if narrow else "ellipsis",
            max_width=longest,
            no_wrap=is_number or not place,
        )
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _safe(str(value))


def _safe(text: str) -> str:
    """Text from records, without what a terminal or rich would obey."""
    shown = "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in text)
    return shown.replace("[", "\\[")
