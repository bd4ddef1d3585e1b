"""Who may ask: host names, other sites' pages, password; and what every answer tells the browser it must not do.

One set of rules for all that this project serves: the portal, and Dagster's UI, which stands behind front.py.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

_NO_SNIFFING = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # in nobody's frame: a click there may be meant for something else
    "cross-origin-resource-policy": "same-origin",
}
PORTAL_HEADERS = {
    **_NO_SNIFFING,
    # No script at all, whatever a name or a value says; nothing from other hosts; in nobody's frame.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "referrer-policy": "no-referrer",
    # Customers' data: not for shared caches, and never out of date.
    "cache-control": "private, no-cache",
}
# Dagster's UI is a program in the browser, and says itself what it may load. (Without a referrer, Firefox would not say
# of what origin a form is.)
UI_HEADERS = {**_NO_SNIFFING, "referrer-policy": "same-origin", "cross-origin-opener-policy": "same-origin"}

_SAFE = ("GET", "HEAD", "OPTIONS")
_GUESSES = 10  # at once
_SECONDS_A_GUESS = 3.0
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Refusal:
    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """what: its name, for people; names: host names that it answers to, beside addresses and localhost; proxied: those
    under which a proxy in front may be known to browsers, whatever name the proxy itself asks under.
    """

    what: str
    names: frozenset[str] = frozenset()
    proxied: frozenset[str] = frozenset()
    password: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: PORTAL_HEADERS)


class Guard:
    """Lets through who asks under a known host name, from no other site's page and, where there is a password, with it.

    A page elsewhere can have its own name resolve to this machine and so read what is answered (DNS rebinding). It
    cannot have an address for a name, nor a password: so without a password only addresses, this machine's names and
    those in the settings are answered. And it can send requests to any address without reading the answer: what comes
    from another site is let through only where a person follows a link (a GET that shows a page), and what writes must
    come from a page of ours, or be what no page can send without asking first. Programs that are no browser say
    nothing of sites, and need nothing but the name and the password.
    """

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app = app
        self.rules = rules
        self._proxied = {name.lower() for name in rules.proxied}
        self._names = {name.lower() for name in rules.names} | self._proxied
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.rules.headers)
            await send(message)

        if refusal is not None:
            answer = PlainTextResponse(
                refusal.text, status_code=refusal.status, headers=dict(refusal.headers)
            )
            await answer(scope, receive, send_guarded)
        else:
            await self.app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.rules.password is None and not self._is_known(host):
            return Refusal(
                421,
                f"{self.rules.what} does not answer to this host name. Add it to names in [portal] of warehouse.toml.",
            )
        foreign = self._foreign(scope, headers, host)
        if foreign is not None:
            return Refusal(403, f"{self.rules.what} does not take this from another site's page: {foreign}.")
        if self.rules.password is not None:
            return self._without_password(scope, headers.get("authorization", ""))
        return None

    def _foreign(self, scope: Scope, headers: Headers, host: str) -> str | None:
        """Why this comes from another site's page, or may do so; None: it does not."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "")
        is_ours = origin is not None and self._is_ours(origin, host)
        if origin is not None and not is_ours:
            return f"Origin {origin[:200]!r} is not ours"
        # Another port of this machine is the same "site", and another's page all the same.
        if site not in ("", "none", "same-origin"):
            followed = (
                scope["type"] == "http"
                and scope["method"] in ("GET", "HEAD")
                and headers.get("sec-fetch-mode") == "navigate"
                and headers.get("sec-fetch-dest") == "document"
            )
            return None if followed else f"Sec-Fetch-Site is {site[:40]}, and it is no link that is followed"
        if scope["type"] == "http" and scope["method"] not in _SAFE and not is_ours and site != "same-origin":
            # A form or a beacon elsewhere can send other kinds without asking first.
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return "what writes must be application/json, or come from a page of ours"
        return None

    def _is_ours(self, origin: str, host: str) -> bool:
        try:
            there = urlsplit(origin)
        except ValueError:
            return False
        # (Another port is somebody else.)
        return there.scheme in ("http", "https") and there.netloc.lower() in {host.lower(), *self._proxied}

    def _is_known(self, host: str) -> bool:
        name = re.sub(r":\d+$", "", host).strip("[]").lower().rstrip(".")
        if name in self._names or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _without_password(self, scope: Scope, authorization: str) -> Refusal | None:
        client = (scope.get("client") or ("", 0))[0]
        if authorization and (wait := self._guesses.wait(client)):
            return Refusal(
                429, "Too many wrong passwords. Wait, then try again.", {"retry-after": f"{wait:.0f}"}
            )
        if self._knows_password(authorization):
            return None
        if authorization:
            self._guesses.wrong(client)
            _log.warning("%s: wrong password from %s", self.rules.what, client or "?")
        return Refusal(
            401,
            f"{self.rules.what} asks for a password (any user name).",
            {"www-authenticate": 'Basic realm="Usage warehouse", charset="UTF-8"'},
        )

    def _knows_password(self, authorization: str) -> bool:
        assert self.rules.password is not None
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            given = b""
        return scheme.lower() == "basic" and hmac.compare_digest(given, self.rules.password.encode())


class Guesses:
    """How often each address may still be wrong: some times at once, then once in some seconds."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}  # by address: the moment until which its guesses are spent

    def wrong(self, client: str) -> None:
        now = time.monotonic()
        until = max(self._spent.pop(client, now), now) + _SECONDS_A_GUESS
        self._spent[client] = until  # at the end: those that have not guessed for longest go first
        while len(self._spent) > _REMEMBERED:
            del self._spent[next(iter(self._spent))]

    def wait(self, client: str) -> float:
        """Seconds until it may guess again; 0: now."""
        ahead = self._spent.get(client, 0.0) - time.monotonic()
        return max(0.0, ahead - (_GUESSES - 1) * _SECONDS_A_GUESS)
