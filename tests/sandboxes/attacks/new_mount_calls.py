"""Makes a file system by the newer system calls, which filters forget.

program; fools bare: told, as root.
"""

import ctypes
import json

where = json.loads(input())
if ctypes.CDLL(None).syscall(430, b"tmpfs", 0) >= 0:
    print(where["mark"])
