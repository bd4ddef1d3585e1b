"""What a push would write, did, or needs first, as a person sees it on the screen."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dagster_project.cli import screen
from dagster_project.destinations import customersuccessbox, hubspot
from dagster_project.rendering import csv_text

_PLANNED = ("creates", "updates", "unchanged", "held_back", "skipped", "rejected", "calls")


def show_plan(plan: hubspot.Plan) -> None:
    """What a push would write: counts, changes, what is left out, skipped and refused, calls and digest."""
    screen.print_counts("HubSpot plan", _PLANNED, plan.counts)
    for line in plan.unreadable:
        screen.attend(line)
    changes = ((c.object, c.action, c.key, c.property, c.old, c.new) for c in plan.rows())
    if screen.console.width < screen.NARROW:
        _print_changes(changes)
    else:
        screen.print_some("Changes", ("object", "what", "key", "property", "old", "new"), changes)
    _left_out(plan.left_out)
    skips = ((s.object, s.id, s.key, s.reason) for s in plan.skips)
    screen.print_some("Skipped", ("object", "id", "key", "reason"), skips)
    refused = ((o, id_, key, name, value, code) for o, id_, key, name, value, code in plan.refused)
    screen.print_some("HubSpot would refuse", ("object", "id", "key", "property", "value", "code"), refused)
    lists = ((one.object, one.name, f"{one.added:,}", f"{one.removed:,}") for one in plan.lists)
    screen.print_some("Lists", ("object", "list", "added", "removed"), lists)
    screen.print_some(
        "Events", ("event", "to be sent"), ((name, f"{n:,}") for name, n in plan.events.items())
    )
    if plan.associations:
        screen.console.print(
            f"{plan.associations:,} contacts are to be associated with the company of their user."
        )
    _held_back(plan.held_back)
    where = "offline: against what HubSpot last acknowledged" if plan.offline else f"account {plan.account}"
    screen.console.print(
        f"{plan.calls} write calls, digest {plan.digest} ({where}). Nothing was written to HubSpot."
    )


def write_plan(plan: hubspot.Plan, file: Path) -> None:
    """Every value that would be written, as CSV. Raises OSError."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("object", "what", "id", "key", "hubspot_id", "property", "old", "new"))
        writer.writerows(map(csv_text.cell, vars(change).values()) for change in plan.rows())


def _print_changes(changes: Iterable[tuple[str, str, str, str, Any, Any]]) -> None:
    """A record, and below it a line for each value: for a narrow screen, as far as a person reads."""
    last: tuple[str, ...] = ()
    for count, (thing, action, key, name, old, new) in enumerate(changes):
        if not count:
            screen.console.print("[bold]Changes[/]")
        if count == screen.SEEN:
            screen.print_more(screen.SEEN)
            return
        if (thing, action, key) != last:
            last = (thing, action, key)
            screen.console.print(f"{thing}: {action} {screen.safe(key)}", soft_wrap=True)
        before = (
            f"{screen.safe(str(old)[: screen.LONGEST])} \N{RIGHTWARDS ARROW} "
            if old not in (None, "")
            else ""
        )
        screen.console.print(
            f"    {screen.safe(name)}: {before}{screen.safe(str(new)[: screen.LONGEST])}", soft_wrap=True
        )


def _held_back(reasons: Sequence[hubspot.HeldBack]) -> None:
    """Why records wait: what HubSpot said the last time."""
    rows = (
        (r.object, r.property or "the whole record", f"{r.records:,}", r.code, r.message) for r in reasons
    )
    screen.print_some(
        "Held back: HubSpot refused the same before",
        ("object", "property", "records", "code", "HubSpot said"),
        rows,
    )
    if reasons:
        screen.console.print(
            "They are tried again when the value or the property changes. Every one: "
            '[bold]warehouse sql "FROM ops.hubspot_rejects"[/]'
        )


def _left_out(columns: Sequence[hubspot.LeftOut]) -> None:
    for column in columns:
        screen.console.print(
            f"[yellow]![/] left out: {column.object}.{column.column}: {screen.safe(column.reason)}"
        )


