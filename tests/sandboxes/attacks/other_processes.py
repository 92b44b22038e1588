"""Looks for processes other than itself and the first of its namespace.

program; fools bare: told.
"""

import json
import os

where = json.loads(input())
if {name for name in os.listdir("/proc") if name.isdigit()} - {"1", str(os.getpid())}:
    print(where["mark"])
