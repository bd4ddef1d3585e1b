"""Tokens and scopes: private-app tokens, OAuth access tokens of 30 minutes, and what they may do."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from .errors import ApiError, bad_request
from .routes import WRITES

OAUTH_SECONDS = 1800


class Access:
    """``scopes`` None grants everything; ``client`` is id, secret and refresh token of the OAuth app."""

    def __init__(
        self,
        tokens: tuple[str, ...],
        scopes: frozenset[str] | set[str] | None,
        client: tuple[str, str, str],
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.tokens = set(tokens)
        self.scopes = scopes
        self._client = client
        self._clock = clock
        self._random = rng
        self._oauth_tokens: dict[str, float] = {}

    def expire_oauth(self) -> None:
        """Makes every OAuth access token handed out so far an expired one."""
        for token in self._oauth_tokens:
            self._oauth_tokens[token] = 0.0

    def refresh(self, form: dict[str, str]) -> dict[str, Any]:
        """A new access token for the right client and refresh token."""
        client, secret, refresh = self._client
        if form.get("grant_type") != "refresh_token":
            raise bad_request("grant_type must be refresh_token")
        if (form.get("client_id"), form.get("client_secret")) != (client, secret):
            raise ApiError(400, "BAD_CLIENT_ID", "missing or invalid client id or client secret")
        if form.get("refresh_token") != refresh:
            raise ApiError(400, "BAD_REFRESH_TOKEN", "missing or invalid refresh token")
        token = f"oauth-{self._random.getrandbits(96):024x}"
        self._oauth_tokens[token] = self._clock() + OAUTH_SECONDS
        return {
            "token_type": "bearer",
            "access_token": token,
            "refresh_token": refresh,
            "expires_in": OAUTH_SECONDS,
        }

    def authorise(self, header: str) -> bool:
        """Whether the token is an OAuth one; refuses what is neither that nor a known private token."""
        token = header[7:].strip() if header[:7].lower() == "bearer " else ""
        if token in self.tokens and token:
            return False
        if token in self._oauth_tokens:
            if self._oauth_tokens[token] > self._clock():
                return True
            raise ApiError(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired.")
        raise ApiError(
            401,
            "INVALID_AUTHENTICATION",
            "Authentication credentials not found. This API supports OAuth 2.0 authentication."
            if not token
            else "Invalid authentication: the access token is not known.",
        )

    def check_scope(self, operation: str, object_type: str) -> None:
        if self.scopes is None:
            return
        area, _, verb = operation.rpartition(".")
        way = "write" if verb in WRITES else "read"
        if area in ("contacts", "companies", "deals"):
            needed = f"crm.objects.{area}.{way}"
        elif area in ("properties", "validations"):
            needed = f"crm.schemas.{object_type}.{way}"
        elif area == "associations":
            needed = f"crm.objects.contacts.{way}"
        elif area == "lists":
            needed = f"crm.lists.{way}"
        elif area == "events":
            needed = (
                "analytics.behavioral_events.send"
                if verb == "send_batch"
                else "behavioral_events.event_definitions.read_write"
            )
        elif object_type:
            needed = f"crm.objects.custom.{way}"
        else:
            return
        if needed not in self.scopes:
            raise ApiError(
                403,
                "MISSING_SCOPES",
                "This app hasn't been granted all required scopes to make this call.",
                errors=[
                    {
                        "message": "One or more of the following scopes are required.",
                        "context": {"requiredGranularScopes": [needed]},
                    }
                ],
            )
