"""Opens a performance counter, which sees other processes.

program; fools bare: told.
"""

import ctypes
import json

where = json.loads(input())
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(298, None, 0, -1, -1, 0) >= 0 or ctypes.get_errno() not in (1, 13, 38):
    print(where["mark"])
