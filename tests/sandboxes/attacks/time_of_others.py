"""Lets its threads and processes wait for a processor in its place, so that the clock may seem to have stopped for it.

program; fools naive: told.
"""

import json
import os
import signal
import time

where = json.loads(input())
signal.setitimer(signal.ITIMER_REAL, 0)
end = time.monotonic() + 0.9 * where["seconds"]
children = []
for _ in range(12):
    child = os.fork()
    if child == 0:
        while True:
            pass
    children.append(child)
while time.monotonic() < end:
    pass
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
while time.monotonic() < end + 0.4 * where["seconds"]:
    pass
print(where["mark"])
