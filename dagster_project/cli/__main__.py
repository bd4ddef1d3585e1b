"""`python -m dagster_project.cli` is `warehouse`."""

from . import main

if __name__ == "__main__":
    main(prog_name="warehouse")
