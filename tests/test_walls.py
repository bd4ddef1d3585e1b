"""What may import what: a wall between rooms that a reader can trust without reading everything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "dagster_project"
ROOT = Path(__file__).resolve().parent.parent / PACKAGE
MODULES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}

# room: the rooms that it must not know, and why
WALLS = {
    "readers": (
        ("warehouse", "sources", "frames", "destinations", "defs"),
        "readers turn bytes into records; they know no tables and no rules of a source",
    ),
    "warehouse": (
        ("sources", "frames", "destinations", "defs"),
        "the warehouse builds whatever it is given; it knows no source, no frame and no destination by name",
    ),
    "frames": (("sources", "defs", "destinations"), "frames compute tables from tables, not from files"),
    "sources": (("frames", "defs", "destinations"), "sources fill raw tables; what is computed comes later"),
    "destinations": (("sources", "frames", "defs"), "destinations read what is published, nothing else"),
    "portal": (
        ("readers", "sources", "frames", "defs", "nightly", "launch"),
        "the portal shows what is published; what stands behind it is not its business",
    ),
    "hubspot_emulator": (
        ("readers", "sources", "warehouse", "frames", "defs", "destinations"),
        "the emulator stands for another company's machine",
    ),
}
KNOWS_DAGSTER = ("defs/", "definitions.py", "launch.py")
LIBRARIES = ("dagster", "duckdb", "starlette", "polars", "pyarrow", "click")
MAY_SET = {"launch.py": {"set 'WAREHOUSE_PROJECT'", "set 'DAGSTER_HOME'"}}


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


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


@pytest.mark.parametrize("name", MODULES)
def test_only_the_orchestrators_room_imports_dagster(name: str) -> None:
    if not name.startswith(KNOWS_DAGSTER):
        found = [line for module, line in imports(name) if is_in(module, "dagster")]
        assert not found, (
            f"{name}:{found[0]} imports dagster: what is done must run and be tested without the orchestrator; "
            f"only {', '.join(KNOWS_DAGSTER)} know it"
        )


@pytest.mark.parametrize("name", MODULES)
def test_of_libraries_only_what_is_public_is_imported(name: str) -> None:
    private = [
        (module, line)
        for module, line in imports(name)
        if module.partition(".")[0].split("_")[0] in LIBRARIES
        and any(part.startswith("_") for part in module.split("."))
        and not module.startswith(PACKAGE)
    ]
    assert not private, f"{name}: {private[0]}: it may be gone with the library's next release"


@pytest.mark.parametrize(
    "file", [*ROOT.parent.glob("deploy/**/*.yaml"), *ROOT.parent.glob("*.yaml")], ids=str
)
def test_settings_name_nothing_private(file: Path) -> None:
    assert "._" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MODULES)
def test_rooms_do_not_look_behind_their_walls(name: str) -> None:
    others, reason = WALLS.get(name.split("/")[0], ((), ""))
    for module, line in imports(name):
        for other in others:
            assert not is_in(module, f"{PACKAGE}.{other}"), f"{name}:{line} imports {module}: {reason}"


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


@pytest.mark.parametrize("name", [name for name in MODULES if name != "settings.py"])
def test_only_settings_read_the_environment(name: str) -> None:
    found = [(use, line) for use, line in environment_uses(name) if use not in MAY_SET.get(name, set())]
    assert not found, (
        f"{name}:{found[0][1]}: {found[0][0]} of the environment: settings.py is its only reader, so that every "
        "setting is checked before anything is touched"
    )


@pytest.mark.parametrize("name", [name for name in MODULES if name != "warehouse/database.py"])
def test_databases_are_opened_in_one_place(name: str) -> None:
    found = [
        node.lineno
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "duckdb.connect"
    ] + [line for module, line in imports(name) if module == "duckdb.connect"]
    assert not found, (
        f"{name}:{found[0]} opens a database: warehouse/database.py does, with its locks and limits"
    )


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(TREES[name]), f"{name} has no docstring"


def test_all_rooms_are_there() -> None:
    assert set(WALLS) <= {name.split("/")[0] for name in MODULES}, "a wall around a room that is gone"
