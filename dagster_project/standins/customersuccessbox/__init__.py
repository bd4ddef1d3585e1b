"""A CustomerSuccessBox for tests and rehearsals, on this machine only: adds up what it is told.

    with CustomerSuccessBox() as box: ...      box.totals, box.calls

`python -m dagster_project.standins.customersuccessbox` starts one by itself.
"""

from .app import DEFAULT_KEY, Arrival, CustomerSuccessBox, Fault

__all__ = ["DEFAULT_KEY", "Arrival", "CustomerSuccessBox", "Fault"]
