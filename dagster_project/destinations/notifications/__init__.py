"""Notifications: who entered or left a cohort, told to a webhook in Slack's format.

tell(connection, settings)        one message a webhook, with all that waits; each is told once
"""

from __future__ import annotations

from dagster_project.destinations import Destination

from .sending import Told, tell

DESTINATION = Destination(
    "Chat (notifications)",
    """SELECT DISTINCT 'message about a ' || entity, id FROM ops.notifications
       WHERE state IN ('sent', 'unknown')
         AND (entity, id) IN (SELECT (kind, id) FROM forgotten WHERE kind IN ('company', 'user'))""",
)

__all__ = ["DESTINATION", "Told", "tell"]
