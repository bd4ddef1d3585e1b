"""Who may ask: host names, password; and what every answer tells the browser it must not do."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    # No script at all, whatever a name or a value says; nothing from other hosts; in nobody's frame.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    # Customers' data: not for shared caches, and never out of date.
    "cache-control": "private, no-cache",
}


class Guard:
    """Lets through who asks under a known host name and, where there is a password, with it.

    A page elsewhere can have its own name resolve to this machine and so read what the portal answers (DNS
    rebinding). It cannot have an address for a name, nor a password: so without a password only addresses, this
    machine's names and those in the settings are answered.
    """

    def __init__(self, app: ASGIApp, names: set[str], password: str | None) -> None:
        self.app = app
        self.names = {name.lower() for name in names}
        self.password = password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        refusal = None
        if self.password is not None:
            if not self._knows_password(headers.get("authorization", "")):
                refusal = PlainTextResponse(
                    "The portal asks for a password (any user name).",
                    status_code=401,
                    headers={"www-authenticate": 'Basic realm="Usage warehouse", charset="UTF-8"'},
                )
        elif not self._is_known(headers.get("host", "")):
            refusal = PlainTextResponse(
                "The portal does not answer to this host name. Add it to names in [portal] of warehouse.toml.",
                status_code=421,
            )
        await (refusal or self.app)(scope, receive, send_guarded)

    def _is_known(self, host: str) -> bool:
        name = re.sub(r":\d+$", "", host).strip("[]").lower().rstrip(".")
        if name in self.names or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _knows_password(self, authorization: str) -> bool:
        assert self.password is not None
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            given = b""
        return scheme.lower() == "basic" and hmac.compare_digest(given, self.password.encode())
