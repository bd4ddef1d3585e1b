"""The portal: what is published, as web pages for people who would rather look than write SQL.

It reads `analytics.duckdb` and nothing else, and writes nothing. A page is made on the server, from a query with bound
parameters and an escaping template; there is no script in it, and the browser is told to run none.
"""

from __future__ import annotations

from .app import make_app
from .server import NotOpen, PortalError, serve

__all__ = ["NotOpen", "PortalError", "make_app", "serve"]
