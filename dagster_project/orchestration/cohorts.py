"""Cohorts as assets: one a file in `sql/cohorts/`. They are computed as part of `marts.cohort_members`, so no step is
theirs, and a night without news does not tell of them: a run tells of those that somebody entered or left.
"""

from collections.abc import Iterator

import dagster as dg

from dagster_project.models.cohorts import Cohort, cohorts
from dagster_project.warehouse.database import Connection
from dagster_project.warehouse.models import tables_in

from .raw import OWNERS

_MOVED = """
SELECT c.entity, c.cohort, count(*) FILTER (WHERE c.change = 'entered') AS entered,
       count(*) FILTER (WHERE c.change = 'left') AS left_it,
       (SELECT count(*) FROM marts.cohort_members AS m WHERE m.entity = c.entity AND m.cohort = c.cohort) AS members
FROM marts.cohort_changes AS c
WHERE c.changed_at = (SELECT max(changed_at) FROM marts.cohort_changes)
GROUP BY c.entity, c.cohort ORDER BY c.entity, c.cohort"""


def _key(entity: str, name: str) -> dg.AssetKey:
    return dg.AssetKey(["cohorts", f"{entity}__{name}"])


def _spec(cohort: Cohort) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=_key(cohort.entity, cohort.name),
        deps=[dg.AssetKey(table.split(".")) for table in tables_in(cohort.query)],
        group_name="cohorts",
        description=f"```sql\n{cohort.query}\n```",
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        metadata={
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(f"{cohort.entity}_id", "VARCHAR", description="who is in it")]
            ),
            "file": f"sql/cohorts/{cohort.entity}__{cohort.name}.sql",
        },
    )


def moved(connection: Connection) -> Iterator[dg.AssetMaterialization]:
    """The cohorts that somebody entered or left when they last changed. How many, not who: Dagster keeps what it is told."""
    known = {(cohort.entity, cohort.name) for cohort in cohorts()}
    for entity, name, entered, left, members in connection.execute(_MOVED).fetchall():
        if (entity, name) in known:
            yield dg.AssetMaterialization(
                _key(entity, name),
                metadata={
                    "dagster/row_count": dg.MetadataValue.int(members),
                    "entered": dg.MetadataValue.int(entered),
                    "left": dg.MetadataValue.int(left),
                },
            )


defs: dg.Definitions = dg.Definitions(assets=[_spec(cohort) for cohort in cohorts()])
