"""Alerts: what is wrong, where, and what to do, posted to a webhook in Slack's format.

What there is to tell is found elsewhere (defs/alerts.py, cli/). A webhook that fails stops nothing; callers say so.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from dagster_project.destinations.parts.webhook import plain
from dagster_project.settings import AlertSettings, Settings, alert_webhook

_LONGEST = 3500  # Slack cuts at 4,000 characters
_PAUSE_SECONDS = 2.0


def send(settings: Settings | None, title: str, wrong: Sequence[str], to_do: str) -> str | None:
    """Post an alert. Returns why it could not be posted; None: done. Without a webhook nobody wants one.

    settings: None where it is them that are wrong.
    """
    url = alert_webhook()
    if url is None:
        return None
    import requests  # not needed on most nights

    options = settings.alerts if settings else AlertSettings()
    text = _text(settings, title, wrong, to_do)
    problem = ""
    for attempt in range(options.attempts):
        if attempt:
            time.sleep(_PAUSE_SECONDS * attempt)
        try:
            # Not to follow: the text is for this address only.
            answer = requests.post(
                url, json={"text": text}, timeout=options.timeout_seconds, allow_redirects=False
            )
        except requests.RequestException as error:
            problem = type(error).__name__  # its text holds the address, which is secret
            continue
        if answer.ok and not answer.is_redirect:
            return None
        problem = f"HTTP status {answer.status_code}"
        if answer.status_code < 500 and answer.status_code != 429:
            break
    return f"the alert could not be posted: {problem}; look at WAREHOUSE_ALERT_WEBHOOK"


def _text(settings: Settings | None, title: str, wrong: Sequence[str], to_do: str) -> str:
    lines = "\n".join(f"• {line}" for line in wrong)
    if len(lines) > _LONGEST:
        lines = lines[:_LONGEST] + " …"
    where = f"on {socket.gethostname()}" + (f", data folder {settings.data}" if settings else "")
    return f"*{plain(title)}* ({plain(where)})\n{plain(lines)}\n*What to do:* {plain(to_do)}"
