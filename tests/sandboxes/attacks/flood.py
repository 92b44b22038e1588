"""Prints twenty megabytes.

program; fools naive: told.
"""

import json

where = json.loads(input())
for _ in range(20):
    print("x" * (1 << 20))
print(where["mark"])
