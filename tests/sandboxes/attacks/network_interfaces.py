"""Lists the network interfaces.

program; fools bare: told.
"""

import json
import socket

where = json.loads(input())
if socket.if_nameindex():
    print(where["mark"])
