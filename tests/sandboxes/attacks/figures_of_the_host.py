"""Asks the kernel for the load of the host, its memory, its processes and how long it is up.

program; fools bare: told.
"""

import ctypes
import json

where = json.loads(input())
figures = (ctypes.c_long * 32)()
if ctypes.CDLL(None).sysinfo(figures) == 0 and figures[0]:
    print(where["mark"])
