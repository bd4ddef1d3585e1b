"""A stateful HubSpot on 127.0.0.1, for tests and for trying the product without an account.

    with Emulator(seed=1, contacts=50, companies=20) as hub:
        requests.get(f"{hub.base_url}/crm/objects/2026-09/contacts", headers=hub.auth)

As a process: ``python -m dagster_project.standins.hubspot --port 8765``.

``values`` checks a value by its type, ``schema`` holds properties and groups, ``store`` the records and
lists, ``search`` looks them up, ``limits`` counts calls, ``faults`` breaks them on demand, ``app`` answers,
``server`` owns the socket. Behaviour that nobody has confirmed on a live account is a switch in ``Options``.
"""

from .app import Call, Emulator
from .faults import Fault
from .limits import Limits
from .options import Options
from .store import Store

__all__ = ["Call", "Emulator", "Fault", "Limits", "Options", "Store"]
