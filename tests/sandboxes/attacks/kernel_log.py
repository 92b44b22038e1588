"""Reads the log of the host's kernel.

program; fools bare: told, as root.
"""

import ctypes
import json

where = json.loads(input())
text = ctypes.create_string_buffer(4096)
if ctypes.CDLL(None).klogctl(3, text, 4096) > 0:
    print(where["mark"])
