"""User updates: `raw/users/` to `raw.user_updates`."""

from __future__ import annotations

from dagster_project.readers import json_records

from . import Source
from .updates import DDL, UpdateLoader

SOURCE = Source(
    folder="users",
    table="user_updates",
    about="User updates as they came, dots in metadata keys replaced.",
    formats=json_records.FORMATS,
    tables={"user_updates": DDL},
    loader=lambda context: UpdateLoader(context, "user_updates", "user_id"),
)
