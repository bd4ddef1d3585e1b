"""What each operation does, one method each: ``_objects_batch_read`` answers ``contacts.batch_read``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from .access import Access
from .batches import Batches, batch_body
from .errors import ApiError, Json, RowError, bad_request, not_found
from .events import EventStore
from .objects import ObjectType
from .options import Options
from .routes import Request
from .schema import Rule
from .search import search
from .store import Store
from .values import as_id, iso, normal_key


@dataclass(frozen=True)
class Account:
    portal_id: int
    type: str
    time_zone: str


class Operations:
    """The handlers; the caller holds the store's lock."""

    def __init__(
        self, store: Store, batches: Batches, options: Options, account: Account, access: Access
    ) -> None:
        self.store = store
        self.options = options
        self._batches = batches
        self._account = account
        self._access = access
        self.events = EventStore(account.portal_id)

    def dispatch(self, request: Request) -> tuple[int, Any]:
        area, _, verb = request.operation.rpartition(".")
        if area == "unknown" or any(area == kind.name for kind in self.store.types):
            area = "objects"
        handler: Callable[[Request], tuple[int, Any]] = getattr(self, f"_{area}_{verb}")
        return handler(request)

    def _kind(self, request: Request) -> ObjectType:
        return self.store.type(request.args["o"])

    def _rules(self, request: Request) -> bool:
        """Whether the account's own validation rules apply: they do from 2026-09 on."""
        wish = self.options.enforce_rules
        return wish == "always" or (wish == "dated" and request.args.get("V", "") >= "2026-09")

    def _objects_list(self, request: Request) -> tuple[int, Any]:
        kind = self._kind(request)
        limit = _int(request.one("limit", "10"), "limit")
        if not 1 <= limit <= 100:
            raise bad_request("limit must be between 1 and 100")
        after = _int(request.one("after", "0") or "0", "after")
        records, more = kind.page(after, limit, request.flag("archived"))
        names = request.names("properties")
        body: Json = {"results": [kind.public(record, names) for record in records]}
        if more:
            last = str(records[-1].id)
            body["paging"] = {"next": {"after": last, "link": f"{request.path}?after={last}"}}
        return 200, body

    def _objects_create(self, request: Request) -> tuple[int, Any]:
        kind = self._kind(request)
        plan = self.store.plan(kind, request.body.get("properties"), None, {}, 0, self._rules(request))
        if isinstance(plan, RowError):
            raise plan.as_call()
        record = self.store.write(kind, plan)
        return 201, kind.public(record, [prop.name for prop, _ in plan.values])

    def _objects_get(self, request: Request) -> tuple[int, Any]:
        kind, text = self._kind(request), request.args["id"]
        record = (
            kind.archived.get(as_id(text)) if request.flag("archived") else self._one_record(request, kind)
        )
        if record is None:
            raise not_found(f"Object not found.  objectId are usually numeric. {text}")
        return 200, kind.public(record, request.names("properties"))

    def _objects_update(self, request: Request) -> tuple[int, Any]:
        kind = self._kind(request)
        record = self._one_record(request, kind)
        if record is None:
            raise not_found("resource not found")
        plan = self.store.plan(kind, request.body.get("properties"), record, {}, 0, self._rules(request))
        if isinstance(plan, RowError):
            raise plan.as_call()
        return 200, kind.public(self.store.write(kind, plan), [prop.name for prop, _ in plan.values])

    def _one_record(self, request: Request, kind: ObjectType) -> Any:
        name, text = request.one("idProperty"), request.args["id"]
        if not name:
            return kind.find(text)
        id_property = self.store.id_property(kind, name)
        return self.store.lookup(kind, normal_key(text) if id_property == kind.key else text, id_property)

    def _objects_archive(self, request: Request) -> tuple[int, Any]:
        self.store.archive(self._kind(request), request.args["id"])
        return 204, None

    def _objects_gdpr_delete(self, request: Request) -> tuple[int, Any]:
        """For good: not in the recycling bin either."""
        kind, text = self._kind(request), str(request.body.get("objectId"))
        if kind is not self.store.contacts:
            raise bad_request("Only contacts can be deleted so")
        name = request.body.get("idProperty")
        record = self.store.lookup(kind, text, self.store.id_property(kind, name) if name else None)
        if record is not None:
            self.store.archive(kind, str(record.id))
            del kind.archived[record.id]
        return 204, None

    def _objects_batch_read(self, request: Request) -> tuple[int, Any]:
        outcome = self._batches.read(self._kind(request), request.body, request.flag("archived"))
        return outcome.status, batch_body(outcome, request.started, self.store.now())

    def _objects_batch_create(self, request: Request) -> tuple[int, Any]:
        outcome = self._batches.create(self._kind(request), request.body, self._rules(request))
        return outcome.status, batch_body(outcome, request.started, self.store.now())

    def _objects_batch_update(self, request: Request) -> tuple[int, Any]:
        outcome = self._batches.update(self._kind(request), request.body, self._rules(request))
        return outcome.status, batch_body(outcome, request.started, self.store.now())

    def _objects_batch_upsert(self, request: Request) -> tuple[int, Any]:
        outcome = self._batches.upsert(self._kind(request), request.body, self._rules(request))
        return outcome.status, batch_body(outcome, request.started, self.store.now())

    def _objects_batch_archive(self, request: Request) -> tuple[int, Any]:
        self._batches.archive(self._kind(request), request.body)
        return 204, None

    def _objects_search(self, request: Request) -> tuple[int, Any]:
        return 200, search(self.store, self._kind(request), request.body)

    # properties and groups

    def _properties_list(self, request: Request) -> tuple[int, Any]:
        schema = self._kind(request).schema
        sensitivity = request.one("dataSensitivity", "non_sensitive")
        return 200, {"results": schema.listing(request.flag("archived"), sensitivity, self.store.now())}

    def _properties_get(self, request: Request) -> tuple[int, Any]:
        return 200, self._kind(request).schema.get(request.args["name"], request.flag("archived")).as_json()

    def _properties_create(self, request: Request) -> tuple[int, Any]:
        return 201, self._kind(request).schema.create(request.body, self.store.now()).as_json()

    def _properties_update(self, request: Request) -> tuple[int, Any]:
        schema = self._kind(request).schema
        return 200, schema.update(request.args["name"], request.body, self.store.now()).as_json()

    def _properties_archive(self, request: Request) -> tuple[int, Any]:
        if self._kind(request).schema.archive(request.args["name"], self.store.now()) is None:
            raise not_found(f"Property {request.args['name']} does not exist")
        return 204, None

    def _properties_batch_create(self, request: Request) -> tuple[int, Any]:
        schema = self._kind(request).schema
        results: list[Json] = []
        errors: list[Json] = []
        for item in self._batches.inputs(request.body):
            try:
                results.append(schema.create(item, self.store.now()).as_json())
            except ApiError as error:
                body = error.body
                detail: Json = {"message": body["message"]}
                if "subCategory" in body:
                    detail["subCategory"] = body["subCategory"]
                context = {"name": [str(item.get("name"))]}
                row = RowError(error.status, body["category"], body["message"], [detail], context)
                errors.append(row.as_row(None, self.options.full_errors))
        status = 200 if self.options.partial_status == "declared" else 207 if errors else 201
        return status, self._property_batch(request, results, errors)

    def _properties_batch_read(self, request: Request) -> tuple[int, Any]:
        schema = self._kind(request).schema
        source = schema.archived if request.body.get("archived") else schema.properties
        names = [str(item.get("name")) for item in self._batches.inputs(request.body)]
        missing = [name for name in names if name not in source]
        errors = []
        if missing:
            row = RowError(
                404, "OBJECT_NOT_FOUND", "Some properties do not exist.", context={"name": missing}
            )
            errors.append(row.as_row(None, self.options.full_errors))
        results = [source[name].as_json() for name in names if name in source]
        status = 207 if errors and self.options.partial_status == "207" else 200
        return status, self._property_batch(request, results, errors)

    def _property_batch(self, request: Request, results: list[Json], errors: list[Json]) -> Json:
        body: Json = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": iso(request.started),
            "completedAt": iso(self.store.now()),
        }
        return {**body, "numErrors": len(errors), "errors": errors} if errors else body

    def _properties_batch_archive(self, request: Request) -> tuple[int, Any]:
        schema = self._kind(request).schema
        for item in self._batches.inputs(request.body):
            schema.archive(str(item.get("name")), self.store.now())
        return 204, None

    def _properties_group_list(self, request: Request) -> tuple[int, Any]:
        return 200, {"results": [group.as_json() for group in self._kind(request).schema.groups.values()]}

    def _properties_group_create(self, request: Request) -> tuple[int, Any]:
        return 201, self._kind(request).schema.create_group(request.body).as_json()

    def _properties_group_get(self, request: Request) -> tuple[int, Any]:
        return 200, self._kind(request).schema.group(request.args["name"]).as_json()

    def _properties_group_update(self, request: Request) -> tuple[int, Any]:
        return 200, self._kind(request).schema.update_group(request.args["name"], request.body).as_json()

    def _properties_group_delete(self, request: Request) -> tuple[int, Any]:
        self._kind(request).schema.delete_group(request.args["name"])
        return 204, None

    # validation rules

    def _validations_list(self, request: Request) -> tuple[int, Any]:
        rules = self._kind(request).schema.rules
        return 200, {
            "results": [
                {"propertyName": name, "propertyValidationRules": [rule.as_json() for rule in held.values()]}
                for name, held in rules.items()
            ]
        }

    def _validations_get(self, request: Request) -> tuple[int, Any]:
        schema = self._kind(request).schema
        schema.get(request.args["name"])
        return 200, {
            "results": [rule.as_json() for rule in schema.rules.get(request.args["name"], {}).values()]
        }

    def _validations_get_rule(self, request: Request) -> tuple[int, Any]:
        rule = self._kind(request).schema.rules.get(request.args["name"], {}).get(request.args["rule"])
        if rule is None:
            raise not_found(f"No rule {request.args['rule']} on {request.args['name']}")
        return 200, rule.as_json()

    def _validations_set_rule(self, request: Request) -> tuple[int, Any]:
        arguments = request.body.get("ruleArguments")
        if not isinstance(arguments, list):
            raise bad_request("ruleArguments must be a list")
        rule = Rule(
            request.args["rule"],
            tuple(map(str, arguments)),
            bool(request.body.get("shouldApplyNormalization")),
        )
        self._kind(request).schema.set_rule(request.args["name"], rule)
        return 204, None

    # lists

    def _lists_create(self, request: Request) -> tuple[int, Any]:
        return 200, {"list": self.store.create_list(request.body).as_json()}

    def _lists_list(self, request: Request) -> tuple[int, Any]:
        wanted = {str(one.id): one for one in self.store.lists.values()}
        return 200, {"lists": [wanted[i].as_json() for i in request.names("listIds") or [] if i in wanted]}

    def _lists_get(self, request: Request) -> tuple[int, Any]:
        return 200, {"list": self.store.segment(request.args["list"]).as_json()}

    def _lists_get_by_name(self, request: Request) -> tuple[int, Any]:
        for segment in self.store.lists.values():
            if segment.name == request.args["name"] and segment.type_id == request.args["o"]:
                return 200, {"list": segment.as_json()}
        raise not_found(f"List does not exist with name {request.args['name']}.")

    def _lists_delete(self, request: Request) -> tuple[int, Any]:
        del self.store.lists[self.store.segment(request.args["list"]).id]
        return 204, None

    def _lists_members(self, request: Request) -> tuple[int, Any]:
        segment = self.store.segment(request.args["list"])
        kind = self.store.type(segment.type_id)
        limit = _int(request.one("limit", "100"), "limit")
        if not 1 <= limit <= 250:
            raise bad_request("limit must be between 1 and 250")
        after = _int(request.one("after", "0") or "0", "after")
        ids = sorted(i for i in segment.members if i in kind.records)
        page = [i for i in ids if i > after][: limit + 1]
        body: Json = {
            "total": len(ids),
            "results": [
                {"recordId": str(i), "membershipTimestamp": iso(segment.members[i])} for i in page[:limit]
            ],
        }
        if len(page) > limit:
            body["paging"] = {"next": {"after": str(page[limit - 1])}}
        return 200, body

    def _lists_add_and_remove(self, request: Request) -> tuple[int, Any]:
        add, remove = request.body.get("recordIdsToAdd") or [], request.body.get("recordIdsToRemove") or []
        if not isinstance(add, list) or not isinstance(remove, list):
            raise bad_request("recordIdsToAdd and recordIdsToRemove must be lists")
        return 200, self.store.change_members(
            request.args["list"], [str(i) for i in add], [str(i) for i in remove]
        )

    def _lists_add(self, request: Request) -> tuple[int, Any]:
        return 200, self.store.change_members(request.args["list"], [str(i) for i in request.body], [])

    def _lists_remove(self, request: Request) -> tuple[int, Any]:
        return 200, self.store.change_members(request.args["list"], [], [str(i) for i in request.body])

    # associations

    def _associations_batch_associate(self, request: Request) -> tuple[int, Any]:
        """The default, unlabelled association, in both directions. Twice is no harm."""
        kinds = self.store.type(request.args["f"]), self.store.type(request.args["t"])
        results: list[Json] = []
        errors: list[Json] = []
        for item in self._batches.inputs(request.body):
            ends = [_end(item, name) for name in ("from", "to")]
            found = [kind.find(end) for kind, end in zip(kinds, ends, strict=True)]
            if any(one is None for one in found):
                missing = [end for end, one in zip(ends, found, strict=True) if one is None]
                row = RowError(
                    404, "OBJECT_NOT_FOUND", "Some records do not exist.", context={"ids": missing}
                )
                errors.append(row.as_row(None, self.options.full_errors))
                continue
            self.store.associations.add((kinds[0].name, ends[0], kinds[1].name, ends[1]))
            results.append(
                {
                    "associationSpec": {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279},
                    "from": {"id": ends[0]},
                    "to": {"id": ends[1]},
                }
            )
        status = 207 if errors else 200
        return status, self._property_batch(request, results, errors)

    def _associations_batch_read(self, request: Request) -> tuple[int, Any]:
        names = [self.store.type(request.args[one]).name for one in ("f", "t")]
        results = []
        for item in self._batches.inputs(request.body):
            to = sorted(
                there
                for f, here, t, there in self.store.associations
                if [f, t] == names and here == str(item.get("id"))
            )
            if to:
                results.append(
                    {
                        "from": {"id": str(item.get("id"))},
                        "to": [
                            {
                                "toObjectId": one,
                                "associationTypes": [
                                    {"category": "HUBSPOT_DEFINED", "typeId": 279, "label": None}
                                ],
                            }
                            for one in to
                        ],
                    }
                )
        return 200, self._property_batch(request, results, [])

    # custom events

    def _events_definitions(self, request: Request) -> tuple[int, Any]:
        return 200, {"results": list(self.events.definitions.values())}

    def _events_define(self, request: Request) -> tuple[int, Any]:
        return 201, self.events.define(request.body)

    def _events_send_batch(self, request: Request) -> tuple[int, Any]:
        self.events.send(self._batches.inputs(request.body))
        return 204, None

    # account and OAuth

    def _account_details(self, request: Request) -> tuple[int, Any]:
        zone = self._account.time_zone
        offset = datetime.fromtimestamp(self.store.clock(), ZoneInfo(zone)).utcoffset()
        minutes = round(offset.total_seconds() / 60) if offset else 0
        hours, rest = divmod(abs(minutes), 60)
        return 200, {
            "portalId": self._account.portal_id,
            "accountType": self._account.type,
            "timeZone": zone,
            "companyCurrency": "USD",
            "additionalCurrencies": [],
            "utcOffset": f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}",
            "utcOffsetMilliseconds": minutes * 60_000,
            "uiDomain": "app.hubspot.com",
            "dataHostingLocation": "na1",
        }

    def _oauth_token(self, request: Request) -> tuple[int, Any]:
        return 200, {**self._access.refresh(request.form), "hub_id": self._account.portal_id}


def _end(item: Json, name: str) -> str:
    end = item.get(name)
    if not isinstance(end, dict) or not isinstance(end.get("id"), str):
        raise bad_request(f"Some required fields were not set: [{name}.id]")
    return str(end["id"])


def _int(text: str, name: str) -> int:
    number = as_id(text)
    if number < 0:
        raise bad_request(f"{name} must be a number")
    return number
