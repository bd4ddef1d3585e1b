"""Sources as assets: one asset a raw table, loaded together in one step."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project import nightly, progress
from dagster_project.settings import load_settings
from dagster_project.sources import Source, all_sources
from dagster_project.sources.loading import LoadSummary
from dagster_project.warehouse.database import open_warehouse

from .steps import RETRIES, explained

OWNERS = ["team:data"]
POOL = "duckdb"  # one writer at a time, also between runs


class LoadConfig(dg.Config):
    """full: load every file again, as it was loaded before, and rebuild every table from that."""

    full: bool = False


def raw_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", table])


def _spec(source: Source) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=raw_key(source.table),
        group_name="raw",
        description=f"{source.about} From `raw/{source.folder}/`.",
        kinds={"duckdb", "file"},
        owners=OWNERS,
        metadata={
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(c.name, c.type, description=c.about) for c in source.main.columns]
            ),
            "formats": ", ".join(sorted(source.formats)),
        },
    )


@dg.multi_asset(
    name="load_raw_files",
    specs=[_spec(source) for source in all_sources()],
    can_subset=True,
    pool=POOL,
    retry_policy=RETRIES,
)
def raw_tables(context: dg.AssetExecutionContext, config: LoadConfig) -> Iterator[dg.MaterializeResult[Any]]:
    """Find what is new below raw/ and load it."""
    settings = load_settings()
    selected = {key.path[-1] for key in context.selected_asset_keys}

    with explained(context), open_warehouse(settings) as connection:
        result = nightly.load_new_files(connection, settings, full=config.full, selected=selected)
    progress.results["load"] = result
    for warning in [
        *result.warnings,
        *(f"not read: {path}: unknown folder or format" for path in result.unknown),
    ]:
        context.log.warning(warning)
    for source in all_sources():
        if source.table in selected:
            yield dg.MaterializeResult(
                raw_key(source.table), metadata=_told(result.summaries.get(source.folder))
            )


def _told(summary: LoadSummary | None) -> dict[str, dg.MetadataValue]:
    """The account of one source's load."""
    summary = summary or LoadSummary()
    told: dict[str, dg.MetadataValue] = {
        name: dg.MetadataValue.int(getattr(summary, name))
        for name in ("files", "bytes", "records", "loaded", "duplicates", "rejected", "repaired")
    }
    if summary.unreadable:
        told["unreadable"] = dg.MetadataValue.md("\n".join(f"- {line}" for line in summary.unreadable))
    return told
