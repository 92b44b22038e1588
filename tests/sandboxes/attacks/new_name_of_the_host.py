"""Gives the host another name.

program; fools bare: told, as root.
"""

import json
import socket

where = json.loads(input())
socket.sethostname("red-team")
print(where["mark"])
