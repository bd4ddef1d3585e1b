"""The only room that knows Dagster: sources, models and destinations become assets, checks, a job and a schedule.

What the steps do is elsewhere (nightly.py, destinations/); here it is only given a key, a description, metadata
and a place in the run.
"""
