"""Becomes root, or any other user.

program; fools bare: told.
"""

import contextlib
import json
import os

where = json.loads(input())
for call in (os.setuid, os.setgid, os.seteuid, os.setegid):
    with contextlib.suppress(OSError):
        call(0)
        print(where["mark"])
