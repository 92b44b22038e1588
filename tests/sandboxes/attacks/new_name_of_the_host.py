"""Gives the host another name.

program; fools naive: told, as root.
"""

import json
import socket

where = json.loads(input())
socket.sethostname("red-team")
print(where["mark"])
