"""Answers in all the forms that HubSpot may give them: every input is accounted for, once."""

from __future__ import annotations

from typing import Any

import pytest

from dagster_project.destinations.hubspot.answers import Input, problem_of, problem_of_call, verdict
from dagster_project.destinations.hubspot.errors import Refused
from dagster_project.destinations.hubspot.keys import key_for

CREATES = [Input(i, f"p{i}@example.com", None, {"email": f"p{i}@example.com", "n": "1"}) for i in (1, 2, 3)]
UPDATES = [Input(i, f"p{i}@example.com", f"90{i}", {"n": "1", "m": "2"}) for i in (1, 2, 3)]


def read(inputs: list[Input], body: dict[str, Any]) -> tuple[dict[int, str], dict[int, str], set[int]]:
    found = verdict(key_for("contacts"), inputs, body)
    acknowledged = {one.record: hubspot_id for one, hubspot_id in found.acknowledged}
    refused = {one.record: problem.code for one, problem in found.refused}
    unknown = {one.record for one in found.unknown}
    assert len(acknowledged) + len(refused) + len(unknown) == len(inputs)
    return acknowledged, refused, unknown


def test_creates_are_matched_by_trace_id_or_by_key() -> None:
    by_trace = [{"id": f"7{i}", "objectWriteTraceId": str(i)} for i in (3, 1, 2)]
    by_key = [{"id": f"7{i}", "properties": {"email": f"P{i}@example.com "}} for i in (2, 3, 1)]
    for results in (by_trace, by_key):
        assert read(CREATES, {"results": results}) == ({1: "71", 2: "72", 3: "73"}, {}, set())


def test_a_result_that_tells_nothing_is_looked_up() -> None:
    assert read(CREATES, {"results": [{"id": "71"}, {"id": "72"}, {"id": "73"}]}) == ({}, {}, {1, 2, 3})
    assert read(CREATES, {"results": []}) == ({}, {}, {1, 2, 3})
    assert read(CREATES, {}) == ({}, {}, {1, 2, 3})
    assert read(CREATES[:1], {"results": [{"id": 71}]}) == ({1: "71"}, {}, set())


def test_errors_by_trace_id_by_ids_and_without_either() -> None:
    results = [{"id": "902", "properties": {}}]
    trace = {"category": "VALIDATION_ERROR", "message": "no", "context": {"objectWriteTraceId": ["1"]}}
    ids = {"category": "OBJECT_NOT_FOUND", "message": "gone", "context": {"ids": ["903"]}}
    assert read(UPDATES, {"results": results, "errors": [trace, ids], "numErrors": 2}) == (
        {2: "902"},
        {1: "VALIDATION_ERROR", 3: "OBJECT_NOT_FOUND"},
        set(),
    )
    stray = {"category": "VALIDATION_ERROR", "message": "no"}
    assert read(UPDATES, {"results": results, "errors": [stray]}) == ({2: "902"}, {}, {1, 3})
    assert read(UPDATES[:1], {"errors": [stray]}) == ({}, {1: "VALIDATION_ERROR"}, set())


def test_what_alone_is_left_belongs_together() -> None:
    stray = {"category": "VALIDATION_ERROR", "message": "no"}
    others = [{"id": "902"}, {"id": "903"}]
    assert read(UPDATES, {"results": others, "errors": [stray]}) == (
        {2: "902", 3: "903"},
        {1: "VALIDATION_ERROR"},
        set(),
    )
    assert read(UPDATES, {"results": [*others, {"id": "555"}]})[0] == {1: "555", 2: "902", 3: "903"}
    assert read(UPDATES, {"results": [*others, {"id": "555"}], "errors": [stray]})[2] == {1}


def test_an_error_counts_more_than_a_result() -> None:
    error = {"category": "CONFLICT", "message": "no", "context": {"objectWriteTraceId": "1"}}
    results = [{"id": "901"}, {"id": "902"}, {"id": "903"}]
    assert read(UPDATES, {"results": results, "errors": [error]})[1] == {1: "CONFLICT"}


def test_a_record_that_was_merged_answers_with_another_id() -> None:
    assert read(UPDATES[:1], {"results": [{"id": "555"}]}) == ({1: "555"}, {}, set())
    body = {"results": [{"id": "555", "objectWriteTraceId": "2"}, {"id": "901"}, {"id": "903"}]}
    assert read(UPDATES, body)[0] == {1: "901", 2: "555", 3: "903"}


@pytest.mark.parametrize(
    "error",
    [
        {"errors": [{"message": "bad", "code": "INVALID_OPTION", "context": {"propertyName": ["n"]}}]},
        {"errors": [{"message": "bad", "code": "INVALID_OPTION", "context": {"propertyName": "n"}}]},
        {"errors": [{"message": "bad", "error": "INVALID_OPTION", "name": "n"}]},
        {
            "message": 'Property values were not valid: [{"isValid":false,"message":"bad","error":"INVALID_OPTION","name":"n"}]'
        },
    ],
)
def test_a_refused_value_is_named_in_several_ways(error: dict[str, Any]) -> None:
    problem = problem_of({"category": "VALIDATION_ERROR", **error}, {"n", "m"})
    assert problem.values == {"n": ("INVALID_OPTION", "bad")}
    assert problem.code == "INVALID_OPTION"


def test_conflicts_name_the_record_that_exists() -> None:
    for error in (
        {"context": {"existingId": ["17"]}, "message": "x"},
        {"message": "Contact already exists. Existing ID: 17"},
    ):
        problem = problem_of({"category": "CONFLICT", **error}, {"email"})
        assert (problem.is_conflict, problem.existing_id) == (True, "17")
    named = problem_of(
        {"category": "CONFLICT", "message": "Another one has the value 5 for property m."}, {"n", "m"}
    )
    assert set(named.values) == {"m"}


def test_a_refused_call_without_a_readable_body() -> None:
    assert problem_of_call(Refused(400, {}), {"n"}).code == "HTTP_400"
    assert problem_of_call(Refused(404, {}), {"n"}).is_gone
    assert problem_of_call(Refused(409, {}), {"n"}).is_conflict
