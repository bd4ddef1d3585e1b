"""What analysts open, as an asset: `analytics.duckdb`, replaced when everything before it went well."""

from typing import Any

import dagster as dg

from dagster_project import nightly, progress
from dagster_project.settings import load_settings
from dagster_project.warehouse.database import DatabaseError, open_warehouse
from dagster_project.warehouse.publish import publish

from .raw import OWNERS, POOL
from .tables import model_key


@dg.asset(
    key=dg.AssetKey(["analytics"]),
    deps=[model_key(name) for name in nightly.models()],
    group_name="published",
    description="The database that analysts open: `analytics.duckdb`, a copy of the warehouse, replaced atomically.",
    kinds={"duckdb"},
    owners=OWNERS,
    pool=POOL,
)
def analytics(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """Publish. A run that changed nothing leaves the published file as it is."""
    settings = load_settings()
    built = progress.results.get("build")
    unchanged = built is not None and not any(table.changed for table in built.values())
    try:
        if unchanged and settings.analytics_file.exists():
            size = settings.analytics_file.stat().st_size
        else:
            progress.tell("publishing analytics.duckdb")
            with open_warehouse(settings, context.log.info) as connection:
                size = publish(connection, settings)
    except DatabaseError as error:
        raise dg.Failure(str(error)) from error
    return dg.MaterializeResult(
        metadata={
            "bytes": dg.MetadataValue.int(size),
            "replaced": dg.MetadataValue.bool(not unchanged),
            "path": dg.MetadataValue.path(str(settings.analytics_file)),
        }
    )
