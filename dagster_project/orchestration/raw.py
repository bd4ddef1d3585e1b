"""Sources as assets: one asset a raw table, loaded together in one step."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.pipeline import nightly
from dagster_project.settings import load_settings
from dagster_project.sources import Source, all_sources
from dagster_project.sources.loading import LoadSummary
from dagster_project.warehouse.database import open_warehouse

from .results import RESULTS, results_of
from .steps import RETRIES, cluster_metadata, explained, kinds_of, told

OWNERS = ["team:data"]
POOL = "duckdb"  # one writer at a time, also between runs


class LoadConfig(dg.Config):
    """full: load every file again, as it was loaded before, and rebuild every table from that.

    apply_settings: and under what is set now, also where that was another when it was loaded.
    """

    full: bool = False
    apply_settings: bool = False


def raw_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", table])


def _spec(source: Source) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=raw_key(source.table),
        group_name="raw",
        description=f"{source.about} From `raw/{source.folder}/`.",
        kinds={"duckdb", "file", *kinds_of(source.main.is_large)},
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
    required_resource_keys={RESULTS},
)
def raw_tables(context: dg.AssetExecutionContext, config: LoadConfig) -> Iterator[dg.MaterializeResult[Any]]:
    """Find what is new below raw/ and load it."""
    settings, results = load_settings(), results_of(context)
    selected = {key.path[-1] for key in context.selected_asset_keys}

    with explained(context, results), open_warehouse(settings) as connection:
        result = nightly.load_new_files(
            connection, settings, full=config.full, apply_settings=config.apply_settings, selected=selected
        )
    results.loaded = result
    for warning in [
        *result.warnings,
        *(f"not read: {path}: unknown folder or format" for path in result.unknown),
    ]:
        told(context, warning)
    for number, what in ((len(result.warnings), "warnings"), (len(result.unknown), "files left alone")):
        if number:
            context.log.warning(f"{number} {what}; the log of the process and `warehouse status` name them")
    by_cluster = cluster_metadata(settings)
    for source in all_sources():
        if source.table in selected:
            yield dg.MaterializeResult(
                raw_key(source.table),
                metadata=_account(result.summaries.get(source.folder))
                | (by_cluster if source.main.is_large else {}),
            )


def _account(summary: LoadSummary | None) -> dict[str, dg.MetadataValue]:
    """The account of one source's load."""
    summary = summary or LoadSummary()
    account: dict[str, dg.MetadataValue] = {
        name: dg.MetadataValue.int(getattr(summary, name))
        for name in ("files", "bytes", "records", "loaded", "duplicates", "rejected", "repaired")
    }
    if summary.unreadable:
        account["unreadable"] = dg.MetadataValue.int(len(summary.unreadable))
    return account


defs: dg.Definitions = dg.Definitions(assets=[raw_tables])
