"""Tables that a destination writes itself, when it sends: what was sent and answered is history.

The build only makes sure that they are there, with the columns and comments of their files.
"""

from __future__ import annotations

from dagster_project.warehouse.build import Build


def build(work: Build) -> set[str]:
    """Change nothing. Returns the tables that changed: none."""
    return set()
