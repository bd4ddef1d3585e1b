"""A warehouse that friends and foes have filled, and the portal on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Warehouse
from starlette.testclient import TestClient

from dagster_project.portal import make_app
from dagster_project.settings import project_root
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.publish import publish

DAY = "2026-03-31"
BOM = "\ufeff"  # how a download begins
HOSTILE = [
    "<script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "'; DROP TABLE marts.company_profiles; --",
    "{{7*7}} {% for x in y %}",
    "a/b?c=d&e=f#g %2e%2e ../..",
    "=cmd|' /C calc'!A0",
    " ünïcode ☃ 会社 \u202e",
    "x" * 300,
]
_UPDATED = f"{DAY}T08:00:00Z"


def _call(minute: int, status: int = 200, **ids: str) -> dict[str, object]:
    request = {"time": f"{DAY}T10:{minute:02}:00Z", "verb": "GET", "uri": "https://api.example/v1/orders/7"}
    return {"request": request, "response": {"status": status}, **ids}


def fill(warehouse: Warehouse) -> None:
    """Three companies with a story, and some that try to break out of a page."""
    warehouse.put(
        "companies/a.jsonl",
        [
            {
                "company_id": "acme",
                "company_domain": "https://www.acme.example/",
                "session_token": "tok-acme-0123456789abcdef",
                "modified_time": _UPDATED,
                "campaign": {"utm_source": "fair"},
                "metadata": {
                    "name": "Acme Ltd",
                    "plan_name": "Growth",
                    "seats": 12,
                    "trial": True,
                    "tags": ["eu", "beta"],
                    "address": {"city": "Sampleton"},
                    "plan_quota_calls_30d": 40,
                },
            },
            {
                "company_id": "bolt",
                "company_domain": "bolt.example",
                "modified_time": _UPDATED,
                "metadata": {"name": "Bolt", "plan_name": "Free", "seats": 3, "trial": False, "tags": ["us"]},
            },
            {"company_id": "calm", "modified_time": _UPDATED, "metadata": {"name": "Calm", "plan_name": 7}},
            *(
                {
                    "company_id": text,
                    "modified_time": _UPDATED,
                    "session_token": "tok-" + text,
                    "metadata": {
                        "name": text,
                        text: text,
                        "link": "javascript:window.hacked=1",
                        "inner": {text: [text]},
                    },
                }
                for text in HOSTILE
            ),
        ],
    )
    warehouse.put(
        "users/a.jsonl",
        [
            {
                "user_id": "ann",
                "company_id": "acme",
                "modified_time": _UPDATED,
                "metadata": {"email": "Ann@acme.example", "name": "Ann Sample", "logins": 4},
            },
            {
                "user_id": "bob",
                "company_id": "bolt",
                "modified_time": _UPDATED,
                "metadata": {"email": "bob@bolt.example", "photo_url": "https://example.org/bob.png"},
            },
            *({"user_id": text, "company_id": text, "metadata": {"name": text}} for text in HOSTILE),
        ],
    )
    warehouse.put(
        "subscriptions/a.jsonl",
        [
            {
                "subscription_id": "sub-" + company,
                "company_id": company,
                "status": text,
                "current_period_start": start,
                "current_period_end": end,
                "modified_time": start,
                "metadata": {text[:200]: text, "quota_calls": 40},
            }
            for company, text in [("acme", "active"), *((text, text) for text in HOSTILE)]
            for start, end in (("2026-02-25", "2026-03-25"), ("2026-03-25", "2026-04-25"))
        ],
    )
    warehouse.put(
        "events/a.jsonl",
        [
            *(
                _call(i, 503 if i < 4 else 200, session_token="tok-acme-0123456789abcdef", user_id="ann")
                for i in range(38)
            ),
            *(_call(i, company_id="bolt", user_id="bob") for i in range(5)),
            *(_call(i, 404, company_id=text, user_id=text) for i, text in enumerate(HOSTILE)),
            "<script>window.hacked=1</script>",
            {"request": {"time": "<script>window.hacked=1</script>"}},
        ],
    )
    warehouse.put(
        "features/a.jsonl",
        [
            *(
                {
                    "account_id": "acme",
                    "user_id": "ann",
                    "feature_id": f"Feature {i}",
                    "module_id": f"Module {i % 8}",
                    "product_id": "Console",
                    "timestamp": f"2026-03-{20 + i % 10}T10:00:00Z",
                    "total": i + 1,
                }
                for i in range(10)
            ),
            *(
                {
                    "account_id": text,
                    "user_id": text,
                    "feature_id": text,
                    "module_id": text,
                    "timestamp": _UPDATED,
                }
                for text in HOSTILE
            ),
        ],
    )
    warehouse.put(
        "actions/a.jsonl",
        [
            {"action_name": text, "company_id": "acme", "user_id": "ann", "request": {"time": _UPDATED}}
            for text in ["Signed up", *HOSTILE]
        ],
    )


_PUSHED = f"""
INSERT INTO ops.hubspot_ledger (portal_id, object, key, hubspot_id, property, value, acknowledged_at) VALUES
    (77, 'companies', 'acme.example', '501', 'api_calls_30d', '38', TIMESTAMP '{DAY} 12:00:00');
