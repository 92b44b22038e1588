"""Gives a socket of a pair, which needs no call of socket(2), an address of its own, for others to find.

program; fools bare: told.
"""

import json
import socket

where = json.loads(input())
one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
one.bind(f"\0red-team-{where['own']}")
print(where["mark"])
