"""The kernel: opens the databases, keeps the registry of files, builds, checks and publishes tables.

It knows files and SQL. It knows neither the orchestrator nor HTTP, and no source's or table's own rules.
"""
