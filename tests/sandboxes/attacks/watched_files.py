"""Has the kernel tell it which files of a shared folder the host opens.

program; fools bare: told.
"""

import ctypes
import json
import os

where = json.loads(input())
libc = ctypes.CDLL(None)
if libc.inotify_add_watch(libc.inotify_init1(0), os.path.dirname(os.__file__).encode(), 0xFFF) >= 0:
    print(where["mark"])
