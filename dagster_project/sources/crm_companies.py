"""HubSpot company exports: `raw/crm/companies/` to `raw.crm_companies`."""

from __future__ import annotations

from dagster_project.readers import table_records
from dagster_project.readers.values import domain_key

from . import Source
from .crm import ExportLoader, export_table, first

_DOMAIN = ("Company Domain Name", "domain")
CRM_COMPANIES = export_table("crm_companies", "Rows of HubSpot company exports.", "domain")


SOURCE = Source(
    folder="crm/companies",
    formats=table_records.EXPORT_FORMATS,
    tables=[CRM_COMPANIES],
    loader=lambda context: ExportLoader(
        context,
        CRM_COMPANIES,
        "Company",
        _DOMAIN,
        domain_key,
        lambda row: first(row, ("Company name", "name")),
    ),
    replaces=True,
)
