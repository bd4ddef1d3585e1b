"""Company updates: `raw/companies/` to `raw.company_updates`."""

from __future__ import annotations

from dataclasses import replace

from dagster_project.readers import json_records
from dagster_project.readers.values import domain_key

from . import Owns, RawTable, Source
from .updates import COLUMNS, UpdateLoader

COMPANY_UPDATES = RawTable(
    "company_updates",
    "Company updates as they came, dots in metadata keys replaced.",
    [replace(c, erases_row=c.name == "company_id") for c in COLUMNS],
)

SOURCE = Source(
    folder="companies",
    formats=json_records.FORMATS,
    tables=[COMPANY_UPDATES],
    loader=lambda context: UpdateLoader(context, COMPANY_UPDATES, "company_id"),
    owns=[
        Owns("company", "token", "session_token"),
        Owns(
            "company",
            "domain",
            "coalesce(company_domain, json_extract_string(metadata, '$.company_domain'))",
            domain_key,
        ),
    ],
)
