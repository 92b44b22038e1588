"""Sends its parent process each of the signals, many times.

program; fools bare: next.
"""

import contextlib
import os
import signal

for _ in range(200):
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            os.kill(os.getppid(), number)
