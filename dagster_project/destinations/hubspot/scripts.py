"""The SQL of this package, in `sql/`: statements in the order in which they are run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dagster_project.warehouse.database import Connection


@cache
def text_of(name: str) -> str:
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def run(connection: Connection, name: str, given: Mapping[str, Any] | None = None, **parts: object) -> None:
    """Run the statements of a file. given: values of its parameters; parts: text that is put in."""
    text = text_of(name).format(**parts) if parts else text_of(name)
    for statement in text.split(";\n"):
        if any(line and not line.startswith("--") for line in statement.splitlines()):
            used = {key: one for key, one in (given or {}).items() if f"${key}" in statement}
            connection.execute(statement, used or None)
