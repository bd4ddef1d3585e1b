"""What destinations have in common: the pace of calls, one HTTP call, what is published, tables of accounts.

No destination's own rules. A destination takes the parts that it needs.
"""
