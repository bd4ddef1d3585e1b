"""What the documentation says is there: links, commands, settings. No network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

from dagster_project.cli import main
from dagster_project.pipeline import nightly
from dagster_project.settings import Settings, project_root
from dagster_project.sources import retained_tables

pytestmark = pytest.mark.fast

ROOT = project_root()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tests_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`(tests/[\w./]+)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_promise_names_a_test() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    promises = text.partition("## Promises")[2].partition("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    assert [row for row in rows if "`tests/" not in row] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = "\n".join(
        [*re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)), *re.findall(r"^    (.*)$", text, re.MULTILINE)]
    )
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|\s)make ([a-z-]+)", code, re.MULTILINE)) <= targets
    assert isinstance(main, click.Group)
    named = re.findall(r"(?:^|[\s/])warehouse ([a-z][a-z-]*)(.*)", code, re.MULTILINE)
    assert {command for command, _ in named} <= set(main.commands)
    for command, rest in named:
        called = main.commands[command]
        if isinstance(called, click.Group):  # its own commands have the options
            assert rest.split() == [] or rest.split()[0] in called.commands, f"warehouse {command} {rest}"
            called = called.commands[rest.split()[0]] if rest.split() else called
        options = {o for p in called.params for o in p.opts} | {"--help", "--"}
        said = re.findall(r"(?:^|\s)(--[a-z-]*)", rest.split("#")[0].split('"')[0])
        assert set(said) <= options, f"warehouse {command}"


def test_readme_names_every_command() -> None:
    assert isinstance(main, click.Group)
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in main.commands if f"warehouse {name}" not in pages] == []


def _keys(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every key of the settings with its default, as in the file."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= _keys(kind, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = field.get_default(call_default_factory=True)
    return found


def _documented(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found |= _documented(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "warehouse.toml").read_text(encoding="utf-8")
    defaults = {key: value for key, value in _keys(Settings).items() if key not in ("data", "raw")}
    defaults |= {f"retention.{name}_days": 0 for name in retained_tables()}
    documented = _documented(tomllib.loads(text))
    # A key that is not set by default stands there commented out.
    absent = {key for key, value in defaults.items() if value is None}
    assert documented == {key: value for key, value in defaults.items() if key not in absent}
    for key in absent:
        assert re.search(rf"^# {key.rpartition('.')[2]} = ", text, re.MULTILINE), key


def test_changelog_names_every_table() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    tables = [name for name, model in nightly.models().items() if model.schema != "core"]
    assert [name for name in tables if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_knows_a_machine(page: Path) -> None:
    assert (
        re.findall(r"(?<![\w.~`-])/(?:home|root|tmp|work|Users|var)/\S*", page.read_text(encoding="utf-8"))
        == []
    )
