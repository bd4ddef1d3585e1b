"""Tables as Dagster's UI shows them in the metadata of an asset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]], longest: int = 60) -> str:
    """A Markdown table. Cells are cut at `longest` characters, and nothing in them is taken for markup."""
    lines = [columns, ["---"] * len(columns), *([_cell(cell, longest) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: object, longest: int) -> str:
    if cell is None:
        return ""
    text = " ".join(str(cell).split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= longest else f"{text[:longest]}…"
