"""Takes what was erased out of Dagster's storage: its SQLite databases and the logs of its runs.

Events keep previews of tables and samples of rows that failed a check. They are blanked, as they may show anything of
anybody; elsewhere the erased ids themselves are replaced. Runs and their results stay.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

BLANKED = "taken out when somebody was erased"


def forget(home: Path, ids: Iterable[str]) -> None:
    """Blank previews and samples, and replace ids, in all that lies in Dagster's folder. Raises sqlite3.Error."""
    names = sorted(ids, key=len, reverse=True)
    found = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names) if names else r"(?!)")
    for file in sorted(home.rglob("*.db")):
        with closing(sqlite3.connect(file, timeout=30)) as database:
            _forget_in(database, found)
    for file in sorted(home.glob("storage/**/compute_logs/*")):
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
        clean = found.sub("erased", text)
        if clean != text:
            file.write_text(clean, encoding="utf-8", errors="surrogateescape")


def _forget_in(database: sqlite3.Connection, found: re.Pattern[str]) -> None:
    database.execute("PRAGMA secure_delete = ON")
    changed = False
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")').fetchall()]
        for column in columns:
            rows = database.execute(
                f"""SELECT rowid, "{column}" FROM "{table}" WHERE typeof("{column}") = 'text'"""
            ).fetchall()
            clean = [(new, rowid) for rowid, text in rows if (new := _cleaned(text, found)) != text]
            database.executemany(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', clean)
            changed |= bool(clean)
    database.commit()
    if changed:
        database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _cleaned(text: str, found: re.Pattern[str]) -> str:
    """The text without previews, samples and ids; the same text where there is nothing to take out."""
    if not text.startswith("{"):
        return found.sub("erased", text)
    try:
        value = json.loads(text)
    except ValueError:
        return found.sub("erased", text)
    clean = _blanked(value, found)
    return text if clean == value else json.dumps(clean)


def _blanked(value: Any, found: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return found.sub("erased", value)
    if isinstance(value, list):
        return [_blanked(item, found) for item in value]
    if not isinstance(value, dict):
        return value
    clean = {key: _blanked(inner, found) for key, inner in value.items()}
    if isinstance(value.get("md_str"), str):
        clean["md_str"] = BLANKED
    elif str(value.get("__class__", "")).startswith("JsonMetadata"):
        clean["data"] = {"rows": BLANKED}
    return clean
