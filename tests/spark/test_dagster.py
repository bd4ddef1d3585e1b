"""What Dagster shows of a run whose heavy half a cluster did."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from harness import Warehouse, on_cluster
from test_definitions import materialize

from dagster_project.orchestration import raw, tables
from dagster_project.pipeline import nightly
from dagster_project.sources import all_sources

from .test_failures import put_calls
from .watching import watched


def test_a_run_names_the_cluster_and_what_it_was_asked_for(
    tmp_path: Path, remote: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "warehouse.toml"
    engine = on_cluster(tmp_path / "data", remote)
    config.write_text("[engine]\n" + "".join(f"{name} = {json.dumps(of)}\n" for name, of in engine.items()))
    monkeypatch.setenv("WAREHOUSE_CONFIG", str(config))
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("WAREHOUSE_RAW", raising=False)
    put_calls(Warehouse(tmp_path / "data", engine=engine), 2)
    with watched(), caplog.at_level(logging.DEBUG, "dagster_project"):
        loaded = materialize("raw.api_calls")["raw.api_calls"]
        built = materialize("core.api_usage_daily", "core.attribution")
    for shown in (loaded, built["core.api_usage_daily"]):
        assert shown["cluster"] == remote
        assert "-" in shown["spark_operations"]
    assert "cluster" not in built["core.attribution"]
    assert [f"events/{n}.jsonl" in caplog.text for n in range(2)] == [True, True]  # progress, by file
    kinds = {source.table: raw._spec(source).kinds for source in all_sources()}
    assert "spark" in kinds["api_calls"]
    assert "spark" not in kinds["company_updates"]
    for name, is_its in (("core.api_usage_daily", True), ("marts.company_profiles", False)):
        assert ("spark" in tables._spec(nightly.models()[name]).kinds) is is_its
