"""Cohorts as assets: one a file in `sql/cohorts/`. They are computed as part of `marts.cohort_members`, so no step is
theirs, and a night without news does not tell of them: a run tells of those that somebody entered or left.
"""

from collections.abc import Iterator

import dagster as dg

from dagster_project.models.cohorts import Cohort, cohorts
from dagster_project.warehouse.database import Connection

from .queries import asset_of

_MOVED = """
WITH last AS (SELECT max(changed_at) AS changed_at FROM marts.cohort_changes)
SELECT c.entity, c.cohort, count(v.id) FILTER (WHERE v.change = 'entered') AS entered,
       count(v.id) FILTER (WHERE v.change = 'left') AS left_it,
       (SELECT count(*) FROM marts.cohort_members AS m WHERE m.entity = c.entity AND m.cohort = c.cohort) AS members
FROM marts.cohorts AS c LEFT JOIN marts.cohort_changes AS v
    ON v.entity = c.entity AND v.cohort = c.cohort AND v.changed_at = (SELECT changed_at FROM last)
GROUP BY c.entity, c.cohort ORDER BY c.entity, c.cohort"""


def _key(entity: str, name: str) -> list[str]:
    return ["cohorts", f"{entity}__{name}"]


def _asset(cohort: Cohort) -> dg.AssetSpec:
    key = _key(cohort.entity, cohort.name)
    column = dg.TableColumn(f"{cohort.entity}_id", "VARCHAR", description="who is in it")
    return asset_of(key, cohort.query, f"sql/cohorts/{key[1]}.sql", column)


def cohorts_told(
    connection: Connection, instance: dg.DagsterInstance, *, news: bool
) -> Iterator[dg.AssetMaterialization]:
    """What a run tells of cohorts: of those that somebody entered or left (news: in this run), and of those of which
    Dagster has never been told, which would look as if they had never been computed. How many, not who: Dagster keeps what
    it is told.
    """
    known = {(cohort.entity, cohort.name) for cohort in cohorts()}
    for entity, name, entered, left, members in connection.execute(_MOVED).fetchall():
        if (entity, name) not in known:
            continue
        moved = news and (entered or left)
        key = dg.AssetKey(_key(entity, name))
        if moved or instance.get_latest_materialization_event(key) is None:
            yield dg.AssetMaterialization(
                key,
                metadata={
                    "dagster/row_count": dg.MetadataValue.int(members),
                    "entered": dg.MetadataValue.int(entered if moved else 0),
                    "left": dg.MetadataValue.int(left if moved else 0),
                },
            )


defs: dg.Definitions = dg.Definitions(assets=[_asset(cohort) for cohort in cohorts()])
