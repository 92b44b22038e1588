"""Has its parent process run only when nobody else wants to.

program; fools bare: next.
"""

import os

os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0))
