"""Mounts a file system over a directory.

program; fools bare: told, as root.
"""

import ctypes
import json

where = json.loads(input())
libc = ctypes.CDLL(None)
if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0:
    libc.umount2(b"/tmp", 2)
    print(where["mark"])
