"""``python -m dagster_project.standins.hubspot``: see ``command``."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
