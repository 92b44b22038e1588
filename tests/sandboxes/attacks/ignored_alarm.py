"""Ignores every signal that can be ignored, and takes three times its time.

program; fools naive: told.
"""

import json
import signal
import time

where = json.loads(input())
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
time.sleep(3 * where["seconds"])
print(where["mark"])
