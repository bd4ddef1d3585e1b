"""The built wheel: what is in it, and that it works outside a checkout, in a project of one's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dagster_project import projects
from dagster_project.settings import project_root
from dagster_project.sources import all_sources

ROOT = project_root()
BESIDE = ("sql", "deploy", "docs", "data/sample", "dagster_project")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("checkout")
    for name in BESIDE:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copyfile(file, source / file.name)
    out = tmp_path_factory.mktemp("wheel")
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(out)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_carries_what_lies_beside_the_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        path.relative_to(ROOT).as_posix()
        for folder in ("sql", "deploy", "data/sample")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    ]
    missing = [
        name
        for name in (*wanted, "warehouse.toml", "README.md")
        if f"dagster_project/shipped/{name}" not in names
    ]
    assert missing == []
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files where Python finds them before the checkout. (Its dependencies are those of this environment.)"""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def command(installed: Path, folder: Path, *words: str, status: int = 0) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WAREHOUSE_", "DAGSTER_", "HUBSPOT_"))}
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project.cli", *words],
        env={**kept, "PYTHONPATH": str(installed)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_an_installed_package_runs_a_project_of_its_own_with_own_files_over_shipped_ones(
    installed: Path, tmp_path: Path
) -> None:
    command(installed, tmp_path, "new", "mine", "--sample")
    project = tmp_path / "mine"
    assert "not empty" in command(installed, tmp_path, "new", "mine", status=1)
    (project / "sql/cohorts/company__everybody.sql").write_text(
        "-- All of them.\nSELECT company_id FROM marts.company_profiles\n"
    )
    (project / "sql/cohorts/company__never_called.sql").write_text(
        "-- Nobody.\nSELECT company_id FROM marts.company_profiles WHERE false\n"
    )
    inner = project / "sql" / "cohorts"  # found from anywhere inside
    command(installed, inner, "run", "--as-of", "2026-11-21")
    assert (project / "data/analytics.duckdb").is_file()
    query = "SELECT cohort, count(*) AS n FROM cohort_members WHERE entity = 'company' GROUP BY ALL"
    members = dict(
        line.split(",") for line in command(installed, project, "sql", query, "--format", "csv").split()[1:]
    )
    assert int(members["everybody"]) > 10
    assert "never_called" not in members
    assert "gone_quiet" in members, "what comes with the release counts, too"
    assert not list(installed.rglob("*.duckdb")), "nothing is written into the package"
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    assert "warehouse new FOLDER" in command(installed, nowhere, "run", status=2)
    assert not list(nowhere.iterdir()), "who forgot to go to the project has not begun another"


def test_a_new_project_has_a_folder_for_each_source(tmp_path: Path) -> None:
    projects.make(ROOT, tmp_path / "mine", sample=False)
    made = tmp_path / "mine/data/raw"
    assert all((made / source.folder).is_dir() for source in all_sources())
    assert not [path for path in made.rglob("*") if path.is_file()]


def test_what_was_merged_before_is_removed_once_nobody_uses_it(tmp_path: Path) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    for folder in (shipped, own):
        (folder / "sql" / "cohorts").mkdir(parents=True)
        (folder / "sql" / "cohorts" / f"company__{folder.name}.sql").write_text("SELECT 1")
    first = projects.laid_over(shipped, own)
    assert {file.name for file in first.rglob("*.sql")} == {"company__own.sql", "company__shipped.sql"}
    half_done = first.with_name("half.part")
    half_done.mkdir()
    (own / "sql" / "cohorts" / "company__second.sql").write_text("SELECT 2")
    second = projects.laid_over(shipped, own)
    assert {folder.name for folder in first.parent.iterdir()} == {first.name, second.name, half_done.name}
    for folder in (first, second, half_done):
        os.utime(folder, (0, 0))
    assert projects.laid_over(shipped, own) == second, "and that it is in use is noted"
    (own / "sql" / "cohorts" / "company__third.sql").write_text("SELECT 3")
    third = projects.laid_over(shipped, own)
    assert {folder.name for folder in first.parent.iterdir()} == {second.name, third.name}
