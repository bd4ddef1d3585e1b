"""The SQL of this package, in `sql/`."""

from __future__ import annotations

from pathlib import Path

from dagster_project.destinations.parts.statements import Statements

_STATEMENTS = Statements(Path(__file__).parent / "sql")
text_of, run = _STATEMENTS.text_of, _STATEMENTS.run
