"""Properties and property groups of one object type, with the ones HubSpot brings along.

Facts from the properties API: type and field type come in fixed pairs; ``bool`` has exactly the options true
and false; a PATCH of ``options`` replaces the list; an existing name is a 409; a group must exist first, and
cannot be deleted while it holds properties; making an archived property again makes another one, without values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .errors import ApiError, Json, Problem, bad_request, invalid, not_found
from .options import Options
from .values import iso

PAIRS: dict[str, frozenset[str]] = {
    "bool": frozenset({"booleancheckbox", "calculation_equation"}),
    "enumeration": frozenset({"booleancheckbox", "checkbox", "radio", "select", "calculation_equation"}),
    "date": frozenset({"date"}),
    "datetime": frozenset({"date"}),
    "string": frozenset({"text", "textarea", "html", "phonenumber", "file", "calculation_equation"}),
    "number": frozenset({"number", "calculation_equation"}),
    "phone_number": frozenset({"phonenumber"}),
}
SENSITIVITIES = ("non_sensitive", "sensitive", "highly_sensitive")
MAX_UNIQUE_PROPERTIES = 10
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}\Z")


@dataclass(frozen=True)
class Rule:
    type: str
    arguments: tuple[str, ...]
    normalise: bool = False

    def as_json(self) -> Json:
        return {
            "ruleType": self.type,
            "ruleArguments": list(self.arguments),
            "shouldApplyNormalization": self.normalise,
        }


@dataclass
class Property:
    name: str
    label: str
    type: str
    field_type: str
    group: str
    slot: int = -1
    options: list[Json] = field(default_factory=list)
    unique: bool = False
    calculated: bool = False
    external_options: bool = False
    hidden: bool = False
    read_only_value: bool = False
    hubspot_defined: bool = False
    sensitivity: str = "non_sensitive"
    description: str = ""
    display_order: int = -1
    form_field: bool = False
    formula: str | None = None
    created: int = 0
    updated: int = 0
    archived_at: int | None = None
    option_values: frozenset[str] = frozenset()
    read_only: bool = False

    def __post_init__(self) -> None:
        self.read_only = self.calculated or self.read_only_value
        self.option_values = frozenset(option["value"] for option in self.options)

    def as_json(self) -> Json:
        body: Json = {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "groupName": self.group,
            "description": self.description,
            "options": self.options,
            "displayOrder": self.display_order,
            "calculated": self.calculated,
            "externalOptions": self.external_options,
            "hasUniqueValue": self.unique,
            "hidden": self.hidden,
            "hubspotDefined": self.hubspot_defined,
            "formField": self.form_field,
            "dataSensitivity": self.sensitivity,
            "archived": self.archived_at is not None,
            "createdAt": iso(self.created),
            "updatedAt": iso(self.updated),
            "modificationMetadata": {
                "archivable": not self.hubspot_defined,
                "readOnlyDefinition": self.hubspot_defined,
                "readOnlyValue": self.read_only,
                "readOnlyOptions": self.hubspot_defined and not self.options,
            },
        }
        if self.archived_at is not None:
            body["archivedAt"] = iso(self.archived_at)
        if self.formula is not None:
            body["calculationFormula"] = self.formula
        return body


@dataclass
class Group:
    name: str
    label: str
    display_order: int = -1
    archived: bool = False

    def as_json(self) -> Json:
        return {
            "name": self.name,
            "label": self.label,
            "displayOrder": self.display_order,
            "archived": self.archived,
        }


class Schema:
    """Properties by name. Each has a slot, its place in a record's list of values; a slot is never used
    again.
    """

    def __init__(self, options: Options, groups: list[Group], properties: list[Property], now: int) -> None:
        self._options = options
        self.groups = {group.name: group for group in groups}
        self.properties: dict[str, Property] = {}
        self.archived: dict[str, Property] = {}
        self.rules: dict[str, dict[str, Rule]] = {}
        self.slots = 0
        for prop in properties:
            prop.created = prop.updated = now
            self._place(prop)

    def _place(self, prop: Property) -> None:
        prop.slot = self.slots
        self.slots += 1
        self.properties[prop.name] = prop

    # properties

    def listing(self, archived: bool, sensitivity: str, now: int) -> list[Json]:
        if sensitivity not in SENSITIVITIES:
            raise bad_request(f"dataSensitivity must be one of {', '.join(SENSITIVITIES)}")
        source = self.archived if archived else self.properties
        return [
            prop.as_json()
            for prop in source.values()
            if prop.sensitivity == sensitivity and (archived or now - prop.updated >= self._lag(prop))
        ]

    def _lag(self, prop: Property) -> float:
        """Milliseconds that the list lags behind."""
        return 0 if prop.hubspot_defined else self._options.property_lag * 1000

    def get(self, name: str, archived: bool = False) -> Property:
        prop = (self.archived if archived else self.properties).get(name)
        if prop is None:
            raise not_found(f"Property {name} does not exist")
        return prop

    def check_create(self, body: Json) -> None:
        """Refuses what HubSpot refuses; changes nothing."""
        for key in ("name", "label", "type", "fieldType", "groupName"):
            if not isinstance(body.get(key), str) or not body[key]:
                raise bad_request(
                    f"Some required fields were not set: [{key}]", context={"properties": [key]}
                )
        name = body["name"]
        if not _NAME.match(name):
            raise bad_request(f"The name '{name}' is not a valid property name", context={"name": [name]})
        if name in self.properties:
            raise ApiError(
                409,
                "OBJECT_ALREADY_EXISTS",
                f"A property named '{name}' already exists.",
                sub_category="Properties.PROPERTY_WITH_NAME_EXISTS",
                context={"name": [name]},
            )
        self._check_group(body["groupName"])
        self._check_kind(body["type"], body["fieldType"])
        self._check_options(body["type"], body.get("options"), bool(body.get("externalOptions")))
        if body.get("dataSensitivity", "non_sensitive") not in SENSITIVITIES:
            raise bad_request("dataSensitivity is not valid")
        custom = [prop for prop in self.properties.values() if not prop.hubspot_defined]
        if len(custom) >= self._options.max_custom_properties:
            raise bad_request(
                f"You have reached the limit of {self._options.max_custom_properties} custom properties.",
                sub_category="Properties.PROPERTY_LIMIT_REACHED",
            )
        if body.get("hasUniqueValue"):
            if body["type"] not in ("string", "number"):
                raise bad_request("hasUniqueValue needs a property of type string or number")
            if sum(prop.unique for prop in custom) >= MAX_UNIQUE_PROPERTIES:
                raise bad_request(f"At most {MAX_UNIQUE_PROPERTIES} properties can have unique values")

    def create(self, body: Json, now: int) -> Property:
        self.check_create(body)
        prop = Property(
            name=body["name"],
            label=body["label"],
            type=body["type"],
            field_type=body["fieldType"],
            group=body["groupName"],
            options=as_options(body.get("options")),
            unique=bool(body.get("hasUniqueValue")),
            calculated=body["fieldType"] == "calculation_equation",
            external_options=bool(body.get("externalOptions")),
            hidden=bool(body.get("hidden")),
            sensitivity=body.get("dataSensitivity", "non_sensitive"),
            description=body.get("description") or "",
            display_order=int(body.get("displayOrder", -1)),
            form_field=bool(body.get("formField")),
            formula=body.get("calculationFormula"),
            created=now,
            updated=now,
        )
        self.archived.pop(prop.name, None)
        self._place(prop)
        return prop

    def update(self, name: str, body: Json, now: int) -> Property:
        prop = self.get(name)
        if prop.hubspot_defined and set(body) - {"options", "label", "description", "displayOrder", "hidden"}:
            raise bad_request(f"The definition of property {name} is read only")
        kind, field_type = body.get("type", prop.type), body.get("fieldType", prop.field_type)
        if "groupName" in body:
            self._check_group(body["groupName"])
        self._check_kind(kind, field_type)
        if "options" in body or kind != prop.type:
            given = body.get("options", prop.options)
            self._check_options(kind, given, prop.external_options)
            prop.options = as_options(given)
            prop.option_values = frozenset(option["value"] for option in prop.options)
        prop.type, prop.field_type = kind, field_type
        prop.group = body.get("groupName", prop.group)
        prop.label = body.get("label", prop.label)
        prop.description = body.get("description", prop.description)
        prop.display_order = body.get("displayOrder", prop.display_order)
        prop.hidden = body.get("hidden", prop.hidden)
        prop.form_field = body.get("formField", prop.form_field)
        prop.updated = now
        return prop

    def archive(self, name: str, now: int) -> Property | None:
        """Archives a custom property; None if there is none of that name."""
        prop = self.properties.get(name)
        if prop is None:
            return None
        if prop.hubspot_defined:
            raise bad_request(f"Property {name} is defined by HubSpot and cannot be archived")
        prop.archived_at = now
        self.archived[name] = self.properties.pop(name)
        self.rules.pop(name, None)
        return prop

    def _check_group(self, name: Any) -> None:
        if name not in self.groups:
            raise bad_request(f"Property group '{name}' does not exist", context={"groupName": [str(name)]})

    @staticmethod
    def _check_kind(kind: Any, field_type: Any) -> None:
        if kind not in PAIRS:
            raise bad_request(f"'{kind}' is not a property type", context={"type": [str(kind)]})
        if field_type not in PAIRS[kind]:
            raise bad_request(
                f"Field type '{field_type}' does not go with type '{kind}'",
                context={"fieldType": [str(field_type)]},
            )

    @staticmethod
    def _check_options(kind: str, options: Any, external: bool) -> None:
        given = options or []
        if not isinstance(given, list) or not all(
            isinstance(option, dict)
            and isinstance(option.get("label"), str)
            and isinstance(option.get("value"), str)
            for option in given
        ):
            raise bad_request("Every option needs a label and a value")
        values = [option["value"] for option in given]
        labels = [option["label"] for option in given]
        if len(set(values)) < len(values) or len(set(labels)) < len(labels):
            raise bad_request("Options must have unique labels and values")
        if kind == "bool" and sorted(values) != ["false", "true"]:
            raise bad_request("A bool property needs exactly the options true and false")
        if kind == "enumeration" and not values and not external:
            raise bad_request("An enumeration property needs options")
        if kind not in ("bool", "enumeration") and values:
            raise bad_request(f"A property of type {kind} has no options")

    # groups

    def group(self, name: str) -> Group:
        if name not in self.groups:
            raise not_found(f"Property group {name} does not exist")
        return self.groups[name]

    def create_group(self, body: Json) -> Group:
        name, label = body.get("name"), body.get("label")
        if not isinstance(name, str) or not _NAME.match(name) or not isinstance(label, str) or not label:
            raise bad_request("A property group needs a valid name and a label")
        if name in self.groups:
            raise ApiError(409, "OBJECT_ALREADY_EXISTS", f"A property group named '{name}' already exists.")
        self.groups[name] = Group(name, label, int(body.get("displayOrder", -1)))
        return self.groups[name]

    def update_group(self, name: str, body: Json) -> Group:
        group = self.group(name)
        group.label = body.get("label", group.label)
        group.display_order = body.get("displayOrder", group.display_order)
        return group

    def delete_group(self, name: str) -> None:
        group = self.group(name)
        if any(prop.group == name for prop in self.properties.values()):
            raise bad_request(f"Property group {name} still holds properties")
        del self.groups[group.name]

    # validation rules

    def set_rule(self, name: str, rule: Rule) -> None:
        self.get(name)
        try:
            if rule.type in ("MAX_LENGTH", "MIN_LENGTH"):
                int(rule.arguments[0])
            elif rule.type in ("MAX_NUMBER", "MIN_NUMBER"):
                float(rule.arguments[0])
            elif rule.type == "REGEX":
                re.compile(rule.arguments[0])
        except (ValueError, IndexError, re.error) as error:
            raise bad_request(f"The arguments of {rule.type} are not valid") from error
        self.rules.setdefault(name, {})[rule.type] = rule

    def unknown(self, name: str) -> Problem:
        return Problem("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist', name)


def unknown_id_property(name: str, known: bool, type_id: str) -> ApiError:
    """The refusal for an ``idProperty`` that cannot identify a record."""
    if known:
        return bad_request(f"Unable to perform update/upsert by non-unique {type_id} property {name}")
    return invalid([Problem("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist', name)]).as_call()


def as_options(given: Any) -> list[Json]:
    return [
        {
            "label": option["label"],
            "value": option["value"],
            "description": option.get("description") or "",
            "displayOrder": int(option.get("displayOrder", index)),
            "hidden": bool(option.get("hidden")),
        }
        for index, option in enumerate(given or [])
    ]
