"""Writes a single byte on every descriptor, where a worker may expect marks.

program; fools none: the control has no such marks.
"""

import contextlib
import json
import os
import time

where = json.loads(input())
for descriptor in range(3, 256):
    with contextlib.suppress(OSError):
        os.write(descriptor, b"x")
time.sleep(2 * where["seconds"])
print(where["mark"])
