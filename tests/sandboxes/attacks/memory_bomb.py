"""Fills twice the memory that it may.

program; fools naive: told.
"""

import json

where = json.loads(input())
data = [bytearray(b"x") * (1 << 20) for _ in range(200)]
print(where["mark"])
