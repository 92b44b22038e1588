"""Writes twenty megabytes to standard error.

program; fools bare: told.
"""

import json
import sys

where = json.loads(input())
for _ in range(20 if where["number"] == 1 else 0):
    print("x" * (1 << 20), file=sys.stderr)
print(where["mark"], file=sys.stderr)
