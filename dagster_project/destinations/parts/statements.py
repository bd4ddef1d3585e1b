"""The SQL files of a destination: statements in the order in which they are run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dagster_project.warehouse.database import Connection


class Statements:
    """Of the files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def text_of(self, name: str) -> str:
        return _read(self.folder / f"{name}.sql")

    def run(
        self, connection: Connection, name: str, given: Mapping[str, Any] | None = None, **parts: object
    ) -> None:
        """Run the statements of a file. given: values of its parameters; parts: text that is put in."""
        text = self.text_of(name).format(**parts) if parts else self.text_of(name)
        for statement in text.split(";\n"):
            if any(line and not line.startswith("--") for line in statement.splitlines()):
                used = {key: one for key, one in (given or {}).items() if f"${key}" in statement}
                connection.execute(statement, used or None)


@cache
def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")
