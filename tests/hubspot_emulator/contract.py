"""A requests session that holds every request and every answer against HubSpot's OpenAPI documents.

Stricter than the documents in one point: a key that they do not name is an error too. Looser where live
answers and guides are known to differ from them: see ``OPTIONAL`` and ``EXTRA`` below, 207 answers
(declared as 200 or 201) and the body of a 429 (no ``category``).
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import jsonschema
import requests

FOLDER = Path(__file__).parent / "openapi"

# Required by the documents, left out in the guides' own examples.
OPTIONAL = {
    "BatchReadInputSimplePublicObjectId": {"propertiesWithHistory", "properties"},
    "PublicObjectSearchRequest": {"after", "sorts", "limit", "properties"},
    "SimplePublicObjectInputForCreate": {"associations"},
    "SimplePublicObjectBatchInputForCreate": {"associations"},
    "OptionInput": {"displayOrder", "hidden"},
}
# In every live answer, in no document.
EXTRA = {"Error": {"status"}}

RATE_LIMITED = {
    "type": "object",
    "required": ["status", "message", "errorType", "correlationId", "policyName"],
    "additionalProperties": False,
    "properties": {
        "status": {"const": "error"},
        "message": {"type": "string"},
        "errorType": {"const": "RATE_LIMIT"},
        "correlationId": {"type": "string", "format": "uuid"},
        "policyName": {"enum": ["DAILY", "TEN_SECONDLY_ROLLING", "SECONDLY"]},
    },
}

FORMATS = jsonschema.FormatChecker(formats=[])


@FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or bool(UUID(value))


@FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


def _strict(name: str, schema: Any, depth: int = 0) -> Any:
    if isinstance(schema, list):
        return [_strict(name, part, depth + 1) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(name, part, depth + 1) for key, part in schema.items()}
    if made.pop("nullable", False) is True:
        made["type"] = [made["type"], "null"]
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        if depth == 0:
            made["required"] = [key for key in made.get("required", []) if key not in OPTIONAL.get(name, ())]
            for key in EXTRA.get(name, ()):
                made["properties"][key] = {"type": "string"}
        made.setdefault("additionalProperties", False)
    return made


class Operation:
    def __init__(self, document: Document, template: str, method: str, body: dict[str, Any]) -> None:
        self.document, self.template, self.method, self.body = document, template, method, body
        self.pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", template) + r"\Z")
        self.query = {p["name"]: p["schema"] for p in body.get("parameters", []) if p["in"] == "query"}

    def schema(self, part: Any) -> dict[str, Any] | None:
        content = part.get("content") if part else None
        return next(iter(content.values()))["schema"] if content else None

    def check_request(self, query: str, raw: Any) -> None:
        for name, values in parse_qs(query).items():
            assert name in self.query, f"{self.template} has no parameter {name}"
            if self.query[name]["type"] == "integer":
                assert all(value.isdigit() for value in values), (name, values)
            if "enum" in self.query[name]:
                assert set(values) <= set(self.query[name]["enum"]), (name, values)
        schema = self.schema(self.body.get("requestBody"))
        if schema is None:
            assert not raw, f"{self.method} {self.template} takes no body"
        else:
            self.document.check(schema, json.loads(raw))

    def check_answer(self, answer: requests.Response) -> None:
        status, responses = str(answer.status_code), self.body["responses"]
        if answer.status_code == 429:
            jsonschema.Draft7Validator(RATE_LIMITED, format_checker=FORMATS).validate(answer.json())
            return
        success = [responses[code] for code in responses if code.startswith("2")]
        if answer.ok:
            assert status in responses or status in ("200", "201", "207"), f"{self.template}: {status}"
            schema = self.schema(responses.get(status, success[0]))
        else:
            schema = self.schema(self.document.raw["components"]["responses"]["Error"])
        if schema is None:
            assert answer.content == b"", f"{self.template}: {status} has a body"
            return
        assert answer.headers["Content-Type"].startswith("application/json")
        self.document.check(schema, answer.json())


class Document:
    def __init__(self, path: Path) -> None:
        self.raw = json.loads(path.read_text(encoding="utf-8"))
        self.root = {
            "components": {
                "schemas": {
                    name: _strict(name, schema) for name, schema in self.raw["components"]["schemas"].items()
                }
            }
        }
        self.operations = [
            Operation(self, template, method.upper(), body)
            for template, methods in self.raw["paths"].items()
            for method, body in methods.items()
        ]

    def check(self, schema: dict[str, Any], value: Any) -> None:
        whole = {**self.root, "allOf": [schema]}
        jsonschema.Draft7Validator(whole, format_checker=FORMATS).validate(value)


DOCUMENTS = [Document(path) for path in sorted(FOLDER.glob("*.json"))]


def dated(path: str) -> str:
    """The documents' spelling of a path in either dialect."""
    path = re.sub(r"^/crm/(?:v3/([\w-]+)|([\w-]+)/\d{4}-\d\d)(?=/|$)", _area, path)
    return path.replace("/account-info/v3/", "/account-info/2026-03/")


def _area(match: re.Match[str]) -> str:
    area = match[1] or match[2]
    return f"/crm/{area}/{'2026-03' if area == 'property-validations' else '2026-09'}"


def operation(method: str, path: str) -> Operation:
    path = dated(path)
    found = [o for d in DOCUMENTS for o in d.operations if o.method == method and o.pattern.match(path)]
    assert found, f"no document has {method} {path}"
    return min(found, key=lambda one: one.template.count("{"))


class Client(requests.Session):
    """``client.post("/crm/…", json=…)``. ``bad=True``: the request is meant to break the documents."""

    def __init__(self, base_url: str, token: str | None) -> None:
        super().__init__()
        self.trust_env = False
        self.base_url = base_url
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str, url: str, *, bad: bool = False, **more: Any) -> requests.Response:  # type: ignore[override]
        prepared = requests.Request(
            method, self.base_url + url, json=more.get("json"), params=more.get("params")
        )
        ready = prepared.prepare()
        parts = urlsplit(str(ready.url))
        matched = operation(method.upper(), parts.path)
        if not bad:
            matched.check_request(parts.query, ready.body)
        more.setdefault("timeout", 10)
        answer = super().request(method, self.base_url + url, **more)
        if not (answer.ok and not answer.content):
            matched.check_answer(answer)
        return answer

    def post(self, url: str, **more: Any) -> requests.Response:  # type: ignore[override]
        return self.request("POST", url, **more)
