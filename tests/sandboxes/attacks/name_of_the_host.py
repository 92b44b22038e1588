"""Asks for the name of the host.

program; fools bare: told.
"""

import json
import os

where = json.loads(input())
if os.uname().nodename == where["hostname"]:
    print(where["mark"])
