"""Tests on a real cluster. `make test-spark` runs them: it installs what they need, and says so by WAREHOUSE_TEST_SPARK."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from object_store import object_store

from dagster_project.spark import session
from dagster_project.standins.spark import Cluster, missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing()
    if reason is None and "WAREHOUSE_TEST_SPARK" not in os.environ:
        reason = "takes a cluster, and minutes: `make test-spark` runs it"
    if reason:
        for item in items:
            if "tests/spark/" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def store() -> Iterator[Any]:
    """An object store, and a client for it. The cluster's workers have its credentials, too."""
    with object_store() as client:
        yield client


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, store: Any) -> Iterator[Cluster]:
    """A master, two workers and a Connect server, once for all tests."""
    if os.environ["WAREHOUSE_TEST_SPARK"].startswith("sc://"):
        pytest.skip("a cluster that runs already is left alone")
    with Cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started
        session.close()


@pytest.fixture(scope="session")
def remote(request: pytest.FixtureRequest) -> str:
    """The address of a cluster. WAREHOUSE_TEST_SPARK may name one that runs already."""
    given = os.environ["WAREHOUSE_TEST_SPARK"]
    return given if given.startswith("sc://") else request.getfixturevalue("cluster").remote
