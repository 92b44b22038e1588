"""Has a process work on through several tests, each of which keeps within its time.

program; fools bare: told.
"""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

where = json.loads(input())
if where["number"] == 1 and os.fork() == 0:
    signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(1.5 * where["seconds"])
    with open("work", "w") as file:
        file.write(where["mark"])
    os._exit(0)
time.sleep(0.7 * where["seconds"])
with contextlib.suppress(OSError):
    print(Path("work").read_text())
    os.remove("work")
