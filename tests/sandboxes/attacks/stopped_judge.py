"""Stops its parent process.

program; fools naive: next.
"""

import os
import signal

os.kill(os.getppid(), signal.SIGSTOP)
