"""Cohorts: each file `sql/cohorts/<entity>__<name>.sql` is a query for the ids that are in it now.

Who entered and who left since the last build is kept; where its file says `-- notify: entered, left`, it is also put where
it waits to be told (`destinations/notifications/`). A cohort may read the profiles: it is given those of this build, before
its own result is written into them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from dagster_project.settings import project_root
from dagster_project.warehouse.build import Build, BuildError
from dagster_project.warehouse.database import Connection, value
from dagster_project.warehouse.models import ModelError, bare, tables_in
from dagster_project.warehouse.python_models import PythonModel

from .queries import Query

_PROFILES = re.compile(r'\b"?marts"?\s*\.\s*"?(company_profiles|user_profiles)\b"?', re.IGNORECASE)


@dataclass(frozen=True)
class Cohort:
    entity: str  # company or user
    name: str
    query: str

    @property
    def file(self) -> str:
        return f"sql/cohorts/{self.entity}__{self.name}.sql"

    @property
    def _header(self) -> tuple[str | None, dict[str, str]]:
        return Query(self.file, self.query).header(("notify", "notify_to"))

    @property
    def about(self) -> str | None:
        """The comment at the top of the file: who is in it."""
        return self._header[0]

    @property
    def notifies(self) -> tuple[list[str], str | None]:
        """Which changes are to be told, and the name of the webhook, None for that of the alerts. Raises ModelError."""
        _, said = self._header
        changes = [word.strip() for word in said.get("notify", "").split(",") if word.strip()]
        name = said.get("notify_to") or None
        if set(changes) - {"entered", "left"} or (name is not None and not changes):
            raise ModelError(
                f"{self.file}: -- notify: must be entered, left or both, and -- notify_to: goes with it"
            )
        if name is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise ModelError(
                f"{self.file}: -- notify_to: {name}: must be letters, digits and _; the address is in WAREHOUSE_WEBHOOK_<NAME>"
            )
        return changes, name


def cohorts(folder: Path | None = None) -> list[Cohort]:
    """All cohorts. Raises ModelError on a file whose name does not say what it is."""
    found = []
    for path in sorted((folder or project_root() / "sql" / "cohorts").glob("*.sql")):
        entity, _, name = path.stem.partition("__")
        if entity not in ("company", "user") or not name:
            raise ModelError(f"sql/cohorts/{path.name}: name it company__<name>.sql or user__<name>.sql")
        found.append(Cohort(entity, name, bare(path.read_text(encoding="utf-8-sig"))))
        _ = found[-1].notifies
    return found


class Cohorts:
    """Who is in which cohort; who entered and who left since the last build."""

    obeys = None

    def reads(self) -> Mapping[str, str]:
        return _reads()

    def fingerprint(self) -> str:
        return hashlib.sha256(
            "\n".join(f"{c.entity} {c.name} {c.query}" for c in cohorts()).encode()
        ).hexdigest()

    def build(self, work: Build) -> set[str]:
        return _build(work)


MODEL: PythonModel = Cohorts()


def _reads() -> dict[str, str]:
    """The tables that cohorts read, of this build, and a file that names each."""
    found: dict[str, str] = {}
    for cohort in cohorts():
        try:
            found |= dict.fromkeys(tables_in(_of_this_build(cohort)), cohort.file)
        except ModelError as error:
            raise ModelError(f"{cohort.file}: {error}") from None
    return found


def _build(work: Build) -> set[str]:
    """Compute who is in which cohort, and record who entered and left. Returns the tables that changed."""
    connection = work.connection
    changed = {"marts.cohorts"} if _describe(connection) else set()
    connection.execute("CREATE OR REPLACE TEMP TABLE found (cohort VARCHAR, entity VARCHAR, id VARCHAR)")
    for cohort in cohorts():
        query = _of_this_build(cohort)
        try:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE found_now AS SELECT DISTINCT {cohort.entity}_id AS id FROM (\n{query}\n) "
                "WHERE id IS NOT NULL"
            )
            if value(connection, "SELECT count(*) FROM found_now"):  # none: see `database.transaction`
                connection.execute(
                    "INSERT INTO found SELECT ?, ?, id FROM found_now", [cohort.name, cohort.entity]
                )
        except Exception as error:
            raise BuildError(f"{cohort.file}: {error}") from error
    # A clock that stands or was put back does not mix up the order of what was found.
    last = value(connection, "SELECT max(changed_at) FROM marts.cohort_changes")
    found_at = work.now if last is None else max(work.now, last + timedelta(microseconds=1))
    changes = value(
        connection,
        """
        INSERT INTO marts.cohort_changes
        SELECT cohort, entity, id, $now, 'left' FROM marts.cohort_members ANTI JOIN found USING (cohort, entity, id)
        UNION ALL
        SELECT cohort, entity, id, $now, 'entered' FROM found ANTI JOIN marts.cohort_members USING (cohort, entity, id)""",
        {"now": found_at},
    )
    if not changes:
        return changed
    connection.execute(
        """DELETE FROM marts.cohort_members WHERE (cohort, entity, id) NOT IN (SELECT (cohort, entity, id) FROM found)"""
    )
    connection.execute(
        """
        INSERT INTO marts.cohort_members
        SELECT cohort, entity, id, ? FROM found ANTI JOIN marts.cohort_members USING (cohort, entity, id)""",
        [found_at],
    )
    changed |= {"marts.cohort_members", "marts.cohort_changes"}
    return changed | ({"ops.notifications"} if _notify(connection, found_at) else set())


def _notify(connection: Connection, found_at: datetime) -> int:
    """What was found just now waits to be told, of cohorts that want it. Returns how much."""
    waiting = 0
    for cohort in cohorts():
        changes, name = cohort.notifies
        if changes:
            waiting += value(
                connection,
                """INSERT INTO ops.notifications (cohort, entity, id, change, changed_at, notify_to, state, tries)
                SELECT cohort, entity, id, change, changed_at, ?, 'waiting', 0 FROM marts.cohort_changes
                WHERE changed_at = ? AND cohort = ? AND entity = ? AND list_contains(?::VARCHAR[], change)""",
                [name, found_at, cohort.name, cohort.entity, changes],
            )
    return waiting


def _describe(connection: Connection) -> bool:
    """List the cohorts that have a file. Returns whether these are others than before."""
    wanted = [(cohort.name, cohort.entity, cohort.about) for cohort in cohorts()]
    stands = connection.execute("SELECT cohort, entity, about FROM marts.cohorts").fetchall()
    if set(stands) == set(wanted):
        return False
    connection.execute("DELETE FROM marts.cohorts")
    if wanted:
        connection.executemany("INSERT INTO marts.cohorts VALUES (?, ?, ?)", wanted)
    return True


def _of_this_build(cohort: Cohort) -> str:
    """The query, reading profiles before cohorts are written into them."""
    return _PROFILES.sub(r"core.\1", cohort.query)
