"""Forks, and lets both processes return to whoever called them.

program; fools none: the control takes the report that comes first.
"""

import os

os.fork()
print("wrong")
