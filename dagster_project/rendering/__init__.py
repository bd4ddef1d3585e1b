"""Values for people and other programs: tables, CSV, JSON, Markdown, bars, how far a piece of work has come.

Here belongs what turns values into text or pictures, whoever shows them. Not here: which values those are.
"""
