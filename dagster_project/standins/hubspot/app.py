"""The account's API: routes, rights, limits and faults around the store. ``server`` feeds it from the
socket.

Both path dialects lead to the same code: ``/crm/v3/objects/{o}`` and ``/crm/objects/2026-09/{o}``. What
is under ``/__emulator__/`` steers a running emulator and is neither authorised nor counted. Long, since it is the table of
routes with what each of them answers: one address, one place.
"""

from __future__ import annotations

import random
import re
import threading
import time
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

import orjson

from .access import Access
from .batches import Batches
from .errors import ApiError, Json, bad_request, not_found
from .events import EventStore
from .faults import Fault, FaultPlan
from .limits import Limits, RateLimiter, rate_body
from .operations import Account, Operations
from .options import Options
from .routes import ROUTES, WRITES, Request, tidy
from .server import Reply, Server
from .store import Store

DEFAULT_TOKEN = "pat-na1-emulator"
_CALLS_KEPT = 20_000


@dataclass
class Call:
    """One call. ``status`` is 0 while it is under way and when the connection was cut without an answer."""

    method: str
    path: str
    operation: str
    inputs: int
    at: float
    status: int = 0
    faults: tuple[str, ...] = ()
    applied: bool = False
    seconds: float = 0.0

    @property
    def is_write(self) -> bool:
        """Whether the call was meant to change something in HubSpot."""
        return self.operation.rpartition(".")[2] in WRITES


