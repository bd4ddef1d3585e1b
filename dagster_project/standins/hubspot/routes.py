"""Which call is which operation. Both path dialects and every dated version lead to the same names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .errors import bad_request


@dataclass
class Request:
    """One matched call on its way to its handler."""

    operation: str
    path: str
    args: dict[str, str]
    query: dict[str, list[str]]
    body: Any = None
    started: int = 0
    form: dict[str, str] = field(default_factory=dict)

    def one(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        return self.one(name, "false").lower() == "true"

    def names(self, name: str) -> list[str] | None:
        given = [
            part.strip() for text in self.query.get(name, []) for part in text.split(",") if part.strip()
        ]
        return given or None


WRITES = frozenset(
    {
        *("create", "update", "archive", "batch_create", "batch_update", "batch_upsert", "batch_archive"),
        *("group_create", "group_update", "group_delete", "set_rule"),
        *("define", "send_batch"),
        *("gdpr_delete", "batch_associate", "add_and_remove", "add", "remove", "delete"),
    }
)


def _routes() -> list[tuple[str, re.Pattern[str], str]]:
    """Method, path and operation. ``{V}`` is the version: ``/crm/v3/x`` and ``/crm/x/2026-09`` are one
    route.
    """
    table: list[tuple[str, str, str, str]] = []

    def crm(area: str, *rows: tuple[str, str, str]) -> None:
        for method, rest, operation in rows:
            table.append((method, f"/crm/v3/{area}{rest}", f"/crm/{area}/{{V}}{rest}", operation))

    o, p, r = "{o}", "{o}", "{o}"
    crm(
        "objects",
        ("POST", f"/{o}/batch/read", "objects.batch_read"),
        ("POST", f"/{o}/batch/create", "objects.batch_create"),
        ("POST", f"/{o}/batch/update", "objects.batch_update"),
        ("POST", f"/{o}/batch/upsert", "objects.batch_upsert"),
        ("POST", f"/{o}/batch/archive", "objects.batch_archive"),
        ("POST", f"/{o}/search", "objects.search"),
        ("POST", f"/{o}/gdpr-delete", "objects.gdpr_delete"),
        ("GET", f"/{o}", "objects.list"),
        ("POST", f"/{o}", "objects.create"),
        ("GET", f"/{o}/{{id}}", "objects.get"),
        ("PATCH", f"/{o}/{{id}}", "objects.update"),
        ("DELETE", f"/{o}/{{id}}", "objects.archive"),
    )
    crm(
        "properties",
        ("POST", f"/{p}/batch/create", "properties.batch_create"),
        ("POST", f"/{p}/batch/read", "properties.batch_read"),
        ("POST", f"/{p}/batch/archive", "properties.batch_archive"),
        ("GET", f"/{p}/groups", "properties.group_list"),
        ("POST", f"/{p}/groups", "properties.group_create"),
        ("GET", f"/{p}/groups/{{name}}", "properties.group_get"),
        ("PATCH", f"/{p}/groups/{{name}}", "properties.group_update"),
        ("DELETE", f"/{p}/groups/{{name}}", "properties.group_delete"),
        ("GET", f"/{p}", "properties.list"),
        ("POST", f"/{p}", "properties.create"),
        ("GET", f"/{p}/{{name}}", "properties.get"),
        ("PATCH", f"/{p}/{{name}}", "properties.update"),
        ("DELETE", f"/{p}/{{name}}", "properties.archive"),
    )
    crm(
        "property-validations",
        ("GET", f"/{r}", "validations.list"),
        ("GET", f"/{r}/{{name}}", "validations.get"),
        ("GET", f"/{r}/{{name}}/rule-type/{{rule}}", "validations.get_rule"),
        ("PUT", f"/{r}/{{name}}/rule-type/{{rule}}", "validations.set_rule"),
    )
    crm(
        "lists",
        ("POST", "", "lists.create"),
        ("GET", "", "lists.list"),
        ("GET", "/object-type-id/{o}/name/{name}", "lists.get_by_name"),
        ("GET", "/{list}", "lists.get"),
        ("DELETE", "/{list}", "lists.delete"),
        ("GET", "/{list}/memberships", "lists.members"),
        ("PUT", "/{list}/memberships/add-and-remove", "lists.add_and_remove"),
        ("PUT", "/{list}/memberships/add", "lists.add"),
        ("PUT", "/{list}/memberships/remove", "lists.remove"),
    )
    for path in ("batch/associate/default", "batch/read"):
        operation = "associations.batch_read" if path == "batch/read" else "associations.batch_associate"
        there = f"{{f}}/{{t}}/{path}"
        table.append(("POST", f"/crm/v4/associations/{there}", f"/crm/associations/{{V}}/{there}", operation))
    for method, rest, operation in (
        ("GET", "/event-definitions", "events.definitions"),
        ("POST", "/event-definitions", "events.define"),
        ("POST", "/send/batch", "events.send_batch"),
    ):
        table.append((method, f"/events/v3{rest}", f"/events/{{V}}{rest}", operation))
    table.append(("GET", "/account-info/v3/details", "/account-info/{V}/details", "account.details"))
    table.append(("POST", "/oauth/v1/token", "/oauth/{V}/token", "oauth.token"))
    found = []
    for method, *paths, operation in table:
        for path in paths:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
            found.append((method, re.compile(f"{pattern}/?\\Z"), operation))
    return found


ROUTES = _routes()


_TEXT = "name label type fieldType groupName description dataSensitivity calculationFormula idProperty query"
_SHAPES: dict[str, type] = {
    **dict.fromkeys(_TEXT.split(), str),
    **dict.fromkeys(("hidden", "formField", "hasUniqueValue", "externalOptions", "archived"), bool),
    **dict.fromkeys(("displayOrder",), int),
    **dict.fromkeys(("inputs", "options", "filterGroups", "sorts", "ruleArguments"), list),
    **dict.fromkeys(("recordIdsToAdd", "recordIdsToRemove"), list),
}


def tidy(operation: str, body: Any) -> None:
    """Refuses a body whose known keys have the wrong JSON type; a key that is null counts as left out.

    The values of a record's properties are not touched.
    """
    if not isinstance(body, dict):
        return
    for key in [key for key, value in body.items() if value is None]:
        del body[key]
    for key, value in body.items():
        wanted = _SHAPES.get(key)
        fits = wanted is None or (
            isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        )
        if not fits or (wanted is int and abs(value) >= 2**31):
            raise bad_request(f"Invalid input JSON: {key} is not of the right type", context={"key": [key]})
    verb = operation.rpartition(".")[2]
    names = body.get("properties")
    if verb in ("search", "batch_read") and names is not None and not _texts(names):
        raise bad_request("Invalid input JSON: properties must be a list of names")
    for part in (*body.get("inputs", ()), *body.get("options", ())):
        tidy("", part)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