def show_push(result: hubspot.PushResult) -> None:
    """What a push, or its rehearsal, came to."""
    names = ("planned", "acknowledged", "created", "updated", "unchanged", "held_back", "skipped", "rejected")
    title = "Pushed to HubSpot" if result.live else "Rehearsal: nothing was written to HubSpot"
    screen.print_counts(title, names, result.objects)
    _left_out(result.left_out)
    _held_back(result.held_back)
    if result.unknown:
        screen.console.print(
            f"[yellow]![/] the outcome of {result.unknown} records is unknown; the next push looks them up first"
        )
    if result.stopped:
        screen.console.print(f"[yellow]![/] {screen.safe(result.stopped)}")
    screen.console.print(f"{result.calls} calls ({result.write_calls} writes), digest {result.digest}")
    if not result.live:
        screen.console.print("Write it: [bold]warehouse push --live[/]")


def show_init(result: hubspot.InitResult) -> None:
    """The property groups, properties and options that HubSpot lacks, or that were made."""
    what = "made" if result.live else "to be made"
    table = screen.new_table(f"Property group and properties {what}", "object", "property", "what")
    for group in result.groups:
        table.add_row(group, "", f"group, {what}")
    for new in result.properties:
        failed = result.failed.get((new.object, new.name))
        table.add_row(
            new.object, new.name, screen.safe(f"refused: {failed}") if failed else f"{new.type}, {what}"
        )
    for (name, column), options in result.options.items():
        table.add_row(name, column, screen.safe(f"options {', '.join(options)}, {what}"))
    for event in result.events:
        said = result.failed.get(("events", event.name))
        table.add_row(event.object, event.name, screen.safe(f"refused: {said}") if said else f"event, {what}")
    for (name, column), reason in result.unusable.items():
        table.add_row(name, column, screen.safe(f"left out: {reason}"))
    if table.row_count:
        screen.console.print(table)
    else:
        screen.console.print("HubSpot has every property that the mapping names.")
    if not result.live and table.row_count:
        screen.console.print("Make them: [bold]warehouse hubspot-init --live[/]")


def show_csb_plan(plan: customersuccessbox.Plan) -> None:
    """What CustomerSuccessBox would be told now."""
    if plan.rows:
        title = f"For CustomerSuccessBox on {plan.today} (GMT)"
        if screen.console.width < screen.NARROW:
            screen.console.print(f"[bold]{title}[/]")
            for day, account, user, product, module, feature, adds, before, is_over in plan.rows[
                : screen.SEEN
            ]:
                place = " / ".join(one for one in (product, module, feature) if one)
                told = f" (told before: {before:,})" if before else ""
                over = " [yellow]the day is over[/]" if is_over else ""
                screen.console.print(
                    f"{day} {screen.cell(account)} {screen.cell(user)}\n    {screen.cell(place)}: {adds:,}{told}{over}",
                    soft_wrap=True,
                )
        else:
            names = ("day", "account", "user", "product", "module", "feature", ">adds", ">told before", "")
            table = screen.new_table(title, *names)
            for *row, is_over in plan.rows[: screen.SEEN]:
                table.add_row(*(screen.cell(one) for one in row), "the day is over" if is_over else "")
            screen.console.print(table)
        if plan.calls + plan.over > screen.SEEN:
            screen.console.print(f"... and {plan.calls + plan.over - screen.SEEN:,} more")
    if plan.over:
        screen.console.print(
            f"[yellow]![/] {plan.over:,} totals are of a day that is over: CustomerSuccessBox does not add them up any more, "
            "so they are listed and not sent"
        )
    if plan.ahead:
        screen.console.print(
            f"[yellow]![/] {plan.ahead:,} totals are less than what was told: that cannot be taken back"
        )
    if plan.unknown:
        screen.console.print(
            f"[yellow]![/] of {plan.unknown:,} calls today it is not known whether they arrived; "
            "`--retry-unknown` sends them again"
        )
    screen.console.print(f"{plan.calls:,} calls, some {plan.seconds:,.0f} seconds; digest {plan.digest}")


def show_csb_push(result: customersuccessbox.PushResult) -> None:
    """What a push to CustomerSuccessBox, or its rehearsal, came to."""
    names = ("planned", "sent", "unknown", "refused", "day_over", "not_reached")
    title = (
        "Sent to CustomerSuccessBox" if result.live else "Rehearsal: nothing was sent to CustomerSuccessBox"
    )
    table = screen.new_table(title, *(f">{name.replace('_', ' ')}" for name in names))
    table.add_row(*(f"{getattr(result, name):,}" for name in names))
    screen.console.print(table)
    if result.stopped:
        screen.console.print(f"[yellow]![/] {screen.safe(result.stopped)}")
    screen.console.print(f"{result.calls:,} calls, digest {result.digest}")
    if not result.live:
        screen.console.print("Send it: [bold]warehouse csb push --live[/]")
