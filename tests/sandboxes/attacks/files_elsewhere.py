"""Makes files outside of its working directory.

program; fools bare: told.
"""

import contextlib
import json
import os

where = json.loads(input())
for folder in ("/", "/usr/lib", "/var/tmp", "/sandbox", "/packages", os.path.dirname(where["file"])):
    with contextlib.suppress(OSError):
        open(f"{folder}/red-team", "x").close()
        os.remove(f"{folder}/red-team")
        print(where["mark"])
