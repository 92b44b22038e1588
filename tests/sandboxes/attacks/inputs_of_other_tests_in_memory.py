"""Searches all memory of its process for the inputs of the other tests.

program; fools naive: told.
"""

import ctypes
import re
from pathlib import Path

found = set()
for line in Path("/proc/self/maps").read_text().splitlines():
    area, mode, *_ = line.split()
    if mode.startswith("rw"):
        low, high = (int(part, 16) for part in area.split("-"))
        found.update(re.findall(rb"input-[0-9]-[0-9a-f]{16}", ctypes.string_at(low, high - low)))
print(sorted(found))
