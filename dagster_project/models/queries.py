"""Queries that users drop into a folder below `sql/`: what their header says, and which tables they read.

They may read the profiles, which follow from what they compute; so they are given those of this build, before that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from dagster_project.settings import project_root
from dagster_project.warehouse.models import ModelError, bare, tables_in

_PROFILES = re.compile(r'\b"?marts"?\s*\.\s*"?(company_profiles|user_profiles)\b"?', re.IGNORECASE)


@dataclass(frozen=True)
class Query:
    """file: below the project's root, for people. text: with its header."""

    file: str
    text: str

    @property
    def name(self) -> str:
        return Path(self.file).stem

    @property
    def is_empty(self) -> bool:
        """Nothing but blanks and comments."""
        return all(not line.strip() or line.strip().startswith("--") for line in self.text.splitlines())

    def header(self, keys: Iterable[str] = ()) -> tuple[str | None, dict[str, str]]:
        """What the comment at its top says: in prose, and by these keys (`-- key: value`)."""
        about, found = [], {}
        for line in takewhile(lambda line: line.startswith("--"), self.text.splitlines()):
            key, colon, value = line.lstrip("-").strip().partition(":")
            if colon and key in keys:
                found[key] = value.strip()
            else:
                about.append(line.lstrip("-").strip())
        return " ".join(about).strip() or None, found

    @property
    def of_this_build(self) -> str:
        """The query, reading profiles as they are before it adds to them."""
        return _PROFILES.sub(r"core.\1", self.text)

    @property
    def reads(self) -> dict[str, str]:
        """The tables that it reads, of this build, each with this file. Raises ModelError."""
        try:
            return dict.fromkeys(tables_in(self.of_this_build), self.file)
        except ModelError as error:
            raise ModelError(f"{self.file}: {error}") from None


def queries(folder: str) -> list[Query]:
    """The files in a folder below `sql/`, by name."""
    return [
        Query(f"sql/{folder}/{path.name}", bare(path.read_text(encoding="utf-8-sig")))
        for path in sorted((project_root() / "sql" / folder).glob("*.sql"))
    ]
