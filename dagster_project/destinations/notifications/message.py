"""The text of a message: what changed, cohort by cohort, with links to the portal, and no more lines than the settings allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlencode

from dagster_project.destinations.parts.webhook import plain
from dagster_project.settings import Settings

_LONGEST = 3500  # Slack cuts at 4,000 characters
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Change:
    cohort: str
    entity: str
    id: str
    change: str
    name: str | None


def message(changes: Sequence[Change], settings: Settings) -> str:
    """changes: those of one cohort stand together."""
    portal, left = settings.portal_url, settings.notifications.lines
    groups = [(key, list(rows)) for key, rows in groupby(changes, key=lambda c: (c.entity, c.cohort))]
    parts: list[str] = []
    for number, ((entity, cohort), rows) in enumerate(groups):
        where = f"{portal}/cohorts/changes?{urlencode({'cohort': cohort, 'entity': entity})}"
        counts = [(word, sum(row.change == word for row in rows)) for word in ("entered", "left")]
        counted = ", ".join(f"{count:,} {word}" for word, count in counts if count)
        head = f"*{_link(where, cohort)}* ({'companies' if entity == 'company' else 'users'}): {counted}"
        lines = [head]
        for row in rows:
            line = f"• {row.change}: {_who(row, portal)}"
            if not left or len("\n".join([*parts, *lines, line])) > _LONGEST - 100:
                break
            left -= 1
            lines.append(line)
        if len(lines) <= len(rows):
            lines.append(f"• … and {len(rows) - len(lines) + 1:,} more")
        if len("\n".join([*parts, *lines])) > _LONGEST:
            parts.append(f"… and {len(groups) - number:,} more cohorts")
            break
        parts += lines
    return "\n".join(parts)


def _who(row: Change, portal: str) -> str:
    link = _link(f"{portal}/{row.entity}?{urlencode({'id': row.id})}", row.name or row.id)
    return link if row.name is None else f"{link} ({plain(row.id[:_LONGEST_NAME])})"


def _link(url: str, text: str) -> str:
    """As Slack writes them; what would end it cannot stand in its text."""
    return f"<{url}|{plain(text[:_LONGEST_NAME]).replace('|', '/')}>"
