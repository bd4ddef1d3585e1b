"""The code in ARCHITECTURE.md and CONTRIBUTING.md does what they say: dropped into a copy of the project, and used.

A block goes to the file that is named last before it. The copy runs in a process of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.settings import project_root

_BLOCK = re.compile(r"^```(python|sql)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"`((?:dagster_project|sql)/[\w/]+\.(?:py|sql))`")
_DIFF = re.compile(r"^```diff\n(.*?)^```", re.DOTALL | re.MULTILINE)
TESTS = Path(__file__).parent


def recipes() -> dict[str, str]:
    """The blocks of "Where new things go", by the file that each is for."""
    section = (
        (project_root() / "ARCHITECTURE.md")
        .read_text(encoding="utf-8")
        .partition("## Where new things go")[2]
    )
    return {_FILE.findall(section[: found.start()])[-1]: found[2] for found in _BLOCK.finditer(section)}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with what the recipes add."""
    folder = tmp_path_factory.mktemp("copy")
    for part in ("dagster_project", "sql"):
        shutil.copytree(project_root() / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in recipes().items():
        file = folder / name
        if file.exists():  # what is added to a header
            file.write_text(
                file.read_text(encoding="utf-8").replace("-- columns:\n", f"{text}-- columns:\n", 1)
            )
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    profiles = folder / "sql/core/company_profiles.sql"
    profiles.write_text(edited(profiles.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def edited(text: str) -> str:
    """A file with the one edit that CONTRIBUTING.md shows."""
    (diff,) = _DIFF.findall((project_root() / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] == " ")
        assert text.count(before) == 1, before
        text = text.replace(before, "".join(line[1:] for line in lines))
    return text


def run(copy: Path, script: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(copy), str(TESTS)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("WAREHOUSE_CONFIG", None)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_is_a_recipe_for_each_kind_of_thing() -> None:
    assert set(recipes()) == {
        "dagster_project/sources/tickets.py",
        "sql/marts/tickets_daily.sql",
        "sql/cohorts/company__one_user.sql",
        "sql/outbound/chat_messages.sql",
        "sql/ops/chat_messages.sql",
        "dagster_project/destinations/chat/__init__.py",
        "sql/marts/company_usage_daily.sql",
    }


SCRIPT = """
import csv, io
import tempfile
from datetime import datetime
from pathlib import Path

import dagster_project
from dagster_project.pipeline import erase
from dagster_project.destinations import chat
from dagster_project.portal import make_app
from starlette.testclient import TestClient
from dagster_project.warehouse.database import open_warehouse
from harness import Warehouse

assert Path(dagster_project.__file__).is_relative_to(Path.cwd())
folder = Path(tempfile.mkdtemp())
warehouse = Warehouse(folder)


def ticket(number, day, company, user=None):
    return {"ticket_id": number, "opened_at": f"2026-03-{day:02d}T10:00:00Z", "company_id": company, "user_id": user}


def call(number, day, **ids):
    return {"transaction_id": str(number), "request": {"time": f"2026-03-{day:02d}T10:00:00Z"}, "weight": 60, **ids}


def tickets_daily():
    rows = warehouse.query("FROM marts.tickets_daily ORDER BY ALL")
    return [(row["day"].day, row["company_id"], row["tickets"]) for row in rows]


def erased(*, users=(), companies=()):
    with open_warehouse(warehouse.settings) as connection:
        erasure = erase.look(connection, warehouse.settings, users, companies)
        erase.carry_out(connection, warehouse.settings, erasure)
    erase.publish_without(warehouse.settings)
    return erasure


NIGHT = datetime(2026, 4, 1, 2)
first = [ticket(1, 10, "acme", "jo"), ticket(2, 10, "acme"), ticket(3, 11, "bolt", "jo"), {}, ticket(4, 9, "corn")]
warehouse.put("tickets/a.jsonl", first)
warehouse.put("events/a.jsonl", [call(n, 3 + n, company_id="acme", user_id="jo") for n in range(3)])
warehouse.put("events/b.jsonl", [call(n, 3 + n, company_id="corn", user_id="al") for n in range(10, 12)])
warehouse.night(now=NIGHT, publishes=True)
assert tickets_daily() == [(9, "corn", 1), (10, "acme", 2), (11, "bolt", 1)]
# A column of the profiles is in the portal: shown, and to be filtered and sorted by.
portal = TestClient(make_app(warehouse.settings), base_url="http://127.0.0.1")
listed = portal.get("/companies.csv?field=tickets_30d&op=ge&value=1&sort=-tickets_30d").text
found = [(row["company_id"], row["tickets_30d"]) for row in csv.DictReader(io.StringIO(listed.removeprefix(chr(0xFEFF))))]
assert found == [("acme", "2"), ("corn", "1")], found  # bolt is known by its ticket only: it has no profile
assert "Tickets" in portal.get("/company?id=acme").text
assert warehouse.one("ops.files", source="tickets")["rejected"] == 1
assert {row["id"] for row in warehouse.table("marts.cohort_members") if row["cohort"] == "one_user"} == {"acme", "corn"}
checks = {row["name"]: row for row in warehouse.table("core.check_results") if row["model"] == "marts.company_usage_daily"}
assert checks["errors_are_calls"]["failures"] == 0 and checks["a_quiet_day"]["warns"]

warehouse.put("tickets/b.jsonl", [ticket(5, 10, "bolt"), ticket(6, 12, "acme", "al")])
warehouse.put("events/c.jsonl", [call(90, 5, company_id="acme", user_id="jo"), call(91, 5, company_id="acme", user_id="jo")])
warehouse.night(now=NIGHT.replace(day=2), publishes=True)
assert tickets_daily() == [(9, "corn", 1), (10, "acme", 2), (10, "bolt", 1), (11, "bolt", 1), (12, "acme", 1)]

with open_warehouse(warehouse.settings) as connection:
    connection.execute("DELETE FROM marts.cohort_members WHERE cohort = 'gone_quiet'")
    for company in ("acme", "corn"):
        connection.execute("INSERT INTO marts.cohort_members VALUES ('gone_quiet', 'company', ?, now())", [company])
    from dagster_project.warehouse.publish import publish
    publish(connection, warehouse.settings)
told = []
quiet = ["acme has gone quiet", "corn has gone quiet"]
assert chat.push(warehouse.settings, told.append) == quiet and told == []
assert chat.push(warehouse.settings, told.append, live=True) == quiet == told
assert chat.push(warehouse.settings, told.append, live=True) == []

# Another company's erase leaves the destination's ledger alone, but for what names it.
erasure = erased(users=["jo"], companies=["acme"])
assert erasure.elsewhere == {"The chat": [("message", "acme has gone quiet")]}
assert erasure.rows["raw.tickets"] == 4
assert tickets_daily() == [(9, "corn", 1), (10, "bolt", 1), (11, "bolt", 1)]
assert [row["company_id"] for row in warehouse.table("ops.chat_messages")] == ["corn"]
held = warehouse.table("raw.tickets")
assert {row["company_id"] for row in held} == {"bolt", "corn"}
assert [row["user_id"][:7] for row in held if row["user_id"]] == ["erased:"]
files = [f for f in folder.rglob("*.duckdb")]
assert len(files) == 3 and not [f for f in files if b"acme" in f.read_bytes()]

warehouse.put("tickets/c.jsonl", [ticket(7, 13, "acme", "jo"), ticket(8, 13, "bolt")])
warehouse.night(now=NIGHT.replace(day=3), publishes=True)
after = tickets_daily()
assert after == [(9, "corn", 1), (10, "bolt", 1), (11, "bolt", 1), (13, "bolt", 1)]
warehouse.night(now=NIGHT.replace(day=4), full=True, publishes=True)
assert tickets_daily() == after
assert [row["company_id"] for row in warehouse.table("ops.chat_messages")] == ["corn"]

# Retention is a setting by itself; what was dropped is erased, too.
warehouse = Warehouse(folder, retention={"tickets_days": 24})
warehouse.night(now=NIGHT.replace(day=5))
assert [row["opened_at"].day for row in warehouse.table("raw.tickets")] == [13]
assert tickets_daily() == after
erased(companies=["corn"])
assert tickets_daily() == after[1:]
warehouse.night(now=NIGHT.replace(day=6), full=True)
assert tickets_daily() == after[1:]
assert warehouse.table("ops.chat_messages") == []
"""


def test_the_recipes_of_the_architecture_work(copy: Path) -> None:
    run(copy, SCRIPT)


def test_a_column_added_to_a_destinations_table_leaves_its_rows(copy: Path, tmp_path: Path) -> None:
    run(
        copy,
        f"""
from pathlib import Path
from dagster_project.pipeline import nightly
from harness import Warehouse

warehouse = Warehouse(Path({str(tmp_path)!r}))
warehouse.night()
from dagster_project.warehouse.database import open_warehouse
with open_warehouse(warehouse.settings) as connection:
    connection.execute("INSERT INTO ops.chat_messages VALUES ('acme', 'hello', now())")
file = Path("sql/ops/chat_messages.sql")
text = file.read_text()
try:
    file.write_text(text + "--   order       DECIMAL(10, 2)  what was asked for\\n")
    nightly.models.cache_clear()
    warehouse.night()
finally:
    file.write_text(text)
(row,) = warehouse.table("ops.chat_messages")
assert (row["company_id"], row["order"]) == ("acme", None)
""",
    )


def test_the_example_of_a_test_is_one(tmp_path: Path) -> None:
    """CONTRIBUTING.md shows what a test of several nights looks like."""
    from harness import Warehouse

    text = (project_root() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = [found[2] for found in _BLOCK.finditer(text) if found[1] == "python"]
    scope = {"Warehouse": Warehouse, "Path": Path}
    exec(compile(example, "CONTRIBUTING.md", "exec"), scope)
    (test,) = [made for name, made in scope.items() if name.startswith("test_")]
    test(tmp_path)  # type: ignore[operator]
