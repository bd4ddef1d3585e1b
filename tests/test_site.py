"""The documentation site: everything has a page, and no link is dead."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_project.cli import main, site
from dagster_project.pipeline import nightly


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


def test_pages_need_no_server_and_no_script(written: dict[Path, _Page]) -> None:
    for page in written.values():
        assert not {"script", "iframe", "style"} & page.tags
        assert not [link for link in page.links if link.startswith("/")]


def test_the_command_writes_it_and_says_where(tmp_path: Path) -> None:
    out = tmp_path / "new" / "site"
    result = CliRunner().invoke(main, ["docs", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert (out / "index.html").is_file()
    assert "index.html" in result.output
    again = CliRunner().invoke(main, ["docs", "--out", str(out / "index.html" / "below")])
    assert again.exit_code == 1
    assert "--out" in again.output
