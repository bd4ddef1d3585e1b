"""User updates: `raw/users/` to `raw.user_updates`."""

from __future__ import annotations

from dagster_project.readers import json_records

from . import PLACE, Source
from .erasures import CLAIMS
from .updates import DDL, UpdateLoader

CLAIMS_DDL = f"{PLACE}, company_id VARCHAR, user_id VARCHAR, session_token VARCHAR, effective_at TIMESTAMP"

SOURCE = Source(
    folder="users",
    table="user_updates",
    about="User updates as they came, dots in metadata keys replaced.",
    formats=json_records.FORMATS,
    tables={"user_updates": DDL, CLAIMS: CLAIMS_DDL},
    loader=lambda context: UpdateLoader(context, "user_updates", "user_id"),
    subjects={"user_id": "user"},
)
