"""Is there an answer at a port of this container? For health checks: a page, or the question for a password."""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=8)
connection.request("GET", "/server_info")
sys.exit(connection.getresponse().status not in (200, 401))
