"""HubSpot's HTTP API: one session, the pinned version, retries, and nothing of a token in what comes out.

Only here are addresses written. Reads are tried again until they succeed. A write is tried again only where HubSpot
said that it did not carry it out (423, 429, 477); in all other cases the caller is told and decides.
Long by the number of calls that HubSpot has: that all addresses are here is worth more than a short file.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson
import requests

from dagster_project.destinations.parts.errors import NoAnswer
from dagster_project.destinations.parts.http import Bearer, Http, is_token, retry_after
from dagster_project.settings import HubspotSettings, hubspot_base_url, hubspot_oauth, hubspot_token

from .errors import DailyLimit, HubspotError, MissingToken, NotAllowed, OutcomeUnknown, Refused, Unavailable
from .keys import TYPE_IDS, keys_of
from .pace import FIRST_WAIT, Pace

API_VERSION = "2026-09"
ACCOUNT_VERSION = "2026-03"  # account and OAuth endpoints have no later one
EVENT_VERSION = "2026-03"  # of custom events, and their definitions
ASSOCIATION_VERSION = "2026-03"  # as documented
BATCH = 100  # inputs a call
_ASSOCIATE = "/contacts/companies/batch/associate/default"
_ASSOCIATIONS = (  # the second and later ones: where an account, or a stand-in, does not know the first
    f"/crm/associations/{ASSOCIATION_VERSION}{_ASSOCIATE}",
    f"/crm/associations/{API_VERSION}{_ASSOCIATE}",
    f"/crm/v4/associations{_ASSOCIATE}",
    "/crm/v4/associations/contacts/companies/batch/create",
)
_UNLABELLED = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}  # contact to company

_LOCKED = {423, 477}  # HubSpot is busy with the record, or moving the account: not carried out
_READ_TRIES = 5
_LOCKED_TRIES = 5
_REFUSED_TRIES = 12
_UNAUTHORISED_TRIES = 3  # another thread's new token may end the one that this call was sent with

Json = dict[str, Any]
Said = tuple[int, str, str | None]  # status, text without secrets, correlation id


@dataclass(frozen=True)
class Account:
    """portal_id None: not asked yet. time_zone: where the account's day turns."""

    portal_id: int | None = None
    time_zone: str = "UTC"


class _Http(Http):
    """HubSpot says in a refusal which of its limits it was."""

    pace: Pace

    def on_refusal(self, text: str, headers: Mapping[str, str]) -> None:
        body = _parsed(text) or {}
        policy = str(body.get("policyName") or "").upper()
        if policy == "DAILY" or (not policy and "daily" in str(body.get("message", "")).lower()):
            self.pace.day_is_used_up = True
        else:
            self.pace.refused(FIRST_WAIT.get(policy, 2.5), retry_after(headers))