class Emulator:
    """A HubSpot account on 127.0.0.1; a context manager, or ``start`` and ``stop``.

    ``tokens`` are accepted as private-app tokens. ``scopes`` (None: all) are what they, and the OAuth
    tokens that ``oauth_client`` (id, secret, refresh token) fetches, may do. ``clock`` replaces
    ``time.time`` for the limits, the time stamps and the search lag.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        seed: int = 0,
        companies: int = 0,
        contacts: int = 0,
        limits: Limits | None = None,
        faults: list[Fault] | None = None,
        options: Options | None = None,
        tokens: tuple[str, ...] = (DEFAULT_TOKEN,),
        scopes: frozenset[str] | set[str] | None = None,
        oauth_client: tuple[str, str, str] = ("client-id", "client-secret", "refresh-token"),
        portal_id: int = 4_242_424,
        account_type: str = "DEVELOPER_TEST",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options or Options()
        self.limits = limits or Limits()
        self.store = Store(self.options, seed, clock)
        self.limiter = RateLimiter(self.limits, clock)
        self.faults = FaultPlan(faults, seed)
        self.token = next(iter(tokens), "")
        self._clock = clock
        self._random = random.Random(seed)
        self.access = Access(tokens, scopes, oauth_client, clock, self._random)
        self._operations = Operations(
            self.store,
            Batches(self.store, self.options, self._random),
            self.options,
            Account(portal_id, account_type, self.limits.time_zone),
            self.access,
        )
        self._log_lock = threading.Lock()
        self._log: deque[Call] = deque(maxlen=_CALLS_KEPT)
        self.totals: Counter[str] = Counter()
        self.store.seed(companies, contacts, seed)
        self._server = Server(port, self._answer)

    # life

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def calls(self) -> list[Call]:
        """The latest calls, oldest first; ``totals`` counts all of them."""
        with self._log_lock:
            return list(self._log)

    @property
    def events(self) -> EventStore:
        return self._operations.events

    @property
    def writes(self) -> list[Call]:
        return [call for call in self.calls if call.is_write]

    def forget_calls(self) -> None:
        with self._log_lock:
            self._log.clear()
            self.totals.clear()

    def start(self) -> Emulator:
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # one call

    def _answer(self, method: str, target: str, headers: Any, raw: bytes, closing: threading.Event) -> Reply:
        path, _, query = target.partition("?")
        if path.startswith("/__emulator__/"):
            return self._control(method, path, query, raw)
        started = time.perf_counter()
        match, operation, known_path = self._match(method, path)
        call = Call(method, path, operation, 0, self._clock())
        with self._log_lock:
            self._log.append(call)
        extra: dict[str, str] = {}
        try:
            if match is None:
                if known_path:
                    raise ApiError(405, "METHOD_NOT_ALLOWED", f"Method {method} is not allowed for {path}")
                raise not_found(f"No resource at {path}")
            if len(target) > self.options.longest_address:
                raise ApiError(414, "URI_TOO_LONG", "The address is too long.")
            reply = self._admit(call, headers, extra) or self._handle(
                call, self._request(call, match, query, headers, raw), extra, closing
            )
        except ApiError as error:
            reply = self._error(error.status, error.body, extra)
        except Exception as error:
            traceback.print_exc()
            message = f"the emulator broke: {error!r}"
            reply = self._error(500, {"status": "error", "category": "INTERNAL_ERROR", "message": message})
        call.status = 0 if reply.cut == "all" else reply.status
        call.seconds = time.perf_counter() - started
        with self._log_lock:
            self.totals["calls"] += 1
            self.totals["inputs"] += call.inputs
            self.totals[f"status.{call.status}"] += 1
            self.totals[f"operation.{operation}"] += 1
            if call.is_write:
                self.totals["writes"] += 1
        return reply

    def _match(self, method: str, path: str) -> tuple[re.Match[str] | None, str, bool]:
        """The route's match, the operation, and whether the path is known at all."""
        known = False
        for wanted, pattern, operation in ROUTES:
            match = pattern.match(path)
            if match is None or match.groupdict().get("V", "2026-09") not in self.options.versions:
                continue
            known = True
            if wanted == method:
                kind = match.groupdict().get("o")
                if kind is not None and operation.startswith("objects."):
                    try:
                        operation = f"{self.store.type(unquote(kind)).name}.{operation[8:]}"
                    except ApiError:
                        operation = f"unknown.{operation[8:]}"
                return match, operation, True
        return None, "unknown", known

    def _admit(self, call: Call, headers: Any, extra: dict[str, str]) -> Reply | None:
        """Checks the token and counts the call; fills in its rate headers. A reply if it is refused."""
        if call.operation == "oauth.token":
            return None
        oauth = self.access.authorise(headers.get("Authorization", ""))
        policy, counted = self.limiter.take(call.operation.endswith(".search"), oauth)
        extra.update(counted)
        if policy is None:
            return None
        if self.options.retry_after:
            extra["Retry-After"] = "1" if policy == "SECONDLY" else "10"
        return self._error(429, rate_body(policy), extra)

    def _request(self, call: Call, match: re.Match[str], query: str, headers: Any, raw: bytes) -> Request:
        request = Request(
            call.operation,
            call.path,
            {name: unquote(value) for name, value in match.groupdict().items()},
            parse_qs(query),
            started=self.store.now(),
        )
        self._read_body(call.method, headers, raw, request)
        call.inputs = _count_inputs(request.body)
        return request

    def _handle(self, call: Call, request: Request, extra: dict[str, str], closing: threading.Event) -> Reply:
        if self.options.latency:
            closing.wait(self.options.latency)
        faults = self.faults.pick(call.method, call.path, call.operation)
        call.faults = tuple(fault.do for fault in faults)
        for fault in faults:
            early = self._before(fault, request, extra, closing)
            if early is not None:
                return early
        kind = self.store.type(request.args["o"]).name if "o" in request.args else ""
        self.access.check_scope(call.operation, kind)
        try:
            with self.store.lock:
                status, body = self._operations.dispatch(request)
            call.applied = True
            reply = self._reply(status, body, extra)
        except ApiError as error:
            reply = self._error(error.status, error.body, extra)
        for fault in faults:
            reply = self._after(fault, reply, extra)
        return reply

    def _read_body(self, method: str, headers: Any, raw: bytes, request: Request) -> None:
        if method not in ("POST", "PATCH", "PUT"):
            return
        kind = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        if request.operation == "oauth.token":
            if kind != "application/x-www-form-urlencoded":
                raise ApiError(415, "VALIDATION_ERROR", f"Unsupported media type {kind}")
            request.form = dict(parse_qsl(raw.decode("utf-8", "replace")))
            return
        if kind != "application/json":
            raise ApiError(415, "VALIDATION_ERROR", f"Unsupported media type {kind}")
        try:
            request.body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise bad_request(f"Invalid input JSON on line {error.lineno}, column {error.colno}") from None
        if not isinstance(request.body, (dict, list)):
            raise bad_request("Invalid input JSON: an object is needed")
        wants_list = request.operation in ("lists.add", "lists.remove")
        if isinstance(request.body, list) != wants_list:
            raise bad_request(
                "Invalid input JSON: " + ("a list is needed" if wants_list else "an object is needed")
            )
        tidy(request.operation, request.body)

    # faults

    def _before(
        self, fault: Fault, request: Request, extra: dict[str, str], closing: threading.Event
    ) -> Reply | None:
        if fault.do == "hang":
            closing.wait(fault.seconds)
        elif fault.do in ("merge", "archive"):
            self._disturb(fault.do, request)
        elif fault.do == "rate":
            self.limiter.refuse()
            if fault.policy == "DAILY" and extra:
                extra["X-HubSpot-RateLimit-Daily-Remaining"] = "0"
            elif extra:
                extra["X-HubSpot-RateLimit-Remaining"] = "0"
            self._note_retry(fault, extra)
            return self._error(429, rate_body(fault.policy), extra)
        elif fault.when != "before":
            return None
        elif fault.do == "cut":
            return Reply(0, b"", cut="all", reset=fault.reset)
        elif fault.do == "empty":
            return Reply(200, b"", dict(extra))
        elif fault.do == "conflict":
            raise ApiError(409, "CONFLICT", "One of the records conflicts with an existing one.")
        elif fault.do == "status":
            return self._fault_status(fault, extra)
        return None

    def _after(self, fault: Fault, reply: Reply, extra: dict[str, str]) -> Reply:
        if fault.when == "before":
            return reply
        if fault.do == "cut":
            reply.cut = "half" if fault.when == "mid" else "all"
            reply.reset = fault.reset
        elif fault.do == "empty" and reply.status < 300:
            reply.body = b""
        elif fault.do == "status":
            return self._fault_status(fault, extra)
        elif fault.do == "conflict":
            return self._error(
                409, {"status": "error", "category": "CONFLICT", "message": "A record conflicts."}, extra
            )
        return reply

    def _fault_status(self, fault: Fault, extra: dict[str, str]) -> Reply:
        headers = dict(extra)
        self._note_retry(fault, headers)
        if fault.html:
            page = f"<html><head><title>{fault.status}</title></head><body>Gateway</body></html>".encode()
            return Reply(fault.status, page, {**headers, "Content-Type": "text/html"})
        if fault.body is not None:
            return self._reply(fault.status, fault.body, headers)
        return self._error(
            fault.status,
            {"status": "error", "category": "INTERNAL_ERROR", "message": "internal error"},
            headers,
        )

    @staticmethod
    def _note_retry(fault: Fault, headers: dict[str, str]) -> None:
        if fault.retry_after is not None:
            headers["Retry-After"] = f"{fault.retry_after:g}"

    def _disturb(self, action: str, request: Request) -> None:
        """Somebody merges or deletes the first record of the call just before it is carried out."""
        kind = self.store.type(request.args["o"])
        with self.store.lock:
            named = request.body.get("inputs", []) if isinstance(request.body, dict) else []
            texts = [str(item.get("id")) for item in named] or [request.args.get("id", "")]
            for text in texts:
                record = kind.find(text) or next(iter(kind.by_key(text)), None)
                if record is None:
                    continue
                if action == "archive":
                    self.store.archive(kind, str(record.id))
                else:
                    other = self.store.put(kind.name, {})
                    self.store.merge(kind.name, other, record.id)
                return

    # answers

    def _reply(self, status: int, body: Any, headers: dict[str, str]) -> Reply:
        if body is None:
            return Reply(status, b"", dict(headers))
        return Reply(
            status, orjson.dumps(body), {**headers, "Content-Type": "application/json;charset=utf-8"}
        )

    def _error(self, status: int, body: Json, headers: dict[str, str] | None = None) -> Reply:
        identity = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        return self._reply(status, {**body, "correlationId": identity}, headers or {})

    # steering a running emulator

    def state(self, fingerprint: bool = False) -> Json:
        """Counts of what is stored and of what was called; with a digest of the stored values on request."""
        with self.store.lock:
            objects = {
                kind.name: {
                    "records": len(kind.records),
                    "archived": len(kind.archived),
                    "merged": len(kind.merged),
                    "unindexed": len(kind.pending),
                    "customProperties": [
                        name for name, prop in kind.schema.properties.items() if not prop.hubspot_defined
                    ],
                }
                for kind in self.store.types
            }
            lists = {segment.name: len(segment.members) for segment in self.store.lists.values()}
        with self._log_lock:
            totals = dict(self.totals)
            latest = [_told(call) for call in list(self._log)[-20:]]
        state: Json = {
            "objects": objects,
            "lists": lists,
            "calls": totals,
            "latest": latest,
            "limits": {
                "usedToday": self.limiter.used_today,
                "refused": self.limiter.refused,
                "maxRefusedIn10s": self.limiter.max_refused_in_10s,
            },
            "faults": self.faults.state(),
        }
        if fingerprint:
            state["fingerprint"] = self.store.fingerprint()
        return state

    def _control(self, method: str, path: str, query_text: str, raw: bytes) -> Reply:
        action = path.removeprefix("/__emulator__/").strip("/")
        try:
            body = orjson.loads(raw) if raw.strip() else {}
            if not isinstance(body, dict):
                raise ValueError("an object is needed")
            if (method, action) == ("GET", "state"):
                return self._reply(200, self.state("fingerprint=1" in query_text), {})
            if (method, action) == ("POST", "faults"):
                faults = [Fault.from_json(item) for item in body.get("faults", [])]
                if body.get("replace"):
                    self.faults.clear()
                self.faults.add(*faults)
                return self._reply(200, {"faults": self.faults.state()}, {})
            if (method, action) == ("POST", "seed"):
                return self._reply(200, self._seed(body), {})
            if (method, action) == ("POST", "merge"):
                left = self.store.merge(
                    body["objectType"], body["winner"], body["loser"], new_id=bool(body.get("newId"))
                )
                return self._reply(200, {"id": left}, {})
            if (method, action) == ("GET", "calls"):
                return self._reply(200, {"calls": [_told(call) for call in self.calls]}, {})
            if (method, action) == ("POST", "forget"):
                self.forget_calls()
                return self._reply(200, {}, {})
            if (method, action) == ("POST", "settle"):
                self.store.settle()
                return self._reply(200, {}, {})
        except ApiError as error:
            return self._error(error.status, error.body)
        except (KeyError, TypeError, ValueError) as error:
            return self._error(
                400, {"status": "error", "category": "VALIDATION_ERROR", "message": repr(error)}
            )
        known = "state, calls, forget, faults, seed, merge, settle"
        return self._error(
            404, {"status": "error", "category": "OBJECT_NOT_FOUND", "message": f"Known: {known}"}
        )

    def _seed(self, body: Json) -> Json:
        """``companies`` and ``contacts`` made up by number, ``records`` given by object type."""
        self.store.seed(
            int(body.get("companies", 0)),
            int(body.get("contacts", 0)),
            int(body.get("seed", 0)),
            int(body.get("duplicateDomains", 0)),
        )
        ids = {
            kind: [self.store.put(kind, properties) for properties in records]
            for kind, records in body.get("records", {}).items()
        }
        return {"ids": ids, "objects": self.state()["objects"]}


def _told(call: Call) -> Json:
    return {
        "method": call.method,
        "path": call.path,
        "operation": call.operation,
        "status": call.status,
        "inputs": call.inputs,
        "faults": list(call.faults),
        "at": call.at,
        "milliseconds": round(call.seconds * 1000, 3),
    }


def _count_inputs(body: Any) -> int:
    if isinstance(body, list):
        return len(body)
    if not isinstance(body, dict):
        return 0
    return sum(
        len(body[key])
        for key in ("inputs", "recordIdsToAdd", "recordIdsToRemove")
        if isinstance(body.get(key), list)
    )
