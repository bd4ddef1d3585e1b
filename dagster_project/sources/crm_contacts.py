"""HubSpot contact exports: `raw/crm/contacts/` to `raw.crm_contacts`."""

from __future__ import annotations

from dagster_project.readers import table_records
from dagster_project.readers.values import email_key

from . import Source
from .crm import ExportLoader, export_table, first

CRM_CONTACTS = export_table("crm_contacts", "Rows of HubSpot contact exports.", "email")


def _name(row: dict[str, str]) -> str | None:
    parts = (first(row, ("First Name", "firstname")), first(row, ("Last Name", "lastname")))
    return " ".join(part.strip() for part in parts if part) or None


SOURCE = Source(
    folder="crm/contacts",
    formats=table_records.EXPORT_FORMATS,
    tables=[CRM_CONTACTS],
    loader=lambda context: ExportLoader(
        context, CRM_CONTACTS, "Contact", ("Email", "email"), email_key, _name
    ),
    replaces=True,
)
