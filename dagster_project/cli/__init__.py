"""The `warehouse` command. Exit status: 0 all well; 1 it could not do its work; 2 wrong usage or settings.

A module holds a few commands that belong together. Dagster is imported only where a run is launched or looked up.
"""

from . import copies, customersuccessbox, engine, erasing, hubspot, look, night, own, standing, withdrawing
from .root import main

__all__ = [
    "copies",
    "customersuccessbox",
    "engine",
    "erasing",
    "hubspot",
    "look",
    "main",
    "night",
    "own",
    "standing",
    "withdrawing",
]
