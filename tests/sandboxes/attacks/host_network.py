"""Connects to a port of the host's loopback interface.

program; fools bare: told.
"""

import json
import socket

where = json.loads(input())
print(socket.create_connection(("127.0.0.1", where["port"]), timeout=1).recv(99).decode())
