"""What every module keeps to, so that a reader can trust it without reading everything.

What may import what is not here: the import contracts in pyproject.toml, which `make lint` holds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

PACKAGE = "dagster_project"
ROOT = Path(__file__).resolve().parent.parent / PACKAGE
MODULES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}

LIBRARIES = ("dagster", "duckdb", "starlette", "polars", "pyarrow", "click")
MAY_SET = {"orchestration/launch.py": {"set 'WAREHOUSE_PROJECT'", "set 'DAGSTER_HOME'"}}


def imports(name: str) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, as a full dotted name, with its line; in functions and for types too."""
    here = [PACKAGE, *name.removesuffix(".py").removesuffix("/__init__").split("/")]
    folder = here if name.endswith("__init__.py") else here[:-1]
    if name == "__init__.py":
        folder = [PACKAGE]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, node.lineno
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def test_of_libraries_only_what_is_public_is_imported() -> None:
    private = [
        f"{name}:{line} imports {module}"
        for name in MODULES
        for module, line in imports(name)
        if module.partition(".")[0].split("_")[0] in LIBRARIES
        and any(part.startswith("_") for part in module.split("."))
        and not module.startswith(PACKAGE)
    ]
    assert not private, f"it may be gone with the library's next release: {private}"


@pytest.mark.parametrize(
    "file", [*ROOT.parent.glob("deploy/**/*.yaml"), *ROOT.parent.glob("*.yaml")], ids=str
)
def test_settings_name_nothing_private(file: Path) -> None:
    assert "._" not in file.read_text(encoding="utf-8")


def environment_uses(name: str) -> Iterator[tuple[str, int]]:
    """Where the environment is read (or, as `set NAME`, written)."""
    tree = TREES[name]
    written = {
        id(target.value): ast.unparse(target.slice)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Subscript)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"):
            yield (f"set {written[id(node)]}" if id(node) in written else "read"), node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (("read", node.lineno) for a in node.names if a.name in ("environ", "getenv"))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("EnvVar"):
            yield "read", node.lineno


def test_only_settings_read_the_environment() -> None:
    found = [
        f"{name}:{line}: {use}"
        for name in MODULES
        if name != "settings.py"
        for use, line in environment_uses(name)
        if use not in MAY_SET.get(name, set())
    ]
    assert not found, f"settings.py checks every setting before anything is touched: {found}"


def test_databases_are_opened_in_one_place() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name in MODULES
        if name != "warehouse/database.py"
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "duckdb.connect"
    ]
    found += [
        f"{name}:{line}"
        for name in MODULES
        for module, line in imports(name)
        if module == "duckdb.connect" and name != "warehouse/database.py"
    ]
    assert not found, f"warehouse/database.py opens databases, with its locks and limits: {found}"


def test_every_module_says_what_it_is_for() -> None:
    without = [name for name in MODULES if not ast.get_docstring(TREES[name])]
    assert not without
