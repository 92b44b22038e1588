"""Fills memory that belongs to no process: a file without a file system.

program; fools naive: told.
"""

import json
import os

where = json.loads(input())
file = os.memfd_create("data")
for _ in range(200):
    os.write(file, bytes(1 << 20))
print(where["mark"])
