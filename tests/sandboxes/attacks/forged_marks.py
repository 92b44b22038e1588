"""Writes, on every descriptor, marks as those by which a worker tells where the outputs of tests end.

program; fools none: the control has no such marks.
"""

import contextlib
import json
import os
import struct
import time

where = json.loads(input())
for descriptor in range(3, 256):
    for mark in ((0, 0, 0, 0.0), (2**64 - 1, 2**63, 255, float("nan")), (9, 1, 7, -1e308), (5, 5, 0, 0.1)):
        with contextlib.suppress(OSError):
            os.write(descriptor, struct.pack("!QQBd", *mark))
time.sleep(2 * where["seconds"])
print(where["mark"])
