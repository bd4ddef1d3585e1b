"""What can go wrong with HubSpot, each with a text for people. No text holds a token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dagster_project.destinations.parts.errors import DestinationError


class HubspotError(DestinationError):
    """It could not be done. The text says why, and what to do."""


class MissingToken(HubspotError):
    """There is no access token, so HubSpot cannot be asked."""

    def __init__(self) -> None:
        super().__init__(
            "HUBSPOT_ACCESS_TOKEN is not set: export the access token of a HubSpot private app or service key "
            "(or HUBSPOT_CLIENT_ID, HUBSPOT_CLIENT_SECRET and HUBSPOT_REFRESH_TOKEN of an OAuth app)"
        )


class NotAllowed(HubspotError):
    """HubSpot does not accept the token, or the token lacks a scope."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AccountRefused(HubspotError):
    """HubSpot refuses the account something, whatever the record: a limit, a payment, a scope."""


class DailyLimit(HubspotError):
    """The account's calls of the day are used up; nothing more is to be sent before `resumes_at` (UTC)."""

    def __init__(self, resumes_at: datetime) -> None:
        super().__init__(
            f"the HubSpot account's daily limit is reached; go on at {resumes_at:%Y-%m-%d %H:%M} UTC"
        )
        self.resumes_at = resumes_at


class Unavailable(HubspotError):
    """HubSpot did not carry out a call, and went on not to: try another time."""


class OutcomeUnknown(HubspotError):
    """No usable answer came: the call may or may not have been carried out."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Refused(HubspotError):
    """HubSpot refused a whole call; nothing of it was written. `body` is its answer."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body.get("message") or f"HubSpot answered {status}"))
        self.status = status
        self.body = body
