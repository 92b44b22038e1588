"""Switches off the alarm that would end it, and takes three times its time.

program; fools naive: told.
"""

import json
import signal
import time

where = json.loads(input())
signal.setitimer(signal.ITIMER_REAL, 0)
signal.alarm(0)
time.sleep(3 * where["seconds"])
print(where["mark"])
