"""Sleeps far beyond its time.

program; fools none: every judge has a clock.
"""

import json
import time

where = json.loads(input())
time.sleep(5 * where["seconds"])
print(where["mark"])
