"""Models as assets: one asset a table, built together in one step and one transaction, with their checks.

What analysts open follows in the same step, when everything before it went well.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any

import dagster as dg

from dagster_project.destinations import notifications
from dagster_project.pipeline import nightly
from dagster_project.settings import Settings, load_settings
from dagster_project.sources import all_sources
from dagster_project.warehouse.build import Built, CheckResult, ChecksFailed, checks_of
from dagster_project.warehouse.database import Connection, open_warehouse
from dagster_project.warehouse.models import Model
from dagster_project.warehouse.publish import is_published, note_outcome, publish

from .cohorts import cohorts_told
from .raw import OWNERS, POOL, raw_key
from .results import RESULTS, results_of
from .steps import RETRIES, cluster_metadata, explained, failed, kinds_of, quiet_about_checks

_log = logging.getLogger(__name__)
_RAW_ASSETS = {source.table for source in all_sources()}
_LARGE = {f"raw.{table.name}" for source in all_sources() for table in source.tables if table.is_large}


class BuildConfig(dg.Config):
    """as_of: the GMT day (YYYY-MM-DD) at whose end all windows end; default: today."""

    as_of: str | None = None


def model_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("."))


def _deps(model: Model) -> list[dg.AssetKey]:
    keys = []
    for name in model.inputs:
        if name.startswith("raw."):
            if name.removeprefix("raw.") in _RAW_ASSETS:
                keys.append(raw_key(name.removeprefix("raw.")))
        elif name not in model.previous and nightly.models()[name].by != (model.by or ""):
            keys.append(model_key(name))
    return keys


def _spec(model: Model) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=model_key(model.name),
        deps=_deps(model),
        group_name=model.schema,
        description=f"{model.about}\n\n**Grain:** {', '.join(model.grain) or 'none'}",
        kinds={"duckdb", "python" if model.by else "sql", *kinds_of(_sums_up_large(model))},
        owners=OWNERS,
        code_version=model.code,
        skippable=True,
        metadata={
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(c.name, c.type, description=c.about) for c in model.columns]
            ),
            "file": f"sql/{model.schema}/{model.table}.sql",
        },
    )


def _sums_up_large(model: Model) -> bool:
    """Whether a cluster may be asked for what it is computed from."""
    return model.rebuild == "merge" and not _LARGE.isdisjoint(model.inputs)


def _check_specs(model: Model) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=model_key(model.name),
            blocking=not check.warns,
            description=f"No rows from:\n\n```sql\n{check.query}\n```",
        )
        for check in checks_of(model)
    ]


PUBLISHED = dg.AssetKey(["analytics"])


def _published_spec() -> dg.AssetSpec:
    # Made here: Dagster would take a spec that lies about in a module for another asset.
    models = nightly.models()
    read = {name for model in models.values() for name in model.inputs if name not in model.previous}
    return dg.AssetSpec(
        key=PUBLISHED,
        # The others are behind these; Dagster looks each up, every night.
        deps=[model_key(name) for name in models if name not in read],
        group_name="published",
        description="The database that analysts open: `analytics.duckdb`, a copy of the warehouse, replaced atomically.",
        kinds={"duckdb"},
        owners=OWNERS,
        skippable=True,
        freshness_policy=dg.FreshnessPolicy.time_window(
            timedelta(hours=load_settings().freshness.published_hours)
        ),
    )


@dg.multi_asset(
    name="build_tables",
    specs=[*(_spec(model) for model in nightly.models().values()), _published_spec()],
    check_specs=[check for model in nightly.models().values() for check in _check_specs(model)],
    can_subset=True,
    pool=POOL,
    retry_policy=RETRIES,
    required_resource_keys={RESULTS},
)
def tables(
    context: dg.AssetExecutionContext, config: BuildConfig
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Bring every table that is out of date up to date, check it, keep all of it or nothing, then publish.

    A night's run tells of the tables that changed; a run of chosen tables tells of each of them.
    """
    settings, results = load_settings(), results_of(context)
    selected = {".".join(key.path) for key in context.selected_asset_keys}
    everything = selected >= set(nightly.models())
    quiet_about_checks(context)
    with explained(context, results):
        try:
            as_of = nightly.day_of(config.as_of)
        except ValueError as error:
            raise failed(context, results, str(error), str(error)) from None
        try:
            with open_warehouse(settings) as connection:
                built = nightly.build_tables(
                    connection,
                    settings,
                    as_of=as_of,
                    run_id=context.run.run_id,
                    selected=selected,
                )
                by_cluster = cluster_metadata(settings)
                told = [
                    _result(connection, built[name], by_cluster)
                    for name in nightly.models()
                    if name in selected and (built[name].changed or not everything)
                ]
                # A check may read another table than its own, and find something when only that one changed.
                rechecked = [
                    _check_result(check)
                    for name in nightly.models()
                    if name in selected and everything and built[name].checked and not built[name].changed
                    for check in built[name].checks
                ]
                if "marts.cohort_changes" in built:
                    news = built["marts.cohort_changes"].changed
                    for materialization in cohorts_told(connection, context.instance, news=news):
                        context.log_event(materialization)
                if PUBLISHED in context.selected_asset_keys:
                    told.append(_published(connection, settings, by_cluster))
                    _notify(connection, settings)
        except ChecksFailed as error:
            for result in error.results:
                if result.model in selected:
                    yield _check_result(result)
            title = "checks failed, nothing was changed:\n"
            found = "\n".join(f"{one.model}: {one.name}: {one.failures} rows" for one in error.results)
            raise failed(context, results, f"{title}{error}", title + found) from None
    results.built = built
    yield from told
    yield from rechecked


