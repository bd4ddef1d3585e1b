"""The documentation site: everything has a page, and no link is dead."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_project.cli import main, site
from dagster_project.pipeline import nightly
from dagster_project.rendering import graphs


class _Page(HTMLParser):
    """A page's links, the places in it that can be linked to, its tags and its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
            if name == "id":
                self.ids.add(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, _Page]:
    folder = tmp_path_factory.mktemp("site")
    pages = site.write(folder)
    found = {file: _Page(file) for file in folder.rglob("*.html")}
    assert len(found) == pages
    return found


def test_no_link_is_dead(written: dict[Path, _Page]) -> None:
    dead = []
    for file, page in written.items():
        for link in page.links:
            if link.startswith(("https://", "http://", "mailto:")):
                continue
            path, _, anchor = link.partition("#")
            target = (file.parent / path).resolve() if path else file
            if not target.is_file() or (anchor and target in written and anchor not in written[target].ids):
                dead.append(f"{file.name}: {link}")
    assert dead == []


def test_every_table_and_column_is_there(written: dict[Path, _Page]) -> None:
    pages = {file.stem: page for file, page in written.items() if file.parent.name == "tables"}
    for model in nightly.models().values():
        assert {column.name for column in model.columns} <= pages[model.name].ids
        assert model.about in pages[model.name].text
    (listed,) = (page for file, page in written.items() if file.name == "tables.html")
    assert {f"tables/{name}.html" for name in nightly.models()} <= set(listed.links)


def test_lineage_leads_from_column_to_column(written: dict[Path, _Page]) -> None:
    (page,) = (page for file, page in written.items() if file.name == "marts.company_profiles.html")
    assert "core.company_profiles.html#calls_30d" in page.links
    (read,) = (page for file, page in written.items() if file.name == "core.company_profiles.html")
    assert "marts.company_profiles.html" in read.links


def test_pages_need_no_server_and_no_script_but_the_search(written: dict[Path, _Page]) -> None:
    for file, page in written.items():
        assert not {"iframe", "style"} & page.tags
        assert ("script" in page.tags) == (file.name == "search.html")
        assert not [link for link in page.links if link.startswith("/")]


def test_the_search_knows_every_table_column_and_heading(written: dict[Path, _Page]) -> None:
    folder = next(file.parent for file in written if file.name == "search.html")
    index = (folder / "index.js").read_text()
    found = json.loads(index.removeprefix("const INDEX = ").removesuffix(";\n"))
    names = {(kind, name) for kind, name, _, _ in found}
    for model in nightly.models().values():
        assert ("table", model.name) in names
        assert {("column", f"{model.name}.{c.name}") for c in model.columns} <= names
    assert ("text", "For programs") in names
    for _, name, _, place in found:
        path, _, anchor = place.partition("#")
        assert not anchor or anchor in written[folder / path].ids, name


def test_lineage_is_drawn_and_its_boxes_lead_to_their_tables(written: dict[Path, _Page]) -> None:
    (page,) = (page for file, page in written.items() if file.name == "lineage.html")
    assert {"svg", "path", "rect"} <= page.tags
    assert {f"tables/{m.name}.html" for m in nightly.models().values() if m.inputs} <= set(page.links)
    (table,) = (page for file, page in written.items() if file.name == "ops.files.html")
    assert "svg" in table.tags
    assert "core.rejected_updates.html" in table.links


def test_a_graph_goes_from_left_to_right_and_knows_what_is_around() -> None:
    inputs = {"c": ["b", "a"], "b": ["a"], "d": ["c"], "other": ["a"]}
    graph = graphs.layered(inputs)
    x = {node.name: node.x for node in graph.nodes}
    assert x["a"] < x["b"] < x["c"] < x["d"]
    assert x["other"] == x["b"]
    assert {(edge.start, edge.end) for edge in graph.edges} == {
        *(("b", "c"), ("a", "c"), ("a", "b"), ("c", "d"), ("a", "other")),
    }
    assert len({(node.x, node.y) for node in graph.nodes}) == 5
    assert graphs.around("b", inputs) == {"b": ["a"], "c": ["b"], "d": ["c"]}
    assert graphs.layered({"alone": []}).edges == []


def test_what_is_published_is_told_of(tmp_path: Path) -> None:
    at = datetime(2026, 3, 31, 2, 5, tzinfo=UTC)
    site.write(tmp_path, site.Published(date(2026, 3, 31), {"marts.company_profiles": (12345, at)}))
    assert "12,345" in (tmp_path / "tables.html").read_text()
    table = (tmp_path / "tables" / "marts.company_profiles.html").read_text()
    assert "12,345" in table
    assert "2026-03-31 02:05" in table
    assert "windows end with 2026-03-31" in (tmp_path / "index.html").read_text()


def test_the_command_writes_it_and_says_where(tmp_path: Path) -> None:
    out = tmp_path / "new" / "site"
    result = CliRunner().invoke(main, ["docs", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert (out / "index.html").is_file()
    assert "index.html" in result.output
    again = CliRunner().invoke(main, ["docs", "--out", str(out / "index.html" / "below")])
    assert again.exit_code == 1
    assert "--out" in again.output
