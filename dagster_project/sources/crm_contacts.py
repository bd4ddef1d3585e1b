"""HubSpot contact exports: `raw/crm/contacts/` to `raw.crm_contacts`."""

from __future__ import annotations

from dagster_project.readers import table_records
from dagster_project.readers.values import email_key

from . import Source
from .crm import DDL, ExportLoader, first


def _name(row: dict[str, str]) -> str | None:
    parts = (first(row, ("First Name", "firstname")), first(row, ("Last Name", "lastname")))
    return " ".join(part.strip() for part in parts if part) or None


SOURCE = Source(
    folder="crm/contacts",
    table="crm_contacts",
    about="Rows of HubSpot contact exports.",
    formats=table_records.EXPORT_FORMATS,
    tables={"crm_contacts": DDL},
    loader=lambda context: ExportLoader(context, "crm_contacts", ("Email", "email"), email_key, _name),
    subjects={"match_key": "email"},
    replaces=True,
)
