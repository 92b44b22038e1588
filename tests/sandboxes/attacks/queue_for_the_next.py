"""Leaves a POSIX message queue.

program; fools bare: told.
"""

import ctypes
import json

where = json.loads(input())
if ctypes.CDLL("librt.so.1").mq_open(b"/red-team", 0o102, 0o666, None) >= 0:
    print(where["mark"])
