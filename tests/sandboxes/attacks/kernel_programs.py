"""Loads a program into the kernel by bpf.

program; fools bare: told, as root.
"""

import ctypes
import json

where = json.loads(input())
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(321, 0, None, 0) >= 0 or ctypes.get_errno() not in (1, 13, 38):
    print(where["mark"])
