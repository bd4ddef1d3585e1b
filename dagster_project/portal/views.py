"""Saved views: addresses of the portal that have a name, a file each in `sql/views/`. They stand in the menu.

A file of the project's own takes the place of one of the same name that comes with the release.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dagster_project.settings import project_folder, shipped_root

from .asking import Ask, View

_KEYS = {"title", "about", "address"}


@dataclass(frozen=True)
class SavedView:
    """name: of its file. problem: why it cannot be shown; its address is empty then."""

    name: str
    title: str
    about: str = ""
    address: str = ""
    problem: str = ""


def saved() -> list[SavedView]:
    """All of them, by the names of their files."""
    files: dict[str, Path] = {}
    for folder in dict.fromkeys((shipped_root(), project_folder())):
        files |= {file.stem: file for file in (folder / "sql" / "views").glob("*.toml")}
    return [_read(files[name]) for name in sorted(files)]


def page(ask: Ask) -> View:
    ask.only()
    shown = [
        {"name": v.name, "title": v.title, "about": v.about, "address": v.address, "problem": v.problem}
        for v in saved()
    ]
    return View("views.html", "Saved views", {"listed": shown}, main="listed")


def _read(file: Path) -> SavedView:
    """Whatever is wrong with a file is told where the view would stand, and keeps no page from being shown."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        unknown = sorted(given.keys() - _KEYS)
        if unknown:
            raise ValueError(f"{unknown[0]} = …: a view has {', '.join(sorted(_KEYS))}")
        texts = {name: given.get(name, "") for name in _KEYS}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise ValueError(f"{name} = {text!r}: must be text in quotation marks")
        # Copied from a browser, it begins with where the portal was then.
        parts = urlsplit(texts["address"].strip())
        if not parts.path.startswith("/") or parts.path.startswith("//"):
            raise ValueError("address: must be one of this portal, such as '/companies?sort=-calls_7d'")
        place = parts.path + (f"?{parts.query}" if parts.query else "")
        title = texts["title"].strip() or file.stem.replace("_", " ")
        return SavedView(file.stem, title, texts["about"].strip(), place)
    except (OSError, ValueError) as error:  # TOML's errors are ValueErrors
        return SavedView(file.stem, file.stem, problem=f"sql/views/{file.name}: {error}")
