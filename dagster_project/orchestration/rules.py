"""Alert rules and meters as assets: one a file in `sql/alerts/` and `sql/meters/`. They are computed as part of
`marts.alerts` and `marts.meter_usage`, so no step is theirs.
"""

import dagster as dg

from dagster_project.models.alerts import rules
from dagster_project.models.meters import meters
from dagster_project.models.queries import Query
from dagster_project.warehouse.models import tables_in

from .raw import OWNERS


def _spec(query: Query, group: str, column: dg.TableColumn) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=dg.AssetKey([group, query.name]),
        deps=[dg.AssetKey(table.split(".")) for table in tables_in(query.text)],
        group_name=group,
        description=f"```sql\n{query.text}\n```",
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        metadata={"dagster/column_schema": dg.TableSchema([column]), "file": query.file},
    )


_DETAIL = dg.TableColumn("detail", "VARCHAR", description="what is said of who it is about")
_QUANTITY = dg.TableColumn("quantity", "BIGINT", description="what a company used on a day")

defs: dg.Definitions = dg.Definitions(
    assets=[
        *(_spec(rule, "alerts", _DETAIL) for rule in rules()),
        *(_spec(meter, "meters", _QUANTITY) for meter in meters()),
    ]
)
