"""Looks for processes other than itself.

program; fools bare: told.
"""

import json
import os

where = json.loads(input())
if {name for name in os.listdir("/proc") if name.isdigit()} - {str(os.getpid())}:
    print(where["mark"])
