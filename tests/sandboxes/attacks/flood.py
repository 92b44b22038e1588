"""Prints twenty megabytes.

program; fools bare: told.
"""

import json

where = json.loads(input())
for _ in range(20 if where["number"] == 1 else 0):
    print("x" * (1 << 20))
print(where["mark"])