def _published(
    connection: Connection, settings: Settings, by_cluster: Mapping[str, dg.MetadataValue]
) -> dg.MaterializeResult[Any]:
    """Publish, where anything changed. Told of every night: freshness is counted from it."""
    changed = not is_published(connection, settings)
    if changed:
        _log.debug("publishing analytics.duckdb")
        publish(connection, settings)
    note_outcome(settings, nightly.utc_now())
    size = settings.analytics_file.stat().st_size
    return dg.MaterializeResult(PUBLISHED, metadata={"bytes": size, "changed": changed, **by_cluster})


def _notify(connection: Connection, settings: Settings) -> None:
    """Tell who entered or left cohorts that say so. What was told is published, too. A webhook that fails stops nothing."""
    told = notifications.tell(connection, settings)
    for problem in told.problems:
        _log.warning("%s", problem, extra={"event": "notifications"})
    if told.changed:
        publish(connection, settings)


def _result(
    connection: Connection, built: Built, by_cluster: Mapping[str, dg.MetadataValue]
) -> dg.MaterializeResult[Any]:
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(built.rows),
        "changed": dg.MetadataValue.bool(built.changed),
    }
    if built.changed:
        # Tables of one module are computed together: each says what all of them took.
        metadata["build_seconds"] = dg.MetadataValue.float(built.seconds)
        if _sums_up_large(nightly.models()[built.model]):
            metadata |= by_cluster  # of all of them: each sum is several operations
        lineage = _lineage(connection, built.model)
        if lineage:
            metadata["dagster/column_lineage"] = dg.MetadataValue.column_lineage(
                dg.TableColumnLineage(lineage)
            )
    return dg.MaterializeResult(
        model_key(built.model),
        metadata=metadata,
        check_results=[_check_result(check) for check in built.checks],
    )


def _check_result(result: CheckResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=result.passed,
        check_name=result.name,
        asset_key=model_key(result.model),
        severity=dg.AssetCheckSeverity.WARN if result.warns else dg.AssetCheckSeverity.ERROR,
        metadata={
            "rows": result.failures,
            # Whether they are the rows of the last time, without a word of them.
            **({"fingerprint": sha256(result.sample.encode()).hexdigest()[:8]} if result.failures else {}),
        },
    )


def _lineage(connection: Connection, model: str) -> dict[str, list[dg.TableColumnDep]]:
    found: dict[str, list[dg.TableColumnDep]] = {}
    for column, source, source_column in connection.execute(
        "SELECT column_name, source_model, source_column FROM core.column_lineage WHERE model = ? ORDER BY ALL",
        [model],
    ).fetchall():
        found.setdefault(column, []).append(
            dg.TableColumnDep(asset_key=model_key(source), column_name=source_column)
        )
    return found


defs: dg.Definitions = dg.Definitions(assets=[tables])
