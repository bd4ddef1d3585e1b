"""Alert rules as assets: one a file in `sql/alerts/`. They are computed as part of `marts.alerts`, so no step is theirs."""

import dagster as dg

from dagster_project.models.alerts import rules
from dagster_project.models.queries import Query
from dagster_project.warehouse.models import tables_in

from .raw import OWNERS


def _spec(rule: Query) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=dg.AssetKey(["alerts", rule.name]),
        deps=[dg.AssetKey(table.split(".")) for table in tables_in(rule.text)],
        group_name="alerts",
        description=f"```sql\n{rule.text}\n```",
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        metadata={
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn("detail", "VARCHAR", description="what is said of who it is about")]
            ),
            "file": rule.file,
        },
    )


defs: dg.Definitions = dg.Definitions(assets=[_spec(rule) for rule in rules()])
