"""Health: `sql/health/company.sql` selects components between 0 and 1, its header says what each weighs.

A day's score is kept as it was. Only that of the newest day is computed again, while the day goes on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from dagster_project.warehouse.build import Build, BuildError
from dagster_project.warehouse.columns import identifier
from dagster_project.warehouse.database import Connection, value
from dagster_project.warehouse.models import ModelError
from dagster_project.warehouse.python_models import PythonModel

from .queries import Query, queries

_GOOD, _FAIR = 0.7, 0.4


def company_health() -> Query | None:
    """The query for companies; None: there is no file, or nothing in it."""
    return next((q for q in queries("health") if q.name == "company" and not q.is_empty), None)


class Health:
    obeys = None

    def reads(self) -> Mapping[str, str]:
        query = company_health()
        return query.reads if query else {}

    def fingerprint(self) -> str:
        query = company_health()
        return hashlib.sha256((query.text if query else "").encode()).hexdigest()

    def build(self, work: Build) -> set[str]:
        connection, query = work.connection, company_health()
        if query is None:
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE health_now AS SELECT * FROM core.company_health LIMIT 0"
            )
        else:
            _compute(connection, query)
        connection.execute("DELETE FROM core.company_health")
        connection.execute("INSERT INTO core.company_health BY NAME FROM health_now ORDER BY company_id")
        newest = value(connection, "SELECT max(day) FROM marts.company_health_daily")
        if newest is not None and newest > work.as_of:
            return {"core.company_health"}  # a look back, which is not what was known then
        connection.execute("DELETE FROM marts.company_health_daily WHERE day = ?", [work.as_of])
        connection.execute(
            "INSERT INTO marts.company_health_daily BY NAME SELECT ?::DATE AS day, * FROM health_now ORDER BY company_id",
            [work.as_of],
        )
        return {"core.company_health", "marts.company_health_daily"}


MODEL: PythonModel = Health()


def _compute(connection: Connection, query: Query) -> None:
    """The temporary table health_now. Raises ModelError where the file's header is wrong, BuildError where its query is."""
    weights, good, fair = _header(query)
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE health_found AS {query.of_this_build}")
    except Exception as error:
        raise BuildError(f"{query.file}: {error}") from error
    columns = [row[0] for row in connection.execute("DESCRIBE health_found").fetchall()]
    if set(columns) != {"company_id", *weights}:
        raise ModelError(
            f"{query.file}: it selects {', '.join(columns)}; it must be company_id and the components that have a "
            f"weight: {', '.join(weights)}"
        )
    names = {name: identifier(name) for name in weights}
    twice = value(
        connection,
        "SELECT min(company_id) FROM (SELECT company_id FROM health_found GROUP BY 1 HAVING count(*) > 1)",
    )
    if twice is not None:
        raise BuildError(f"{query.file}: it returns company_id {twice!r} more than once")
    cut = ", ".join(f"least(1.0, greatest(0.0, CAST({n} AS DOUBLE))) AS {n}" for n in names.values())
    # least and greatest pass over nulls: those that do not apply stay null.
    kept = ", ".join(
        f"CASE WHEN f.{n} IS NOT NULL AND NOT isnan(CAST(f.{n} AS DOUBLE)) THEN c.{n} END AS {n}"
        for n in names.values()
    )
    given = " + ".join(f"coalesce({weight} * {names[n]}, 0)" for n, weight in weights.items())
    whole = " + ".join(
        f"CASE WHEN {names[n]} IS NULL THEN 0 ELSE {weight} END" for n, weight in weights.items()
    )
    packed = ", ".join(f"{names[n]} := round({names[n]}, 4)" for n in weights)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE health_now AS
        WITH cut AS (SELECT company_id, {cut} FROM health_found),
        components AS (
            SELECT f.company_id, {kept} FROM health_found AS f JOIN cut AS c ON c.company_id = f.company_id
        ), scored AS (
            SELECT company_id, round(({given}) / nullif({whole}, 0), 4) AS health_score,
                CAST(to_json(struct_pack({packed})) AS JSON) AS components
            FROM components
        )
        SELECT company_id, health_score,
            CASE WHEN health_score >= {good} THEN 'good' WHEN health_score >= {fair} THEN 'fair' ELSE 'poor' END AS health,
            components
        FROM scored WHERE health_score IS NOT NULL"""
    )


def _header(query: Query) -> tuple[dict[str, float], float, float]:
    """Weights by component, and from where on a score is good and fair. Raises ModelError."""
    _, said = query.header(("weights", "good", "fair"))
    try:
        weights = {
            name: float(weight)
            for name, weight in (part.split() for part in said.get("weights", "").split(",") if part.strip())
        }
        good, fair = float(said.get("good", _GOOD)), float(said.get("fair", _FAIR))
    except ValueError:
        weights, good, fair = {}, _GOOD, _FAIR
    is_right = weights and all(w > 0 and re.fullmatch(r"\w+", n) for n, w in weights.items())
    if not is_right or not 0 <= fair <= good <= 1:
        raise ModelError(
            f"{query.file}: its header must say what each component weighs, and from where on a score is good and fair: "
            "-- weights: recency 3, trend 2; -- good: 0.7; -- fair: 0.4"
        )
    return weights, good, fair
