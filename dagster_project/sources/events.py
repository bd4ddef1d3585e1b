"""API calls, as Moesif's SDKs send them: `raw/events/` to `raw.api_calls`.

Two ways in, one result: DuckDB's typed reader takes the plain records of a large JSON lines file; whatever it
could misread, and every small file, is read record by record in Python.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dagster_project.readers import json_records
from dagster_project.readers.files import Record
from dagster_project.readers.values import LARGEST_INTEGER, id_of, is_future, time_of

from . import PLACE, Source, events_fast
from .loading import FileLoad, Incoming, LoadContext, Loader, objects, received

TRANSACTION_HEADER = "x-moesif-transaction-id"
# verb and route of failed calls only (status 400 to 599): what cohorts over behaviour ask for.
COLUMNS = (
    "event_at TIMESTAMP, company_id VARCHAR, user_id VARCHAR, session_token VARCHAR, "
    "status INTEGER, weight BIGINT, is_blocked BOOLEAN, verb VARCHAR, route VARCHAR"
)
_ROUTE = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)")


class ApiCallLoader(Loader):
    def __init__(self, context: LoadContext) -> None:
        self.connection = context.connection
        self.rows = Incoming(context.connection, "incoming_api_calls", f"{PLACE}, key VARCHAR, {COLUMNS}")
        self.incoming = [self.rows]

    def read(self, load: FileLoad) -> None:
        odd = events_fast.read(self.connection, load, self.rows)
        if odd is None:
            records = json_records.read(load.part, exact=False)
        else:
            records = json_records.read_lines(load.part, odd, exact=False)
        for record, value in objects(load, records):
            self._accept(load, record, value)

    def _accept(self, load: FileLoad, record: Record, value: dict[str, Any]) -> None:
        request = _object(value.get("request"))
        at = time_of(request.get("time"))
        if at is None:
            load.reject(record, "bad_time", "no usable request.time")
            return
        received_date, _ = received(load, value)
        if is_future(at, received_date, load.part.first_seen):
            load.reject(
                record, "future", f"request.time {at.isoformat()} is past the received date by more than 24 h"
            )
            return
        weight, repairs = weight_of(value.get("weight"))
        load.repair(record, [*record.repairs, *repairs])
        status = _status(value.get("response"))
        failed = status is not None and 400 <= status <= 599
        self.rows.add(
            (
                *load.place(record),
                key_of(value, request),
                at,
                id_of(value.get("company_id")),
                id_of(value.get("user_id")),
                id_of(value.get("session_token")),
                status,
                weight,
                _is_blocked(value.get("blocked_by")),
                _text(request.get("verb")) if failed else None,
                route_of(request.get("uri")) if failed else None,
            )
        )

    def finish(self, loads: Sequence[FileLoad]) -> None:
        drop_duplicates(self.connection, "incoming_api_calls", "api_call_keys", loads)
        self.connection.execute("INSERT INTO raw.api_calls SELECT * EXCLUDE (key) FROM incoming_api_calls")


def drop_duplicates(connection: Any, incoming: str, keys: str, loads: Sequence[FileLoad]) -> None:
    """Remove rows whose key came earlier, by O, in this batch or in any before; remember the new keys.

    Keys are kept as 128-bit hashes: 16 bytes an event, whatever their spelling.
    """
    connection.execute(f"""CREATE OR REPLACE TEMP TABLE incoming_keys AS
        SELECT load_seq, line, element, md5_number(key) AS key FROM {incoming} WHERE key IS NOT NULL""")
    connection.execute(f"""CREATE OR REPLACE TEMP TABLE repeated_keys AS
        SELECT key, true AS known FROM incoming_keys SEMI JOIN raw.{keys} USING (key) GROUP BY key
        UNION ALL
        SELECT key, false FROM incoming_keys GROUP BY key HAVING count(*) > 1""")
    connection.execute("""CREATE OR REPLACE TEMP TABLE duplicates AS
        SELECT load_seq, line, element FROM incoming_keys
        JOIN (SELECT key, bool_or(known) AS known FROM repeated_keys GROUP BY key) USING (key)
        QUALIFY known OR row_number() OVER (PARTITION BY key ORDER BY load_seq, line, element) > 1""")
    counts = dict(
        connection.execute("SELECT load_seq, count(*) FROM duplicates GROUP BY load_seq").fetchall()
    )
    if counts:
        connection.execute(f"""DELETE FROM {incoming} USING duplicates d
            WHERE d.load_seq = {incoming}.load_seq AND d.line = {incoming}.line AND d.element = {incoming}.element""")
        for load in loads:
            load.duplicates += counts.get(load.load_seq, 0)
    connection.execute(
        f"INSERT INTO raw.{keys} SELECT DISTINCT key FROM incoming_keys ANTI JOIN raw.{keys} USING (key)"
        if counts
        else f"INSERT INTO raw.{keys} SELECT key FROM incoming_keys"
    )


def key_of(value: dict[str, Any], request: dict[str, Any]) -> str | None:
    """What makes two records the same event: `transaction_id`, else the request header; None if neither is there."""
    own = id_of(value.get("transaction_id"))
    if own is not None:
        return own
    headers = _object(request.get("headers"))
    exact = id_of(headers.get(TRANSACTION_HEADER))
    if exact is not None:
        return exact
    found = [id_of(v) for k, v in headers.items() if k.lower() == TRANSACTION_HEADER]
    return next((key for key in reversed(found) if key is not None), None)


def weight_of(weight: object) -> tuple[int, list[tuple[str, str]]]:
    """The number of calls a record stands for (sampling), and what was changed to get it."""
    if isinstance(weight, bool) or not isinstance(weight, int) or weight <= 0:
        return 1, []
    if weight > LARGEST_INTEGER:
        return LARGEST_INTEGER, [("weight_clamped", f"weight {str(weight)[:40]} is taken as 2^53")]
    return weight, []


def route_of(uri: object) -> str | None:
    """The path of an address, without host, query and fragment (they may hold keys)."""
    match = _ROUTE.match(uri) if isinstance(uri, str) else None
    return match[1] if match and match[1] else None


def _status(response: object) -> int | None:
    status = _object(response).get("status")
    if isinstance(status, bool) or not isinstance(status, int):
        return None
    return status if -(2**31) <= status < 2**31 else None


def _is_blocked(value: object) -> bool:
    return not (value is None or value is False or (isinstance(value, str) and not value.strip()))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


SOURCE = Source(
    folder="events",
    table="api_calls",
    about="API calls, deduplicated; headers and bodies are not kept.",
    formats=json_records.FORMATS,
    tables={"api_calls": f"{PLACE}, {COLUMNS}", "api_call_keys": "key UHUGEINT"},
    loader=ApiCallLoader,
)
