"""Makes five thousand files.

program; fools naive: told.
"""

import json
import os
import signal

where = json.loads(input())
signal.setitimer(signal.ITIMER_REAL, 0)
try:
    for number in range(5000):
        open(f"mine-{number}", "w").close()
    print(where["mark"])
finally:
    for number in range(5000):
        if os.path.exists(f"mine-{number}"):
            os.remove(f"mine-{number}")
