"""User updates: `raw/users/` to `raw.user_updates`."""

from __future__ import annotations

from dataclasses import replace

from dagster_project.readers import json_records
from dagster_project.readers.values import email_key

from . import Owns, RawTable, Source
from .updates import COLUMNS, UpdateLoader

USER_UPDATES = RawTable(
    "user_updates",
    "User updates as they came, dots in metadata keys replaced.",
    [replace(c, erases_row=c.name == "user_id") for c in COLUMNS],
)
# A company's calls must not change because one who made them is gone: who claimed which token stays.
_CLAIM = (
    *("load_seq", "file_seq", "line", "element", "company_id", "user_id", "session_token", "effective_at"),
    "anonymous_id",
)
ERASED_CLAIMS = RawTable(
    "erased_claims",
    "What updates of erased users claimed, with a pseudonym for the user.",
    [c for c in COLUMNS if c.name in _CLAIM],
)

_SHORTEST_PHONE = 5


def _phone(text: object) -> str | None:
    """A phone number by which texts are searched."""
    return text.strip() if isinstance(text, str) and len(text.strip()) >= _SHORTEST_PHONE else None


SOURCE = Source(
    folder="users",
    formats=json_records.FORMATS,
    tables=[USER_UPDATES, ERASED_CLAIMS],
    loader=lambda context: UpdateLoader(context, USER_UPDATES, "user_id"),
    owns=[
        # Usage follows the user's pseudonym, whoever else claims the token or the browser.
        Owns("user", "token", "session_token", keeps_shared=False),
        Owns("user", "anonymous", "anonymous_id", keeps_shared=False),
        Owns("user", "email", "json_extract_string(metadata, '$.email')", email_key),
        Owns("user", "phone", "json_extract_string(metadata, '$.phone')", _phone),
    ],
    remains=ERASED_CLAIMS,
)
