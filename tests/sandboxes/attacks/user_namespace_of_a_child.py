"""Makes a process in a user namespace of its own, by clone and by clone3.

program; fools bare: told.
"""

import ctypes
import json
import os
import struct

where = json.loads(input())
libc = ctypes.CDLL(None)
arguments = struct.pack("8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0)
for call in ((56, 0x10000000 | 17, 0, 0, 0, 0), (435, arguments, len(arguments))):
    pid = libc.syscall(*call)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        print(where["mark"])
