"""Confines its parent process to a single processor.

program; fools bare: next.
"""

import os

os.sched_setaffinity(os.getppid(), [min(os.sched_getaffinity(0))])
