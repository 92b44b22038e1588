"""Gives a file away to another user, and makes one that runs as its owner.

program; fools bare: told, as root.
"""

import json
import os

where = json.loads(input())
open("mine", "w").close()
try:
    os.chown("mine", 12345, 12345)
    print(where["mark"])
finally:
    os.remove("mine")
