"""Kills every process that it can.

program; fools bare: next.
"""

import os
import signal

os.kill(-1, signal.SIGKILL)
