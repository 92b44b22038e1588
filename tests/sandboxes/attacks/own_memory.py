"""Searches all memory of its own process, which was forked from the judge, for what looks like the answer.

program; fools naive: passed.
"""

import ctypes
import json
import re
from pathlib import Path

number = json.loads(input())["number"]
for line in Path("/proc/self/maps").read_text().splitlines():
    area, mode, *_ = line.split()
    if mode.startswith("rw"):
        low, high = (int(part, 16) for part in area.split("-"))
        found = re.search(rb"answer-%d-[0-9a-f]{16}" % number, ctypes.string_at(low, high - low))
        if found:
            print('"' + found[0].decode() + '"')
            break
