"""Computes far beyond its time, and passes no place at which the interpreter looks for signals.

program; fools none: in one process or another, every judge has a clock.
"""

import json

where = json.loads(input())
sum(range(10**9))
print(where["mark"])
