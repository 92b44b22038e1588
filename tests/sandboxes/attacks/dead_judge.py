"""Kills its parent process.

program; fools bare: next.
"""

import os
import signal

os.kill(os.getppid(), signal.SIGKILL)
