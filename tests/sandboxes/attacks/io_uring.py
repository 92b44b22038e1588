"""Sets up io_uring, which makes system calls that no filter sees.

program; fools bare: told.
"""

import ctypes
import json

where = json.loads(input())
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(425, 1, None) >= 0 or ctypes.get_errno() not in (1, 13, 38):
    print(where["mark"])
