"""A file with one query as an asset: a cohort, an alert rule, a meter. A table is computed from it, so no step is its own."""

from collections.abc import Sequence

import dagster as dg

from dagster_project.warehouse.models import tables_in

from .raw import OWNERS


def asset_of(key: Sequence[str], query: str, file: str, column: dg.TableColumn) -> dg.AssetSpec:
    """key: its group first. column: what the query returns, as people should know it."""
    return dg.AssetSpec(
        key=dg.AssetKey(key),
        deps=[dg.AssetKey(table.split(".")) for table in tables_in(query)],
        group_name=key[0],
        description=f"```sql\n{query}\n```",
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        metadata={"dagster/column_schema": dg.TableSchema([column]), "file": file},
    )
