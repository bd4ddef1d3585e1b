"""A static site of the data: tables, columns, lineage, cohorts, and the project's own pages. Made from their files.

It needs no database and no server: the folder can be opened as it is, or put on any web space.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from dagster_project.pipeline import nightly
from dagster_project.portal import show
from dagster_project.settings import project_root
from dagster_project.warehouse.lineage import Source, column_lineage
from dagster_project.warehouse.models import Model

_SCHEMAS = {
    "marts": "For analysis: profiles, usage, features, metadata, cohorts.",
    "ops": "About the loading and the pushes themselves.",
    "core": "Internal: what the others are computed from.",
}
_TEXTS = ("warehouse.toml", "LICENSE")  # files that are shown as they are


def write(folder: Path) -> int:
    """Make the site in a folder. Returns the number of its pages."""
    site = _Site(folder, project_root(), nightly.models())
    return site.write()


@dataclass
class _Site:
    folder: Path
    root: Path
    models: Mapping[str, Model]

    def write(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(show.FOLDER / "static" / "portal.css", self.folder / "portal.css")
        pages = list(self._pages())
        for target, template, shows in pages:
            self._put(target, template, **shows)
        return len(pages)

    def _pages(self) -> Iterator[tuple[PurePosixPath, str, dict[str, Any]]]:
        """Every page: where it goes, its template, and what it shows."""
        for source, target in self._written.items():
            text = (self.root / source).read_text(encoding="utf-8")
            if source.suffix == ".md":
                body, title = self._rendered(source, target, text)
                yield target, "site/page.html", {"title": title, "body": body}
            else:
                yield target, "site/text.html", {"title": str(source), "text": text}
        for model in self.models.values():
            shows = {
                "model": model,
                "lineage": self._lineage[model.name],
                "readers": [m for m in self.models.values() if model.name in m.inputs],
                "file": f"sql/{model.schema}/{model.table}.sql",
                "models": self.models,
            }
            yield self._of_table(model.name), "site/table.html", {"title": model.name, **shows}
        listed = {"models": self.models, "schemas": _SCHEMAS}
        yield PurePosixPath("tables.html"), "site/tables.html", {"title": "Tables", **listed}
        yield PurePosixPath("columns.html"), "site/columns.html", {"title": "Columns", **listed}
        yield PurePosixPath("lineage.html"), "site/lineage.html", {"title": "Lineage", **listed}

    @cached_property
    def _written(self) -> dict[PurePosixPath, PurePosixPath]:
        """The project's own files that have a page, and its place."""
        found = [PurePosixPath(path.name) for path in sorted(self.root.glob("*.md"))]
        found += [PurePosixPath("docs", path.name) for path in sorted((self.root / "docs").glob("*.md"))]
        found += [PurePosixPath(name) for name in _TEXTS]
        for kind in ("cohorts", "examples", "outbound"):
            found += [
                PurePosixPath("sql", kind, p.name) for p in sorted((self.root / "sql" / kind).glob("*.sql"))
            ]
        return {
            file: PurePosixPath("index.html") if str(file) == "README.md" else file.with_suffix(".html")
            for file in found
        }

    @cached_property
    def _lineage(self) -> dict[str, dict[str, list[Source]]]:
        return {model.name: column_lineage(model, self.models) for model in self.models.values()}

    def _of_table(self, name: str) -> PurePosixPath:
        return PurePosixPath("tables", f"{name}.html")

    # pages written by hand

    def _rendered(self, source: PurePosixPath, target: PurePosixPath, text: str) -> tuple[Markup, str]:
        """Markdown as HTML, with links that lead to the site's own pages; and its first heading."""
        markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        # A browser draws Mermaid's diagrams by script only, and the site has none.
        tokens = [t for t in markdown.parse(text) if not (t.type == "fence" and t.info == "mermaid")]
        title = str(source)
        for place, token in enumerate(tokens):
            if token.type == "heading_open":
                heading = tokens[place + 1].content
                token.attrSet("id", _anchor(heading))
                title = heading if token.tag == "h1" else title
            for child in token.children or []:
                self._redirect(child, source, target)
        return Markup(markdown.renderer.render(tokens, markdown.options, {})), title

    def _redirect(self, token: Token, source: PurePosixPath, target: PurePosixPath) -> None:
        name = {"link_open": "href", "image": "src"}.get(token.type)
        link = str(token.attrGet(name) or "") if name else ""
        if not name or not link or re.match(r"[a-z]+:|#", link):
            return
        path, _, anchor = link.partition("#")
        wanted = PurePosixPath(os.path.normpath(source.parent / path))
        place = self._place_of(wanted)
        if place is None:
            token.attrs.pop(name)  # a folder, or a file that the site does not show
            return
        token.attrSet(name, _way(target, place) + (f"#{anchor}" if anchor else ""))

    def _place_of(self, file: PurePosixPath) -> PurePosixPath | None:
        """Where the site shows a file of the project."""
        if file in self._written:
            return self._written[file]
        if file.parts[0] == "sql" and f"{file.parent.name}.{file.stem}" in self.models:
            return self._of_table(f"{file.parent.name}.{file.stem}")
        if file.suffix == ".png" and (self.root / file).is_file():
            copied = self.folder / file
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.root / file, copied)
            return file
        return None

    # writing

    @cached_property
    def _templates(self) -> Any:
        return show.environment()

    def _put(self, target: PurePosixPath, template: str, **shows: Any) -> None:
        file = self.folder / target
        file.parent.mkdir(parents=True, exist_ok=True)

        def way(place: str) -> str:
            return _way(target, PurePosixPath(place))

        own = [(self._written[p], p.stem) for p in self._written if p.parent.name == "docs"]
        file.write_text(
            self._templates.get_template(template).render(way=way, target=str(target), own=own, **shows),
            encoding="utf-8",
        )


def _way(start: PurePosixPath, end: PurePosixPath) -> str:
    """The relative address from one page to another."""
    return PurePosixPath(os.path.relpath(end, start.parent)).as_posix()


def _anchor(heading: str) -> str:
    """As GitHub names headings, so that a link works there and here."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
