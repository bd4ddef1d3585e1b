"""Tables that SQL says badly: one module a group of tables, each with `build(work)` that returns what changed.

The tables' files below `sql/` name the module (`by:`) and hold their columns and checks. Modules know neither the
orchestrator nor raw files.
"""
