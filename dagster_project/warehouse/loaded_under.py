"""The settings that each file was loaded under, as far as they act while loading (`settings.WhileLoading`).

What is loaded keeps to them: a full rebuild replays each file under its own, unless it is told to apply what is set now.
So the nights and a full rebuild agree, whatever was set in between.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from dagster_project.settings import Settings

from .database import Connection, transaction
from .registry import bump


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that files were loaded under with another value than it has now."""

    key: str
    loaded: object
    now: object
    files: int

    def __str__(self) -> str:
        files = f"{self.files:,} files were" if self.files != 1 else "1 file was"
        return f"{self.key} = {json.dumps(self.now)}: {files} loaded under {json.dumps(self.loaded)}"


def as_text(settings: Settings, source: str) -> str:
    """What a file of a source is loaded under now, as it is kept."""
    return json.dumps(settings.while_loading(source), sort_keys=True)


def of_text(settings: Settings, text: str | None) -> Settings:
    """The settings to load a file under: those that it was loaded under before, where it was."""
    return settings if text is None else settings.as_when_loaded(json.loads(text))


def note_unknown(connection: Connection, settings: Settings) -> None:
    """Files that an older release loaded count as loaded under what is set at the first run of one that keeps it."""
    loaded = "loaded_under IS NULL AND (load_seq IS NOT NULL OR replay_position IS NOT NULL)"
    sources = connection.execute(f"SELECT DISTINCT source FROM raw.files WHERE {loaded}").fetchall()
    if not sources:
        return
    with transaction(connection):
        for (source,) in sources:
            connection.execute(
                f"UPDATE raw.files SET loaded_under = ? WHERE source = ? AND {loaded}",
                [as_text(settings, source), source],
            )
        bump(connection, ["files"])


def apply_now(connection: Connection) -> None:
    """Let what is to be replayed be loaded under what is set then. To be called in a transaction."""
    connection.execute("UPDATE raw.files SET loaded_under = NULL WHERE replay_position IS NOT NULL")


def differences(settings: Settings, counts: Iterable[tuple[str, str, int]]) -> list[Difference]:
    """What files were loaded under that is set otherwise now. counts: source, what it was loaded under, files."""
    found: Counter[tuple[str, str, str]] = Counter()
    for source, text, files in counts:
        now, then = settings.while_loading(source), of_text(settings, text).while_loading(source)
        for key in now:
            if now[key] != then[key]:
                found[key, json.dumps(then[key]), json.dumps(now[key])] += files
    return [
        Difference(key, json.loads(then), json.loads(now), files)
        for (key, then, now), files in sorted(found.items())
    ]


def of_loaded(connection: Connection, settings: Settings) -> list[Difference]:
    """The differences of all files that are loaded."""
    return differences(
        settings,
        connection.execute(
            "SELECT source, loaded_under, count(*) FROM raw.files WHERE loaded_under IS NOT NULL "
            "AND withdrawn_at IS NULL AND (load_seq IS NOT NULL OR replay_position IS NOT NULL) GROUP BY ALL"
        ).fetchall(),
    )
