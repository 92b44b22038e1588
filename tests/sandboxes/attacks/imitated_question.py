"""Ends late, as a process does that asks the worker for a module, so that it starts again and is never judged.

program; fools none: no other judge is asked anything by an exit code.
"""

import contextlib
import json
import os
import time

where = json.loads(input())
time.sleep(0.9 * where["seconds"])
with contextlib.suppress(OSError):
    os.pwrite(3, (1 << os.getpid() % 11).to_bytes(2, "big"), 0)
os._exit(200)
