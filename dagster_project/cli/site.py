"""A static site of the data: tables, columns, lineage, cohorts, and the project's own pages. Made from their files.

It needs no server: the folder can be opened as it is, or put on any web space. It needs no database either; where one is
published, the site says how many rows each table has, and how fresh it is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from dagster_project.pipeline import nightly
from dagster_project.portal import show
from dagster_project.rendering import graphs
from dagster_project.settings import Settings, project_root
from dagster_project.warehouse.database import DatabaseError, open_published
from dagster_project.warehouse.lineage import Source, column_lineage
from dagster_project.warehouse.models import Model

_SCHEMAS = {
    "marts": "For analysis: profiles, usage, features, metadata, cohorts.",
    "ops": "About the loading and the pushes themselves.",
    "core": "Internal: what the others are computed from.",
}
_TEXTS = ("warehouse.toml", "LICENSE")  # files that are shown as they are


@dataclass(frozen=True)
class Published:
    """What is published. tables: of each, how many rows it has, and when it last changed (UTC)."""

    as_of: date | None = None
    tables: Mapping[str, tuple[int, datetime]] = field(default_factory=dict)


def published(settings: Settings) -> Published:
    """What is published now; nothing, where that cannot be read."""
    try:
        with open_published(settings) as connection:
            rows = connection.execute("SELECT model, row_count, built_at FROM core.builds").fetchall()
            as_of = connection.execute("SELECT max(as_of) FROM marts.as_of").fetchall()[0][0]
    except (DatabaseError, duckdb.CatalogException):
        return Published()
    return Published(as_of, {name: (count, at) for name, count, at in rows})


def write(folder: Path, facts: Published | None = None) -> int:
    """Make the site in a folder. Returns the number of its pages."""
    site = _Site(folder, project_root(), nightly.models(), facts or Published())
    return site.write()


@dataclass
class _Site:
    folder: Path
    root: Path
    models: Mapping[str, Model]
    facts: Published
    found: list[tuple[str, str, str, str]] = field(
        default_factory=list
    )  # kind, name, text, place: for the search

    def write(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("portal.css", "search.js"):
            shutil.copyfile(show.FOLDER / "static" / name, self.folder / name)
        pages = list(self._pages())
        for target, template, shows in pages:
            self._put(target, template, **shows)
        # A script, as a page that was opened from a disk may read no other file.
        index = json.dumps(self.found, ensure_ascii=True, separators=(",", ":"))
        (self.folder / "index.js").write_text(f"const INDEX = {index};\n", encoding="utf-8")
        return len(pages)

    def _pages(self) -> Iterator[tuple[PurePosixPath, str, dict[str, Any]]]:
        """Every page: where it goes, its template, and what it shows."""
        for source, target in self._written.items():
            text = (self.root / source).read_text(encoding="utf-8")
            if source.suffix == ".md":
                body, title = self._rendered(source, target, text)
                yield target, "site/page.html", {"title": title, "body": body}
            else:
                self.found.append(("file", str(source), _first_comment(text), str(target)))
                yield target, "site/text.html", {"title": str(source), "text": text}
        for model in self.models.values():
            shows = {
                "model": model,
                "lineage": self._lineage[model.name],
                "readers": [m for m in self.models.values() if model.name in m.inputs],
                "file": f"sql/{model.schema}/{model.table}.sql",
                "models": self.models,
                "graph": graphs.layered(graphs.around(model.name, self._follows)),
            }
            place = str(self._of_table(model.name))
            self.found.append(("table", model.name, model.about, place))
            self.found += [
                ("column", f"{model.name}.{c.name}", c.about, f"{place}#{c.name}") for c in model.columns
            ]
            yield self._of_table(model.name), "site/table.html", {"title": model.name, **shows}
        listed = {"models": self.models, "schemas": _SCHEMAS}
        yield PurePosixPath("tables.html"), "site/tables.html", {"title": "Tables", **listed}
        yield PurePosixPath("columns.html"), "site/columns.html", {"title": "Columns", **listed}
        read = {name for of in self._follows.values() for name in of}
        graph = graphs.layered({name: of for name, of in self._follows.items() if of or name in read})
        yield (
            PurePosixPath("lineage.html"),
            "site/lineage.html",
            {"title": "Lineage", "graph": graph, **listed},
        )
        yield PurePosixPath("search.html"), "site/search.html", {"title": "Search"}

    @cached_property
    def _written(self) -> dict[PurePosixPath, PurePosixPath]:
        """The project's own files that have a page, and its place."""
        found = [PurePosixPath(path.name) for path in sorted(self.root.glob("*.md"))]
        found += [PurePosixPath("docs", path.name) for path in sorted((self.root / "docs").glob("*.md"))]
        found += [PurePosixPath(name) for name in _TEXTS]
        for kind in ("alerts", "cohorts", "examples", "health", "meters", "outbound"):
            found += [
                PurePosixPath("sql", kind, p.name) for p in sorted((self.root / "sql" / kind).glob("*.sql"))
            ]
        return {
            file: PurePosixPath("index.html") if str(file) == "README.md" else file.with_suffix(".html")
            for file in found
        }

    @cached_property
    def _follows(self) -> dict[str, list[str]]:
        """What each table is computed from. What it reads of the build before is left out: it would be a circle."""
        return {m.name: [name for name in m.inputs if name not in m.previous] for m in self.models.values()}

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
                self.found.append(
                    ("text", heading, _text_after(tokens, place + 3), f"{target}#{_anchor(heading)}")
                )
            for child in token.children or []:
                self._redirect(child, source, target)
        body = markdown.renderer.render(tokens, markdown.options, {})
        # What may have to be scrolled can be reached by the keyboard.
        return Markup(body.replace("<pre>", '<pre tabindex="0">')), title

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
            self._templates.get_template(template).render(
                way=way, target=str(target), own=own, facts=self.facts, **shows
            ),
            encoding="utf-8",
        )


def _text_after(tokens: list[Token], place: int) -> str:
    """The text of a section, up to the next heading."""
    parts: list[str] = []
    for token in tokens[place:]:
        if token.type == "heading_open":
            break
        if token.type == "inline":
            parts += [child.content for child in token.children or [] if child.content]
    return " ".join(" ".join(parts).split())


def _first_comment(text: str) -> str:
    return " ".join(re.findall(r"^(?:--|#) ?(.*)$", text.partition("\n\n")[0], re.MULTILINE))


def _way(start: PurePosixPath, end: PurePosixPath) -> str:
    """The relative address from one page to another."""
    return PurePosixPath(os.path.relpath(end, start.parent)).as_posix()


def _anchor(heading: str) -> str:
    """As GitHub names headings, so that a link works there and here."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
