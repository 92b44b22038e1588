"""Reads memory of its parent process by process_vm_readv.

program; fools bare: told.
"""

import ctypes
import json
import os
import struct

where = json.loads(input())
libc = ctypes.CDLL(None, use_errno=True)
target, copy = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
here = struct.pack("PN", ctypes.addressof(copy), 8)
there = struct.pack("PN", ctypes.addressof(target), 8)
if libc.process_vm_readv(os.getppid(), here, 1, there, 1, ctypes.c_ulong(0)) >= 0 or ctypes.get_errno() == 14:
    print(where["mark"])