INSERT INTO ops.hubspot_rejects (object, id, key, hubspot_id, property, value, code, message, attempts, rejected_at)
    VALUES ('companies', 'acme', 'acme.example', '501', 'api_note', '<b>x</b>', 'INVALID_OPTION',
            '<script>window.hacked=1</script> is none of the options', 1, TIMESTAMP '{DAY} 12:00:00');
INSERT INTO ops.hubspot_changes (push, object, id, key, hubspot_id, property, old, new, state, changed_at) VALUES
    (1, 'companies', 'acme', 'acme.com', '171', 'api_calls', '3', '4', 'acknowledged', TIMESTAMP '2026-03-30 10:00'),
    (1, 'deals', 'acme', 'sub_1', '300', 'amount', NULL, '99', 'rejected', TIMESTAMP '2026-03-30 10:00');
INSERT INTO ops.meter_adjustments (run, found_at, meter, company_id, subscription_id, period_start, period_end,
    quantity_before, quantity_after, reason)
    VALUES ('r', TIMESTAMP '{DAY} 12:00:00', 'calls', 'acme', 'sub-acme', DATE '2026-02-25', DATE '2026-03-24', 7, 0, 'usage');
INSERT INTO ops.notifications (cohort, entity, id, change, changed_at, state, tries, tried_at, problem)
    VALUES ('near_quota', 'company', 'acme', 'entered', TIMESTAMP '{DAY} 12:00:00', 'waiting', 1, TIMESTAMP '{DAY} 12:00:00',
            '<script>window.hacked=1</script>');
INSERT INTO marts.alerts (rule, entity, id, opened_at, closed_at, detail) VALUES
    ('own_rule', 'company', 'acme', TIMESTAMP '{DAY} 10:00:00', NULL, '<script>window.hacked=1</script>'),
    ('own_rule', 'company', 'acme', TIMESTAMP '2026-03-01 10:00:00', TIMESTAMP '2026-03-02 10:00:00', 'at first');
INSERT INTO ops.hubspot_skips (object, id, key, reason) VALUES ('companies', 'calm', NULL, 'no_key');
INSERT INTO ops.hubspot_pushes (push, started_at, ended_at, portal_id, digest, planned, acknowledged, rejected, skipped,
    unchanged, created, updated, unknown, calls, write_calls, exit_status)
    VALUES (1, TIMESTAMP '{DAY} 12:00:00', TIMESTAMP '{DAY} 12:00:09', 77, 'ab12', 3, 1, 1, 1, 0, 0, 1, 0, 4, 1, 0);
"""


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("portal"))
    fill(warehouse)
    warehouse.night()
    with open_warehouse(warehouse.settings) as connection:
        connection.execute(_PUSHED)
        publish(connection, warehouse.settings)
    return warehouse


@pytest.fixture(scope="session")
def portal(filled: Warehouse) -> TestClient:
    return client(filled)


def client(warehouse: Warehouse, **given: object) -> TestClient:
    return TestClient(make_app(warehouse.settings, **given), base_url="http://127.0.0.1")  # type: ignore[arg-type]


class Served:
    """`warehouse portal` in a process of its own."""

    def __init__(self, data: Path, *options: str, **given: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("WAREHOUSE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dagster_project.cli", "portal", "--port", "0", *options],
            env={**kept, "WAREHOUSE_DATA": str(data), "PYTHONUNBUFFERED": "1", **given},
            cwd=project_root(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        self.address = self.said.partition("Portal: ")[2].partition("/  ")[0]
        assert self.address.startswith("http://"), self.said

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture(scope="session")
def served(filled: Warehouse) -> Iterator[Served]:
    process = Served(filled.folder)
    yield process
    process.stop()
