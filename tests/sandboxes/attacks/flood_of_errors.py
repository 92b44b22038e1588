"""Writes twenty megabytes to standard error.

program; fools naive: told.
"""

import json
import sys

where = json.loads(input())
for _ in range(20):
    print("x" * (1 << 20), file=sys.stderr)
print(where["mark"], file=sys.stderr)
