"""The order of a night's steps, of an erase's, and how an alert is worded and posted.

Plain functions on an open warehouse: the orchestrator and the command line call them, tests call them as they are.
"""
