"""Lowers the priority of its parent process.

program; fools bare: next.
"""

import os

os.setpriority(os.PRIO_PROCESS, os.getppid(), 15)
