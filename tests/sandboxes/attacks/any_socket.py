"""Makes a socket of any family at all.

program; fools bare: told.
"""

import contextlib
import json
import socket

where = json.loads(input())
for family in range(1, 46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        with contextlib.suppress(OSError):
            socket.socket(family, kind).close()
            print(where["mark"])
