"""Asks for the page faults of its own memory, a tool of many attacks on kernels.

program; fools bare: told.
"""

import ctypes
import json

where = json.loads(input())
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(323, 1) >= 0 or ctypes.get_errno() not in (1, 13, 38):
    print(where["mark"])
