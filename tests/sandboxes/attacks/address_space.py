"""Reserves eight gibibytes of addresses.

program; fools naive: told.
"""

import json
import mmap

where = json.loads(input())
with mmap.mmap(-1, 8 << 30):
    print(where["mark"])
