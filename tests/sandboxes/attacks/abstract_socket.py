"""Connects to a socket of the host that has a name outside of the file system.

program; fools bare: told.
"""

import json
import socket

with socket.socket(socket.AF_UNIX) as wire:
    wire.connect(json.loads(input())["abstract"])
    print(wire.recv(99).decode())
