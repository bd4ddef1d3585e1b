"""Company updates: `raw/companies/` to `raw.company_updates`."""

from __future__ import annotations

from dagster_project.readers import json_records

from . import Source
from .updates import DDL, UpdateLoader

SOURCE = Source(
    folder="companies",
    table="company_updates",
    about="Company updates as they came, dots in metadata keys replaced.",
    formats=json_records.FORMATS,
    tables={"company_updates": DDL},
    loader=lambda context: UpdateLoader(context, "company_updates", "company_id"),
    subjects={"company_id": "company"},
)
