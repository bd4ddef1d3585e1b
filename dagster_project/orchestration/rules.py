"""Alert rules and meters as assets: one a file in `sql/alerts/` and `sql/meters/`. They are computed as part of
`marts.alerts` and `marts.meter_usage`, so no step is theirs.
"""

import dagster as dg

from dagster_project.models.alerts import rules
from dagster_project.models.meters import meters

from .queries import asset_of

_DETAIL = dg.TableColumn("detail", "VARCHAR", description="what is said of who it is about")
_QUANTITY = dg.TableColumn("quantity", "BIGINT", description="what a company used on a day")

defs: dg.Definitions = dg.Definitions(
    assets=[
        *(asset_of(["alerts", rule.name], rule.text, rule.file, _DETAIL) for rule in rules()),
        *(asset_of(["meters", meter.name], meter.text, meter.file, _QUANTITY) for meter in meters()),
    ]
)
