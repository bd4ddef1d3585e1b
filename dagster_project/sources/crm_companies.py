"""HubSpot company exports: `raw/crm/companies/` to `raw.crm_companies`."""

from __future__ import annotations

from dagster_project.readers import table_records
from dagster_project.readers.values import domain_key

from . import Source
from .crm import DDL, ExportLoader, first

_DOMAIN = ("Company Domain Name", "domain")


SOURCE = Source(
    folder="crm/companies",
    table="crm_companies",
    about="Rows of HubSpot company exports.",
    formats=table_records.EXPORT_FORMATS,
    tables={"crm_companies": DDL},
    loader=lambda context: ExportLoader(
        context, "crm_companies", _DOMAIN, domain_key, lambda row: first(row, ("Company name", "name"))
    ),
    subjects={"match_key": "domain"},
    replaces=True,
)
