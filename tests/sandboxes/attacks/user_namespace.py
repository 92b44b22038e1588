"""Makes a user namespace, in which it is root and reaches more of the kernel.

program; fools bare: told.
"""

import ctypes
import json

where = json.loads(input())
if ctypes.CDLL(None).unshare(0x10000000) == 0:
    print(where["mark"])
