"""One HTTP call to a destination: paced, with its token, within a time, and nothing secret in what comes back.

Whether a call is tried again, and what an answer means, is the destination's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from .errors import NoAnswer
from .pace import MOST_IN_FLIGHT, Pace

CONNECT_SECONDS = 10


class Bearer(AuthBase):
    """Sets the token on a request, so that no other credentials on the machine can take its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self) -> str:
        return "<bearer token>"


def is_token(text: str) -> bool:
    """Whether a text can be a token at all."""
    return text.isascii() and text.isprintable() and " " not in text


class Http:
    """The calls to one address. name: of the destination, for people. Threads may share it."""

    def __init__(
        self, name: str, base: str, pace: Pace, timeout_seconds: float, secrets: Iterable[str]
    ) -> None:
        self.name, self.base, self.pace, self.timeout_seconds = name, base, pace, timeout_seconds
        self.secrets = frozenset(secrets)
        self._session = requests.Session()
        # A proxy from the environment is for the outside world.
        self._session.trust_env = urlsplit(base).hostname not in ("127.0.0.1", "localhost", "::1")
        adapter = HTTPAdapter(pool_maxsize=MOST_IN_FLIGHT, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def __repr__(self) -> str:
        return f"<{self.name} at {self.base}>"

    def close(self) -> None:
        self._session.close()

    def keep_secret(self, secret: str) -> None:
        self.secrets = self.secrets | {secret}  # anew: other threads go through it

    def send(
        self,
        method: str,
        path: str,
        *,
        auth: Any,
        params: Mapping[str, str] | None = None,
        data: bytes | Mapping[str, str] | None = None,
        is_write: bool = False,
    ) -> tuple[int, str, Mapping[str, str]]:
        """Send once, when the pace allows it: status, text without secrets, headers. Raises NoAnswer.

        data: JSON text, or the fields of a form.
        """
        self.pace.take(is_write=is_write)
        headers: Mapping[str, str] | None = None
        is_refused = False
        try:
            response = self._session.request(
                method,
                self.base + path,
                params=params,
                data=data,
                headers={"Content-Type": "application/json"} if isinstance(data, bytes) else {},
                auth=auth,
                timeout=(CONNECT_SECONDS, self.timeout_seconds),
                allow_redirects=False,
            )
            headers = response.headers
            text = self.redact(response.content.decode("utf-8", "replace"))
            is_refused = response.status_code == 429
            if is_refused:
                self.on_refusal(text, headers)
            else:
                self.pace.went_through()
        except requests.Timeout:
            raise NoAnswer(
                "TIMEOUT", f"{self.name} did not answer within {self.timeout_seconds} seconds"
            ) from None
        except requests.RequestException as error:
            raise NoAnswer(
                "NO_ANSWER", f"the connection to {self.name} broke ({type(error).__name__})"
            ) from None
        finally:
            self.pace.give_back(headers, is_refused=is_refused)
        return response.status_code, text, headers

    def on_refusal(self, text: str, headers: Mapping[str, str]) -> None:
        """A 429 came. A destination that says more of it than `Retry-After` overrides this."""
        self.pace.refused(2.5, retry_after(headers))

    def redact(self, text: str) -> str:
        """What was sent is repeated, now and then."""
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, "***")
        return text


def retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None
