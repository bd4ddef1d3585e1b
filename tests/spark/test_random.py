"""Random traffic on a cluster, against the second reading of the contract and against this machine.

Each example is many small nights, so only `WAREHOUSE_SOAK=1 make test-spark TEST="-m soak"` tries them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from harness import Warehouse, on_cluster
from hypothesis import given, settings
from oracle import Night, OracleSettings, expected
from raw_traffic import AS_OF, FEATURE_SETTINGS, claim_nights, feature_nights, nights
from soak import LONG
from sources.test_feature_slots import assert_by_the_rules
from test_against_oracle import (
    QUICK,
    assert_as_the_contract_has_it,
    assert_same,
    ran,
    write,
)

from .test_nights import every_table
from .watching import watched

pytestmark = [pytest.mark.soak, pytest.mark.skipif(not LONG, reason="takes long: WAREHOUSE_SOAK=1 tries it")]
COUNT = 20
SEEDS = settings(QUICK, max_examples=COUNT)  # the first is always the smallest
_log = logging.getLogger(__name__)


@pytest.fixture(autouse=True)
def did(remote: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What the cluster did of all examples. It does everything, and must have done something."""
    monkeypatch.setenv("WAREHOUSE_TEST_ENGINE", remote)
    with watched() as did:
        yield did
    _log.info("the cluster did %s", dict(did))
    assert did["read"] > 0


@SEEDS
@given(traffic=nights())
def test_all_tables_are_as_the_contract_has_them(traffic: list[Night]) -> None:
    oracle = OracleSettings(routes="all")
    with ran(traffic, oracle) as warehouse:
        assert_as_the_contract_has_it(warehouse, traffic, oracle)


@SEEDS
@given(traffic=feature_nights())
def test_features_are_as_the_contract_has_them(traffic: list[Night]) -> None:
    with ran(traffic, FEATURE_SETTINGS) as warehouse:
        assert_same(warehouse, expected(traffic, AS_OF, FEATURE_SETTINGS))


@pytest.mark.parametrize("seed", range(COUNT))
def test_slots_and_event_ids_are_as_the_rules_say(
    tmp_path: Path, remote: str, seed: int, monkeypatch: pytest.MonkeyPatch, did: Counter[str]
) -> None:
    assert_by_the_rules(tmp_path, seed, monkeypatch, on_cluster(tmp_path, remote))
    assert did["feature_outcomes"] or not did["read"]


@SEEDS
@given(traffic=claim_nights())
def test_tokens_are_hashed_alike(
    tmp_path_factory: pytest.TempPathFactory, remote: str, traffic: Sequence[Night]
) -> None:
    found = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WAREHOUSE_TOKEN_KEY", "a key of sixteen characters or more")
        for engine in ("local", "spark"):
            folder = tmp_path_factory.mktemp(engine)
            of_cluster = on_cluster(folder, remote) if engine == "spark" else {}
            warehouse = Warehouse(folder, privacy={"hash_tokens": True}, engine=of_cluster)
            for index, night in enumerate(traffic):
                write(warehouse, night)
                warehouse.night(AS_OF, night.at, run_id=str(index))
            found.append(every_table(warehouse))
    assert found[0].keys() == found[1].keys()
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []
