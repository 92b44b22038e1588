"""Writes a file of 300 megabytes.

program; fools naive: told.
"""

import json
import os

where = json.loads(input())
try:
    with open("data", "wb") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    print(where["mark"])
finally:
    os.remove("data")
