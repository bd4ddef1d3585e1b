"""Takes what lies at the top of the checkout, beside the package, into the wheel; all else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    *("sql", "deploy", "docs", "data/sample", "warehouse.toml", "workspace.yaml"),
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"),
)


class WithShipped(build_py):
    """In a checkout that is installed in place, the files are where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / "dagster_project" / "shipped"
        shutil.rmtree(folder, ignore_errors=True)
        for name in SHIPPED:
            source, target = Path(name), folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": WithShipped})
