"""Has a thread work on after the program has ended, through the tests that follow.

program; fools none: a fork for each test, as the control has, ends all threads.
"""

import builtins
import json
import threading
import time

where = json.loads(input())


def work():
    time.sleep(1.4 * where["seconds"])
    builtins.done = where["mark"]


if where["number"] == 1:
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.6 * where["seconds"])
print(getattr(builtins, "done", ""))
