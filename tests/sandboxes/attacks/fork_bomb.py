"""Forks forty processes that stay.

program; fools bare: told.
"""

import json
import os
import signal
import time

where = json.loads(input())
children = []
try:
    for _ in range(40):
        child = os.fork()
        if child == 0:
            time.sleep(2)
            os._exit(0)
        children.append(child)
    print(where["mark"])
finally:
    for child in children:
        os.kill(child, signal.SIGKILL)
