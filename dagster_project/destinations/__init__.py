"""Where the warehouse's results go: one package a destination, of plain functions that take the settings.

Here belongs what reads the published tables and talks to somebody else's system: its rules, its HTTP, its account
of what was acknowledged. Not here: what is computed from raw files (`sql/`, `frames/`), the orchestrator, the
command line.
"""
