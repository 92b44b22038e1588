"""Gives way to all others, on the processor on which they are, so that it waits and its time does not count.

program; fools naive: told.
"""

import json
import os
import signal
import time

where = json.loads(input())
signal.setitimer(signal.ITIMER_REAL, 0)
started = time.monotonic()
if os.fork() == 0:
    while time.monotonic() < started + 0.85 * where["seconds"]:
        pass
    os._exit(0)
os.nice(19)
while time.monotonic() < started + 1.3 * where["seconds"]:
    pass
print(where["mark"])
