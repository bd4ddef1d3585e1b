"""A message to a webhook in Slack's format: one try, and whether it arrived."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from dagster_project.settings import without_secrets


@dataclass(frozen=True)
class Outcome:
    """problem: why it did not arrive, or may not have; None: it did. is_unknown: it may have arrived, or not.

    may_go_later: another try may be better.
    """

    is_unknown: bool
    problem: str | None = None
    may_go_later: bool = True


def post(url: str, text: str, timeout_seconds: float) -> Outcome:
    """Nothing in what comes back is the address, which is secret: who knows it can write there."""
    import requests  # not needed on most nights
    from urllib3.exceptions import NewConnectionError

    with requests.Session() as session:
        # A proxy from the environment is for the outside world.
        session.trust_env = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
        try:
            # Not to follow: the text is for this address only.
            answer = session.post(url, json={"text": text}, timeout=timeout_seconds, allow_redirects=False)
        except requests.ConnectTimeout:
            return Outcome(False, "no connection within the time")
        except requests.ConnectionError as error:
            reason = getattr(error.args[0], "reason", None) if error.args else None
            if isinstance(reason, NewConnectionError):
                return Outcome(False, "no connection")
            return Outcome(True, "the connection broke before there was an answer")
        except requests.Timeout:
            return Outcome(True, f"no answer within {timeout_seconds} seconds")
        except requests.RequestException as error:
            return Outcome(False, type(error).__name__, may_go_later=False)
    if answer.ok and not answer.is_redirect:
        return Outcome(False)
    later = answer.status_code >= 500 or answer.status_code == 429
    return Outcome(False, f"HTTP status {answer.status_code}", may_go_later=later)


def plain(text: str) -> str:
    """Text in which nothing is a secret, a control character or one of Slack's links and mentions."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return without_secrets(shown).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
