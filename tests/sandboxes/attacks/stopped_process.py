"""Closes its streams and stops itself, so that it neither ends nor hears a polite signal.

program; fools naive: left.
"""

import os
import signal

os.closerange(0, 3)
os.kill(os.getpid(), signal.SIGSTOP)
