"""Makes a system call by the numbers of x32 programs.

program; fools none: kernels are rarely built to know them.
"""

import ctypes
import json

where = json.loads(input())
if ctypes.CDLL(None).syscall(0x40000000 | 39) > 0:
    print(where["mark"])