class Api:
    """One HubSpot account. Raises MissingToken when it is made without credentials; threads may share it."""

    def __init__(self, settings: HubspotSettings) -> None:
        token, self._oauth = hubspot_token(), hubspot_oauth()
        if token is None and self._oauth is None:
            raise MissingToken
        secrets = {secret for secret in (token, *(self._oauth or ())[1:]) if secret}
        if not all(map(is_token, secrets)):
            raise HubspotError("HUBSPOT_ACCESS_TOKEN holds characters that no token has; copy it again")
        self.pace = Pace(settings.rate_share, settings.daily_share)
        self._http = _Http("HubSpot", hubspot_base_url(), self.pace, settings.timeout_seconds, secrets)
        self.account = Account()
        self._token_ends = float("inf")
        self._token_lock = threading.Lock()
        self._association_paths = list(_ASSOCIATIONS)
        self._paths = {one.object: one.path for one in keys_of(settings).values()}
        self._auth: Bearer | None = Bearer(token) if token else None

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def __repr__(self) -> str:
        return repr(self._http)

    # what HubSpot offers

    def load_account(self, portal_id: int | None) -> Account:
        """Which account the token belongs to. Raises HubspotError where it is not `portal_id` (None: any)."""
        try:
            body = self._read("GET", f"/account-info/{ACCOUNT_VERSION}/details")
        except (Refused, NotAllowed) as error:
            if isinstance(error, NotAllowed) and error.status == 401:
                raise
            body = {}  # not promised to every token
        said = str(body.get("portalId"))
        found = int(said) if said.isdecimal() else None
        if found is None and portal_id is None:
            raise HubspotError(
                "HubSpot does not say which account the token belongs to, so nothing was sent: name the account, "
                "[hubspot] portal_id in warehouse.toml (the number in HubSpot's addresses)"
            )
        if found is not None and portal_id not in (None, found):
            raise HubspotError(
                f"the token belongs to HubSpot account {found}, but "
                f"[hubspot] portal_id = {portal_id}: nothing was sent. Use a token of that account, or change the setting"
            )
        self.account = Account(found or portal_id, str(body.get("timeZone") or "UTC"))
        return self.account

    def properties(self, object_type: str, sensitivity: str = "non_sensitive") -> list[Json]:
        params = {} if sensitivity == "non_sensitive" else {"dataSensitivity": sensitivity}
        return self._list("GET", f"/crm/properties/{API_VERSION}/{self._path(object_type)}", params)

    def groups(self, object_type: str) -> list[Json]:
        return self._list("GET", f"/crm/properties/{API_VERSION}/{self._path(object_type)}/groups")

    def pages(self, object_type: str, properties: Sequence[str]) -> Iterator[tuple[list[Json], bool]]:
        """All records, a hundred at a time, each page with whether it is the last."""
        after: str | None = None
        seen: set[str] = set()
        while True:
            params = {"limit": str(BATCH), "properties": ",".join(properties), "archived": "false"}
            if after is not None:
                params["after"] = after
            body = self._read(
                "GET", f"/crm/objects/{API_VERSION}/{self._path(object_type)}", params, holds="results"
            )
            paging = body.get("paging")
            following = paging.get("next") if isinstance(paging, dict) else None
            after = (
                str(following["after"]) if isinstance(following, dict) and following.get("after") else None
            )
            is_last = after is None or after in seen
            yield _dicts(body.get("results")), is_last
            if is_last or after is None:
                return
            seen.add(after)

    def batch_read(
        self,
        object_type: str,
        ids: Sequence[str],
        properties: Sequence[str],
        id_property: str | None = None,
        refused: dict[str, Refused] | None = None,
    ) -> list[Json]:
        """The records with these ids (or values of id_property) that exist, in any order.

        refused: gets the ids of which HubSpot refuses to say anything. Without it Refused is raised for them.
        """
        body: Json = {
            "properties": list(properties),
            "propertiesWithHistory": [],
            "inputs": [{"id": one} for one in ids],
        }
        if id_property:
            body["idProperty"] = id_property
        try:
            return self._list(
                "POST", f"/crm/objects/{API_VERSION}/{self._path(object_type)}/batch/read", body=body
            )
        except Refused as error:
            if error.status == 404:
                return []
            if len(ids) == 1 and refused is not None:
                refused[ids[0]] = error
                return []
            if len(ids) == 1 or error.status not in (400, 413, 414, 422):
                raise
            half = len(ids) // 2
            return [
                record
                for part in (ids[:half], ids[half:])
                for record in self.batch_read(object_type, part, properties, id_property, refused)
            ]

    def batch_write(self, object_type: str, verb: str, inputs: list[Json]) -> Json:
        """Create or update up to a hundred records. Returns the answer: read its `errors`.

        Raises Refused (nothing was written), OutcomeUnknown, Unavailable, DailyLimit, NotAllowed.
        """
        return self.write(
            "POST", f"/crm/objects/{API_VERSION}/{self._path(object_type)}/batch/{verb}", {"inputs": inputs}
        )

    def create_group(self, object_type: str, group: Json) -> Json:
        return self.write("POST", f"/crm/properties/{API_VERSION}/{self._path(object_type)}/groups", group)

    def create_properties(self, object_type: str, inputs: list[Json]) -> Json:
        return self.write(
            "POST",
            f"/crm/properties/{API_VERSION}/{self._path(object_type)}/batch/create",
            {"inputs": inputs},
        )

    def update_property(self, object_type: str, name: str, change: Json) -> Json:
        return self.write("PATCH", f"/crm/properties/{API_VERSION}/{self._path(object_type)}/{name}", change)

    def find_list(self, object_type: str, name: str) -> Json | None:
        """The list of this name; None: there is none."""
        named = f"object-type-id/{TYPE_IDS[object_type]}/name/{quote(name, safe='')}"
        try:
            found = self._read("GET", f"/crm/lists/{API_VERSION}/{named}").get("list")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return found if isinstance(found, dict) else None

    def create_list(self, object_type: str, name: str) -> Json:
        """A list whose members are chosen by hand. Raises as `batch_write`."""
        body = {"name": name, "objectTypeId": TYPE_IDS[object_type], "processingType": "MANUAL"}
        made = self.write("POST", f"/crm/lists/{API_VERSION}", body).get("list")
        if not isinstance(made, dict):
            raise OutcomeUnknown("EMPTY_ANSWER", "the answer has no list")
        return made

    def change_members(self, list_id: str, add: list[str], remove: list[str]) -> Json:
        """Add records to a list and take others away. Raises as `batch_write`."""
        body = {"recordIdsToAdd": add, "recordIdsToRemove": remove}
        return self.write("PUT", f"/crm/lists/{API_VERSION}/{list_id}/memberships/add-and-remove", body)

    def associate(self, pairs: Sequence[tuple[str, str]]) -> Json:
        """Associate up to a hundred contacts with companies, without a label. Raises as `batch_write`."""
        for path in list(self._association_paths):
            named = {"types": [_UNLABELLED]} if path.endswith("/create") else {}
            inputs = [{"from": {"id": contact}, "to": {"id": company}, **named} for contact, company in pairs]
            try:
                answer = self.write("POST", path, {"inputs": inputs})
            except Refused as refused:
                if refused.status not in (404, 405) or len(self._association_paths) == 1:
                    raise
                self._association_paths.remove(path)
            else:
                self._association_paths = [path]
                return answer
        raise AssertionError

    def event_definitions(self) -> list[Json]:
        """The account's custom events, with their properties."""
        found: list[Json] = []
        params = {"limit": str(BATCH), "includeProperties": "true"}
        while True:
            body = self._read("GET", f"/events/{EVENT_VERSION}/event-definitions", params, holds="results")
            found += _dicts(body.get("results"))
            paging = body.get("paging")
            following = paging.get("next") if isinstance(paging, dict) else None
            after = str(following.get("after") or "") if isinstance(following, dict) else ""
            if not after or after == params.get("after"):
                return found
            params["after"] = after

    def create_event_definition(self, body: Json) -> Json:
        return self.write("POST", f"/events/{EVENT_VERSION}/event-definitions", body)

    def send_events(self, inputs: list[Json]) -> Json:
        """Tell of up to a hundred events. Raises as `batch_write`; a success has no body."""
        path = f"/events/{EVENT_VERSION}/send/batch"
        return self._call("POST", path, None, {"inputs": inputs}, is_write=True, may_be_empty=True)

    def purge_contact(self, hubspot_id: str) -> Json:
        """Delete a contact for good. (The dated versions do not have it.) Raises as `batch_write`; a success has no body."""
        return self.write("POST", "/crm/v3/objects/contacts/gdpr-delete", {"objectId": hubspot_id})

    # how calls are made

    def _path(self, object_type: str) -> str:
        return self._paths.get(object_type, object_type)

    def _list(
        self, method: str, path: str, params: Mapping[str, str] | None = None, body: Json | None = None
    ) -> list[Json]:
        return _dicts(self._read(method, path, params, body, holds="results").get("results"))

    def _read(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
        holds: str | None = None,
    ) -> Json:
        """A read, tried again until an answer comes that holds what it must: nothing found is never guessed."""
        for attempt in range(_READ_TRIES):
            try:
                answer = self._call(method, path, params, body)
                if holds is None or isinstance(answer.get(holds), list) or answer.get("errors"):
                    return answer
                raise OutcomeUnknown("EMPTY_ANSWER", f"the answer has no {holds}")
            except OutcomeUnknown as error:
                if attempt == _READ_TRIES - 1:
                    raise Unavailable(f"HubSpot cannot be read: {error}") from None
                sleep(0.5 * 2**attempt)
        raise AssertionError

    def write(self, method: str, path: str, body: Json) -> Json:
        return self._call(method, path, None, body, is_write=True)

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Json | None,
        *,
        is_write: bool = False,
        may_be_empty: bool = False,
    ) -> Json:
        """One call, tried again only where HubSpot did not carry it out."""
        refused = locked = unauthorised = 0
        data = orjson.dumps(body) if body is not None else None
        while True:
            bearer = self._bearer()
            status, text, correlation_id = self._send(method, path, params, data, bearer, is_write)
            if status == 429:
                refused += 1
                if refused >= _REFUSED_TRIES:
                    raise Unavailable("HubSpot goes on to refuse calls: its rate limit is used up by others")
            elif status in _LOCKED:
                locked += 1
                if locked >= _LOCKED_TRIES:
                    raise Unavailable(f"HubSpot goes on to answer {status}: {_message(text)}")
                sleep(2.0 * locked)
            elif status == 401 and self._oauth and unauthorised < _UNAUTHORISED_TRIES:
                unauthorised += 1
                self._forget(bearer)
            else:
                if may_be_empty and 200 <= status < 300 and not text:
                    return {}
                return self._understood(status, text, correlation_id)

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | Mapping[str, str] | None,
        auth: Any,
        is_write: bool,
    ) -> Said:
        """Send once, when the pace allows it. Returns the status, and the text without secrets."""
        if self.pace.day_is_used_up:
            raise DailyLimit(self._day_ends_at())
        try:
            status, text, headers = self._http.send(
                method, path, auth=auth, params=params, data=data, is_write=is_write
            )
        except NoAnswer as error:
            raise OutcomeUnknown(error.code, str(error)) from None
        if status == 429 and self.pace.day_is_used_up:
            raise DailyLimit(self._day_ends_at())
        return status, text, headers.get("X-HubSpot-Correlation-Id")

    def _understood(self, status: int, text: str, correlation_id: str | None) -> Json:
        """The body of a usable answer."""
        body = _parsed(text)
        if body is not None and correlation_id:
            body.setdefault("correlationId", correlation_id)
        if status >= 500 or status < 200:
            raise OutcomeUnknown(f"HTTP_{status}", f"HubSpot answered {status}: {_message(text)}")
        if status in (401, 402, 403):
            raise NotAllowed(status, _not_allowed(status, body or {}))
        if status >= 300:
            raise Refused(status, body if body is not None else {"message": f"HubSpot answered {status}"})
        if body is None:
            raise OutcomeUnknown("EMPTY_ANSWER", f"HubSpot answered {status} without saying what it did")
        if body.get("status") == "error" and "results" not in body:
            raise Refused(status, body)
        return body

    def _bearer(self) -> Bearer:
        """The token to send; an OAuth app's is fetched when there is none or it is about to end."""
        with self._token_lock:
            if self._auth is None or monotonic() > self._token_ends:
                self._auth = self._fetch_token()
            return self._auth

    def _forget(self, bearer: Bearer) -> None:
        with self._token_lock:
            if self._auth is bearer:
                self._auth = None

    def _fetch_token(self) -> Bearer:
        if self._oauth is None:
            raise MissingToken
        client_id, client_secret, refresh_token = self._oauth
        form = {
            "grant_type": "refresh_token",
            "client_id": client_id,
            "client_secret": client_secret,
            "refresh_token": refresh_token,
        }
        for attempt in range(_READ_TRIES):
            try:
                status, text, _ = self._send(
                    "POST", f"/oauth/{ACCOUNT_VERSION}/token", None, form, _no_token, False
                )
            except OutcomeUnknown:
                status, text = 503, ""
            body = _parsed(text) or {}
            if status == 200 and isinstance(body.get("access_token"), str):
                self._http.keep_secret(body["access_token"])
                said = body.get("expires_in")
                lifetime = said if isinstance(said, int) else 1800
                # A minute early: a call may wait for its turn.
                self._token_ends = monotonic() + lifetime - min(60, lifetime / 2)
                return Bearer(body["access_token"])
            if status < 500 and status != 429:
                raise NotAllowed(
                    status,
                    "HubSpot does not accept the OAuth app's credentials (HUBSPOT_CLIENT_ID, "
                    f"HUBSPOT_CLIENT_SECRET, HUBSPOT_REFRESH_TOKEN): {_message(text)}",
                )
            sleep(0.5 * 2**attempt)
        raise Unavailable("HubSpot hands out no access token; try again later")

    def _day_ends_at(self) -> datetime:
        """The next midnight in the account's time zone, as naive UTC."""
        try:
            zone: ZoneInfo | timezone = ZoneInfo(self.account.time_zone)
        except (KeyError, ValueError, OSError):
            zone = UTC
        tomorrow = datetime.now(zone).date() + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone)
        return midnight.astimezone(UTC).replace(tzinfo=None)


def _no_token(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _parsed(text: str) -> Json | None:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _message(text: str) -> str:
    body = _parsed(text)
    return str(body.get("message") or "no message")[:500] if body else "no message"


def _not_allowed(status: int, body: Json) -> str:
    said = str(body.get("message") or "no reason given")
    if status == 401:
        return f"HubSpot does not accept the access token (HUBSPOT_ACCESS_TOKEN): {said}"
    if status == 402:
        return f"HubSpot wants a payment or a larger plan first: {said}"
    scopes = [
        str(scope)
        for error in _dicts(body.get("errors"))
        if isinstance(error.get("context"), dict)
        for scope in (
            error["context"].get("requiredGranularScopes") or error["context"].get("requiredScopes") or []
        )
    ]
    if scopes or "SCOPE" in str(body.get("category")):
        wanted = f" It needs: {', '.join(dict.fromkeys(scopes))}." if scopes else ""
        return f"the HubSpot access token lacks a scope: {said}{wanted}"
    return f"HubSpot does not allow this: {said}"


def _dicts(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
