"""The checker itself: it must find what breaks the documents, or the other tests prove nothing."""

from __future__ import annotations

import jsonschema
import pytest

from .contract import DOCUMENTS, operation

RECORD = {
    "id": "1",
    "properties": {"email": None},
    "createdAt": "2026-09-01T00:00:00.000Z",
    "updatedAt": "2026-09-01T00:00:00.000Z",
    "archived": False,
}


def check(schema: str, value: object) -> None:
    document = next(one for one in DOCUMENTS if schema in one.root["components"]["schemas"])
    document.check({"$ref": f"#/components/schemas/{schema}"}, value)


def test_a_good_record_passes() -> None:
    check("SimplePublicObject", RECORD)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 1},
        {"createdAt": "yesterday"},
        {"createdAt": "2026-09-01"},
        {"archived": "no"},
        {"surprise": 1},
        {"properties": {"email": 5}},
    ],
)
def test_a_bad_record_does_not(change: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check("SimplePublicObject", RECORD | change)


def test_errors_in_nested_schemas_are_found() -> None:
    batch = {"status": "COMPLETE", "startedAt": RECORD["createdAt"], "completedAt": RECORD["createdAt"]}
    check("BatchResponseSimplePublicObject", {**batch, "results": [RECORD]})
    for bad in ({"results": [RECORD | {"id": 1}]}, {"results": [RECORD], "status": "DONE"}, {}):
        with pytest.raises(jsonschema.ValidationError):
            check("BatchResponseSimplePublicObject", {**batch, **bad})


def test_an_error_needs_a_correlation_id_that_is_one() -> None:
    good = {"message": "m", "category": "c", "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf"}
    check("Error", good)
    with pytest.raises(jsonschema.ValidationError):
        check("Error", good | {"correlationId": "x"})


def test_requests_are_checked_too() -> None:
    update = operation("POST", "/crm/v3/objects/contacts/batch/update")
    assert update.template == "/crm/objects/2026-09/{objectType}/batch/update"
    update.check_request("", b'{"inputs": [{"id": "1", "properties": {"a": "1"}}]}')
    for bad in (
        b'{"inputs": [{"id": "1", "properties": {"a": 1}}]}',
        b'{"inputs": [{"properties": {}}]}',
        b"{}",
    ):
        with pytest.raises(jsonschema.ValidationError):
            update.check_request("", bad)
    with pytest.raises(AssertionError):
        operation("GET", "/crm/objects/2026-09/contacts").check_request("nonsense=1", None)
    with pytest.raises(AssertionError):
        operation("POST", "/crm/objects/2026-09/contacts/batch/nonsense")
